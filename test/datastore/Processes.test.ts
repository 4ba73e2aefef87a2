/**
 * Administrators in processes of their own: killed in the middle of their work, and several at once.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { type DatastoreAdmin, Migrations } from "holdfast/datastore"
import * as Processes from "../support/Processes.ts"
import { connectAs, connectAsSuperuser, makeInput, type TestInput, withAdmin, withDatastore } from "./support.ts"

const program = new URL("./fixtures/administrator.ts", import.meta.url)

const reveal = (login: { readonly databaseRole: string; readonly databasePassword: Redacted.Redacted }) => ({
  databaseRole: login.databaseRole,
  databasePassword: Redacted.value(login.databasePassword)
})

/** Options with their passwords, for a child of these tests. */
const json = ({ admin, contexts: { app, audit }, ...input }: TestInput, more: object = {}) =>
  JSON.stringify({ ...input, ...more, admin: reveal(admin), contexts: { app: reveal(app), audit: reveal(audit) } })

const start = (operation: string, options: string, env: Record<string, string> = {}) =>
  Effect.gen(function*() {
    const child = yield* Processes.start(program, [operation, options], env)
    yield* child.line("ready")
    return child
  })

const ready: DatastoreAdmin.State = {
  database: "ready",
  contexts: { app: "ready", audit: "ready" },
  migrations: "notInitialized"
}

describe("administrators in processes", () => {
  it.live.each(["connect", "roles", "ownership", "database", "grants", "isolation", "opening"])(
    "a create that is killed after the step \"%s\" is finished by the next",
    (step) => {
      const input = makeInput()
      return withAdmin(input, (admin) =>
        Effect.gen(function*() {
          const child = yield* start("create", json(input), { HOLD: `create: ${step}` })
          yield* child.say("go")
          yield* child.line(`done create: ${step}`)
          yield* child.signal("SIGKILL")
          assert.strictEqual(yield* child.ended, "SIGKILL")
          yield* admin.create
          assert.deepStrictEqual(yield* admin.state(), ready)
          const { databasePassword, databaseRole } = input.contexts.app
          yield* connectAs(input.databaseName, databaseRole, databasePassword)
          assert.deepStrictEqual(yield* admin.create, { database: false, roles: [] })
        }))
    }
  )

  it.live.each(["look up", "database"])(
    "a drop that is killed after the step \"%s\" is finished by the next",
    (step) => {
      const input = makeInput()
      return withDatastore(input, (admin) =>
        Effect.gen(function*() {
          const child = yield* start("drop", json(input), { HOLD: `drop: ${step}` })
          yield* child.say("go")
          yield* child.line(`done drop: ${step}`)
          yield* child.signal("SIGKILL")
          yield* child.ended
          assert.lengthOf((yield* admin.drop({ force: true })).roles, 3)
          assert.deepStrictEqual((yield* admin.state()).contexts, { app: "notFound", audit: "notFound" })
        }))
    }
  )

  it.live(
    "two processes that upgrade at once, ten times: every file runs once, one of them finds nothing to do",
    () => {
      const input = makeInput()
      const file = (round: number, i: number) => ({
        name: `${String(round).padStart(2, "0")}_${i}.sql`,
        sql: round === 0 && i === 0
          ? "CREATE SCHEMA app; CREATE TABLE app.run (file text)"
          : `INSERT INTO app.run VALUES ('${round}_${i}')`
      })
      const rounds = Array.from({ length: 10 }, (_, round) => [0, 1, 2].map((i) => file(round, i)))
      return withDatastore(input, (admin) =>
        Effect.gen(function*() {
          const superuser = yield* connectAsSuperuser(input.databaseName)
          const options = json(input, { rounds })
          const children = yield* Effect.all([start("upgrade", options), start("upgrade", options)], { concurrency: 2 })
          for (let round = 1; round <= rounds.length; round++) {
            yield* Effect.forEach(children, (child) => child.say("go"))
            const result = `result ${round} `
            const lines = yield* Effect.forEach(children, (child) => child.line(result))
            const counts = lines.map((line) => JSON.parse(line.slice(result.length)).length).sort()
            assert.deepStrictEqual(counts, [0, round === 1 ? 4 : 3])
          }
          const [rows] = yield* superuser`SELECT count(*)::int AS n, count(DISTINCT file)::int AS d FROM app.run`
          assert.deepStrictEqual(rows, { n: 29, d: 29 })
          assert.strictEqual((yield* admin.plan([])).length, 0)
        }))
    },
    60_000
  )

  it.live("an upgrade that is killed in the middle of a file leaves nothing of it, and no lock", () => {
    const input = makeInput()
    const files = [
      { name: "1.sql", sql: "CREATE SCHEMA app; CREATE TABLE app.run (file text)" },
      { name: "2.sql", sql: "INSERT INTO app.run VALUES ('2'); SELECT pg_sleep(CASE WHEN ${slow} THEN 30 ELSE 0 END)" }
    ]
    const withSlow = (slow: boolean) =>
      files.map((file) => ({ ...file, sql: file.sql.replace("${slow}", String(slow)) }))
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser(input.databaseName)
        const child = yield* start("upgrade", json(input, { rounds: [withSlow(true)] }))
        yield* child.say("go")
        yield* superuser`SELECT FROM pg_stat_activity WHERE datname = ${input.databaseName} AND wait_event = 'PgSleep'`
          .pipe(
            Effect.repeat({ until: (rows) => rows.length > 0 }),
            Effect.timeout("10 seconds")
          )
        yield* child.signal("SIGKILL")
        yield* child.ended
        // The server notices the next time it writes to the session; the new upgrade waits for that, or somebody ends it.
        yield* superuser`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = ${input.databaseName} AND wait_event = 'PgSleep'`
        const applied = yield* admin.upgrade([Migrations.make("app", withSlow(false))])
        assert.deepStrictEqual(applied.map((_) => _.file), ["2.sql"])
        assert.deepStrictEqual(yield* superuser`SELECT file FROM app.run`, [{ file: "2" }])
      }))
  })
})
