/**
 * Registries on Effect Cluster: for applications that run on it, its sharding is the registry.
 *
 * Each profile is an entity, and so lies in a shard, which one runner has at a time. A profile is held by the runner that has
 * its shard, and by no other: the cluster says where, and `register` on another runner fails with `RegistryUnavailable`, which
 * names this. When a shard moves to another runner, the cluster ends the entities in it first, and with them what they hold; so
 * a holder is told before its successor can be granted. `supervised` profiles claim theirs again, on whichever runner they may.
 *
 * What other backends know of others from memory is asked of the cluster here, when a profile is looked up; `list` and
 * `changes` reach as far as this runner. Fencing tokens are the cluster's snowflakes: they grow as far as the clocks of runners
 * agree.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Entity from "effect/cluster/Entity"
import * as Sharding from "effect/cluster/Sharding"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import {
  BackendUnavailable,
  type Claim,
  type Claimed,
  type Directory,
  RegistryBackend,
  type Remote
} from "./RegistryBackend.ts"

const HolderFields = { node: Schema.String, token: Schema.String, address: Schema.NullOr(Schema.String) }

/** Holds the profile for as long as the call lasts. It returns when that cannot be. */
const Hold = Rpc.make("Hold", {
  payload: { node: Schema.String, claim: Schema.Int },
  success: Schema.Union([
    Schema.TaggedStruct("Held", HolderFields),
    /** The shard is another runner's. */
    Schema.TaggedStruct("NotHere", { node: Schema.String })
  ])
})

const Holder = Rpc.make("Holder", { success: Schema.NullOr(Schema.Struct(HolderFields)) })

/** How long a lookup waits for the runner that may know. */
const lookupTimeout = "1 second"

/** How long to wait until the entity has let go of a profile. */
const releaseTimeout = "5 seconds"

const toRemote = ({ address, node, token }: { readonly [K in keyof typeof HolderFields]: string | null }): Remote => ({
  node: node ?? "",
  token: BigInt(token ?? 0),
  address: address ?? undefined
})

/** A claim of this node, as the entity meets it. */
interface Claiming {
  readonly address: string | undefined
  readonly granted: (token: bigint) => void
  /** The entity does not hold the profile for it any more. */
  readonly over: () => void
}

const open = Effect.fnUntraced(function*(sharding: Sharding.Sharding["Service"], registry: string) {
  const node = String(yield* sharding.getSnowflake)
  const claims = new Map<number, Claiming>()
  let claimed = 0

  const entity = Entity.make(`holdfast/registry/${registry}`, [Hold, Holder])
  yield* sharding.registerEntity(
    entity,
    Effect.sync(() => {
      let holder: { readonly node: string; readonly token: string; readonly address: string | null } | undefined
      return entity.of({
        Hold: ({ payload }) =>
          Effect.suspend((): Effect.Effect<Rpc.Success<typeof Hold>> => {
            if (holder !== undefined) return Effect.succeed({ _tag: "Held" as const, ...holder })
            const claiming = payload.node === node ? claims.get(payload.claim) : undefined
            if (claiming === undefined) return Effect.succeed({ _tag: "NotHere" as const, node })
            return Effect.flatMap(sharding.getSnowflake, (token): Effect.Effect<Rpc.Success<typeof Hold>> => {
              if (holder !== undefined) return Effect.succeed({ _tag: "Held" as const, ...holder })
              holder = { node, token: String(token), address: claiming.address ?? null }
              claiming.granted(token)
              return Effect.ensuring(
                Effect.never,
                Effect.sync(() => {
                  holder = undefined
                  claiming.over()
                })
              )
            })
          }),
        Holder: () => Effect.sync(() => holder ?? null)
      })
    }),
    { concurrency: "unbounded" }
  )

  const client = yield* sharding.makeClient(entity)
  const scope = yield* Effect.scope

  const claim = ({ address, key, lost }: Claim): Effect.Effect<Claimed, BackendUnavailable> =>
    Effect.gen(function*() {
      const number = ++claimed
      const outcome = Deferred.makeUnsafe<Claimed, BackendUnavailable>()
      const over = Deferred.makeUnsafe<void>()
      /** Whether it was given back, and its end is no loss. */
      let isReleased = false
      let isGranted = false
      let calling: Fiber.Fiber<unknown> | undefined
      const release = Effect.suspend(() => {
        isReleased = true
        if (calling === undefined) return Effect.void
        return Effect.andThen(Fiber.interrupt(calling), Effect.timeoutOption(Deferred.await(over), releaseTimeout))
      }).pipe(Effect.asVoid)
      claims.set(number, {
        address,
        granted: (token) => {
          isGranted = true
          Deferred.doneUnsafe(outcome, Effect.succeed({ _tag: "Granted", token, release }))
        },
        over: () => {
          // The cluster sends the call again, to whichever runner has the shard then: it finds nothing.
          claims.delete(number)
          if (!isReleased) lost()
          Deferred.doneUnsafe(over, Effect.void)
        }
      })
      calling = yield* client(key).Hold({ node, claim: number }).pipe(
        Effect.flatMap((answer) =>
          Deferred.complete(
            outcome,
            answer._tag === "Held"
              ? Effect.succeed({ _tag: "Held" as const, by: toRemote(answer) })
              : Effect.fail(new BackendUnavailable({ problem: `its shard is run by node ${answer.node}` }))
          )
        ),
        Effect.catchCause((cause) =>
          Deferred.fail(outcome, new BackendUnavailable({ problem: `the cluster failed: ${Cause.pretty(cause)}` }))
        ),
        // What was not granted by then never is, and nothing is to be waited for. What was, the entity lets go of.
        Effect.ensuring(Effect.sync(() => {
          if (isGranted) return
          claims.delete(number)
          Deferred.doneUnsafe(over, Effect.void)
        })),
        Effect.interruptible,
        Effect.forkIn(scope)
      )
      return yield* Effect.onInterrupt(Deferred.await(outcome), () => release)
    })

  const directory: Directory = {
    node: () => node,
    claim,
    lookup: (key) =>
      client(key).Holder().pipe(
        Effect.map((holder) => holder === null || holder.node === node ? undefined : toRemote(holder)),
        Effect.timeoutOption(lookupTimeout),
        Effect.map(Option.getOrUndefined),
        // Who cannot be asked says nothing.
        Effect.orElseSucceed(() => undefined)
      ),
    list: Effect.succeed([])
  }
  return directory
})

/**
 * The backend on the sharding of an Effect Cluster.
 *
 * **Example** (A registry of an application on a cluster)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { TestRunner } from "effect/cluster"
 * import { ClusterBackend, ProfileRegistry } from "holdfast/registry"
 *
 * class Rooms extends ProfileRegistry.Service<Rooms, { readonly name: string }>()("chat/Rooms") {}
 *
 * // In a test; in production, the application's own runner stands in its place.
 * const RoomsLive = Rooms.layerBackend.pipe(Layer.provide(ClusterBackend.layer), Layer.provide(TestRunner.layer))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<RegistryBackend, never, Sharding.Sharding> = Layer.effect(
  RegistryBackend,
  Effect.map(Sharding.Sharding, (sharding) => ({
    open: ({ registry }) => open(sharding, registry)
  }))
)
