/**
 * What applications see of durable servers, on Postgres: the behaviour that the conformance suite asks of every storage. The rest
 * of the suite is run by DurableStorageSuite.test.ts.
 */
import { layer } from "@effect/vitest"
import { DurableStorageSuite } from "holdfast/testing"
import { postgresStorage } from "./fixtures/postgresStorage.ts"

layer(postgresStorage, { excludeTestServices: true })("PostgresStorage conforms, in behaviour", (it) => {
  for (const { effect, name } of DurableStorageSuite.behaviour) {
    it.effect(name, () => effect, { concurrent: true, timeout: 60_000 })
  }
})
