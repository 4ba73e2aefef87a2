/** The main job, and what it is made of. */
import { NodeServices } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { DurableNode } from "holdfast/durable"
import { MemoryEventStore } from "holdfast/events"
import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { Airport, AirportLive, Tally } from "../../examples/airports/Airport.ts"
import { Departed, Departures } from "../../examples/airports/Departures.ts"
import * as flights from "../../examples/airports/flights.ts"
import { report } from "../../examples/airports/report.ts"
import { expectedOf } from "../../examples/airports/verify.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { isAlive, type Run, run, temporaryFolder } from "./running.ts"

const minute = 60_000

const someFlights = 1000

/** The first thousand flights of the real ones, in a file. */
const sample = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const rows = JSON.parse(yield* fs.readFileString(flights.defaultFile)).slice(0, someFlights)
  const file = join(yield* temporaryFolder, "flights.json")
  yield* fs.writeFileString(file, JSON.stringify(rows))
  const airports = expectedOf((yield* flights.read(file)).flights).size
  return { file, verdict: `verified ${airports} airports, ${2 * someFlights} messages, 0 mismatches` }
})

const pids = ({ lines }: Run): ReadonlyArray<number> =>
  lines.flatMap((line) => Array.from(line.matchAll(/\(pid (\d+)\)/g), ([, pid]) => Number(pid)))

const flight = { flight: "AS 1", date: "2026/01/31 18:05", destination: "JFK", delay: 4, distance: 2402 }

const AirportTest = AirportLive.pipe(
  Layer.provideMerge(DurableNode.layerMemory),
  Layer.provideMerge(Departures.layer),
  Layer.provideMerge(MemoryEventStore.layer)
)

layer(AirportTest)("an airport", (it) => {
  it.effect("counts departures and arrivals, minutes and miles", () =>
    Effect.gen(function*() {
      const airport = yield* Airport.client()
      yield* airport("SEA").cast.Departed(flight)
      yield* airport("SEA").cast.Arrived({ flight: "AS 2", delay: -14, distance: 10 })
      const tally = yield* airport("SEA").call.Current()
      assert.deepStrictEqual(tally, new Tally({ departures: 1, arrivals: 1, minutesLate: -10, miles: 2412 }))
      assert.strictEqual(tally.averageDelay, -5)
    }))

  it.effect("counts a flight once, however often it is sent", () =>
    Effect.gen(function*() {
      const airport = yield* Airport.client()
      yield* Effect.repeat(airport("LAX").cast.Departed(flight), { times: 2 })
      assert.strictEqual((yield* airport("LAX").call.Current()).flights, 1)
    }))

  it.effect("writes each departure to the event store, once", () =>
    Effect.gen(function*() {
      const airport = yield* Airport.client()
      const departures = yield* Departures.client()
      yield* Effect.repeat(airport("JFK").cast.Departed(flight), { times: 2 })
      yield* airport("JFK").cast.Arrived({ flight: "AS 2", delay: -14, distance: 10 })
      const events = yield* departures.getEvents("JFK", 0, 10)
      const { distance: _, ...expected } = flight
      assert.deepStrictEqual(events.map(({ data }) => data), [Departed.make(expected)])
    }))
})

describe("a file of flights", () => {
  const row = { date: "2001/01/01 00:47", delay: 66, distance: 1750, origin: "DTW", destination: "LAS" }
  const problemOf = Effect.fnUntraced(function*(text: string) {
    const fs = yield* FileSystem.FileSystem
    const file = join(yield* temporaryFolder, "flights.json")
    yield* fs.writeFileString(file, text)
    const error = yield* Effect.flip(flights.read(file))
    return error.problem
  })

  layer(NodeServices.layer)((it) => {
    it.effect("that is wrong is refused with the row and the field", () =>
      Effect.gen(function*() {
        const rows = (second: object) => JSON.stringify([row, second])
        const { destination: _, ...short } = row
        assert.strictEqual(yield* problemOf(rows(short)), "row 2, destination: is missing")
        assert.strictEqual(yield* problemOf(rows({ ...row, delay: 1.5 })), "row 2, delay: Expected an integer")
        assert.strictEqual(
          yield* problemOf(rows({ ...row, origin: 3 })),
          "row 2, origin: Expected string"
        )
        assert.match(yield* problemOf(rows({ ...row, date: "yesterday" })), /^row 2, date: Expected a time, such as /)
        assert.strictEqual(yield* problemOf("[]"), "holds no flights")
        assert.strictEqual(yield* problemOf("["), "Expected a valid JSON string")
      }))

    it.effect("names even flights that agree in everything apart, and the same in every run", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const file = join(yield* temporaryFolder, "flights.json")
        yield* fs.writeFileString(file, JSON.stringify([row, row, { ...row, delay: 67 }]))
        const names = (yield* flights.read(file)).flights.map(({ id }) => id)
        assert.strictEqual(new Set(names).size, 3)
        assert.deepStrictEqual((yield* flights.read(file)).flights.map(({ id }) => id), names)
      }))
  })
})

