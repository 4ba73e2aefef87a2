/**
 * emmett: an event store on Postgres. A durable call is what its `CommandHandler` does: read the stream, fold it, decide, append
 * with the version that was read. Casts are events that a consumer's reactor handles in another process, one after the other, in
 * a transaction per batch.
 *
 * A pool of 20 connections did as well as 10 and 32 on two cores. A call's streams are short: after twenty events a server goes
 * on in a new stream, as one closes the books of a day, or reading would grow with every call. Conflicts of version are retried
 * after 1 to 10 ms and until they pass. The consumer pulls 1,000 events at a time and every 10 ms while there are more, where its
 * defaults are 100 and 50 ms; once it finds nothing more it waits longer and longer, up to a second, which cannot be set. It
 * reads in the order of transactions and goes on after the position of the last it has read: where transactions overlap, it may
 * meet an event twice, so the handler compares the position in the stream.
 */
import { CommandHandler, type Event, isExpectedVersionConflictError } from "@event-driven-io/emmett"
import { getPostgreSQLEventStore, type PostgresEventStore } from "@event-driven-io/emmett-postgresql"
import { Deferred, Effect, Queue, Redacted } from "effect"
import type pg from "pg"
import { type Case, type CastCase, type Database, pad } from "../Case.ts"
import {
  catchUpEvents,
  catchUpOf,
  data,
  deliveryOf,
  distinctStreams,
  eventType,
  readLength,
  streamOf
} from "../cases/streams.ts"
import { once } from "../load.ts"
import { addAt, create, pool, total } from "./rows.ts"

const pulling = { batchSize: 1000, pullingFrequencyInMs: 10 }

const store = Effect.fnUntraced(function*(database: Database) {
  const connectionPool = yield* pool(database, 20)
  const store = getPostgreSQLEventStore(Redacted.value(database.url), { connectionOptions: { pool: connectionPool } })
  yield* Effect.promise(() => store.schema.migrate())
  return { store, pool: connectionPool }
})

/**
 * Appends without an expected version. Two at the same time to one stream conflict all the same, and the one that lost has to be
 * done over, as its command handler does it: after 1 to 10 ms, until it passes.
 */
const append = async <E extends Event>(events: PostgresEventStore, stream: string, some: Array<E>) => {
  for (let attempt = 0;; attempt++) {
    try {
      return await events.appendToStream<E>(stream, some)
    } catch (error) {
      if (!isExpectedVersionConflictError(error)) throw error
      await new Promise((resolve) => setTimeout(resolve, Math.min(10, 1 + attempt) * Math.random()))
    }
  }
}

/** How many events there are, by its own table. */
const eventsIn = ({ observer }: Database, stream: string) =>
  Effect.orDie(Effect.map(
    observer.queryValues("select count(*)::float8 from emt_messages where stream_id like $1", [stream]),
    ([row]) => Number(row?.[0])
  ))

type Added = Event<"Added", { readonly by: number; readonly pad: string }>

export const calls: Case = {
  open: Effect.fnUntraced(function*(database, servers) {
    const { store: events } = yield* store(database)
    const handle = CommandHandler<number, Added>({
      evolve: (count, event) => count + event.data.by,
      initialState: () => 0,
      retry: { onVersionConflict: { retries: 1000, minTimeout: 1, maxTimeout: 10, factor: 1 } }
    })
    const called = new Int32Array(servers)
    const call = async (server: number) => {
      const book = Math.floor((called[server] = (called[server] ?? 0) + 1) / 20)
      const { newState } = await handle(events, `counter-${server}-${book}`, () => ({
        type: "Added",
        data: { by: 1, pad }
      }))
      return newState
    }
    return {
      operations: { call: once((server) => Effect.promise(() => call(server))) },
      stored: eventsIn(database, "counter-%")
    }
  })
}

type Note = Event<"Note", { readonly server: number; readonly sentAt: number; readonly pad: string }>

