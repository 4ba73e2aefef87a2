/**
 * Registries on Postgres: one live holder for each profile among all processes of a database.
 *
 * A process is a member of the database with one lease for everything it holds, renewed by one heartbeat, however many
 * profiles that are, and shared with the durable servers of the same client. A row says which member holds a profile and under
 * which fencing token. Registrations are committed in groups, by statements that do nothing once the member was declared
 * dead. What others hold is known from memory, kept fresh by notifications, and by a poll where one was lost.
 *
 * When a process can no longer count on its lease it gives up what it holds by itself, a fifth of the lease before others can
 * take it. When a process dies, others declare it dead after its lease, and its profiles are free.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { ConnectionFailed } from "../datastore/ConnectionFailed.ts"
import { perClient } from "../datastore/internal/perClient.ts"
import { ensureInstalled, librarySource } from "../datastore/internal/schemaInstall.ts"
import type { SchemaNotInstalled, Source } from "../datastore/Migrations.ts"
import { Gathering } from "../member/internal/gathering.ts"
import { millisOf } from "../member/internal/options.ts"
import * as Member from "../member/Member.ts"
import { type Registration, RegistrationLost } from "./internal/model.ts"
import { Committer } from "./internal/postgres/committer.ts"
import { Replica } from "./internal/postgres/replica.ts"
import { tidy } from "./internal/postgres/statements.ts"
import { sql } from "./internal/sql.gen.ts"
import { RegistryBackend } from "./RegistryBackend.ts"

/**
 * How registries on Postgres go about it. The lease is that of `Member.MemberOptions`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How often to look for what a lost notification would have told. */
  readonly pollInterval: Duration.Input
}

/**
 * The options of registries on Postgres, with their defaults: a poll every 2 seconds.
 *
 * @since 0.1.0
 * @category services
 */
export const PostgresBackendOptions = Context.Reference<Options>("holdfast/registry/PostgresBackendOptions", {
  defaultValue: () => ({ pollInterval: "2 seconds" })
})

/**
 * The tables that registries need, for `DatastoreAdmin.upgrade`. They stand on those of `Member.migrations`.
 *
 * @since 0.1.0
 * @category migrations
 */
export const migrations: Source = librarySource("registry", sql)

const makeBackend = Effect.gen(function*() {
  const { pollInterval } = yield* PostgresBackendOptions
  const pollMillis = millisOf("pollInterval", pollInterval)
  const member = yield* Member.Member
  yield* ensureInstalled(migrations)
  const engine = member["~enter"]("registry")
  const replica = new Replica(engine)
  const committer = new Committer(engine, (row) => replica.learn(row))

  // What was granted is lost when the lease lapses; `isHeld` looks at the clocks, so that nobody is told too late by a timer.
  yield* engine.lease.onLapse(committer.lapsed)
  yield* Effect.forkScoped(committer.run)

  // ---------------------------------------------------------------------------------------------- what others hold

  const hints = new Gathering<"changed" | "missed">()
  yield* engine.onHint((hint) => {
    if (hint === `changed ${engine.id()}`) return
    hints.add(hint === "missed" ? "missed" : "changed")
  })
  yield* hints.take(Number.MAX_SAFE_INTEGER).pipe(
    Effect.timeoutOption(pollMillis),
    Effect.flatMap((heard) => replica.refresh(heard._tag === "Some" && heard.value.includes("missed"))),
    // However many hints there are, what they are about is read together.
    Effect.andThen(Effect.sleep("10 millis")),
    Effect.catchCause((cause) =>
      Effect.andThen(Effect.logError("what others hold could not be read", cause), Effect.sleep(pollMillis))
    ),
    Effect.forever,
    Effect.forkScoped
  )

  yield* engine.background(tidy.sql, tidy.params).pipe(
    Effect.repeat({ while: ([row]) => Number(row?.[0]) > 0 }),
    Effect.ignore,
    Effect.repeat(Schedule.spaced("10 minutes").pipe(Schedule.jittered)),
    Effect.delay("1 minute"),
    Effect.forkScoped
  )

  return RegistryBackend.of({
    open: ({ changed, registry }) =>
      Effect.acquireRelease(
        Effect.suspend(() => {
          if (replica.has(registry)) {
            return Effect.die(new Error(`registry ${JSON.stringify(registry)} is open on this client already`))
          }
          replica.add(registry, changed)
          return Effect.void
        }),
        () => Effect.andThen(Effect.sync(() => replica.remove(registry)), committer.close(registry))
      ).pipe(
        Effect.andThen(Effect.orDie(replica.refresh(true))),
        Effect.as({
          node: () => String(engine.id()),
          claim: (claim) => committer.claim(registry, claim),
          lookup: (key) => Effect.sync(() => replica.lookup(registry, key)),
          list: Effect.sync(() => replica.list(registry))
        })
      )
  })
})

/**
 * The backend on the database of the client. Built once for each client, it stands on the same membership as its durable
 * servers.
 *
 * Fails with `SchemaNotInstalled` when the tables are missing and the client's role may not create them: install them with
 * `DatastoreAdmin.upgrade([Member.migrations, PostgresBackend.migrations])`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<RegistryBackend, SchemaNotInstalled | ConnectionFailed, PgClient.PgClient> = perClient((
  client
) =>
  Layer.effect(RegistryBackend, makeBackend).pipe(
    Layer.provide(Member.layerPostgres),
    Layer.provide(Layer.succeed(PgClient.PgClient, client))
  )
)

/**
 * Runs an effect in a transaction that commits only while a profile of a registry on the same database is held under its
 * token: what a paused process writes after somebody else has come to hold the profile is rolled back.
 *
 * **Details**
 *
 * The token is looked at last, under a lock that keeps others from being granted the profile until the transaction ends. Such
 * a transaction is ended by the server when it then stands idle for 5 seconds, so that a process that was stopped right there
 * keeps nobody waiting for longer. Fails with `RegistrationLost`.
 *
 * **Example** (Writes of the holder alone)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { PostgresBackend, type ProfileRegistry } from "holdfast/registry"
 *
 * const note = Effect.fnUntraced(function*(registration: ProfileRegistry.Registration, text: string) {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* PostgresBackend.guard(registration, sql`INSERT INTO note (device, text) VALUES (${registration.key}, ${text})`)
 * })
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const guard = Effect.fn("PostgresBackend.guard")(function*<A, E, R>(
  registration: Pick<Registration, "registry" | "key" | "token">,
  effect: Effect.Effect<A, E, R>
): Effect.fn.Return<A, E | RegistrationLost | SqlError, R | SqlClient.SqlClient> {
  const client = yield* SqlClient.SqlClient
  const { key: profile, registry, token } = registration
  const holds = client<{ readonly holds: boolean }>`SELECT holdfast.holds(${registry}, ${profile}, ${token}) AS holds`
  return yield* client.withTransaction(
    Effect.tap(effect, () =>
      Effect.flatMap(holds.withoutTransform, ([row]) =>
        row?.["holds"] === true
          ? Effect.void
          : Effect.fail(new RegistrationLost({ registry, profile, token, reason: "lost" }))))
  )
})
