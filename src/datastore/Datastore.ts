/**
 * A datastore at run time: one open pool for each context of a database.
 *
 * {@link layer} opens the pool of every login context, tries a connection in each, and keeps them for as long as the layer
 * lives. If some of them cannot be reached it starts with the others and says so; if none can, it fails and says why of
 * each. A context that could not be reached, or whose server goes away later, is tried again until it answers: meanwhile
 * everything that asks for one of its connections fails at once, with an `SqlError` that `Effect.retry` understands. What runs on a datastore names contexts: `DatastoreContext.layer("app")` for layers, {@link withContext} for one
 * effect. It holds the passwords of these contexts and nothing more: creating and migrating is `DatastoreAdmin`'s.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as PgTypes from "@effect/sql-pg/PgTypes"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import * as DbTypes from "../dbtypes/DbTypes.ts"
import { ConnectionFailed } from "./ConnectionFailed.ts"
import type { ContextRegistry } from "./ContextRegistry.ts"
import {
  check,
  type ConfigInput,
  fromConfig,
  type Input,
  type InvalidOptions,
  type RunningState
} from "./DatastoreOptions.ts"
import { ContextNotFound, ContextNotStarted, DatastoreContext } from "./internal/contextService.ts"
import { make as makePool, type SupervisedPool } from "./internal/supervisedPool.ts"

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
 * What became of a context that was stopped.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stopped {
  /** Connections that were still in use when the time was up. */
  readonly connectionsCut: number
}

/**
 * The contexts of one database.
 *
 * @since 0.1.0
 * @category services
 */
export class Datastore extends Context.Service<Datastore, {
  readonly databaseName: string
  /** Whether every context that is to be started is: now, not only at the beginning. */
  readonly state: Effect.Effect<"allStarted" | "someStarted" | "noneStarted">
  /** Every login context, in the order of the options. */
  readonly states: Effect.Effect<ReadonlyArray<ContextState>>
  /** The context of this name, with its client. */
  readonly context: (
    name: string
  ) => Effect.Effect<DatastoreContext["Service"], ContextNotFound | ContextNotStarted>
  /**
   * Starts a context that its options left out, that was stopped, or whose database could not be reached. When this attempt
   * fails, others follow in the background.
   */
  readonly startContext: (name: string) => Effect.Effect<void, ContextNotFound | ContextNotStarted>
  /**
   * Stops a context: what asks for a connection from now on fails with a typed error, what has one may go on for `within`
   * (10 seconds unless told otherwise), then its connections are cut off. A context that is stopped does not come back by
   * itself.
   */
  readonly stopContext: (name: string, options?: {
    readonly within?: Duration.Input | undefined
  }) => Effect.Effect<Stopped, ContextNotFound>
  /** Stops a context and starts it again, with another password if one is given. Clients of it stay what they are. */
  readonly restartContext: (name: string, options?: {
    readonly within?: Duration.Input | undefined
    readonly databasePassword?: Redacted.Redacted | undefined
  }) => Effect.Effect<Stopped, ContextNotFound | ContextNotStarted>
  /** As {@link withContext}, of this datastore. */
  readonly withContext: (
    name: string
  ) => <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | ContextNotFound | ContextNotStarted, Exclude<R, InContext>>
}>()("holdfast/datastore/Datastore") {}

/**
 * What may be given to a datastore beside its options: values that are no configuration.
 *
 * @since 0.1.0
 * @category models
 */
export interface Services<out E = never> {
  /** Where the contexts are entered under their names. Default: nowhere. */
  readonly contextRegistry?: ContextRegistry<E> | undefined
  /**
   * How values of Postgres types are read and written. Default: `DbTypes.registry`, which knows ranges, intervals and
   * addresses beside what the driver knows; `DbTypes.register` adds that to a registry of your own.
   */
  readonly types?: PgTypes.Registry | undefined
}

/** How long what is under way may take when a context is stopped. */
const defaultWithin = "10 seconds"

interface OneContext {
  readonly service: DatastoreContext["Service"]
  readonly pool: SupervisedPool
  /** Whether it is to be started: by its options, and from then on by whoever starts and stops it. */
  wanted: boolean
}

