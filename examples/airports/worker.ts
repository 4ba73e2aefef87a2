/**
 * A worker: a process that holds airports. It may be killed at any moment. Others take its airports over, and nothing
 * that was acknowledged is lost or done twice.
 */
import { Console, Effect, Layer } from "effect"
import process from "node:process"
import { AirportLive } from "./Airport.ts"
import * as child from "./child.ts"
import { AccessConfig, layerNodeWithDepartures } from "./database.ts"

const [name = "worker"] = process.argv.slice(2)

const Live = Layer.unwrap(
  Effect.map(AccessConfig, (access) => Layer.provide(AirportLive, layerNodeWithDepartures(name, access)))
)

Console.log("ready").pipe(
  Effect.andThen(Effect.never),
  Effect.provide(Live),
  child.run
)