describe("the report", () => {
  const right = new Tally({ departures: 2, arrivals: 1, minutesLate: 6, miles: 3000 })
  const wrong = new Tally({ ...right, departures: 1 })

  layer(Layer.empty)((it) => {
    it.effect("names the airports that are wrong, with both counts", () =>
      Effect.sync(() => {
        const lines = report({
          added: 6,
          millis: 1000,
          total: 6,
          board: { shown: 3, stored: 3, isComplete: true },
          verdicts: [
            { code: "SEA", expected: right, actual: right, agrees: true },
            { code: "LAX", expected: right, actual: wrong, agrees: false }
          ]
        })
        assert.strictEqual(lines.at(-1), "verified 2 airports, 6 messages, 1 mismatches")
        assert.include(lines.at(-3) ?? "", "LAX is wrong: it counts 1 departures")
        assert.include(lines.at(-2) ?? "", "it should: 2 departures")
      }))

    it.effect("tells where the board or the event store are wrong", () =>
      Effect.sync(() => {
        const verdicts = [{ code: "SEA", expected: right, actual: right, agrees: true }]
        const lastOf = (board: { readonly shown: number; readonly stored: number; readonly isComplete: boolean }) =>
          report({ added: 3, millis: 1000, total: 3, verdicts, board }).at(-1)
        const found = (mismatches: number) => `verified 1 airports, 3 messages, ${mismatches} mismatches`
        assert.strictEqual(lastOf({ shown: 2, stored: 2, isComplete: true }), found(0))
        assert.strictEqual(lastOf({ shown: 2, stored: 2, isComplete: false }), found(1))
        assert.strictEqual(lastOf({ shown: 1, stored: 1, isComplete: true }), found(1))
      }))
  })
})

