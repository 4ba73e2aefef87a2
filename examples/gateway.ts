/**
 * A worker of the event gateway, and a client that has nothing of the database but a token. They are one program here, so that it
 * runs by itself; apart from the token and the address, neither knows of the other.
 */
import { Console, Effect, Layer, Redacted, Stream } from "effect"
import { EventGateway, EventStore, GatewayToken, GatewayWorkers, PostgresEventStore } from "holdfast/events"
import * as GatewayWorker from "holdfast/events/GatewayWorker"
import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"

const key: GatewayToken.Key = { id: "example", secret: Redacted.make("holdfast gateway token --new-key prints one") }

/** Beside the database. */
const Worker = GatewayWorker.layer({ port: 0, keys: [key] }).pipe(
  Layer.provideMerge(PostgresEventStore.layer),
  Layer.provide(GatewayWorkers.layerPostgres),
  Layer.provide(EmbeddedPostgres.layerClient),
  Layer.provide(EmbeddedPostgres.layerOrUrl())
)

/** Somewhere else: any program that works on an `EventStore`. */
const client = Effect.gen(function*() {
  const events = yield* EventStore.EventStore
  yield* events.appendEvents("flights", "AS 123", [{ eventType: "Departed", data: 4 }])
  yield* events.appendEvents("flights", "AS 456", [{ eventType: "Departed", data: 0 }])
  yield* events.subscribe("flights", { name: "board" }).pipe(
    Stream.take(2),
    Stream.runForEach(({ ack, event }) =>
      Effect.andThen(Console.log(`${event.eventStreamId} left ${event.data} minutes late`), ack)
    )
  )
  yield* events.removeStore("flights").pipe(Effect.catch(({ message }) => Console.log(message)))
})

const program = Effect.gen(function*() {
  yield* EventStore.EventStore.use((events) => events.createStore("flights"))
  const { url } = yield* GatewayWorker.GatewayWorker
  const token = yield* GatewayToken.issue(key, {
    client: "board",
    grants: [{ store: "flights", rights: ["append", "subscribe"] }],
    lifetime: "1 hour"
  })
  yield* Effect.provide(client, EventGateway.layer({ workers: [url], token }))
})

await Effect.runPromise(Effect.provide(program, Worker))
