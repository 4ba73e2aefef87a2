/**
 * Nodes for the cases of the suite for registries. Each case has a registry of its own, which its nodes join.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as ProfileRegistry from "../../../registry/ProfileRegistry.ts"
import { RegistryBackend } from "../../../registry/RegistryBackend.ts"
import { unused } from "../cases.ts"

interface Profile {
  readonly kind: string
  readonly number: number
}

type Registry = ProfileRegistry.Registry<Profile, object>

export interface Node {
  readonly registry: Registry
  /** Leaves, as a process that ends as it should. */
  readonly close: Effect.Effect<void>
}

interface Held {
  readonly _: unique symbol
}

export const profile = (number: number): Profile => ({ kind: "device", number })

/** Nodes of one registry, which is nobody else's: as many as it is run. */
export const registry = Effect.map(unused, (name): Effect.Effect<Node, never, RegistryBackend | Scope.Scope> => {
  const Held = ProfileRegistry.Service<Held, object>()(`suite/${name}`, {
    profile: Schema.Struct({ kind: Schema.String, number: Schema.Int })
  })
  return Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const layer = Layer.provide(Held.layerBackend, Layer.succeed(RegistryBackend, yield* RegistryBackend))
    const context = yield* Effect.orDie(Layer.buildWithScope(Layer.fresh(layer), scope))
    return { registry: Context.get(context, Held), close: Scope.close(scope, Exit.void) }
  })
})

/** One node alone. */
export const join: Effect.Effect<Node, never, RegistryBackend | Scope.Scope> = Effect.flatten(registry)

/** Two nodes of one registry. */
export const joinTwo = Effect.flatMap(registry, (join) => Effect.all([join, join]))

export const tagOf = (registry: Registry, number: number) =>
  Effect.map(registry.whereis(profile(number)), (entry) => Option.isSome(entry) ? entry.value._tag : "nowhere")

/** Registers in a scope of its own, which is given. */
export const registerIn = Effect.fnUntraced(function*(registry: Registry, number: number, holder: object) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const registration = yield* Scope.provide(registry.register(profile(number), holder), scope)
  return { registration, release: Scope.close(scope, Exit.void) }
})
