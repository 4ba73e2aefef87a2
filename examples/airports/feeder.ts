/**
 * The feeder: a process that sends each flight to its two airports. It has no handlers, so every message goes into the
 * line of its airport, and a cast that has resolved is on disk. It tells on standard output how many have.
 */
import { Console, Effect, Schedule } from "effect"
import process from "node:process"
import { Airport } from "./Airport.ts"
import * as child from "./child.ts"
import { AccessConfig, layerNode } from "./database.ts"
import * as flights from "./flights.ts"

const [name = "feeder", file = flights.defaultFile, concurrency = "512"] = process.argv.slice(2)

const feed = Effect.gen(function*() {
  const input = yield* flights.read(file)
  const airport = yield* Airport.client()
  let sent = 0
  const tell = Effect.suspend(() => Console.log(sent))

  yield* Effect.forkChild(Effect.repeat(tell, Schedule.spaced("50 millis")), { startImmediately: true })
  yield* Effect.forEach(input.flights, ({ date, delay, destination, distance, id, origin }) =>
    Effect.gen(function*() {
      const leg = { flight: id, delay, distance }
      yield* airport(origin).cast.Departed({ ...leg, date, destination })
      sent++
      yield* airport(destination).cast.Arrived(leg)
      sent++
    }), { concurrency: Number(concurrency), discard: true })
  yield* tell
})

AccessConfig.pipe(
  Effect.flatMap((access) => Effect.provide(feed, layerNode(name, access))),
  child.run
)
