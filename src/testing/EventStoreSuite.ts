/**
 * What a third party runs against an `EventStore` of its own, and what `MemoryEventStore` and `PostgresEventStore` are run against
 * too: appending, reading, subscribing and what is kept.
 *
 * Each case needs an `EventStore` and nothing else. It makes a store of its own and purges it afterwards, so that cases can run side
 * by side. None waits for a clock: the suite runs under `TestClock` too, and a case that never ends is for the test runner to end.
 *
 * **Example** (With vitest)
 *
 * ```ts
 * import { layer } from "@effect/vitest"
 * import { MemoryEventStore } from "holdfast/events"
 * import { EventStoreSuite } from "holdfast/testing"
 *
 * layer(MemoryEventStore.layer)("MemoryEventStore", (it) => {
 *   for (const { effect, name } of EventStoreSuite.cases) it.effect(name, () => effect)
 * })
 * ```
 *
 * @since 0.1.0
 */
import type { EventStore } from "../events/EventStore.ts"
import type * as Conformance from "./Conformance.ts"
import { appending } from "./internal/events/appending.ts"
import { keeping } from "./internal/events/keeping.ts"
import { type Case as OutcomeCase_, outcomes as outcomeCases } from "./internal/events/outcomes.ts"
import { reading } from "./internal/events/reading.ts"
import { subscribing } from "./internal/events/subscribing.ts"

/**
 * A case of this suite.
 *
 * @since 0.1.0
 * @category models
 */
export type Case = Conformance.Case<EventStore>

/**
 * Everything that is promised of every event store.
 *
 * @since 0.1.0
 * @category cases
 */
export const cases: ReadonlyArray<Case> = [...appending, ...reading, ...subscribing, ...keeping]

/**
 * One promise about a store that durable servers append to.
 *
 * @since 0.1.0
 * @category models
 */
export type OutcomeCase = OutcomeCase_

/**
 * Promises of stores that are kept where durable servers are: what handlers append is committed with their states. They need a node
 * besides, on a storage in the same place.
 *
 * @since 0.1.0
 * @category cases
 */
export const outcomes: ReadonlyArray<OutcomeCase> = outcomeCases
