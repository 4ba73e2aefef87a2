/**
 * castore: its Postgres adapter, which inserts an event with the version that the caller gives, and reads them by aggregate. It
 * has no positions and no subscriptions. Its pool is that of postgres.js with ten connections, which the adapter does not let one
 * change. A version is the caller's to know, and a taken one is an error, so each caller appends to aggregates of its own; a
 * hundred events at once are its `pushEventGroup`, which is one transaction.
 */
import { EventStore } from "@castore/core"
import { PostgresEventStorageAdapter } from "@castore/event-storage-adapter-postgres"
import { Effect, Redacted } from "effect"
import type { Case } from "../Case.ts"
import { data, distinctStreams, eventType, readLength, streamOf } from "../cases/streams.ts"
import { once } from "../load.ts"

export const events: Case = {
  open: Effect.fnUntraced(function*({ observer, url }) {
    const connectionString = Redacted.value(url)
    const tableName = "castore_event"
    yield* Effect.promise(() =>
      PostgresEventStorageAdapter.createEventTable({
        connectionString,
        tableName,
        aggregateId: { type: "VARCHAR", length: 64 }
      })
    )
    const eventStorageAdapter = new PostgresEventStorageAdapter({ connectionString, tableName })
    const store = new EventStore({
      eventStoreId: "bench",
      eventTypes: [],
      reducer: (aggregate: never) => aggregate,
      eventStorageAdapter
    } as never) as unknown as EventStore

    const versions = new Map<string, number>()
    const next = (aggregateId: string) => {
      const version = (versions.get(aggregateId) ?? 0) + 1
      versions.set(aggregateId, version)
      return { aggregateId, version, type: eventType, payload: data }
    }
    const push = (aggregateId: string) =>
      Effect.promise(() => eventStorageAdapter.pushEvent(next(aggregateId), { eventStoreId: "bench" }))
    const pushMany = (aggregateId: string, length: number) =>
      Effect.promise(() => {
        const [first, ...rest] = Array.from({ length }, () => {
          const grouped = eventStorageAdapter.groupEvent(next(aggregateId))
          return Object.assign(grouped, { context: { eventStoreId: "bench" } })
        })
        if (first === undefined) throw new Error("nothing to push")
        return eventStorageAdapter.pushEventGroup({}, first, ...rest)
      })
    yield* pushMany("history", readLength)
    return {
      operations: {
        append: once((_, caller, nth) => push(`s${streamOf({ streams: distinctStreams }, caller, nth)}`)),
        hundred: once((_, caller, nth) => pushMany(`b${streamOf({ streams: distinctStreams }, caller, nth)}`, 100), {
          adds: 100,
          counts: 100
        }),
        read: once(() => Effect.promise(() => store.getEvents("history")), { adds: 0, counts: readLength })
      },
      stored: Effect.orDie(Effect.map(
        observer.queryValues(`select count(*)::float8 from ${tableName}`),
        ([row]) => Number(row?.[0]) - readLength
      ))
    }
  }, Effect.orDie)
}