layer(NodeServices.layer, { excludeTestServices: true })("the main job", (it) => {
  it.effect("says what may be chosen", () =>
    Effect.gen(function*() {
      const { code, lines } = yield* run("airports/main.ts", { args: ["--help"] })
      assert.strictEqual(code, 0)
      for (const flag of ["--file", "--data", "--kill-at", "--seed"]) assert.include(lines.join("\n"), flag)
    }), minute)

  it.effect("refuses a file that is not one of flights, in one line", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = join(yield* temporaryFolder, "flights.json")
      yield* fs.writeFileString(file, JSON.stringify([{ origin: "SEA" }]))
      const { code, errors } = yield* run("airports/main.ts", { args: ["--file", file] })
      assert.strictEqual(code, 1)
      assert.strictEqual(errors.trim().split("\n").at(-1)?.trim(), `${file}: row 1, date: is missing`)
    }), minute)

  it.effect("is exact on a given server, and leaves nothing there", () =>
    Effect.gen(function*() {
      const { file, verdict } = yield* sample
      const { url } = TestPostgres.server()
      const { code, errors, lines } = yield* run("airports/main.ts", {
        args: ["--file", file, "--kill-at", "0.1"],
        env: { HOLDFAST_DATABASE_URL: Redacted.value(url) }
      })
      assert.strictEqual(errors, "")
      assert.strictEqual(lines.at(-1), verdict)
      assert.strictEqual(code, 0)
      assert.isTrue(lines.some((line) => /^killed worker \d \(pid \d+\) by SIGKILL/.test(line)))
      assert.isTrue(lines.some((line) => /departures, the latest: .+ → /.test(line)))
      assert.include(lines, "the board has shown 1,000 departures, of 1,000 in the event store")

      const [, name = ""] = /datastore (airports_\w+)/.exec(lines.join("\n")) ?? []
      const left = yield* Effect.provide(
        SqlClient.SqlClient.use((sql) =>
          sql`SELECT datname FROM pg_database WHERE datname = ${name}
            UNION ALL SELECT rolname FROM pg_roles WHERE starts_with(rolname, ${name})`
        ),
        PgClient.layer({ url })
      )
      assert.notStrictEqual(name, "")
      assert.deepStrictEqual(left, [])
    }), minute)

  it.effect(
    "on kept data: interrupted it leaves no process; it goes on exactly; then all is known; damage is found",
    () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const { file, verdict } = yield* sample
        const data = yield* temporaryFolder
        const temporary = yield* temporaryFolder
        const options = { args: ["--file", file, "--data", data], env: { TMPDIR: temporary } }

        const interrupted = yield* run("airports/main.ts", {
          ...options,
          heard: (line, signal) => {
            if (line.startsWith("killed")) signal("SIGINT")
          }
        })
        assert.strictEqual(interrupted.code, 130)
        assert.notInclude(interrupted.lines.join("\n"), "verified")
        assert.isAtLeast(pids(interrupted).length, 4)
        assert.deepStrictEqual(pids(interrupted).filter(isAlive), [])
        assert.deepStrictEqual(yield* fs.readDirectory(temporary), [])
        assert.isFalse(existsSync(join(data, "postgres", "pgdata", "postmaster.pid")))

        const second = yield* run("airports/main.ts", options)
        assert.strictEqual(second.lines.at(-1), verdict)
        assert.strictEqual(second.code, 0)
        assert.match(second.lines.at(-3) ?? "", /^the board has shown \d+ departures, of 1,000 in the event store$/)

        const third = yield* run("airports/main.ts", { ...options, args: [...options.args, "--no-kill"] })
        assert.strictEqual(third.lines.at(-1), verdict)
        assert.include(
          third.lines.at(-2) ?? "",
          `0 were new, ${(2 * someFlights).toLocaleString("en")} were known already`
        )

        assert.include(third.lines, "the board has shown 0 departures, of 1,000 in the event store")

        const [, name = ""] = /datastore (airports_\w+)/.exec(third.lines.join("\n")) ?? []
        const onServer = <A, E>(database: string, use: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>) =>
          EmbeddedPostgres.EmbeddedPostgres.use((server) =>
            Effect.provide(SqlClient.SqlClient.use(use), PgClient.layer({ url: server.urlOf(database) }))
          ).pipe(Effect.provide(EmbeddedPostgres.layerOrUrl({ dataDirectory: join(data, "postgres") })))
        yield* onServer(
          name,
          (sql) => sql`UPDATE holdfast.server SET state = replace(state, '"miles":', '"miles":1') WHERE key = 'ORD'`
        )

        const fourth = yield* run("airports/main.ts", { ...options, args: [...options.args, "--no-kill"] })
        assert.strictEqual(fourth.code, 1)
        assert.strictEqual(fourth.lines.at(-1), verdict.replace("0 mismatches", "1 mismatches"))
        assert.strictEqual(fourth.lines.filter((line) => line.includes(" is wrong: ")).length, 1)
        assert.match(fourth.lines.at(-3) ?? "", /^ORD is wrong: /)
      }),
    2 * minute
  )
})

layer(NodeServices.layer, { excludeTestServices: true })("the small programs", (it) => {
  it.effect("the counter goes on where its last run ended", () =>
    Effect.gen(function*() {
      const cwd = yield* temporaryFolder
      const env = { HOLDFAST_DATABASE_URL: undefined }
      assert.deepStrictEqual((yield* run("counter.ts", { cwd, env })).lines, ["The count is 1"])
      assert.deepStrictEqual((yield* run("counter.ts", { cwd, env })).lines, ["The count is 2"])
    }), minute)

  it.effect(
    "the gateway's client appends and follows, and is refused what its token does not give",
    () =>
      Effect.gen(function*() {
        const cwd = yield* temporaryFolder
        const { errors, lines } = yield* run("gateway.ts", { cwd, env: { HOLDFAST_DATABASE_URL: undefined } })
        assert.deepStrictEqual(lines, [
          "AS 123 left 4 minutes late",
          "AS 456 left 0 minutes late",
          "the token does not give the right to admin in the event store flights"
        ], errors)
      }),
    minute
  )

  it.effect("the script runs on any database", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.make
      const { lines } = yield* run("airports/script.ts", { env: { DATABASE_URL: Redacted.value(database.url) } })
      assert.deepStrictEqual(lines, ["Tally { departures: 1, arrivals: 0, minutesLate: 4, miles: 2402 }"])
    }), minute)
})
