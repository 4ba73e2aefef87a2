/**
 * Profiles among real processes: they race, are killed, are stopped for longer than their lease and go on.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import * as Processes from "../support/Processes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

const leaseMillis = 1000

const start = Effect.gen(function*() {
  const { url } = yield* TestPostgres.TestDatabase
  const holder = yield* Processes.start(new URL("fixtures/holder.ts", import.meta.url), [], {
    HOLDFAST_TEST_URL: Redacted.value(url),
    HOLDFAST_TEST_LEASE: String(leaseMillis)
  })
  yield* holder.line("ready")
  return holder
})

/** Says a line and gives the answer, by its words. */
const ask = Effect.fnUntraced(function*(holder: Processes.TestProcess, line: string, answer: string) {
  yield* holder.say(line)
  return (yield* holder.line(answer)).split(" ")
})

/** Asks to register until it is not refused any more. */
const registerUntilGranted = (holder: Processes.TestProcess, profile: string) =>
  Effect.gen(function*() {
    let asked = 0
    while (true) {
      yield* holder.say(`register ${profile}`)
      asked++
      const answers = yield* Effect.repeat(
        Effect.map(
          holder.lines,
          (lines) => lines.filter((line) => line.startsWith("registered ") || line.startsWith(`refused ${profile} `))
        ),
        { until: (lines) => lines.length >= asked || lines.some((line) => line.startsWith(`registered ${profile} `)) }
      )
      const granted = answers.find((line) => line.startsWith(`registered ${profile} `))
      if (granted !== undefined) return BigInt(granted.split(" ")[2]!)
      yield* Effect.sleep("20 millis")
    }
  })

layer(TestPostgres.layer, { excludeTestServices: true })("Processes", (it) => {
  it.effect(
    "of four processes with twenty-five racing in each one wins, and all hundred see the same winner",
    () =>
      Effect.gen(function*() {
        const holders = yield* Effect.all([start, start, start, start], { concurrency: "unbounded" })
        yield* Effect.forEach(holders, (holder) => holder.say("race one 25"), { concurrency: "unbounded" })
        const raced = yield* Effect.forEach(holders, (holder) => holder.line("raced"))
        const words = raced.map((line) => line.split(" "))
        assert.strictEqual(words.reduce((sum, [, won]) => sum + Number(won), 0), 1, raced.join("; "))
        assert.strictEqual(new Set(words.map(([, , seen]) => seen)).size, 1, raced.join("; "))
      }),
    60_000
  )

  it.effect(
    "a holder that is killed frees its profile within its lease, and its successor's token is greater",
    () =>
      Effect.gen(function*() {
        const [holder, successor] = yield* Effect.all([start, start], { concurrency: 2 })
        const [, , token] = yield* ask(holder, "register killed", "registered killed")
        yield* ask(successor, "register killed", "refused killed")
        yield* holder.signal("SIGKILL")
        const [took, next] = yield* Effect.timed(registerUntilGranted(successor, "killed"))
        assert.isTrue(next > BigInt(token!), `${next} after ${token}`)
        // With the time that a busy machine takes for it.
        assert.isBelow(Duration.toMillis(took), 3 * leaseMillis + 15_000)
      }),
    60_000
  )

  it.effect(
    "a holder that was stopped past its lease cannot write under its old token, and is told that it is lost",
    () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql`CREATE TABLE written (profile text)`
        const [holder, successor] = yield* Effect.all([start, start], { concurrency: 2 })
        const [, , token] = yield* ask(holder, "register stopped", "registered stopped")
        yield* ask(holder, "write stopped", "wrote stopped")
        yield* holder.signal("SIGSTOP")
        // What it is asked for next is the first thing it meets when it goes on.
        yield* holder.say("write stopped")
        const next = yield* registerUntilGranted(successor, "stopped")
        assert.isTrue(next > BigInt(token!))
        yield* ask(successor, "write stopped", "wrote stopped")
        yield* holder.signal("SIGCONT")
        yield* holder.line("denied stopped")
        yield* holder.line(`lost stopped ${token}`)
        const [row] = yield* sql<{ readonly count: number }>`SELECT count(*)::int AS count FROM written`
        assert.strictEqual(row?.count, 2)
      }),
    60_000
  )

  it.effect(
    "supervised profiles of a process that was stopped and followed stay with its successor",
    () =>
      Effect.gen(function*() {
        const [holder, successor] = yield* Effect.all([start, start], { concurrency: 2 })
        yield* ask(holder, "supervise moved", "connected moved")
        yield* holder.signal("SIGSTOP")
        yield* registerUntilGranted(successor, "moved")
        yield* holder.signal("SIGCONT")
        // Its connection is closed, and no other one is opened.
        yield* holder.line("closed moved")
        const refused = yield* ask(holder, "register moved", "refused moved")
        const held = (yield* successor.lines).find((line) => line.startsWith("registered moved"))
        assert.strictEqual(refused[2], held?.split(" ")[2])
        assert.strictEqual((yield* holder.lines).filter((line) => line.startsWith("connected")).length, 1)
      }),
    60_000
  )

  it.effect(
    "supervised profiles of a process that was stopped and not followed come back, under greater tokens",
    () =>
      Effect.gen(function*() {
        const holder = yield* start
        const [, , token] = yield* ask(holder, "supervise back", "connected back")
        yield* holder.signal("SIGSTOP")
        yield* Effect.sleep(leaseMillis * 1.2)
        yield* holder.signal("SIGCONT")
        yield* holder.line("closed back")
        const connected = yield* Effect.repeat(
          Effect.map(holder.lines, (lines) => lines.filter((line) => line.startsWith("connected back"))),
          { until: (lines) => lines.length === 2 }
        )
        assert.isTrue(BigInt(connected[1]!.split(" ")[2]!) > BigInt(token!))
      }),
    60_000
  )
})
