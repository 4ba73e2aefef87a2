import { PgClient } from "@effect/sql-pg"
import { layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { type DurableStorage, MemoryStorage, PostgresStorage } from "holdfast/durable"
import * as DurableStorageSuite from "holdfast/testing/DurableStorageSuite"
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
    for (const { effect, name } of DurableStorageSuite.seam) it.effect(name, () => effect)
  })
}
