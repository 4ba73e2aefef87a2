/**
 * What a third party runs against a `RegistryBackend` of its own, and what ours are run against too: everything that registries
 * need of what decides who holds a profile.
 *
 * `alone` is what a single node sees. `together` is for backends by which any node may hold any profile, which is what most are for;
 * one that ties profiles to nodes, as `ClusterBackend` does, keeps the first and has tests of its own for the rest.
 *
 * Each case needs a `RegistryBackend` and nothing else. It opens a registry with a name of its own, as often as it has nodes: each
 * time is to the backend what another process would be. Where a backend is one process's part in something shared, `layerPerNode`
 * makes one of it that can be opened several times. So cases can share what is behind it, and run side by side. All want the clock
 * on the wall. They cannot show what a killed process, a paused one or a cut connection does to a backend: that is for its own tests.
 *
 * **Example** (In a script, without a test runner)
 *
 * ```ts
 * import { Console, Effect } from "effect"
 * import { RegistryBackend } from "holdfast/registry"
 * import { RegistrySuite } from "holdfast/testing"
 *
 * const program = Effect.forEach(RegistrySuite.cases, ({ effect, name }) =>
 *   effect.pipe(
 *     Effect.as(true),
 *     Effect.catchTag("NotConforming", (error) => Effect.as(Console.error(error.message), false)),
 *     Effect.tap((kept) => Console.log(`${kept ? "kept  " : "BROKEN"} ${name}`))
 *   ))
 *
 * const kept = await Effect.runPromise(Effect.provide(program, RegistryBackend.layerMemory))
 * process.exitCode = kept.every(Boolean) ? 0 : 1
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { RegistryBackend } from "../registry/RegistryBackend.ts"
import type * as Conformance from "./Conformance.ts"
import { alone as aloneCases } from "./internal/registry/alone.ts"
import { together as togetherCases } from "./internal/registry/together.ts"

/**
 * A case of this suite.
 *
 * @since 0.1.0
 * @category models
 */
export type Case = Conformance.Case<RegistryBackend>

/**
 * A single node: registering, finding, giving back, supervision, and what is told of it.
 *
 * @since 0.1.0
 * @category cases
 */
export const alone: ReadonlyArray<Case> = aloneCases

/**
 * Several nodes, any of which may hold any profile: they race, see each other, and take what others have given back.
 *
 * @since 0.1.0
 * @category cases
 */
export const together: ReadonlyArray<Case> = togetherCases

/**
 * Both: everything that is promised of backends by which any node may hold any profile.
 *
 * @since 0.1.0
 * @category cases
 */
export const cases: ReadonlyArray<Case> = [...alone, ...together]

/**
 * A backend each of whose nodes has one of these layers to itself, with clients, connections and memberships of its own, as
 * processes have: for backends that are one process's way into something shared, and can be opened once at a time. A layer that
 * cannot be built is a defect.
 *
 * **Example** (Postgres, as several processes)
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Layer, Redacted } from "effect"
 * import { PostgresBackend } from "holdfast/registry"
 * import { RegistrySuite } from "holdfast/testing"
 *
 * export const backend = RegistrySuite.layerPerNode(
 *   PostgresBackend.layer.pipe(
 *     Layer.provide(PgClient.layer({ url: Redacted.make("postgresql://localhost/test"), maxConnections: 1 }))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPerNode = <E>(layer: Layer.Layer<RegistryBackend, E>): Layer.Layer<RegistryBackend> =>
  Layer.succeed(RegistryBackend, {
    open: Effect.fnUntraced(function*(options) {
      const context = yield* Effect.orDie(Layer.build(Layer.fresh(layer)))
      return yield* Context.get(context, RegistryBackend).open(options)
    })
  })
