/**
 * Registries on Effect Cluster: for applications that run on it, its sharding is the registry.
 *
 * Each profile is an entity, and so lies in a shard, which one runner has at a time. A profile is held by the runner that has
 * its shard, and by no other: the cluster says where, and `register` on another runner fails with `RegistryUnavailable`, which
 * names the one. When a shard moves to another runner, or its runner leaves, the cluster ends the entities in it first, and with
 * them what they hold; so a holder is told before its successor can be granted.
 *
 * Which runner that is nobody knows beforehand, and it changes. So every runner asks for every profile that there is to be, and
 * goes on asking: the one that has the shard is granted it, and after it the next one. `supervised` claims again by itself
 * where it was granted before.
 *
 * **What the cluster does not promise**
 *
 * - The profiles of a runner that was killed are free when the cluster has noticed: after its `shardLockExpiration`, 35 seconds
 *   unless it is configured otherwise.
 * - A runner that was stopped for longer than that, and goes on, is told only then, within a third of that time. Until it is,
 *   there are two holders, of which the older one has the smaller token.
 * - Fencing tokens are the cluster's snowflakes. They grow as far as the clocks of the runners agree, to the millisecond: a
 *   successor on a machine whose clock is behind may have a smaller one.
 * - Another runner's profiles are not known from memory. Each lookup asks the runner that has the shard, for 5 seconds at most;
 *   while the shard is on its way nobody is found. `list` and `changes` reach as far as this runner, and `via(profile).wait` looks
 *   once a second for a holder elsewhere.
 * - A runner has at most as many entities as its `maxResidentEntities` says, 10,000 by default: profiles that it holds, and
 *   those that were looked for lately.
 * - A runner leaves as soon as one of its entities does, and so with the first registry that closes, unless its `preemptiveShutdown`
 *   is off: let registries live as long as their runner.
 *
 * Where any process is to hold any profile, or a stale holder has to be refused for certain, and there is a Postgres, which clusters
 * mostly run on, take `layerPostgres`: it needs nothing of the cluster and goes well beside it.
 *
 * **Example** (Profiles that every runner is ready to hold)
 *
 * ```ts
 * import { Effect, Schedule, type Scope } from "effect"
 * import { ProfileRegistry } from "holdfast/registry"
 *
 * interface Feed {
 *   readonly latest: Effect.Effect<number>
 * }
 *
 * class Feeds extends ProfileRegistry.Service<Feeds, Feed>()("market/Feeds") {}
 *
 * // On each runner, for as long as it lives. Refused where the shard is elsewhere, or it is held already, and asked for again.
 * const keep = Effect.fnUntraced(function*(symbol: string, connect: Effect.Effect<Feed, Error, Scope.Scope>) {
 *   const feeds = yield* Feeds
 *   yield* Effect.repeat(Effect.ignore(feeds.supervised(symbol, connect)), Schedule.spaced("1 second"))
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as ClusterSchema from "effect/cluster/ClusterSchema"
import * as Entity from "effect/cluster/Entity"
import * as Sharding from "effect/cluster/Sharding"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
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

/**
 * Holds the profile for as long as the call lasts. It returns when that cannot be. By itself it never ends: a shard that is to
 * move on would wait for it in vain, for all the time that the cluster gives its entities.
 */
const Hold = Rpc.make("Hold", {
  payload: { node: Schema.String, claim: Schema.Int },
  success: Schema.Union([
    Schema.TaggedStruct("Held", HolderFields),
    /** The shard is another runner's. */
    Schema.TaggedStruct("NotHere", { runner: Schema.String })
  ])
}).annotate(ClusterSchema.InterruptOnTermination, true)

const Holder = Rpc.make("Holder", { success: Schema.NullOr(Schema.Struct(HolderFields)) })

/** How long a lookup waits for the runner that may know. */
const lookupTimeout = "5 seconds"

/** How often whoever waits for a profile looks for a holder elsewhere. */
const lookAgain = Duration.seconds(1)

/** How long to wait until the entity has let go of a profile. */
const releaseTimeout = "5 seconds"

const toRemote = ({ address, node, token }: { readonly [K in keyof typeof HolderFields]: string | null }): Remote => ({
  node: node ?? "",
  token: BigInt(token ?? 0),
  address: address ?? undefined
})

const problemOf = (cause: Cause.Cause<{ readonly _tag: string }>): string => {
  const error = Cause.findErrorOption(cause)
  return Option.isSome(error) && error.value._tag === "MailboxFull"
    ? "the runner that has its shard takes no more entities: ShardingConfig.maxResidentEntities says how many"
    : `the cluster failed: ${Cause.pretty(cause)}`
}

/** A claim of this node, as the entity meets it. */
interface Claiming {
  readonly key: string
  readonly address: string | undefined
  readonly granted: (token: bigint) => void
  /** The entity does not hold the profile for it any more. */
  readonly over: () => void
}

const open = Effect.fnUntraced(function*(sharding: Sharding.Sharding["Service"], registry: string) {
  // The machine's number in a snowflake is a guess until the runner is registered.
  const node = `${yield* sharding.getSnowflake}-${yield* Random.nextIntBetween(0, 2 ** 32)}`
  const claims = new Map<number, Claiming>()
  let claimed = 0

  const entity = Entity.make(`holdfast/registry/${registry}`, [Hold, Holder])
  yield* sharding.registerEntity(
    entity,
    Effect.gen(function*() {
      const { entityId } = yield* Entity.CurrentAddress
      const { host, port } = yield* Entity.CurrentRunnerAddress
      let holder: { readonly node: string; readonly token: string; readonly address: string | null } | undefined
      return entity.of({
        Hold: ({ payload }) =>
          Effect.suspend((): Effect.Effect<Rpc.Success<typeof Hold>> => {
            if (holder !== undefined) return Effect.succeed({ _tag: "Held" as const, ...holder })
            const claiming = payload.node === node ? claims.get(payload.claim) : undefined
            if (claiming?.key !== entityId) {
              return Effect.succeed({ _tag: "NotHere" as const, runner: `${host}:${port}` })
            }
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
        key,
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
              : Effect.fail(new BackendUnavailable({ problem: `its shard is with the runner ${answer.runner}` }))
          )
        ),
        Effect.catchCause((cause) => Deferred.fail(outcome, new BackendUnavailable({ problem: problemOf(cause) }))),
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
    list: Effect.succeed([]),
    lookAgain
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
 * import { ProfileRegistry } from "holdfast/registry"
 * import * as ClusterBackend from "holdfast/registry/ClusterBackend"
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
