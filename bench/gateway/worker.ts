/**
 * A gateway worker over a database, as a process. It says where it is, and runs until it is ended.
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Redacted } from "effect"
import process from "node:process"
import { GatewayWorker, GatewayWorkers, PostgresEventStore } from "../holdfast.ts"

const secret = Redacted.make(process.env["GATEWAY_KEY"] ?? "")

const Live = GatewayWorker.layer({ port: 0, keys: [{ id: "bench", secret }] }).pipe(
  Layer.provide([PostgresEventStore.layer, GatewayWorkers.layerPostgres]),
  Layer.provide(PgClient.layer({ url: Redacted.make(process.env["DATABASE_URL"] ?? ""), maxConnections: 2 }))
)

const program = Effect.gen(function*() {
  const { url } = yield* GatewayWorker.GatewayWorker
  yield* Console.log(url)
  return yield* Effect.never
}).pipe(Effect.provide(Live), Effect.scoped)

Effect.runPromise(program).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
