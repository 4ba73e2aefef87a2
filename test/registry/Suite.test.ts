/**
 * The cases that every backend has to pass, on each of ours: in memory, on Postgres, on Effect Cluster's sharding. And that a backend
 * that breaks a promise is told, by the case whose name is the promise.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestRunner } from "effect/cluster"
import { TestClock } from "effect/testing"
import { PostgresBackend, RegistryBackend } from "holdfast/registry"
import * as ClusterBackend from "holdfast/registry/ClusterBackend"
import { RegistrySuite } from "holdfast/testing"
import * as TestPostgres from "../support/TestPostgres.ts"
import { memoryWith, mutants } from "./fixtures/mutants.ts"

const concurrently = { concurrent: true, timeout: 60_000 }

/** Each node is a client and a member of its own. */
const postgres = Layer.unwrap(Effect.map(
  TestPostgres.TestDatabase,
  ({ url }) =>
    RegistrySuite.layerPerNode(PostgresBackend.layer.pipe(Layer.provide(PgClient.layer({ url, maxConnections: 1 }))))
)).pipe(Layer.provide(TestPostgres.layerDatabase))

layer(RegistryBackend.layerMemory, { excludeTestServices: true })("RegistryBackend.layerMemory", (it) => {
  for (const { effect, name } of RegistrySuite.cases) it.effect(name, () => effect, concurrently)
})

layer(postgres, { excludeTestServices: true })("PostgresBackend", (it) => {
  for (const { effect, name } of RegistrySuite.cases) it.effect(name, () => effect, concurrently)
})

/** One runner, with all of the cluster in memory. It ends with the first registry that does. Several are in Cluster.test.ts. */
describe("ClusterBackend", () => {
  const cluster = ClusterBackend.layer.pipe(Layer.provide(TestRunner.layer))
  for (const { effect, name } of RegistrySuite.alone) {
    it.live(name, () => Effect.provide(effect, Layer.fresh(cluster)), concurrently)
  }
})

/** Time passes as fast as it can, for what is waited for in vain. */
const hastily = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.raceFirst(effect, Effect.forever(Effect.andThen(Effect.yieldNow, TestClock.adjust("20 millis"))))

describe("the suite can fail", () => {
  for (const { between, caughtBy, name } of mutants) {
    it.effect(`it catches ${name}`, () =>
      Effect.gen(function*() {
        const found = RegistrySuite.cases.find((one) => one.name === caughtBy)
        if (found === undefined) return assert.fail(`there is no case "${caughtBy}"`)
        const error = yield* hastily(Effect.flip(Effect.provide(found.effect, memoryWith(between))))
        assert.strictEqual(error.promise, caughtBy)
        assert.isNotEmpty(error.finding)
      }), concurrently)
  }

  it.live("what stands between is not to blame", () =>
    Effect.forEach(RegistrySuite.cases, ({ effect }) => Effect.provide(effect, memoryWith({})), {
      concurrency: "unbounded",
      discard: true
    }))

  it("has one name for each case", () => {
    assert.strictEqual(new Set(RegistrySuite.cases.map(({ name }) => name)).size, RegistrySuite.cases.length)
  })
})
