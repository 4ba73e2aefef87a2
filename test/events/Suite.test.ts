/**
 * The conformance suite on every event store of the library.
 */
import { layer } from "@effect/vitest"
import { Layer } from "effect"
import { MemoryEventStore, PostgresEventStore } from "holdfast/events"
import { EventStoreSuite } from "holdfast/testing"
import * as TestPostgres from "../support/TestPostgres.ts"

layer(MemoryEventStore.layer)("MemoryEventStore", (it) => {
  for (const { effect, name } of EventStoreSuite.cases) it.effect(name, () => effect)
})

layer(Layer.provide(PostgresEventStore.layer, TestPostgres.layer), { excludeTestServices: true })(
  "PostgresEventStore",
  (it) => {
    for (const { effect, name } of EventStoreSuite.cases) it.effect(name, () => effect)
  }
)
