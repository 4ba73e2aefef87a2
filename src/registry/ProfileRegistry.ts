/**
 * One live holder for each profile, in a process or in a cluster.
 *
 * A *profile* is a name for something of which there is to be one: a user's socket, the connection to a device, a worker for a
 * customer. Any value with a `Schema` will do. A *holder* is the live thing itself; it stays in its process. A registry says
 * which holder a profile has, or which node, and sees to it that there is never a second one; and a handle, `via(profile)`, names
 * a connection for as long as one likes, across all of its restarts.
 *
 * How far that reaches is chosen by the layer, as with any service:
 *
 * - `layer`: this process. For tests, and for applications of one process.
 * - `layerPostgres`: every process on the same database. Holding a profile is a lease with a *fencing token*, which only grows.
 * - `layerBackend`: whatever `RegistryBackend` says; for an application that runs on Effect Cluster,
 *   `ClusterBackend`, from `holdfast/registry/ClusterBackend`.
 *
 * A holder stays where it is; but where it stands for something that can be reached from anywhere, what it says of how it is
 * reached makes another one: `via(profile, { elsewhere })`. So a name for a durable server, which lives in no process, is good in all.
 *
 * **Example** (Names for durable servers)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { DurableServer, type Ref } from "holdfast/durable"
 * import { ProfileRegistry } from "holdfast/registry"
 *
 * class Airport extends DurableServer.make("Airport", {
 *   state: Schema.Int,
 *   protocol: [Rpc.make("Departed"), Rpc.make("Flights", { success: Schema.Int })]
 * }) {}
 *
 * class Names extends ProfileRegistry.Service<Names, Ref.Ref<typeof Airport>>()("airports/Names") {}
 *
 * // Whoever decides which server it is: until the scope closes.
 * const name = Effect.fnUntraced(function*(name: string, code: string) {
 *   const [names, airport] = [yield* Names, yield* Airport.client()]
 *   yield* names.register(name, airport(code), { address: code })
 * })
 *
 * // Any process, also one without handlers.
 * const flights = Effect.fnUntraced(function*(name: string) {
 *   const [names, airport] = [yield* Names, yield* Airport.client()]
 *   return yield* names.via(name, { elsewhere: airport }).use((server) => server.call.Flights())
 * })
 * ```
 *
 * Safety does not rest on time alone. A holder whose lease has run out is told before somebody else can follow it, as far as
 * clocks allow. A process that was stopped meanwhile is told when it goes on, which is too late; but it has an older token, and
 * whatever it writes to can see that: see `Registration.token`, and `PostgresBackend.guard` for what lies in the same database.
 *
 * **Example** (Sockets by user)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { ProfileRegistry } from "holdfast/registry"
 *
 * interface Socket {
 *   readonly send: (text: string) => Effect.Effect<void>
 * }
 *
 * class Sockets extends ProfileRegistry.Service<Sockets, Socket>()("chat/Sockets") {}
 *
 * const serve = Effect.fnUntraced(function*(user: string, socket: Socket) {
 *   const sockets = yield* Sockets
 *   yield* sockets.register(user, socket) // until the scope closes; fails if the user has a socket somewhere
 *   return yield* Effect.never
 * }, Effect.scoped)
 *
 * const greet = Effect.fnUntraced(function*(user: string) {
 *   const sockets = yield* Sockets
 *   yield* sockets.via(user).use((socket) => socket.send("hello"))
 * })
 *
 * // In tests; Sockets.layerPostgres over any PgClient where there are several processes.
 * const program = Effect.ignore(greet("ann")).pipe(Effect.provide(Sockets.layer))
 * ```
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { ConnectionFailed } from "../datastore/ConnectionFailed.ts"
import { InvalidOptions } from "../datastore/DatastoreOptions.ts"
import { perClient } from "../datastore/internal/perClient.ts"
import type { SchemaNotInstalled } from "../datastore/Migrations.ts"
import { millisOf } from "../member/internal/options.ts"
import { checkKey, make as makeCodec } from "./internal/codec.ts"
import { type Definition, make as makeRegistry, type RemoteChanges } from "./internal/registry.ts"
import type { Registry } from "./internal/shape.ts"
import * as PostgresBackend from "./PostgresBackend.ts"
import { type BackendUnavailable, layerMemory, makeMemoryUnsafe, RegistryBackend } from "./RegistryBackend.ts"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  AlreadyRegistered,
  /**
   * @since 0.1.0
   * @category models
   */
  type Change,
  /**
   * @since 0.1.0
   * @category models
   */
  type Disconnected,
  /**
   * @since 0.1.0
   * @category models
   */
  type Elsewhere,
  /**
   * @since 0.1.0
   * @category models
   */
  type Entry,
  /**
   * @since 0.1.0
   * @category errors
   */
  HeldElsewhere,
  /**
   * @since 0.1.0
   * @category models
   */
  type Here,
  /**
   * @since 0.1.0
   * @category errors
   */
  InvalidProfile,
  /**
   * @since 0.1.0
   * @category errors
   */
  NotConnected,
  /**
   * @since 0.1.0
   * @category errors
   */
  NotSupervised,
  /**
   * @since 0.1.0
   * @category errors
   */
  ProfileNotFound,
  /**
   * @since 0.1.0
   * @category models
   */
  type Registration,
  /**
   * @since 0.1.0
   * @category errors
   */
  RegistrationLost,
  /**
   * @since 0.1.0
   * @category errors
   */
  RegistryUnavailable
} from "./internal/model.ts"

