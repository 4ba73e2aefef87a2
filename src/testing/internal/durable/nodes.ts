/**
 * Nodes as applications have them, several on one storage, for the cases of behaviour.
 *
 * They log nothing: most of these cases make things go wrong on purpose.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as DurableNode from "../../../durable/DurableNode.ts"
import { DurableStorage, type NodeStorage } from "../../../durable/DurableStorage.ts"
import { separately } from "../cases.ts"

/** How a node of a case differs from others. */
export interface Options {
  /** The handlers that it runs; none for one that only sends. */
  readonly servers?: Layer.Layer<never, never, DurableNode.DurableNode>
  readonly node?: Partial<DurableNode.Options>
  /** What is different about its way into the storage. */
  readonly storage?: (storage: NodeStorage) => Partial<NodeStorage>
}

/** A node, as another process would be one. */
export interface Node {
  /** Runs an effect with it. */
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, DurableNode.DurableNode>>
  readonly id: Effect.Effect<number>
  /** How many servers it has in memory. */
  readonly residents: Effect.Effect<number>
  /** Leaves, as a process that ends as it should. */
  readonly close: Effect.Effect<void>
  /**
   * Is given up by the others, as one that was silent for too long: what it held may be taken over. It comes back under another
   * id, and what it has under way goes on as if nothing had happened, until it is refused.
   */
  readonly lose: Effect.Effect<void>
}

/** Starts a node, until it is closed or the case ends. */
export const start = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Node, never, DurableStorage | Scope.Scope> {
  const storage = yield* DurableStorage
  let joined: NodeStorage | undefined
  const own: DurableStorage["Service"] = {
    join: (joining) =>
      Effect.map(storage.join(joining), (nodeStorage) => {
        joined = nodeStorage
        return { ...nodeStorage, ...options.storage?.(nodeStorage) }
      })
  }
  const layer = (options.servers ?? Layer.empty).pipe(
    Layer.provideMerge(DurableNode.layer),
    Layer.provide(Layer.succeed(DurableStorage, own)),
    Layer.provide(Layer.succeed(DurableNode.DurableNodeOptions, { ...DurableNode.defaults, ...options.node })),
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "None"))
  )
  const { close, value: context } = yield* separately(Layer.build(Layer.fresh(layer)))
  const provided: Context.Context<DurableNode.DurableNode> = context
  const run: Node["run"] = (effect) => Effect.provide(effect, provided)
  const { id, residents } = yield* run(DurableNode.DurableNode)
  return { run, id, residents, close, lose: Effect.suspend(() => joined?.rejoin ?? Effect.void) }
})

/** Several nodes, alike. */
export const startSeveral = (count: number, options?: Options) =>
  Effect.all(Array.from({ length: count }, () => start(options)), { concurrency: "unbounded" })
