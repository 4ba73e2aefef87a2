import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Tracer } from "effect"
import { Reactivity } from "effect/reactivity"
import { datastoreSource } from "../../../src/datastore/internal/ledger.ts"
import { ensureInstalled, installed, librarySource } from "../../../src/datastore/internal/schemaInstall.ts"
import { connectAs, connectAsSuperuser, dbServer, makeInput, secret, withDatastore } from "../support.ts"

const one = { name: "1.sql", text: "CREATE TABLE holdfast.one (id int)" }
const two = { name: "2.sql", text: "CREATE TABLE holdfast.two (id int); SELECT pg_sleep(0.05)" }
const source = librarySource("thing", [two, one])

const ensure = (client: PgClient.PgClient, what = source) =>
  ensureInstalled(what).pipe(Effect.provideService(PgClient.PgClient, client))

describe("schemaInstall", () => {
  it.live("a role that may, installs on first use; then it is one statement", () => {
    const input = makeInput()
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const sql = yield* connectAsSuperuser(input.databaseName)
        yield* ensure(sql)
        assert.deepStrictEqual(yield* installed(sql, source), {
          applied: ["1.sql", "2.sql"],
          missing: [],
          changed: [],
          newest: "2.sql"
        })
        let statements = 0
        const counting = Tracer.make({
          span: (options) => {
            statements += options.kind === "client" ? 1 : 0
            return new Tracer.NativeSpan(options)
          }
        })
        yield* Effect.provideService(ensure(sql), Tracer.Tracer, counting)
        assert.strictEqual(statements, 1)
      }))
  })

  it.live("any number of processes may install at once", () => {
    const input = makeInput()
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const clients = yield* Effect.replicateEffect(connectAsSuperuser(input.databaseName), 6)
        yield* Effect.forEach(clients, (client) => ensure(client), { concurrency: "unbounded" })
        const ledger = yield* clients[0]!`SELECT file FROM holdfast.migration ORDER BY file`
        assert.deepStrictEqual(ledger, [{ file: "1.sql" }, { file: "2.sql" }])
      }))
  })

  it.live("works on a pool of one connection, with names transformed, and leaves no settings behind", () => {
    const input = makeInput()
    const settings = librarySource("thing", [{
      name: "1.sql",
      text: "SET search_path = pg_catalog; SET work_mem = '1MB'"
    }])
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const sql = yield* PgClient.make({
          ...dbServer,
          database: input.databaseName,
          username: input.admin.databaseRole,
          password: input.admin.databasePassword ?? Redacted.make(""),
          maxConnections: 1,
          transformQueryNames: (name) => name.toUpperCase(),
          transformResultNames: (name) => name.toUpperCase()
        }).pipe(Effect.provide(Reactivity.layer))
        yield* ensure(sql, settings)
        yield* ensure(sql, settings)
        const [row] = yield* sql`SELECT current_setting('search_path') AS path, current_setting('work_mem') AS mem`
        assert.deepStrictEqual(row, { PATH: "\"$user\", public", MEM: "4MB" })
      }))
  })

  it.live("a role that may not is told what to run, before and after", () => {
    const input = makeInput()
    const { app, audit } = input.contexts
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const sql = yield* connectAs(input.databaseName, app.databaseRole, app.databasePassword)
        const nothing = yield* Effect.flip(ensure(sql))
        assert.deepInclude(nothing, {
          _tag: "SchemaNotInstalled",
          reason: "notInstalled",
          source: "holdfast/thing",
          expected: "2.sql"
        })
        assert.include(nothing.message, "found nothing")
        assert.include(nothing.message, "DatastoreAdmin.upgrade")

        yield* admin.upgrade([librarySource("thing", [one])])
        const part = yield* Effect.flip(ensure(sql))
        assert.deepInclude(part, { reason: "notInstalled", expected: "2.sql", found: "1.sql" })

        yield* admin.upgrade([source])
        yield* ensure(sql)

        const other = yield* connectAs(input.databaseName, audit.databaseRole, audit.databasePassword)
        assert.strictEqual((yield* Effect.flip(ensure(other))).reason, "notPermitted")

        const changed = librarySource("thing", [{ ...one, text: "SELECT 1" }, two])
        assert.deepInclude(yield* Effect.flip(ensure(sql, changed)), { reason: "changed", found: "2.sql" })
        // An older program on newer tables: what it needs is there.
        yield* ensure(sql, librarySource("thing", [one]))
      }))
  })

  it.live("an installation that fails, and a database that does not answer, are typed failures", () => {
    const input = makeInput()
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const sql = yield* connectAsSuperuser(input.databaseName)
        const broken = librarySource("broken", [{ name: "1.sql", text: "SELECT 1;\nSELECT nothing" }])
        const failed = yield* Effect.flip(ensure(sql, broken))
        assert.strictEqual(failed.reason, "failed")
        assert.include(failed.message, "broken/1.sql:2:8")
        const nowhere = yield* PgClient.make({ host: "127.0.0.1", port: 1, username: "x", password: secret() }).pipe(
          Effect.provide(Reactivity.layer)
        )
        const unreachable = yield* Effect.flip(ensure(nowhere))
        assert.strictEqual(unreachable._tag, "ConnectionFailed")
        assert.strictEqual(unreachable.reason, "serverUnreachable")
      }))
  })

  it("the datastore's own source is what upgrade applies first", () => {
    assert.deepStrictEqual(datastoreSource.files.map((file) => file.name), ["0001_raise.sql"])
  })
})
