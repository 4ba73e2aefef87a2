import { assert, describe, it } from "@effect/vitest"
import { Cause, Config, ConfigProvider, Effect, Exit, Layer, Redacted } from "effect"
import { Datastore, DatastoreAdmin, DatastoreOptions } from "holdfast/datastore"

const input = {
  databaseName: "airports",
  dbServer: { host: "localhost" },
  owner: { databaseRole: "airports_owner" },
  contexts: { app: { databaseRole: "airports_app", databasePassword: Redacted.make("hunter2") } }
}

const problems = (given: unknown) =>
  DatastoreOptions.check(given as DatastoreOptions.Input).pipe(
    Effect.flip,
    Effect.map((error) => error.issues.map((_) => `${_.field}: ${_.problem}`))
  )

const long = "x".repeat(64)

describe("DatastoreOptions", () => {
  it.effect("fills in the defaults", () =>
    Effect.gen(function*() {
      const options = yield* DatastoreOptions.check(input)
      assert.deepStrictEqual({ ...options.dbServer }, { host: "localhost", port: 5432, connectTimeoutMillis: 5000 })
      assert.deepInclude(options.contexts.app, {
        startingPoolSize: 5,
        startContext: true,
        loginContext: true,
        libraryAccess: true
      })
      const admin = yield* DatastoreOptions.checkAdmin({ ...input, admin: { databaseRole: "postgres" } })
      assert.strictEqual(admin.admin.maintenanceDatabase, "postgres")
    }))

  const app = input.contexts.app
  const cases: ReadonlyArray<readonly [string, unknown, string]> = [
    ["an empty host", { ...input, dbServer: { host: "" } }, "dbServer.host: must be a host name or address"],
    [
      "a port out of range",
      { ...input, dbServer: { host: "a", port: 65536 } },
      "dbServer.port: must be a port number, 1 to 65535"
    ],
    ["no server", { ...input, dbServer: undefined }, "dbServer: must be object"],
    [
      "a database name that Postgres would cut off",
      { ...input, databaseName: long },
      "databaseName: must be a database name of 1 to 63 bytes"
    ],
    [
      "63 characters that are 126 bytes",
      { ...input, databaseName: "é".repeat(63) },
      "databaseName: must be a database name of 1 to 63 bytes"
    ],
    [
      "a template database",
      { ...input, databaseName: "template1" },
      "databaseName: must not be a template database of Postgres"
    ],
    [
      "a NUL in a role",
      { ...input, owner: { databaseRole: "a\0" } },
      "owner.databaseRole: must be a role name of 1 to 63 bytes"
    ],
    [
      "a reserved role",
      { ...input, owner: { databaseRole: "pg_monitor" } },
      "owner.databaseRole: must not be a name that Postgres keeps for itself (pg_…, public, none)"
    ],
    ["no contexts", { ...input, contexts: {} }, "contexts: must name at least one context"],
    [
      "a login context without password",
      { ...input, contexts: { app: { databaseRole: "a" } } },
      "contexts.app.databasePassword: is required for a context that logs in"
    ],
    [
      "an empty password",
      { ...input, contexts: { app: { ...app, databasePassword: Redacted.make("") } } },
      "contexts.app.databasePassword: must not be empty or contain a NUL character"
    ],
    [
      "an empty pool",
      { ...input, contexts: { app: { ...app, startingPoolSize: 0 } } },
      "contexts.app.startingPoolSize: must be a number of connections, 1 to 1000"
    ],
    [
      "two contexts with one role",
      { ...input, contexts: { app, audit: app } },
      "contexts.audit.databaseRole: must not be the role of context \"app\""
    ],
    [
      "a context with the role of the owner",
      { ...input, contexts: { app: { ...app, databaseRole: "airports_owner" } } },
      "contexts.app.databaseRole: must not be the role of the owner"
    ],
    [
      "a misspelt option",
      { ...input, contexts: { app: { ...app, poolSize: 3 } } },
      "contexts.app.poolSize: is not an option"
    ],
    ["a missing name", { ...input, databaseName: undefined }, "databaseName: must be string"]
  ]
  it.effect.each(cases)("refuses %s, naming field and limit", ([, given, expected]) =>
    Effect.gen(function*() {
      assert.include(yield* problems(given), expected)
    }))

  it.effect("names every field at fault at once", () =>
    Effect.gen(function*() {
      const found = yield* problems({ ...input, databaseName: "", dbServer: { host: "a", port: 0 } })
      assert.lengthOf(found, 2)
    }))

  it.effect("never repeats a password, not even one given as a plain string", () =>
    Effect.gen(function*() {
      const given = {
        ...input,
        databaseName: "",
        contexts: {
          app: { ...app, databasePassword: "hunter2" },
          b: { ...app, databasePassword: Redacted.make("hunter2\0") }
        }
      }
      const exit = yield* Effect.exit(DatastoreOptions.check(given as unknown as DatastoreOptions.Input))
      assert.isTrue(Exit.isFailure(exit))
      const rendered = Exit.isFailure(exit) ? Cause.pretty(exit.cause) + JSON.stringify(exit.cause) : ""
      assert.include(rendered, "contexts.app.databasePassword")
      assert.notInclude(rendered, "hunter2")
    }))

  it.effect("bad options fail the layers before anything is opened", () =>
    Effect.gen(function*() {
      const bad = { ...input, dbServer: { host: "", port: 1 } }
      const runtime = yield* Effect.flip(Layer.build(Datastore.layer(bad)))
      assert.strictEqual(runtime._tag, "InvalidOptions")
      const admin = yield* Effect.flip(
        Layer.build(DatastoreAdmin.layer({ ...bad, admin: { databaseRole: "" } }))
      )
      assert.strictEqual(admin.message.includes("admin.databaseRole"), true)
    }))

  it.effect("come from configuration, contexts by name", () =>
    Effect.gen(function*() {
      const config = DatastoreOptions.fromConfig<DatastoreOptions.Input>({
        databaseName: Config.succeed("airports"),
        dbServer: { host: Config.String("PGHOST"), port: Config.Port("PGPORT") },
        owner: { databaseRole: Config.succeed("airports_owner") },
        contexts: {
          app: { databaseRole: Config.succeed("airports_app"), databasePassword: Config.Redacted("APP_PASSWORD") }
        }
      })
      const options = yield* Effect.flatMap(config, DatastoreOptions.check)
      assert.strictEqual(options.dbServer.port, 5433)
      assert.deepStrictEqual(options.contexts.app?.databasePassword, Redacted.make("hunter2"))
    }).pipe(Effect.provide(ConfigProvider.layer(
      ConfigProvider.fromUnknown({ PGHOST: "db", PGPORT: "5433", APP_PASSWORD: "hunter2" })
    ))))
})
