/**
 * The conformance suite on every event store of the library.
 */
import { layer } from "@effect/vitest"
import { MemoryEventStore } from "holdfast/events"
import * as EventStoreSuite from "holdfast/testing/EventStoreSuite"

layer(MemoryEventStore.layer)("MemoryEventStore", (it) => {
  for (const { effect, name } of EventStoreSuite.cases) it.effect(name, () => effect)
})