/** The connection on which a batch is handled: what is written there commits with the checkpoint. */
type Queries = Pick<pg.Client, "query">

interface Recorded {
  readonly metadata: { readonly streamPosition: bigint }
}

/** Runs a consumer with one reactor until the scope ends. */
const consume = <E extends Event>(
  events: PostgresEventStore,
  id: string,
  startFrom: "BEGINNING" | { readonly lastCheckpoint: bigint },
  eachMessage: (event: E & Recorded, transaction: Queries) => void | Promise<void>
) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const consumer = events.consumer<E>({ pulling })
      consumer.reactor<E>({
        processorId: id,
        startFrom,
        eachMessage: (event, { connection }) =>
          eachMessage(event as unknown as E & Recorded, connection.client as Queries)
      })
      const running = consumer.start()
      return { consumer, running }
    }),
    ({ consumer }) => Effect.promise(() => consumer.close())
  )

export const casts: CastCase = {
  prepare: Effect.fnUntraced(function*(database, servers) {
    yield* create(database, servers)
    yield* store(database)
  }, Effect.scoped),
  receive: Effect.fnUntraced(function*(database, _, handled) {
    const { store: events } = yield* store(database)
    yield* consume<Note>(events, "counters", "BEGINNING", async ({ data, metadata }, transaction) => {
      const { rowCount } = await transaction.query(addAt(data.server, metadata.streamPosition))
      if (rowCount === 1) handled(data.sentAt)
    })
  }),
  send: Effect.fnUntraced(function*(database) {
    const { store: events } = yield* store(database)
    return (server, sentAt) =>
      Effect.promise(() => append<Note>(events, `counter-${server}`, [{ type: "Note", data: { server, sentAt, pad } }]))
  }),
  stored: total
}

type Departed = Event<typeof eventType, typeof data>

export const events: Case = {
  open: Effect.fnUntraced(function*(database) {
    const { store: events } = yield* store(database)
    const event: Departed = { type: eventType, data }
    const many = (length: number) => Array.from({ length }, () => event)
    const appended = (stream: string, some: Array<Departed>) =>
      Effect.promise(() => append<Departed>(events, stream, some))
    const history = Math.ceil(catchUpEvents / readLength)
    for (let n = 0; n < history; n++) yield* appended(`history-${n}`, many(readLength))

    let consumers = 0
    const catchUp = catchUpOf((total) =>
      Effect.scoped(Effect.gen(function*() {
        let seen = 0
        const reached = yield* Deferred.make<void>()
        yield* consume<Departed>(events, `board ${consumers++}`, "BEGINNING", () => {
          if (++seen === total) Deferred.doneUnsafe(reached, Effect.void)
        })
        yield* Deferred.await(reached)
      }))
    )
    const delivery = deliveryOf(Effect.gen(function*() {
      const arrived = yield* Queue.unbounded<number>()
      const { lastEventGlobalPosition } = yield* appended("live-1", [event])
      yield* consume<Departed>(
        events,
        `live ${consumers++}`,
        { lastCheckpoint: lastEventGlobalPosition },
        () => {
          Queue.offerUnsafe(arrived, performance.now())
        }
      )
      return { append: appended("live-1", [event]), arrived: Queue.take(arrived), answered: 1 }
    }))
    return {
      operations: {
        append: once((_, caller, nth) => appended(`s-${streamOf({ streams: distinctStreams }, caller, nth)}`, [event])),
        hot: once(() => appended("hot-1", [event])),
        hundred: once(
          (_, caller, nth) => appended(`b-${streamOf({ streams: distinctStreams }, caller, nth)}`, many(100)),
          { adds: 100, counts: 100 }
        ),
        read: once(() => Effect.promise(() => events.readStream<Departed>("history-0")), {
          adds: 0,
          counts: readLength
        }),
        catchUp,
        delivery
      },
      stored: Effect.map(eventsIn(database, "%"), (count) => count - history * readLength)
    }
  })
}
