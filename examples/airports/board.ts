/**
 * A live departures board: flights are appended to an event store as they depart, each to the stream of its airport, and the
 * board shows them by a persistent subscription. Run it twice: what was shown is not shown again, and a flight that is known
 * does not depart a second time. `node --conditions=holdfast-source examples/airports/board.ts [flights]`
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Fiber, Layer, Schema, Stream } from "effect"
import { EventStore, PostgresEventStore } from "holdfast/events"
import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"
import { createHash } from "node:crypto"
import process from "node:process"
import * as flights from "./flights.ts"

const Departed = Schema.TaggedStruct("Departed", {
  date: Schema.String,
  destination: Schema.String,
  delay: Schema.Int
})

class Departures extends EventStore.make("departures", { events: [Departed] }) {}

/** An id that the same flight has in every run: the store tells whether it has departed already. */
const idOf = (flight: string): string =>
  createHash("sha256").update(flight).digest("hex")
    .replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/, "$1-$2-8$3-8$4-$5")

const depart = Effect.fnUntraced(function*({ date, delay, destination, id, origin }: flights.Flight) {
  const departures = yield* Departures.client()
  const event = EventStore.envelope(Departed.make({ date, destination, delay }), { eventId: idOf(id) })
  yield* departures.appendEvents(origin, [event]).pipe(
    Effect.catchReason("EventStoreError", "DuplicateEvent", () => Effect.void)
  )
})

const program = Effect.gen(function*() {
  const wanted = Number(process.argv[2] ?? 200)
  const schedule = (yield* flights.read(flights.defaultFile)).flights.slice(0, wanted)
  const departures = yield* Departures.client()
  const known = yield* departures.getVersion("$all")

  const departing = yield* Effect.forkChild(Effect.forEach(schedule, depart, { concurrency: 8, discard: true }))

  let shown = 0
  const board = departures.subscribe({ name: "board" }).pipe(
    Stream.tap(({ ack, event: { data: { date, delay, destination }, eventStreamId } }) => {
      const late = delay > 0 ? `${delay} min late` : delay < 0 ? `${-delay} min early` : "on time"
      shown++
      return Effect.andThen(Console.log(`${date}  ${eventStreamId} → ${destination}  ${late}`), ack)
    }),
    // It shows flights for as long as it runs; here, until the last one of the schedule has departed.
    Stream.takeUntil(({ event }) => event.globalPosition === wanted - 1),
    Stream.runDrain
  )
  if (known < wanted - 1) yield* board
  yield* Fiber.join(departing)
  yield* Console.log(`${shown} departures shown, ${(yield* departures.getVersion("$all")) + 1} in the store`)
})

const Live = Departures.layer.pipe(
  Layer.provideMerge(PostgresEventStore.layer),
  Layer.provide(EmbeddedPostgres.layerClient),
  Layer.provide(EmbeddedPostgres.layerOrUrl({ dataDirectory: ".tmp/board" }))
)

NodeRuntime.runMain(Effect.provide(program, Layer.merge(Live, NodeServices.layer)))
