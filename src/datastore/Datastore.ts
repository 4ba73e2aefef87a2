/**
 * A datastore at run time: one open pool for each context of a database.
 *
 * {@link layer} opens the pool of every login context, tries a connection in each, and keeps them for as long as the layer
 * lives. If some of them cannot be reached it starts with the others and says so; if none can, it fails and says why of
 * each. What runs on a datastore names contexts: `DatastoreContext.layer("app")` for layers, {@link withContext} for one
 * effect. It holds the passwords of these contexts and nothing more: creating and migrating is `DatastoreAdmin`'s.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import { ConnectionFailed } from "./ConnectionFailed.ts"
import {
  check,
  type ConfigInput,
  type ContextOptions,
  type DatastoreOptions,
  fromConfig,
  type Input,
  type InvalidOptions,
  type RunningState
} from "./DatastoreOptions.ts"
import { connectPool } from "./internal/connection.ts"
import { ContextNotFound, ContextNotStarted, DatastoreContext } from "./internal/contextService.ts"

/**
 * Whether a context's pool is open, and if not, why.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContextState {
  readonly contextName: string
  readonly state: RunningState
  /** Absent when the context is started, or is not to be started. */
  readonly cause?: ConnectionFailed
}

/**
 * No context of the datastore could be started.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoContextStarted extends Schema.TaggedError<NoContextStarted>("holdfast/datastore/NoContextStarted")(
  "NoContextStarted",
  {
    databaseName: Schema.String,
    /** Each context that was tried, and why it did not start. Empty when the options let none be started. */
    contexts: Schema.Array(Schema.Struct({ contextName: Schema.String, cause: ConnectionFailed }))
  }
) {
  override get message() {
    const why = this.contexts.length === 0
      ? "the options let none be started"
      : this.contexts.map((_) => `${JSON.stringify(_.contextName)}: ${_.cause.message}`).join("; ")
    return `no context of datastore ${JSON.stringify(this.databaseName)} could be started: ${why}`
  }
}

/** What an effect that runs in a context need not be given. */
type InContext = PgClient.PgClient | SqlClient.SqlClient | DatastoreContext

/**
 * The open contexts of one database.
 *
 * @since 0.1.0
 * @category services
 */
export class Datastore extends Context.Service<Datastore, {
  readonly databaseName: string
  /** Whether every context that is to be started is. A datastore with none started does not exist. */
  readonly state: Effect.Effect<"allStarted" | "someStarted">
  /** Every login context, in the order of the options. */
  readonly states: Effect.Effect<ReadonlyArray<ContextState>>
  /** The context of this name, with its client. */
  readonly context: (
    name: string
  ) => Effect.Effect<DatastoreContext["Service"], ContextNotFound | ContextNotStarted>
  /** As {@link withContext}, of this datastore. */
  readonly withContext: (
    name: string
  ) => <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | ContextNotFound | ContextNotStarted, Exclude<R, InContext>>
}>()("holdfast/datastore/Datastore") {}

type Started = { readonly _tag: "Started"; readonly context: DatastoreContext["Service"] }
type NotStarted = { readonly _tag: "NotStarted"; readonly cause?: ConnectionFailed }

/** Opens one context, in a scope of its own: what cannot be opened leaves nothing behind. */
const start = Effect.fnUntraced(function*(
  options: DatastoreOptions,
  contextName: string,
  context: typeof ContextOptions.Type
): Effect.fn.Return<Started | NotStarted, never, Scope.Scope | Reactivity.Reactivity> {
  if (!context.startContext) {
    return { _tag: "NotStarted" }
  }
  const scope = yield* Effect.acquireRelease(Scope.make(), Scope.close)
  const login = {
    databaseName: options.databaseName,
    databaseRole: context.databaseRole,
    databasePassword: context.databasePassword,
    applicationName: `holdfast ${contextName}`
  }
  return yield* connectPool(options.dbServer, login, context.startingPoolSize).pipe(
    Scope.provide(scope),
    Effect.matchEffect({
      onSuccess: (sql) =>
        Effect.succeed<Started>({
          _tag: "Started",
          context: { contextName, databaseName: options.databaseName, sql }
        }),
      onFailure: (cause) => Effect.as(Scope.close(scope, Exit.void), { _tag: "NotStarted", cause } satisfies NotStarted)
    })
  )
})

