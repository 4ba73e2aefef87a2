/**
 * Durable servers from a script: no platform, no main loop, any Postgres.
 * `DATABASE_URL=postgresql://… node examples/airports/script.ts`
 */
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer } from "effect"
import { DurableNode } from "holdfast/durable"
import { PostgresEventStore } from "holdfast/events"
import { Airport, AirportLive } from "./Airport.ts"
import { Departures } from "./Departures.ts"

const program = Effect.gen(function*() {
  const airport = yield* Airport.client()
  yield* airport("SEA").cast.Departed({
    flight: "AS 1",
    date: "2026/01/31 18:05",
    destination: "JFK",
    delay: 4,
    distance: 2402
  })
  return yield* airport("SEA").call.Current()
})

const Live = AirportLive.pipe(
  Layer.provideMerge(DurableNode.layerPostgres),
  Layer.provide(Layer.provideMerge(Departures.layer, PostgresEventStore.layer)),
  Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
)

console.log(await Effect.runPromise(Effect.provide(program, Live)))
