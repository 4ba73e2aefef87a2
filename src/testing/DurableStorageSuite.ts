/**
 * What a third party runs against a `DurableStorage` of its own, and what `MemoryStorage` and `PostgresStorage` are run against
 * too: everything that durable servers need of the place where they live.
 *
 * The suite has two levels. `seam` goes through the operations of `DurableStorage` one by one: it says which promise is broken,
 * and is where to begin with a new backend. `behaviour` runs real nodes with real servers on the storage: what applications see.
 * `clock` is for storages that follow Effect's `Clock`, and needs `TestClock`; all others are run by the clock on the wall.
 *
 * Each case needs a `DurableStorage` and nothing else. It joins as several nodes at once, each of which is to the storage what
 * another process would be: where a storage is one process's part in something shared, `layerPerNode` makes one of it that can be
 * joined several times. Cases use names that nothing else has, so they can share a store, with others and with real data, and run side
 * by side. They cannot show what takes real processes, a real network or a real disk: what a killed process, a cut connection
 * or a full disk does to a backend is for its own tests.
 *
 * **Example** (In a script, without a test runner)
 *
 * ```ts
 * import { Console, Effect } from "effect"
 * import { MemoryStorage } from "holdfast/durable"
 * import { DurableStorageSuite } from "holdfast/testing"
 *
 * const program = Effect.forEach(DurableStorageSuite.cases, ({ effect, name }) =>
 *   effect.pipe(
 *     Effect.as(true),
 *     Effect.catchTag("NotConforming", (error) => Effect.as(Console.error(error.message), false)),
 *     Effect.tap((kept) => Console.log(`${kept ? "kept  " : "BROKEN"} ${name}`))
 *   ))
 *
 * const kept = await Effect.runPromise(Effect.provide(program, MemoryStorage.layer))
 * process.exitCode = kept.every(Boolean) ? 0 : 1
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DurableStorage } from "../durable/DurableStorage.ts"
import type * as Conformance from "./Conformance.ts"
import { afterwards } from "./internal/durable/behaviour/afterwards.ts"
import { counting } from "./internal/durable/behaviour/counting.ts"
import { failover } from "./internal/durable/behaviour/failover.ts"
import { locks } from "./internal/durable/behaviour/locks.ts"
import { clock as clockCases } from "./internal/durable/clock.ts"
import { commits } from "./internal/durable/seam/commits.ts"
import { keys } from "./internal/durable/seam/keys.ts"
import { killing } from "./internal/durable/seam/killing.ts"
import { lines } from "./internal/durable/seam/lines.ts"
import { membership } from "./internal/durable/seam/membership.ts"
import { timers } from "./internal/durable/seam/timers.ts"
import { whole } from "./internal/durable/seam/whole.ts"

/**
 * A case of this suite.
 *
 * @since 0.1.0
 * @category models
 */
export type Case = Conformance.Case<DurableStorage>

/**
 * The operations of a storage, one by one: nodes that join, leave and come back; finding, taking and giving back servers; what a
 * commit does and refuses; lines, replies, keys, messages for later, and the end of a server.
 *
 * @since 0.1.0
 * @category cases
 */
export const seam: ReadonlyArray<Case> = [
  ...membership,
  ...commits,
  ...whole,
  ...lines,
  ...keys,
  ...timers,
  ...killing
]

/**
 * What applications see: nodes with servers on the storage, several at a time, that come and go.
 *
 * @since 0.1.0
 * @category cases
 */
export const behaviour: ReadonlyArray<Case> = [...counting, ...afterwards, ...locks, ...failover]

/**
 * Both levels: everything that is promised of every storage. To be run by the clock on the wall.
 *
 * @since 0.1.0
 * @category cases
 */
export const cases: ReadonlyArray<Case> = [...seam, ...behaviour]

/**
 * Cases for storages that follow Effect's `Clock`. Each moves it: the storage has to be made under the `TestClock` that the case
 * runs with, as `it.effect` of `@effect/vitest` does it, and anew for each case.
 *
 * @since 0.1.0
 * @category cases
 */
export const clock: ReadonlyArray<Case> = clockCases

/**
 * A storage each of whose nodes has one of these layers to itself, with clients, connections and memberships of its own, as
 * processes have: for storages that are one process's way into something shared, and can be joined once at a time. A layer that
 * cannot be built is a defect.
 *
 * **Example** (Postgres, as several processes)
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Layer, Redacted } from "effect"
 * import { PostgresStorage } from "holdfast/durable"
 * import { DurableStorageSuite } from "holdfast/testing"
 *
 * export const storage = DurableStorageSuite.layerPerNode(
 *   PostgresStorage.layer.pipe(
 *     Layer.provide(PgClient.layer({ url: Redacted.make("postgresql://localhost/test"), maxConnections: 1 }))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPerNode = <E>(layer: Layer.Layer<DurableStorage, E>): Layer.Layer<DurableStorage> =>
  Layer.succeed(DurableStorage, {
    join: Effect.fnUntraced(function*(options) {
      const context = yield* Effect.orDie(Layer.build(Layer.fresh(layer)))
      return yield* Context.get(context, DurableStorage).join(options)
    })
  })
