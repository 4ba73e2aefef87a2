// @effect-diagnostics missingEffectError:off missingEffectContext:off
/**
 * What the compiler must refuse of registries, and on which line: checked by `npm run check`, which fails when a line marked here is
 * accepted. Nothing of this is run.
 */
import type { PgClient } from "@effect/sql-pg"
import { Context, Effect, type Layer, type Option, Schema, type Scope } from "effect"
import type { ContextRegistry, DatastoreContext } from "holdfast/datastore"
import { ProfileRegistry, type RegistryBackend } from "holdfast/registry"

interface Socket {
  readonly send: (text: string) => Effect.Effect<void>
}

class Sockets extends ProfileRegistry.Service<Sockets, Socket>()("test/Sockets") {}

const Device = Schema.Struct({ site: Schema.String, number: Schema.Int })

class Devices extends ProfileRegistry.Service<Devices, Socket>()("test/Devices", {
  profile: Device,
  address: Schema.Struct({ host: Schema.String })
}) {}

class Weather extends Context.Service<Weather, { readonly isFine: boolean }>()("test/Weather") {}

declare const socket: Socket

/** Profiles, holders and addresses are those of the definition. */
export const typed = Effect.gen(function*() {
  const sockets = yield* Sockets
  const devices = yield* Devices
  yield* sockets.register("ann", socket, { address: "here" })
  yield* devices.register({ site: "a", number: 1 }, socket, { address: { host: "here" } })
  // @ts-expect-error: a profile is a string unless it is said what it is
  yield* sockets.register(1, socket)
  // @ts-expect-error: a profile has the type of its schema
  yield* devices.register({ site: "a" }, socket)
  // @ts-expect-error: a holder has a type
  yield* sockets.register("ann", {})
  // @ts-expect-error: so has an address
  yield* devices.register({ site: "a", number: 1 }, socket, { address: "here" })
  const entry: Option.Option<ProfileRegistry.Entry<Socket>> = yield* sockets.whereis("ann")
  const sent: Effect.Effect<
    void,
    | ProfileRegistry.ProfileNotFound
    | ProfileRegistry.NotConnected
    | ProfileRegistry.HeldElsewhere
    | ProfileRegistry.InvalidProfile
  > = sockets.via("ann").use(({ send }) => send("hello"))
  yield* Effect.catchTag(devices.via({ site: "a", number: 1 }).holder, "HeldElsewhere", ({ address }) => {
    const host: string | undefined = address?.host
    return Effect.succeed(host)
  })
  // A holder of another node is made of its address.
  devices.via({ site: "a", number: 1 }, { elsewhere: ({ host }) => ({ send: (text) => Effect.log(host, text) }) })
  // @ts-expect-error: and is one like those here
  devices.via({ site: "a", number: 1 }, { elsewhere: ({ host }) => host })
  return [entry, sent]
})

/** Registering needs a scope, supervising none; what a connection needs is asked of whoever supervises it. */
export const scopes = (sockets: Sockets["Service"]) => {
  const registered: Effect.Effect<unknown, unknown, Scope.Scope> = sockets.register("ann", socket)
  // @ts-expect-error: a registration ends with a scope
  const unscoped: Effect.Effect<unknown, unknown> = sockets.register("ann", socket)
  const connect = Effect.as(Effect.andThen(Weather, Effect.acquireRelease(Effect.void, () => Effect.void)), socket)
  const supervised: Effect.Effect<void, unknown, Weather> = sockets.supervised("ann", connect)
  // @ts-expect-error: it is not there by itself
  const without: Effect.Effect<void, unknown> = sockets.supervised("ann", connect)
  return [registered, unscoped, supervised, without]
}

/** Each layer asks for what it stands on. */
export const layers = () => {
  const local: Layer.Layer<Sockets> = Sockets.layer
  const postgres: Layer.Layer<Sockets, unknown, PgClient.PgClient> = Sockets.layerPostgres
  const backend: Layer.Layer<Sockets, unknown, RegistryBackend.RegistryBackend> = Sockets.layerBackend
  // @ts-expect-error: one registry is not another
  const other: Layer.Layer<Devices> = Sockets.layer
  return [local, postgres, backend, other]
}

export const resolved = (sockets: Sockets["Service"], maybe: ProfileRegistry.Registry<string, unknown> | undefined) => {
  const none: Effect.Effect<ProfileRegistry.Registry<string, unknown>> = ProfileRegistry.resolve()
  const one: Effect.Effect<ProfileRegistry.Registry<string, unknown>> = ProfileRegistry.resolve(maybe)
  const given: Effect.Effect<ProfileRegistry.Registry<string, Socket>> = ProfileRegistry.resolve(sockets)
  const named: Effect.Effect<ProfileRegistry.Registry<string, Socket>, never, Sockets> = ProfileRegistry.resolve(
    Sockets
  )
  // @ts-expect-error: a name needs its layer
  const unnamed: Effect.Effect<ProfileRegistry.Registry<string, Socket>> = ProfileRegistry.resolve(Sockets)
  return [none, one, given, named, unnamed]
}

/** A datastore enters its contexts in any registry of them. */
export const contexts = (
  registry: ProfileRegistry.Registry<string, DatastoreContext.DatastoreContext["Service"]>
): ContextRegistry.ContextRegistry<unknown> => registry
