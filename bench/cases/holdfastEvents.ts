/** Holdfast's event store through its public face. The subscriber has a client of its own, as in another process. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Queue, type Redacted, Stream } from "effect"
import type { Case } from "../Case.ts"
import { EventStore, PostgresEventStore, Selector } from "../holdfast.ts"
import { once } from "../load.ts"
import {
  catchUpEvents,
  catchUpOf,
  data,
  deliveryOf,
  distinctStreams,
  eventType,
  readLength,
  streamOf
} from "./streams.ts"

const open = (url: Redacted.Redacted) =>
  Effect.map(
    Layer.build(Layer.fresh(Layer.provide(PostgresEventStore.layer, PgClient.layer({ url, maxConnections: 4 })))),
    (context) => Effect.provide(EventStore.EventStore, context)
  ).pipe(Effect.flatten)

const event = { eventType, data }
const hundred = Array.from({ length: 100 }, () => event)

export const holdfastEvents: Case = {
  open: Effect.fnUntraced(function*({ url }) {
    const events = yield* open(url)
    const subscriber = yield* open(url)
    yield* events.createStore("bench")
    yield* events.createStore("history")
    const batch = Array.from({ length: readLength }, () => event)
    for (let n = 0; n < catchUpEvents; n += readLength) yield* events.appendEvents("history", `h${n}`, batch)

    let subscriptions = 0
    const append = (stream: string, some: ReadonlyArray<typeof event>) =>
      Effect.orDie(events.appendEvents("bench", stream, some))
    return {
      operations: {
        append: once((_, caller, nth) => append(`s${streamOf({ streams: distinctStreams }, caller, nth)}`, [event])),
        hot: once(() => append("hot", [event])),
        hundred: once((_, caller, nth) => append(`b${streamOf({ streams: distinctStreams }, caller, nth)}`, hundred), {
          adds: 100,
          counts: 100
        }),
        read: once(() => Effect.orDie(events.getEvents("history", "h0", 0, readLength)), {
          adds: 0,
          counts: readLength
        }),
        catchUp: catchUpOf((total) => {
          let seen = 0
          const name = `board ${subscriptions++}`
          return subscriber.subscribe("history", { name, bufferSize: 2000, checkpointThreshold: 5000 }).pipe(
            Stream.chunks,
            Stream.takeUntil((deliveries) => (seen += deliveries.length) >= total),
            Stream.runForEach((deliveries) => deliveries.at(-1)?.ackUpTo ?? Effect.void),
            Effect.orDie
          )
        }),
        delivery: deliveryOf(Effect.gen(function*() {
          const arrived = yield* Queue.unbounded<number>()
          const stream = `live ${subscriptions++}`
          yield* subscriber.subscribe("bench", { selector: Selector.byStream(stream), startFrom: "origin" }).pipe(
            Stream.runForEach(() => Queue.offer(arrived, performance.now())),
            Effect.orDie,
            Effect.forkScoped
          )
          return { append: append(stream, [event]), arrived: Queue.take(arrived), answered: 0 }
        }))
      },
      stored: Effect.orDie(Effect.map(events.getStoreStatus("bench"), ({ globalPosition }) => globalPosition + 1))
    }
  }, Effect.orDie)
}
