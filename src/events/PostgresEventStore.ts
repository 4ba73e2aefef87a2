/**
 * Event stores in Postgres, each in a schema of its own, on the database that a client is connected to.
 *
 * Appends of this process are committed in groups: one statement, one round trip and one wait for the disk, however many
 * streams they are about. An append inside `sql.withTransaction` of the same client belongs to that transaction, and one in a handler
 * of a durable server on the same client to the handler's step.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import { type ConnectionFailed, fromSqlError } from "../datastore/ConnectionFailed.ts"
import { targetOf } from "../datastore/internal/connection.ts"
import { perClient } from "../datastore/internal/perClient.ts"
import { ensureInstalled, librarySource } from "../datastore/internal/schemaInstall.ts"
import type { SchemaNotInstalled, Source } from "../datastore/Migrations.ts"
import { millisOf } from "../member/internal/options.ts"
import * as Member from "../member/Member.ts"
import { EventStore } from "./EventStore.ts"
import type { EventStoreError } from "./EventStoreError.ts"
import { checkCount } from "./internal/checks.ts"
import { make as makeStorage } from "./internal/postgres/storage.ts"
import { run } from "./internal/postgres/transactional.ts"
import { make as makeService } from "./internal/service.ts"
import { sql } from "./internal/sql.gen.ts"
import type { EventStorage } from "./internal/storage.ts"
import { checking } from "./internal/subscribing.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import * as Selector from "./Selector.ts"
import type { StartFrom } from "./Subscription.ts"

/**
 * How event stores in Postgres go about it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** For how long an answer is waited for: 10 seconds by default. */
  readonly timeout: Duration.Input
  /** How often is looked for what no notification told of: every second by default. */
  readonly pollInterval: Duration.Input
}

/**
 * The options of event stores in Postgres, with their defaults.
 *
 * @since 0.1.0
 * @category services
 */
export const EventStoreOptions = Context.Reference<Options>("holdfast/events/EventStoreOptions", {
  defaultValue: () => ({ timeout: "10 seconds", pollInterval: "1 second" })
})

/**
 * The tables that event stores need, for `DatastoreAdmin.upgrade`. They stand on those of `Member.migrations`.
 *
 * @since 0.1.0
 * @category migrations
 */
export const migrations: Source = librarySource("events", sql)

/**
 * What a store in Postgres can do and others cannot: handlers that work in its transactions.
 *
 * @since 0.1.0
 * @category services
 */
export class PostgresEventStore extends Context.Service<PostgresEventStore, {
  readonly client: PgClient.PgClient
  /** @internal */
  readonly "~storage": EventStorage
  /** @internal */
  readonly "~millis": { readonly poll: number; readonly lease: number }
}>()("holdfast/events/PostgresEventStore") {}

/**
 * Which events, and how many of them share a transaction.
 *
 * @since 0.1.0
 * @category models
 */
export interface TransactionalOptions {
  readonly name: string
  readonly selector?: Selector.Selector | undefined
  /** Where a new subscription starts: `"origin"` by default. */
  readonly startFrom?: StartFrom | undefined
  /** How many events may share a transaction: 1 by default. */
  readonly batchSize?: number | undefined
}

/**
 * A persistent subscription whose handler works in the database: what the handler writes through the store's client, appends
 * included, and the checkpoint commit in one transaction, so that **each event counts exactly once**, whatever crashes.
 *
 * Runs until it is interrupted or the handler fails; then that event's transaction is rolled back. One process at a time has
 * the subscription; others that run it wait. A transaction that the database could not carry out is tried again.
 *
 * **Example** (A projection)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { PostgresEventStore, Selector } from "holdfast/events"
 *
 * export const departures = PostgresEventStore.runTransactional(
 *   "flights",
 *   { name: "departures", selector: Selector.byEventType("Departed") },
 *   (event) =>
 *     Effect.gen(function*() {
 *       const sql = yield* SqlClient.SqlClient
 *       yield* sql`INSERT INTO departures (flight) VALUES (${event.eventStreamId})`
 *     })
 * )
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const runTransactional = <A, E, R>(
  store: string,
  options: TransactionalOptions,
  handler: (event: RecordedEvent) => Effect.Effect<A, E, R>
): Effect.Effect<
  never,
  E | EventStoreError,
  Exclude<R, SqlClient.SqlClient | PgClient.PgClient> | EventStore | PostgresEventStore
> =>
  Effect.gen(function*() {
    const { "~millis": millis, "~storage": storage, client } = yield* PostgresEventStore
    const { batchSize = 1, name, selector = Selector.all, startFrom } = options
    yield* checking(checkCount("batchSize", batchSize, 1))
    yield* EventStore.use((events) => events.saveSubscription(store, name, { selector, startFrom }))
    const settings = { store, name, selector, batchSize, pollMillis: millis.poll, leaseMillis: millis.lease }
    return yield* run(storage, client, settings, (event) =>
      handler(event).pipe(
        Effect.provideService(SqlClient.SqlClient, client),
        Effect.provideService(PgClient.PgClient, client)
      ))
  })

/**
 * Event stores on the database that the client is connected to. Built once for each client.
 *
 * Fails with `SchemaNotInstalled` when the tables are missing and the client's role may not create them: install them with
 * `DatastoreAdmin.upgrade([Member.migrations, PostgresEventStore.migrations])`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  EventStore | PostgresEventStore,
  SchemaNotInstalled | ConnectionFailed,
  PgClient.PgClient
> = perClient((client) =>
  Layer.effectContext(
    Effect.gen(function*() {
      const member = yield* Member.Member
      yield* ensureInstalled(migrations)
      const options = yield* EventStoreOptions
      const pollMillis = millisOf("pollInterval", options.pollInterval, { atLeast: 10 })
      const timeoutMillis = millisOf("timeout", options.timeout, { atLeast: 10 })
      const lease = millisOf("lease", (yield* Member.MemberOptions).lease)
      const storage = yield* Effect.mapError(
        makeStorage({
          client,
          engine: member["~enter"]("events"),
          trouble: member.trouble,
          leaseMillis: lease,
          pollMillis,
          timeoutMillis
        }),
        (error) => fromSqlError(error, targetOf(client.config))
      )
      return Context.make(EventStore, makeService(storage, pollMillis, yield* Effect.scope)).pipe(
        Context.add(PostgresEventStore, { client, "~storage": storage, "~millis": { poll: pollMillis, lease } })
      )
    })
  ).pipe(
    Layer.provide(Member.layerPostgres),
    Layer.provide(Layer.succeed(PgClient.PgClient, client))
  )
)
