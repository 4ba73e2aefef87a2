/**
 * Event stores in Postgres, each in a schema of its own, on the database that a client is connected to.
 *
 * Appends of this process are committed in groups: one statement, one round trip and one wait for the disk, however many
 * streams they are about. An append inside `sql.withTransaction` of the same client belongs to that transaction.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type ConnectionFailed, fromSqlError } from "../datastore/ConnectionFailed.ts"
import { targetOf } from "../datastore/internal/connection.ts"
import { perClient } from "../datastore/internal/perClient.ts"
import { ensureInstalled, librarySource } from "../datastore/internal/schemaInstall.ts"
import type { SchemaNotInstalled, Source } from "../datastore/Migrations.ts"
import { millisOf } from "../member/internal/options.ts"
import * as Member from "../member/Member.ts"
import { EventStore } from "./EventStore.ts"
import { make as makeStorage } from "./internal/postgres/storage.ts"
import { make as makeService } from "./internal/service.ts"
import { sql } from "./internal/sql.gen.ts"

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
 * Event stores on the database that the client is connected to. Built once for each client.
 *
 * Fails with `SchemaNotInstalled` when the tables are missing and the client's role may not create them: install them with
 * `DatastoreAdmin.upgrade([Member.migrations, PostgresEventStore.migrations])`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<EventStore, SchemaNotInstalled | ConnectionFailed, PgClient.PgClient> = perClient((
  client
) =>
  Layer.effect(
    EventStore,
    Effect.gen(function*() {
      const member = yield* Member.Member
      yield* ensureInstalled(migrations)
      const options = yield* EventStoreOptions
      const pollMillis = millisOf("pollInterval", options.pollInterval, { atLeast: 10 })
      const timeoutMillis = millisOf("timeout", options.timeout, { atLeast: 10 })
      const storage = yield* Effect.mapError(
        makeStorage({ client, member, pollMillis, timeoutMillis }),
        (error) => fromSqlError(error, targetOf(client.config))
      )
      return makeService(storage, pollMillis, yield* Effect.scope)
    })
  ).pipe(
    Layer.provide(Member.layerPostgres),
    Layer.provide(Layer.succeed(PgClient.PgClient, client))
  )
)
