/**
 * Both of our storages keep what the conformance suite asks of every storage; a storage that breaks a promise is told, by the
 * case whose name is the promise; and nothing that durable servers are held to is left out.
 *
 * Cases run side by side on one store, as they may. Those of behaviour on Postgres have a file of their own.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { MemoryStorage } from "holdfast/durable"
import { DurableStorageSuite } from "holdfast/testing"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { memoryWith, mutants } from "./fixtures/mutants.ts"
import { postgresStorage } from "./fixtures/postgresStorage.ts"
import { further, original } from "./fixtures/promisedCases.ts"

const concurrently = { concurrent: true, timeout: 60_000 }

layer(MemoryStorage.layer, { excludeTestServices: true })("MemoryStorage conforms", (it) => {
  for (const { effect, name } of DurableStorageSuite.cases) it.effect(name, () => effect, concurrently)
})

layer(postgresStorage, { excludeTestServices: true })("PostgresStorage conforms, at the seam", (it) => {
  for (const { effect, name } of DurableStorageSuite.seam) it.effect(name, () => effect, concurrently)
})

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
      }), concurrently)
  }

  it.live("what stands between is not to blame", () =>
    Effect.forEach(
      DurableStorageSuite.cases.filter(({ name }) => mutants.some(({ caughtBy }) => caughtBy === name)),
      ({ effect }) => Effect.provide(effect, memoryWith(() => () => ({}))),
      { concurrency: "unbounded", discard: true }
    ))
})

describe("what the suite is made of", () => {
  const all = [...DurableStorageSuite.cases, ...DurableStorageSuite.clock].map(({ name }) => name)

  it("has one name for each case", () => {
    assert.strictEqual(new Set(all).size, all.length)
    assert.deepStrictEqual(DurableStorageSuite.cases, [...DurableStorageSuite.seam, ...DurableStorageSuite.behaviour])
  })

  for (const [promised, proofs] of [...Object.entries(original), ...Object.entries(further)]) {
    it(`proves: ${promised}`, () => {
      assert.isNotEmpty(proofs)
      for (const proof of proofs) {
        if (typeof proof === "string") assert.include(all, proof)
        else {assert.include(
            readFileSync(fileURLToPath(new URL(`../../${proof.file}`, import.meta.url)), "utf8"),
            proof.says
          )}
      }
    })
  }

  it("leaves none out", () => {
    assert.deepStrictEqual([Object.keys(original).length, Object.keys(further).length], [19, 14])
  })
})