export type {
  /**
   * @since 0.1.0
   * @category models
   */
  RegisterOptions,
  /**
   * @since 0.1.0
   * @category models
   */
  Registry,
  /**
   * @since 0.1.0
   * @category models
   */
  SupervisedOptions,
  /**
   * @since 0.1.0
   * @category models
   */
  Via,
  /**
   * @since 0.1.0
   * @category models
   */
  ViaOptions
} from "./internal/shape.ts"

/**
 * How registries go about it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long to wait for the backend to decide who holds a profile. */
  readonly registerTimeout: Duration.Input
}

/**
 * The options of registries, with their defaults: 5 seconds to decide.
 *
 * @since 0.1.0
 * @category services
 */
export const ProfileRegistryOptions = Context.Reference<Options>("holdfast/registry/ProfileRegistryOptions", {
  defaultValue: () => ({ registerTimeout: "5 seconds" })
})

/**
 * A registry as a service, with its layers.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServiceClass<in out Self, in out Id extends string, in out Profile, in out Holder, in out Address>
  extends Context.ServiceClass<Self, Id, Registry<Profile, Holder, Address>>
{
  /** In this process alone. */
  readonly layer: Layer.Layer<Self>
  /** On every process of a database, by leases: `PostgresBackend` says how. */
  readonly layerPostgres: Layer.Layer<Self, SchemaNotInstalled | ConnectionFailed, PgClient.PgClient>
  /** On whatever backend there is. */
  readonly layerBackend: Layer.Layer<Self, BackendUnavailable, RegistryBackend>
}