const make = Effect.fnUntraced(function*(
  input: Input
): Effect.fn.Return<Datastore["Service"], InvalidOptions | NoContextStarted, Scope.Scope | Reactivity.Reactivity> {
  const options = yield* check(input)
  const { databaseName } = options
  const logins = Object.entries(options.contexts).filter(([, context]) => context.loginContext)
  const contexts = new Map(
    yield* Effect.forEach(
      logins,
      ([name, context]) => Effect.map(start(options, name, context), (state) => [name, state] as const),
      { concurrency: "unbounded" }
    )
  )
  const failures: Array<{ readonly contextName: string; readonly cause: ConnectionFailed }> = []
  for (const [contextName, context] of contexts) {
    if (context._tag === "NotStarted" && context.cause !== undefined) {
      failures.push({ contextName, cause: context.cause })
    }
  }
  if (!Array.from(contexts.values()).some((context) => context._tag === "Started")) {
    return yield* new NoContextStarted({ databaseName, contexts: failures })
  }
  for (const { cause, contextName } of failures) {
    yield* Effect.logWarning(`context not started: ${cause.message}`).pipe(
      Effect.annotateLogs({ databaseName, contextName })
    )
  }

  const context = Effect.fn("Datastore.context")(function*(
    name: string
  ): Effect.fn.Return<DatastoreContext["Service"], ContextNotFound | ContextNotStarted> {
    const found = contexts.get(name)
    if (found === undefined) {
      return yield* new ContextNotFound({ databaseName, contextName: name, contextNames: Array.from(contexts.keys()) })
    }
    if (found._tag === "NotStarted") {
      return yield* new ContextNotStarted({
        databaseName,
        contextName: name,
        ...(found.cause === undefined ? {} : { cause: found.cause })
      })
    }
    return found.context
  })

  return Datastore.of({
    databaseName,
    state: Effect.sync(() => failures.length === 0 ? "allStarted" : "someStarted"),
    states: Effect.sync(() =>
      Array.from(contexts, ([contextName, context]): ContextState => ({
        contextName,
        state: context._tag === "Started" ? "started" : "notStarted",
        ...(context._tag === "NotStarted" && context.cause !== undefined ? { cause: context.cause } : {})
      }))
    ),
    context,
    withContext: (name) => (self) =>
      Effect.flatMap(context(name), (context) =>
        Effect.provideContext(
          self,
          Context.make(DatastoreContext, context).pipe(
            Context.add(PgClient.PgClient, context.sql),
            Context.add(SqlClient.SqlClient, context.sql)
          )
        ))
  })
})

/**
 * Runs an effect with the clients of one context.
 *
 * **Details**
 *
 * Inside a `withContext` another one takes its place, and the outer one is back afterwards. Concurrent fibers do not see
 * each other's choice. Transactions do not mix: a statement of one context never joins a transaction of another.
 *
 * **Example** (One line under another role)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { Datastore } from "holdfast/datastore"
 *
 * const record = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`INSERT INTO audit.entry (what) VALUES ('seen')`
 * }).pipe(Datastore.withContext("audit"))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const withContext = (name: string) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ContextNotFound | ContextNotStarted, Exclude<R, InContext> | Datastore> =>
  Effect.flatMap(Datastore, (datastore) => datastore.withContext(name)(self))

/**
 * Opens a datastore.
 *
 * **Details**
 *
 * Fails with `InvalidOptions` before anything is opened, and with {@link NoContextStarted} when no context can be reached.
 * Each context that does not start while others do is logged once, and its cause is kept in `states`. Every call makes a
 * datastore of its own: keep the layer in a constant to share it.
 *
 * **Example** (A datastore with two contexts)
 *
 * ```ts
 * import { Redacted } from "effect"
 * import { Datastore } from "holdfast/datastore"
 *
 * const DatastoreLive = Datastore.layer({
 *   databaseName: "airports",
 *   dbServer: { host: "localhost" },
 *   owner: { databaseRole: "airports_owner" },
 *   contexts: {
 *     app: { databaseRole: "airports_app", databasePassword: Redacted.make("…"), startingPoolSize: 10 },
 *     audit: { databaseRole: "airports_audit", databasePassword: Redacted.make("…"), libraryAccess: false }
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (input: Input): Layer.Layer<Datastore, InvalidOptions | NoContextStarted> =>
  Layer.effect(Datastore, make(input)).pipe(Layer.provide(Reactivity.layer))

/**
 * Opens a datastore whose options come from configuration.
 *
 * **Example** (Host and password from the environment)
 *
 * ```ts
 * import { Config } from "effect"
 * import { Datastore } from "holdfast/datastore"
 *
 * const DatastoreLive = Datastore.layerConfig({
 *   databaseName: Config.succeed("airports"),
 *   dbServer: { host: Config.String("PGHOST") },
 *   owner: { databaseRole: Config.succeed("airports_owner") },
 *   contexts: {
 *     app: { databaseRole: Config.succeed("airports_app"), databasePassword: Config.Redacted("APP_PASSWORD") }
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: ConfigInput<Input>
): Layer.Layer<Datastore, Config.ConfigError | InvalidOptions | NoContextStarted> =>
  Layer.effect(Datastore, Effect.flatMap(fromConfig(config), make)).pipe(Layer.provide(Reactivity.layer))
