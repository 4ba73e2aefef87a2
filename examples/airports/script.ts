/**
 * Durable servers from a script: no platform, no main loop, any Postgres.
 * `DATABASE_URL=postgresql://… node examples/airports/script.ts`
 */
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer } from "effect"
import { DurableNode } from "holdfast/durable"
import { Airport, AirportLive } from "./Airport.ts"

const program = Effect.gen(function*() {
  const airport = yield* Airport.client()
  yield* airport("SEA").cast.Departed({ flight: "AS 1", delay: 4, distance: 2402 })
  return yield* airport("SEA").call.Current()
})

const Live = AirportLive.pipe(
  Layer.provideMerge(DurableNode.layerPostgres),
  Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
)

console.log(await Effect.runPromise(Effect.provide(program, Live)))