/**
 * Defines a registry: a service of this name, with its layers.
 *
 * **Details**
 *
 * `profile` is the schema of its profiles, `address` that of what holders say of how they are reached from other nodes; both are
 * strings unless they say otherwise. A schema that encodes to a string is stored as that string, any other as JSON.
 *
 * The id is the registry's name for other processes too: renaming a class does no harm, another id is another registry.
 *
 * **Example** (Profiles of a kind)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { ProfileRegistry } from "holdfast/registry"
 *
 * const Device = Schema.Struct({ site: Schema.String, number: Schema.Int })
 *
 * class Devices extends ProfileRegistry.Service<Devices, WebSocket>()("plant/Devices", {
 *   profile: Device,
 *   address: Schema.Struct({ host: Schema.String, port: Schema.Int })
 * }) {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Service = <Self, Holder>() =>
<const Id extends string, Profile = string, Address = string>(
  id: Id,
  options: {
    readonly profile?: Schema.Codec<Profile, any> | undefined
    readonly address?: Schema.Codec<Address, any> | undefined
  } = {}
): ServiceClass<Self, Id, Profile, Holder, Address> => {
  const issue = checkKey(id)
  if (issue !== undefined) throw new InvalidOptions({ issues: [{ field: "id", problem: issue }] })
  // Where no schema is given, the type is string.
  const profile = makeCodec((options.profile ?? Schema.String) as Schema.Codec<Profile, unknown>)
  const address = makeCodec((options.address ?? Schema.String) as Schema.Codec<Address, unknown>)

  const Key = Context.Service<Self, Registry<Profile, Holder, Address>>()(id)
  const layerBackend: Layer.Layer<Self, BackendUnavailable, RegistryBackend> = Layer.effect(
    Key,
    Effect.gen(function*() {
      const { registerTimeout } = yield* ProfileRegistryOptions
      const backend = yield* RegistryBackend
      return yield* open<Profile, Holder, Address>(backend, {
        name: id,
        profile,
        address,
        registerTimeout: Duration.millis(millisOf("registerTimeout", registerTimeout))
      })
    })
  )
  return Object.assign(Key, {
    layerBackend,
    // Neither of the two can be unavailable when it is opened: one is memory, the other has connected by then.
    layer: Layer.orDie(Layer.provide(layerBackend, Layer.fresh(layerMemory))),
    layerPostgres: perClient((client) =>
      Layer.orDie(layerBackend).pipe(
        Layer.provide(PostgresBackend.layer),
        Layer.provide(Layer.succeed(PgClient.PgClient, client))
      )
    )
  })
}

/** Opens a registry on a backend. */
const open = Effect.fnUntraced(function*<Profile, Holder, Address>(
  backend: RegistryBackend["Service"],
  definition: Definition<Profile, Address>
) {
  const remote: RemoteChanges = { changed: () => undefined }
  const directory = yield* backend.open({
    registry: definition.name,
    changed: (change) => remote.changed(change)
  })
  return makeRegistry<Profile, Holder, Address>(definition, directory, remote, yield* Effect.scope)
})

/**
 * The registry that serves where no other one is named: in this process, for as long as it lives, profiles are strings and
 * holders may be anything. Provide another one to have it replaced where it is provided.
 *
 * @since 0.1.0
 * @category services
 */
export const Default = Context.Reference<Registry<string, unknown>>("holdfast/registry/Default", {
  defaultValue: () =>
    Effect.runSync(
      Scope.provide(
        Effect.orDie(open<string, unknown, string>(makeMemoryUnsafe(), {
          name: "holdfast/registry/Default",
          profile: makeCodec(Schema.String),
          address: makeCodec(Schema.String),
          registerTimeout: Duration.seconds(5)
        })),
        // It has no end: nothing that it holds outlives the process.
        Scope.makeUnsafe()
      )
    )
})

/**
 * The registry that a specification says: nothing is the default one, a service class names one, and a registry is itself.
 *
 * **Details**
 *
 * For parts of an application that are told which registry to use, and mostly are not told any.
 *
 * **Example** (A part that takes a registry)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { ProfileRegistry } from "holdfast/registry"
 *
 * const isOnline = Effect.fnUntraced(function*(user: string, registry?: ProfileRegistry.Registry<string, unknown>) {
 *   const sockets = yield* ProfileRegistry.resolve(registry)
 *   return (yield* sockets.whereis(user))._tag === "Some"
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export function resolve(): Effect.Effect<Registry<string, unknown>>
export function resolve<Self, Profile, Holder, Address>(
  spec: Context.Key<Self, Registry<Profile, Holder, Address>>
): Effect.Effect<Registry<Profile, Holder, Address>, never, Self>
export function resolve<Profile, Holder, Address>(
  spec: Registry<Profile, Holder, Address>
): Effect.Effect<Registry<Profile, Holder, Address>>
export function resolve(spec: Registry<string, unknown> | undefined): Effect.Effect<Registry<string, unknown>>
export function resolve<Self, Profile, Holder, Address>(
  spec?: Context.Key<Self, Registry<Profile, Holder, Address>> | Registry<Profile, Holder, Address>
): Effect.Effect<Registry<string, unknown> | Registry<Profile, Holder, Address>, never, Self> {
  if (spec === undefined) return Default
  return Context.isKey(spec) ? spec : Effect.succeed(spec)
}
