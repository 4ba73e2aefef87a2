import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { type DurableStorage, MemoryStorage, PostgresStorage } from "holdfast/durable"
import { DurableStorageSuite } from "holdfast/testing"
import * as TestPostgres from "../support/TestPostgres.ts"
import { memoryWith, mutants } from "./fixtures/mutants.ts"

/** Each node has a membership of its own, with its own connections, as another process would. */
const postgres = Layer.unwrap(Effect.map(
  PgClient.PgClient,
  (client) =>
    DurableStorageSuite.layerPerNode(
      PostgresStorage.layer.pipe(Layer.provide(Layer.succeed(PgClient.PgClient, client)))
    )
)).pipe(Layer.provide(TestPostgres.layer))

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

describe("the suite can fail", () => {
  for (const { between, caughtBy, name } of mutants) {
    it.live(`it catches ${name}`, () =>
      Effect.gen(function*() {
        const found = DurableStorageSuite.cases.find((one) => one.name === caughtBy)
        if (found === undefined) return assert.fail(`there is no case "${caughtBy}"`)
        const error = yield* Effect.flip(Effect.provide(found.effect, memoryWith(between)))
        assert.strictEqual(error.promise, caughtBy)
        assert.isNotEmpty(error.finding)
      }), { concurrent: true, timeout: 60_000 })
  }

  it.live("what stands between is not to blame", () =>
    Effect.forEach(
      DurableStorageSuite.cases.filter(({ name }) => mutants.some(({ caughtBy }) => caughtBy === name)),
      ({ effect }) => Effect.provide(effect, memoryWith(() => () => ({}))),
      { concurrency: "unbounded", discard: true }
    ))
})
