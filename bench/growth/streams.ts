/** What appending to a stream and reading its end cost by its length. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer } from "effect"
import { data, eventType } from "../cases/streams.ts"
import * as Database from "../database.ts"
import { EventStore, PostgresEventStore } from "../holdfast.ts"
import { compare, type Series, tens } from "./Series.ts"

const store = "bench"
const event = { eventType, data }

const points = (
  operation: (
    events: EventStore.EventStore["Service"],
    stream: string,
    length: number
  ) => Effect.Effect<unknown, unknown>
): Series["points"] =>
  Effect.fnUntraced(function*(pace, onProgress) {
    const { url } = yield* Database.make()
    const context = yield* Layer.build(
      Layer.fresh(Layer.provide(PostgresEventStore.layer, PgClient.layer({ url, maxConnections: 4 })))
    )
    const events = yield* Effect.provide(EventStore.EventStore, context)
    yield* events.createStore(store)
    yield* events.appendEvents(store, "short", Array.from({ length: 100 }, () => event))
    let length = 0
    return yield* Effect.forEach(
      tens(100, 1_000_000, pace.most),
      Effect.fnUntraced(function*(size) {
        onProgress(size.toLocaleString("en-US"))
        while (length < size) {
          const some = Math.min(1000, size - length)
          yield* events.appendEvents(store, "long", Array.from({ length: some }, () => event))
          length += some
        }
        return yield* compare(size, operation(events, "long", size), operation(events, "short", 100), pace)
      })
    )
  })

export const streams: ReadonlyArray<Series> = [
  {
    name: "stream, append",
    title: "an append of one event, by the length of its stream",
    unit: "events",
    points: points((events, stream) => events.appendEvents(store, stream, [event]))
  },
  {
    name: "stream, read",
    title: "reading the last hundred events, by the length of their stream",
    unit: "events",
    points: points((events, stream, length) => events.getEvents(store, stream, length - 100, 100))
  }
]
