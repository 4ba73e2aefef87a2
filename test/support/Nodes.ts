/**
 * Nodes for tests, several to a process: each has a client, a membership and a storage of its own, and sees of the others
 * what it would see of other processes.
 */
import { PgClient } from "@effect/sql-pg"
import { type Context, Duration, Effect, Exit, Layer, type Redacted, Scope } from "effect"
import { DurableNode, type DurableStorage } from "holdfast/durable"
import { Member } from "holdfast/member"

export interface NodeOptions {
  readonly url: Redacted.Redacted
  /** The handlers that it runs; none for a producer. */
  readonly servers?: Layer.Layer<never, never, DurableNode.DurableNode>
  readonly member?: Partial<Member.Options>
  readonly node?: Partial<DurableNode.Options>
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

/** The layer of a node of its own. */
export const layer = (options: NodeOptions) =>
  (options.servers ?? Layer.empty).pipe(
    Layer.provideMerge(DurableNode.layerPostgres),
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

/** Starts a node, for as long as the scope lasts or until it is closed. */
export const start = Effect.fnUntraced(function*(options: NodeOptions) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(Layer.fresh(layer(options)), scope)
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

/** Fails the test where something takes longer than it may. */
export const within = <A, E, R>(duration: Duration.Input, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.timeoutOrElse(effect, {
    duration,
    orElse: () => Effect.die(new Error(`took longer than ${Duration.format(Duration.fromInputUnsafe(duration))}`))
  })
