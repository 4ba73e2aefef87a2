import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Config, ConfigProvider, Context, Effect, Exit, Layer, Logger, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { Datastore, DatastoreContext } from "holdfast/datastore"
import { IntegerRange } from "holdfast/dbtypes"
import { admin as superuser, connectAsSuperuser, makeInput, runtime, withDatastore } from "./support.ts"

const whoAmI = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<{ role: string }>`SELECT current_user::text AS role`
  return row?.role
})

/** Everything about a failure that could be printed somewhere. */
const rendered = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isFailure(exit)
    ? [
      Cause.pretty(exit.cause),
      JSON.stringify(exit.cause),
      ...exit.cause.reasons.map((reason) =>
        Cause.isFailReason(reason) ? `${String(reason.error)} ${JSON.stringify(reason.error)}` : ""
      )
    ].join("\n")
    : ""

describe("Datastore", () => {
  it.live("opens every context, each with its own role", () => {
    const input = makeInput()
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const datastore = yield* Datastore.Datastore
        assert.strictEqual(yield* datastore.state, "allStarted")
        assert.deepStrictEqual(yield* datastore.states, [
          { contextName: "app", state: "started" },
          { contextName: "audit", state: "started" }
        ])
        for (const name of ["app", "audit"] as const) {
          const role = input.contexts[name].databaseRole
          assert.strictEqual(yield* datastore.withContext(name)(whoAmI), role)
          assert.strictEqual(yield* whoAmI.pipe(Datastore.withContext(name)), role)
          assert.strictEqual(yield* whoAmI.pipe(Effect.provide(DatastoreContext.layer(name))), role)
        }
      }).pipe(Effect.provide(Datastore.layer(runtime(input)))))
  })

  it.live("a context reads and writes ranges, intervals and addresses as the values of the library", () => {
    const input = makeInput()
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const range = IntegerRange.makeUnsafe({ lower: 1n, upper: 5n, bounds: "[]" })
        const [row] = yield* sql<{ range: unknown; same: boolean }>`
          SELECT int8range(1, 6) AS range, int8range(1, 6) = ${range} AS same`
        assert.deepStrictEqual(row, { range, same: true })
      }).pipe(Datastore.withContext("app"), Effect.provide(Datastore.layer(runtime(input)))))
  })

  it.live("a context is one client, however often it is asked for, and closing the datastore closes its connections", () => {
    const input = makeInput()
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const watcher = yield* connectAsSuperuser()
        const open = watcher<{ n: number }>`
          SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = ${input.databaseName}`
        yield* Effect.gen(function*() {
          const datastore = yield* Datastore.Datastore
          const { sql } = yield* datastore.context("app")
          const view = Effect.all([PgClient.PgClient, SqlClient.SqlClient, DatastoreContext.DatastoreContext])
          const views = [
            yield* view.pipe(Effect.provide(DatastoreContext.layer("app"))),
            yield* view.pipe(Effect.provide(DatastoreContext.layer("app"))),
            yield* view.pipe(datastore.withContext("app"))
          ]
          for (const [pg, client, context] of views) {
            assert.strictEqual(pg, sql)
            assert.strictEqual(client, sql)
            assert.strictEqual(context.sql, sql)
            assert.strictEqual(context.contextName, "app")
          }
          assert.deepStrictEqual(yield* open, [{ n: 2 }])
          yield* Effect.replicateEffect(sql`SELECT pg_sleep(0.01)`, 40, { concurrency: 40 })
          // Five at most for "app", one for "audit".
          assert.deepStrictEqual(yield* open, [{ n: 6 }])
        }).pipe(Effect.provide(Datastore.layer(runtime(input))))
        yield* open.pipe(Effect.repeat({ until: ([row]) => row?.n === 0 }), Effect.timeout("5 seconds"))
      }))
  })

  it.live("withContext nests, and restores the outer context", () => {
    const input = makeInput()
    const { app, audit } = input.contexts
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const roles = yield* Effect.gen(function*() {
          const before = yield* whoAmI
          const inside = yield* whoAmI.pipe(Datastore.withContext("audit"))
          return [before, inside, yield* whoAmI]
        }).pipe(Datastore.withContext("app"))
        assert.deepStrictEqual(roles, [app.databaseRole, audit.databaseRole, app.databaseRole])
      }).pipe(Effect.provide(Datastore.layer(runtime(input)))))
  })

  it.live("200 fibers over two contexts, in and out of transactions, never cross roles", () => {
    const input = makeInput()
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const datastore = yield* Datastore.Datastore
        const { sql: app } = yield* datastore.context("app")
        yield* Effect.forEach(
          Array.from({ length: 200 }, (_, i) => i),
          Effect.fnUntraced(function*(i) {
            const [outer, inner] = i % 2 === 0 ? ["app", "audit"] as const : ["audit", "app"] as const
            yield* Effect.gen(function*() {
              assert.strictEqual(yield* whoAmI, input.contexts[outer].databaseRole)
              yield* Effect.yieldNow
              assert.strictEqual(yield* whoAmI.pipe(datastore.withContext(inner)), input.contexts[inner].databaseRole)
              assert.strictEqual(yield* whoAmI, input.contexts[outer].databaseRole)
              if (i % 10 === 0) {
                // A transaction of one context does not catch the statements of the other.
                const pids = yield* app.withTransaction(Effect.all([
                  app<{ pid: number }>`SELECT pg_backend_pid() AS pid`,
                  app<{ pid: number }>`SELECT pg_backend_pid() AS pid`,
                  datastore.withContext("audit")(Effect.flatMap(
                    SqlClient.SqlClient,
                    (sql) => sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`
                  ))
                ]))
                assert.strictEqual(pids[0][0]?.pid, pids[1][0]?.pid)
                assert.notStrictEqual(pids[0][0]?.pid, pids[2][0]?.pid)
              }
            }).pipe(datastore.withContext(outer))
          }),
          { concurrency: "unbounded", discard: true }
        )
      }).pipe(Effect.provide(Datastore.layer(runtime(input)))))
  })

  it.live("two layers under two contexts have two roles", () => {
    const input = makeInput()
    class Orders extends Context.Service<Orders, string | undefined>()("test/Orders") {}
    class Audit extends Context.Service<Audit, string | undefined>()("test/Audit") {}
    const both = Layer.mergeAll(
      Layer.effect(Orders, whoAmI).pipe(Layer.provide(DatastoreContext.layer("app"))),
      Layer.effect(Audit, whoAmI).pipe(Layer.provide(DatastoreContext.layer("audit")))
    ).pipe(Layer.provide(Datastore.layer(runtime(input))))
    return withDatastore(input, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* Orders, input.contexts.app.databaseRole)
        assert.strictEqual(yield* Audit, input.contexts.audit.databaseRole)
      }).pipe(Effect.provide(both)))
  })

  it.live("a wrong password for one of two contexts: some started, cause kept, no secret anywhere", () => {
    const input = makeInput()
    const wrong = {
      ...runtime(input),
      contexts: {
        ...input.contexts,
        audit: { ...input.contexts.audit, databasePassword: Redacted.make("the-wrong-secret-7351") }
      }
    }
    const lines: Array<string> = []
    const logger = Logger.make((options) => {
      lines.push(Logger.formatJson.log(options))
    })
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const watcher = yield* connectAsSuperuser()
        const datastore = yield* Datastore.Datastore
        assert.strictEqual(yield* datastore.state, "someStarted")
        const [app, audit] = yield* datastore.states
        assert.deepStrictEqual(app, { contextName: "app", state: "started" })
        assert.deepInclude(audit?.cause, { reason: "passwordRejected", sqlState: "28P01" })
        assert.strictEqual(yield* datastore.withContext("app")(whoAmI), input.contexts.app.databaseRole)

        const exit = yield* Effect.exit(datastore.withContext("audit")(whoAmI))
        const layer = yield* Effect.exit(whoAmI.pipe(Effect.provide(DatastoreContext.layer("audit"))))
        const activity = yield* watcher`SELECT a::text AS line FROM pg_stat_activity a`
        assert.include(rendered(exit), "ContextNotStarted")
        assert.include(rendered(layer), "password authentication failed")
        assert.lengthOf(lines.filter((line) => line.includes("context not started")), 1)
        const everything = [
          rendered(exit),
          rendered(layer),
          ...lines,
          JSON.stringify(audit),
          String(audit?.cause?.stack),
          JSON.stringify(activity)
        ].join("\n")
        assert.notInclude(everything, "the-wrong-secret-7351")
        for (const context of Object.values(input.contexts)) {
          assert.notInclude(everything, Redacted.value(context.databasePassword))
        }
      }).pipe(Effect.provide(Datastore.layer(wrong).pipe(Layer.provide(Logger.layer([logger]))))))
  })

  it.live("none started is an error that tells an unreachable server from a missing database", () => {
    const input = runtime(makeInput())
    return Effect.gen(function*() {
      const build = (options: Parameters<typeof Datastore.layer>[0]) =>
        Effect.flip(Effect.scoped(Layer.build(Datastore.layer(options))))
      const nowhere = yield* build({ ...input, dbServer: { host: "127.0.0.1", port: 1 } })
      assert.strictEqual(nowhere._tag, "NoContextStarted")
      assert.deepStrictEqual(
        nowhere._tag === "NoContextStarted" && nowhere.contexts.map((_) => [_.contextName, _.cause.reason]),
        [["app", "serverUnreachable"], ["audit", "serverUnreachable"]]
      )
      assert.include(nowhere.message, "127.0.0.1:1")
      const login = { databaseRole: superuser.databaseRole, databasePassword: superuser.databasePassword }
      const missing = yield* build({ ...input, contexts: { app: login } })
      assert.include(missing.message, `database "${input.databaseName}" does not exist`)
      assert.include(missing.message, "create it with DatastoreAdmin.create")
      const idle = yield* build({ ...input, contexts: { app: { ...login, startContext: false } } })
      assert.include(idle.message, "the options let none be started")
    })
  })

  it.live("a server that never answers is given up after the connect timeout", () =>
    Effect.gen(function*() {
      const input = runtime(makeInput())
      // A reserved address that swallows packets, or has no route: either way nobody answers.
      const error = yield* Effect.flip(Effect.scoped(Layer.build(
        Datastore.layer({ ...input, dbServer: { host: "192.0.2.1", port: 5432, connectTimeoutMillis: 200 } })
      )))
      assert.strictEqual(error._tag === "NoContextStarted" && error.contexts[0]?.cause.reason, "serverUnreachable")
    }))

  it.live("a context that is not there, or not to be started, is a typed error that says so", () => {
    const input = makeInput()
    const options = {
      ...runtime(input),
      contexts: { ...input.contexts, audit: { ...input.contexts.audit, startContext: false } }
    }
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const datastore = yield* Datastore.Datastore
        assert.strictEqual(yield* datastore.state, "allStarted")
        const missing = yield* Effect.flip(datastore.context("App"))
        assert.strictEqual(
          missing.message,
          `datastore "${input.databaseName}" has no context "App", only "app", "audit"`
        )
        const idle = yield* Effect.flip(whoAmI.pipe(Effect.provide(DatastoreContext.layer("audit"))))
        assert.deepInclude(idle, { _tag: "ContextNotStarted", contextName: "audit" })
      }).pipe(Effect.provide(Datastore.layer(options))))
  })

  it.live("options may come from configuration", () => {
    const input = makeInput()
    const DatastoreLive = Datastore.layerConfig({
      databaseName: Config.String("NAME"),
      dbServer: { host: Config.String("HOST"), port: Config.Port("PORT") },
      owner: { databaseRole: Config.succeed(input.owner.databaseRole) },
      contexts: { app: { databaseRole: Config.String("ROLE"), databasePassword: Config.Redacted("PASSWORD") } }
    }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({
      NAME: input.databaseName,
      HOST: input.dbServer.host,
      PORT: String(input.dbServer.port),
      ROLE: input.contexts.app.databaseRole,
      PASSWORD: Redacted.value(input.contexts.app.databasePassword)
    }))))
    return withDatastore(input, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* whoAmI.pipe(Datastore.withContext("app")), input.contexts.app.databaseRole)
      }).pipe(Effect.provide(DatastoreLive)))
  })
})
