/**
 * What every event store has to keep: a list of promises, each with an effect that shows whether it is kept. It needs no
 * test runner: an effect dies where its promise is broken.
 *
 * Each makes a store of its own and purges it afterwards. None waits for a clock, so that the suite runs under `TestClock` too.
 *
 * **Example** (With vitest)
 *
 * ```ts
 * import { layer } from "@effect/vitest"
 * import { MemoryEventStore } from "holdfast/events"
 * import * as EventStoreSuite from "holdfast/testing/EventStoreSuite"
 *
 * layer(MemoryEventStore.layer)("MemoryEventStore", (it) => {
 *   for (const { effect, name } of EventStoreSuite.cases) it.effect(name, () => effect)
 * })
 * ```
 *
 * @since 0.1.0
 */
import { appending } from "./internal/events/appending.ts"
import type { Case as SuiteCase } from "./internal/events/cases.ts"
import { keeping } from "./internal/events/keeping.ts"
import { type Case as OutcomeCase_, outcomes as outcomeCases } from "./internal/events/outcomes.ts"
import { reading } from "./internal/events/reading.ts"
import { subscribing } from "./internal/events/subscribing.ts"

/**
 * One promise: its name, and what shows whether it is kept.
 *
 * @since 0.1.0
 * @category models
 */
export type Case = SuiteCase

/**
 * The promises.
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
