/**
 * Databases for tests. Each time `layer` is built it makes a database of its own in the suite's server, under a name that
 * is used once, and drops it when its scope closes, whoever is still connected. It gives a client of that database as
 * superuser (`PgClient` and `SqlClient`) and `TestDatabase`, its coordinates.
 *
 * Under `it.effect` the clock stands still until a test moves it, and with it the timeouts and retries of connections and
 * pools. Use `it.live`, or `layer(TestPostgres.layer, { excludeTestServices: true })`, for what touches Postgres.
 *
 * An `int8`, and so `count(*)`, comes back as a bigint: compare with `3n`, or cast to `int`.
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { randomBytes } from "node:crypto"
import { inject } from "vitest"

/** The coordinates of a test's database, as superuser. */
export class TestDatabase extends Context.Service<TestDatabase, {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: Redacted.Redacted
  readonly database: string
  readonly url: Redacted.Redacted
}>()("holdfast/test/TestDatabase") {}

/** The coordinates of the suite's server and its default database, as superuser. */
export const server = (): TestDatabase["Service"] => coordinates(new URL(inject("databaseUrl")))

const coordinates = (url: URL): TestDatabase["Service"] => ({
  host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
  port: url.port === "" ? 5432 : Number(url.port),
  username: decodeURIComponent(url.username),
  password: Redacted.make(decodeURIComponent(url.password)),
  database: decodeURIComponent(url.pathname.slice(1)),
  url: Redacted.make(url.href)
})

/** One statement on the server's default database, over a connection of its own. */
const administer = (statement: (sql: SqlClient.SqlClient) => Effect.Effect<unknown, unknown>) =>
  Effect.flatMap(SqlClient.SqlClient, statement).pipe(
    Effect.provide(Layer.fresh(PgClient.layer({ url: server().url, maxConnections: 1 }))),
    Effect.orDie
  )

/** A new database, which ends with the scope. */
export const make = Effect.acquireRelease(
  Effect.gen(function*() {
    const database = `test_${randomBytes(8).toString("hex")}`
    yield* administer((sql) => sql`CREATE DATABASE ${sql(database)}`)
    const url = new URL(inject("databaseUrl"))
    url.pathname = `/${database}`
    return TestDatabase.of(coordinates(url))
  }),
  ({ database }) => administer((sql) => sql`DROP DATABASE IF EXISTS ${sql(database)} WITH (FORCE)`)
)

/** A new database and nothing else: for tests that bring clients of their own. */
export const layerDatabase: Layer.Layer<TestDatabase> = Layer.fresh(Layer.effect(TestDatabase, make))

/** A new database and a client of it, for each time the layer is built. */
export const layer: Layer.Layer<TestDatabase | PgClient.PgClient | SqlClient.SqlClient> = Layer.fresh(
  Layer.unwrap(TestDatabase.useSync(({ url }) => Layer.orDie(PgClient.layer({ url })))).pipe(
    Layer.provideMerge(Layer.effect(TestDatabase, make))
  )
)
