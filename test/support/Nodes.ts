/**
 * Nodes for tests, several to a process: each has a client, a membership and a storage of its own, and sees of the others
 * what it would see of other processes. On Postgres, or several on one store in memory.
 *
 * They log nothing, unless `HOLDFAST_TEST_LOG` is set: most of these tests make things fail on purpose.
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Duration, Effect, Exit, Layer, type Redacted, References, Scope } from "effect"
import { DurableAdmin, DurableNode, DurableStorage, MemoryStorage, PostgresStorage } from "holdfast/durable"
import { Member } from "holdfast/member"
import * as TestPostgres from "./TestPostgres.ts"

export interface NodeOptions {
  /** The handlers that it runs; none for a producer. */
  readonly servers?: Layer.Layer<never, never, DurableNode.DurableNode>
  readonly member?: Partial<Member.Options>
  readonly node?: Partial<DurableNode.Options>
  /** What is different about its way into the store: to see what goes there, or to make it fail on purpose. */
  readonly storage?: (storage: DurableStorage.NodeStorage) => Partial<DurableStorage.NodeStorage>
}

export interface TestNode {
  /** Runs an effect with this node. */
  readonly run: <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, Exclude<R, DurableNode.DurableNode | DurableStorage.DurableStorage>>
  readonly context: Context.Context<DurableNode.DurableNode | DurableStorage.DurableStorage>
  readonly id: Effect.Effect<number>
  /** How many servers it has in memory. */
  readonly residents: Effect.Effect<number>
  /** Leaves, as a process that ends as it should. */
  readonly close: Effect.Effect<void>
}

type Storage = DurableStorage.DurableStorage["Service"]

const changed = (storage: Storage, change: NodeOptions["storage"]): Storage =>
  change === undefined
    ? storage
    : { join: (options) => Effect.map(storage.join(options), (joined) => ({ ...joined, ...change(joined) })) }

const layerChanged = (change: NodeOptions["storage"]) =>
  Layer.provideMerge(
    DurableNode.layer,
    Layer.effect(
      DurableStorage.DurableStorage,
      Effect.map(DurableStorage.DurableStorage, (storage) => changed(storage, change))
    ).pipe(Layer.provideMerge(PostgresStorage.layer))
  )

/** Nodes on Postgres may have handlers that use its transactions. */
interface PostgresNodeOptions extends Omit<NodeOptions, "servers"> {
  readonly servers?: Layer.Layer<never, never, DurableNode.DurableNode | PostgresStorage.PostgresStorage>
  readonly url: Redacted.Redacted
}

/** The layer of a node of its own on Postgres. */
export const layer = (options: PostgresNodeOptions) =>
  (options.servers ?? Layer.empty).pipe(
    Layer.provideMerge(options.storage === undefined ? DurableNode.layerPostgres : layerChanged(options.storage)),
    Layer.provide(Layer.mergeAll(
      PgClient.layer({ url: options.url, maxConnections: 2 }),
      Layer.succeed(Member.MemberOptions, {
        lease: "5 seconds",
        statementTimeout: "30 seconds",
        name: "test",
        ...options.member
      }),
      Layer.succeed(DurableNode.DurableNodeOptions, { ...DurableNode.defaults, ...options.node })
    ))
  )

const startLayer = Effect.fnUntraced(function*<E>(
  nodeLayer: Layer.Layer<DurableNode.DurableNode | DurableStorage.DurableStorage, E>
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const quiet = Layer.succeed(
    References.MinimumLogLevel,
    process.env["HOLDFAST_TEST_LOG"] === undefined ? "None" : "All"
  )
  const context = yield* Layer.buildWithScope(Layer.fresh(Layer.provide(nodeLayer, quiet)), scope)
  const run: TestNode["run"] = (effect) => Effect.provide(effect, context)
  const node = yield* run(DurableNode.DurableNode)
  return {
    run,
    context,
    id: node.id,
    residents: node.residents,
    close: Scope.close(scope, Exit.void)
  } satisfies TestNode
})

/** Starts a node on Postgres, for as long as the scope lasts or until it is closed. */
export const start = (options: PostgresNodeOptions) => startLayer(layer(options))

/** Starts a node on a storage that is there already, which may have others. */
export const startOn = (storage: Storage, options: NodeOptions = {}) =>
  startLayer(
    (options.servers ?? Layer.empty).pipe(
      Layer.provideMerge(DurableNode.layer),
      Layer.provideMerge(Layer.succeed(DurableStorage.DurableStorage, changed(storage, options.storage))),
      Layer.provide(Layer.succeed(DurableNode.DurableNodeOptions, { ...DurableNode.defaults, ...options.node }))
    )
  )

type Admin = DurableAdmin.DurableAdmin["Service"]

/** A store, nodes on it, and whoever looks after it. */
export class Store extends Context.Service<Store, {
  readonly start: (options?: NodeOptions) => Effect.Effect<TestNode, never, Scope.Scope>
  /** Of Postgres: once there was a node, which installs the tables. */
  readonly admin: Effect.Effect<Admin, never, Scope.Scope>
}>()("holdfast/test/Store") {}

const adminOn = <E>(layer: Layer.Layer<DurableAdmin.DurableAdmin, E>): Effect.Effect<Admin, never, Scope.Scope> =>
  Effect.orDie(Effect.map(Layer.build(Layer.fresh(layer)), Context.get(DurableAdmin.DurableAdmin)))

/** A store in memory, new with each test file. Works under `TestClock`. */
export const layerMemory: Layer.Layer<Store> = Layer.effect(
  Store,
  Effect.map(DurableStorage.DurableStorage, (storage) => ({
    start: (options: NodeOptions = {}) => startOn(storage, options),
    admin: adminOn(Layer.provide(DurableAdmin.layerMemory, Layer.succeed(DurableStorage.DurableStorage, storage)))
  }))
).pipe(Layer.provide(MemoryStorage.layer), Layer.fresh)

/** A store in a database of its own. */
export const layerPostgres = Layer.effect(
  Store,
  Effect.map(TestPostgres.TestDatabase, ({ url }) => ({
    start: (options: NodeOptions = {}) => Effect.orDie(start({ ...options, url })),
    admin: adminOn(Layer.provide(DurableAdmin.layerPostgres, PgClient.layer({ url, maxConnections: 4 })))
  }))
).pipe(Layer.provideMerge(TestPostgres.layer))

/** What is promised of every store is tested on both. */
export const stores: ReadonlyArray<readonly [name: string, layer: Layer.Layer<Store>]> = [
  ["MemoryStorage", layerMemory],
  ["PostgresStorage", layerPostgres]
]

/** Fails the test where something takes longer than it may. */
export const within = <A, E, R>(duration: Duration.Input, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.timeoutOrElse(effect, {
    duration,
    orElse: () => Effect.die(new Error(`took longer than ${Duration.format(Duration.fromInputUnsafe(duration))}`))
  })
