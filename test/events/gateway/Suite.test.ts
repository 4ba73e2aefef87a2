/**
 * The conformance suite of event stores, unchanged, through a gateway: code cannot tell which one it has.
 */
import { layer } from "@effect/vitest"
import { Layer } from "effect"
import { MemoryEventStore, PostgresEventStore } from "holdfast/events"
import * as EventStoreSuite from "holdfast/testing/EventStoreSuite"
import * as TestPostgres from "../../support/TestPostgres.ts"
import { through } from "./support.ts"

layer(through(MemoryEventStore.layer), { excludeTestServices: true })("a gateway to event stores in memory", (it) => {
  for (const { effect, name } of EventStoreSuite.cases) it.effect(name, () => effect)
})

layer(through(Layer.provide(PostgresEventStore.layer, TestPostgres.layer)), { excludeTestServices: true })(
  "a gateway to event stores in Postgres",
  (it) => {
    for (const { effect, name } of EventStoreSuite.cases) it.effect(name, () => effect)
  }
)