const make = Effect.fnUntraced(function*<E>(
  input: Input,
  services: Services<E>
): Effect.fn.Return<Datastore["Service"], InvalidOptions | NoContextStarted | E, Scope.Scope | Reactivity.Reactivity> {
  const options = yield* check(input)
  const { databaseName } = options
  const contexts = new Map<string, OneContext>()
  for (const [contextName, context] of Object.entries(options.contexts)) {
    if (!context.loginContext) {
      continue
    }
    const pool = yield* makePool({
      contextName,
      server: options.dbServer,
      login: {
        databaseName,
        databaseRole: context.databaseRole,
        databasePassword: context.databasePassword,
        applicationName: `holdfast ${contextName}`,
        types: services.types ?? DbTypes.registry
      },
      size: context.startingPoolSize,
      closeWithin: defaultWithin
    })
    const service = { contextName, databaseName, sql: pool.client }
    contexts.set(contextName, { service, pool, wanted: context.startContext })
  }

  const failures: Array<{ readonly contextName: string; readonly cause: ConnectionFailed }> = []
  const wanted = Array.from(contexts).filter(([, { wanted }]) => wanted)
  yield* Effect.forEach(
    wanted,
    ([contextName, { pool }]) =>
      Effect.catch(pool.start, (cause) => Effect.sync(() => failures.push({ contextName, cause }))),
    { concurrency: "unbounded", discard: true }
  )
  if (failures.length === wanted.length) {
    return yield* new NoContextStarted({ databaseName, contexts: failures })
  }
  yield* Effect.forEach(failures, ({ contextName }) => contexts.get(contextName)?.pool.recover ?? Effect.void)
  const { contextRegistry } = services
  if (contextRegistry !== undefined) {
    yield* Effect.forEach(contexts.values(), ({ service }) => contextRegistry.register(service.contextName, service))
  }

  const find = (name: string): Effect.Effect<OneContext, ContextNotFound> => {
    const found = contexts.get(name)
    return found === undefined
      ? Effect.fail(new ContextNotFound({ databaseName, contextName: name, contextNames: Array.from(contexts.keys()) }))
      : Effect.succeed(found)
  }

  const notStarted = (contextName: string, cause: ConnectionFailed | undefined) =>
    new ContextNotStarted({ databaseName, contextName, ...(cause === undefined ? {} : { cause }) })

  const context = Effect.fnUntraced(function*(
    name: string
  ): Effect.fn.Return<DatastoreContext["Service"], ContextNotFound | ContextNotStarted> {
    const { pool, service } = yield* find(name)
    const state = pool.state()
    return state._tag === "Started" ? service : yield* notStarted(name, state.cause)
  })

  const start = (name: string, found: OneContext) =>
    Effect.suspend(() => {
      found.wanted = true
      return found.pool.start
    }).pipe(
      // Also when it is interrupted: it is to be started still.
      Effect.onError(() => found.pool.recover),
      Effect.mapError((cause) => notStarted(name, cause))
    )

  const stop = (found: OneContext, within: Duration.Input = defaultWithin) =>
    Effect.suspend(() => {
      found.wanted = false
      return found.pool.stop(within)
    })

  return Datastore.of({
    databaseName,
    state: Effect.sync(() => {
      const wanted = Array.from(contexts.values()).filter((context) => context.wanted)
      const started = wanted.filter(({ pool }) => pool.state()._tag === "Started").length
      return started === wanted.length && started > 0 ? "allStarted" : started > 0 ? "someStarted" : "noneStarted"
    }),
    states: Effect.sync(() =>
      Array.from(contexts, ([contextName, { pool }]): ContextState => {
        const state = pool.state()
        return {
          contextName,
          state: state._tag === "Started" ? "started" : "notStarted",
          ...(state._tag === "NotStarted" && state.cause !== undefined ? { cause: state.cause } : {})
        }
      })
    ),
    context,
    startContext: Effect.fn("Datastore.startContext")(function*(name) {
      yield* start(name, yield* find(name))
    }),
    stopContext: Effect.fn("Datastore.stopContext")(function*(name, options) {
      return yield* stop(yield* find(name), options?.within)
    }),
    restartContext: Effect.fn("Datastore.restartContext")(function*(name, options) {
      const found = yield* find(name)
      const stopped = yield* stop(found, options?.within)
      if (options?.databasePassword !== undefined) {
        found.pool.setPassword(options.databasePassword)
      }
      yield* start(name, found)
      return stopped
    }),
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
 * Each context that does not start while others do is logged once, its cause is kept in `states`, and it is tried again:
 * within a second where nothing answers, within ten where the server refuses. Every call makes a datastore of its own: keep
 * the layer in a constant to share it.
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
export const layer = <E = never>(
  input: Input,
  services: Services<E> = {}
): Layer.Layer<Datastore, InvalidOptions | NoContextStarted | E> =>
  Layer.effect(Datastore, make(input, services)).pipe(Layer.provide(Reactivity.layer))

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
export const layerConfig = <E = never>(
  config: ConfigInput<Input>,
  services: Services<E> = {}
): Layer.Layer<Datastore, Config.ConfigError | InvalidOptions | NoContextStarted | E> =>
  Layer.effect(Datastore, Effect.flatMap(fromConfig(config), (input) => make(input, services))).pipe(
    Layer.provide(Reactivity.layer)
  )
