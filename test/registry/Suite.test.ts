/**
 * The cases that every backend has to pass, on each of ours: in memory, on Postgres, on Effect Cluster's sharding.
 */
import { PgClient } from "@effect/sql-pg"
import { describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { TestRunner } from "effect/cluster"
import { ClusterBackend, PostgresBackend, RegistryBackend } from "holdfast/registry"
import { RegistrySuite } from "holdfast/testing"
import * as TestPostgres from "../support/TestPostgres.ts"

/** Each time that a registry is opened on it is a node. */
const memory = Layer.sync(RegistrySuite.Nodes, () => {
  const backend = RegistryBackend.makeMemoryUnsafe()
  return { join: Effect.succeed(backend) }
})

/** Each node is a client and a member of its own. */
const postgres = Layer.effect(
  RegistrySuite.Nodes,
  Effect.map(TestPostgres.TestDatabase, ({ url }) => ({
    join: Effect.map(
      Layer.build(Layer.fresh(
        PostgresBackend.layer.pipe(Layer.provide(PgClient.layer({ url, maxConnections: 2 })))
      )),
      (context) => Context.get(context, RegistryBackend.RegistryBackend)
    ).pipe(Effect.orDie)
  }))
).pipe(Layer.provide(TestPostgres.layerDatabase))

/** One runner, with all of the cluster in memory. */
const cluster = Layer.effect(
  RegistrySuite.Nodes,
  Effect.map(RegistryBackend.RegistryBackend, (backend) => ({ join: Effect.succeed(backend) }))
).pipe(Layer.provide(ClusterBackend.layer), Layer.provide(TestRunner.layer))

const backends = [
  ["RegistryBackend.layerMemory", 2, memory],
  ["PostgresBackend", 2, postgres],
  ["ClusterBackend", 1, cluster]
] as const

for (const [name, nodes, layer] of backends) {
  describe(name, () => {
    for (const one of RegistrySuite.cases) {
      if (one.nodes <= nodes) {
        it.live(one.name, () => Effect.scoped(one.effect).pipe(Effect.provide(Layer.fresh(layer))))
      }
    }
  })
}
