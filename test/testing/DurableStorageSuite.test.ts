import { PgClient } from "@effect/sql-pg"
import { describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { type DurableStorage, MemoryStorage, PostgresStorage } from "holdfast/durable"
import { DurableStorageSuite } from "holdfast/testing"
import * as TestPostgres from "../support/TestPostgres.ts"

/** Each node has a client and a membership of its own, as another process would. */
const postgres = Layer.unwrap(Effect.map(TestPostgres.TestDatabase, ({ url }) =>
  DurableStorageSuite.layerPerNode(
    PostgresStorage.layer.pipe(Layer.provide(PgClient.layer({ url, maxConnections: 1 })))
  ))).pipe(Layer.provide(TestPostgres.layer))

const backends: ReadonlyArray<readonly [string, Layer.Layer<DurableStorage.DurableStorage>]> = [
  ["MemoryStorage", MemoryStorage.layer],
  ["PostgresStorage", postgres]
]

for (const [name, backend] of backends) {
  layer(backend, { excludeTestServices: true })(`${name} conforms`, (it) => {
    for (const { effect, name } of DurableStorageSuite.cases) {
      it.effect(name, () => effect, { concurrent: true, timeout: 60_000 })
    }
  })
}

describe("MemoryStorage, by the clock", () => {
  for (const { effect, name } of DurableStorageSuite.clock) {
    it.effect(name, () => Effect.provide(effect, Layer.fresh(MemoryStorage.layer)))
  }
})
