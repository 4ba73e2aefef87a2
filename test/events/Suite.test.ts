/**
 * The conformance suite on every event store of the library, with the durable servers that are kept in the same place.
 */
import { layer } from "@effect/vitest"
import { Layer, References } from "effect"
import { DurableNode } from "holdfast/durable"
import { MemoryEventStore, PostgresEventStore } from "holdfast/events"
import { EventStoreSuite } from "holdfast/testing"
import * as TestPostgres from "../support/TestPostgres.ts"

// Handlers fail on purpose.
const quiet = Layer.succeed(References.MinimumLogLevel, "None")

layer(MemoryEventStore.layer)("MemoryEventStore", (it) => {
  for (const { effect, name } of EventStoreSuite.cases) it.effect(name, () => effect)
})

layer(Layer.merge(MemoryEventStore.layer, Layer.provide(DurableNode.layerMemory, quiet)))(
  "MemoryEventStore, in outcomes",
  (it) => {
    for (const { effect, name } of EventStoreSuite.outcomes) it.effect(name, () => effect)
  }
)

layer(
  Layer.provide(
    Layer.merge(PostgresEventStore.layer, DurableNode.layerPostgres),
    Layer.merge(TestPostgres.layer, quiet)
  ),
  { excludeTestServices: true }
)(
  "PostgresEventStore",
  (it) => {
    for (const { effect, name } of EventStoreSuite.cases) it.effect(name, () => effect)
    for (const { effect, name } of EventStoreSuite.outcomes) it.effect(`in outcomes, ${name}`, () => effect)
  }
)
