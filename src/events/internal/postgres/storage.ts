/**
 * Event stores in Postgres: the storage.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import { PostgresJournal } from "../../../durable/internal/journals.ts"
import { isOpaque, texts, uuids } from "../../../member/internal/parameters.ts"
import type * as Member from "../../../member/Member.ts"
import type { Direction } from "../../EventStore.ts"
import { type EventStoreError, HardDeletesDisabled, StreamDeleted, StreamNotFound } from "../../EventStoreError.ts"
import { all } from "../../RecordedEvent.ts"
import type { Selector } from "../../Selector.ts"
import type { Snapshot } from "../../Snapshot.ts"
import type { StoreConfig } from "../../StoreConfig.ts"
import { failure } from "../checks.ts"
import { matches, streamOf } from "../matching.ts"
import * as metrics from "../metrics.ts"
import type { Append, EventStorage, Placed } from "../storage.ts"
import { answersOf } from "./answers.ts"
import * as committing from "./committer.ts"
import { deleteStatement, linkStatement, schemaOf, type Verdict } from "./groups.ts"
import { dateOf, int8, placedOf, type Row, streamInfoOf, text, textOf } from "./parameters.ts"
import * as reading from "./reader.ts"
import * as signalling from "./signals.ts"
import { isInTransaction, stage } from "./staging.ts"
import { subscriptionsOf } from "./subscriptions.ts"

/** How many events a scan with a filter looks at in one go. */
const scanWindow = 20_000

/** A filter in the form of the statement's parameters. What jsonb does not take is not compared in the database. */
const filterOf = (selector: Selector): ReadonlyArray<unknown> => {
  const jsonb = (value: unknown) => {
    const json = value === undefined ? undefined : JSON.stringify(value)
    return text(json === undefined || isOpaque(json) ? undefined : json)
  }
  const pattern = selector._tag === "byEventPattern" ? selector.pattern : {}
  const types = selector._tag === "byEventType"
    ? selector.eventTypes
    : pattern.eventType === undefined
    ? undefined
    : [pattern.eventType]
  return [
    types === undefined ? PgTypes.text(null) : texts(types),
    text(pattern.eventStreamId),
    text(pattern.eventId),
    pattern.eventNumber === undefined ? PgTypes.int8(null) : int8(pattern.eventNumber),
    text(pattern.dataContentType),
    text(pattern.metadataContentType),
    jsonb(selector._tag === "byEventPayload" ? selector.payload : pattern.data),
    jsonb(pattern.metadata)
  ]
}

export const make = Effect.fnUntraced(function*(options: {
  readonly client: PgClient.PgClient
  readonly engine: Member.Engine
  /** Why nothing gets through at the moment, where that is so. */
  readonly trouble: () => string | undefined
  readonly timeoutMillis: number
  readonly pollMillis: number
  readonly leaseMillis: number
}): Effect.fn.Return<EventStorage, SqlError, Scope.Scope> {
  const { client, engine, leaseMillis, pollMillis, timeoutMillis, trouble } = options
  const scope = yield* Effect.scope
  const reader = reading.make({ engine, timeoutMillis, trouble }, scope)

  const signals = yield* signalling.make({ engine, reader, pollMillis })
  const committer = yield* committing.make({
    engine,
    trouble,
    clock: yield* Clock.Clock,
    timeoutMillis,
    waitMillis: Math.max(1, Math.min(1000, Math.floor(leaseMillis / 4))),
    appended: (store) => signals.tell("events", store)
  })

  // ---------------------------------------------------------------------------------------------- appending

  const decided = answersOf(reader)

  /** Where an event is: for an append that was done, and whose answer was lost. */
  const versionOf = (store: string, eventId: string) =>
    Effect.map(
      reader.call(store, "appendEvents", "version", "versions_of($1)", [uuids([eventId])]),
      ([row]) => Number(row?.[0])
    )

  const versionFrom = (
    store: string,
    { eventStreamId, events, expectedVersion }: Append,
    verdict: Verdict
  ): Effect.Effect<number, EventStoreError> =>
    Effect.flatMap(
      decided(store, eventStreamId, expectedVersion, verdict),
      (version) => version === undefined ? versionOf(store, events.at(-1)?.id ?? "") : Effect.succeed(version)
    )

  const versionNow = (store: string, eventStreamId: string) =>
    Effect.map(
      reader.call(store, "linkToStream", "version", "stream($1)", [text(eventStreamId)]),
      ([row]) => Number(row?.[0])
    )

  const opened = new Set<string>()
  /** Once in this process: a role that came later than the store is let in. */
  const ensureOpen = (store: string): Effect.Effect<void, EventStoreError> =>
    opened.has(store)
      ? Effect.void
      : Effect.map(reader.open(store), () => {
        opened.add(store)
      })

  const journals = new Map<string, PostgresJournal>()
  const journalOf = (store: string): PostgresJournal => {
    const known = journals.get(store)
    if (known !== undefined) return known
    const appended = (events: number) => {
      metrics.count(metrics.appended, events)
      signals.tell("events", store)
    }
    const made = new PostgresJournal({ store, client, schema: schemaOf(store), appended })
    journals.set(store, made)
    return made
  }

  const page = (rows: ReadonlyArray<Row>, at: number, streamId?: string): ReadonlyArray<Placed> =>
    rows.flatMap((row) => placedOf(row, at, streamId) ?? [])

  const read = (store: string, eventStreamId: string, start: number, count: number, direction: Direction) =>
    Effect.gen(function*() {
      const isAll = eventStreamId === all
      const name = isAll ? `read_all_${direction}($1, $2)` : `read_${direction}($1, $2, $3)`
      const params = [int8(start), int8(count)]
      const rows = yield* reader.call(store, "getEvents", "*", name, isAll ? params : [text(eventStreamId), ...params])
      const state = rows[0]?.[0]
      if (isAll || state === "there") return rows
      return yield* failure(
        state === "deleted"
          ? new StreamDeleted({ store, eventStreamId })
          : new StreamNotFound({ store, eventStreamId })
      )
    })

  const snapshotOf = ([source, stream, version, record, created]: Row): Snapshot => ({
    sourceId: String(source),
    eventStreamId: String(stream),
    version: Number(version),
    record: JSON.parse(String(record)),
    created: dateOf(created)
  })

  const context = yield* Effect.context<never>()
  const begin = (
    store: string,
    append: Append,
    settle: (exit: Exit.Exit<number, EventStoreError>) => void
  ): () => void => {
    let stop = committer.append(store, append, (verdict) => {
      if (Exit.isFailure(verdict)) return settle(Exit.failCause(verdict.cause))
      if (verdict.value._tag === "Done" && verdict.value.version !== undefined) {
        return settle(Exit.succeed(verdict.value.version))
      }
      const fiber = Effect.runForkWith(context)(versionFrom(store, append, verdict.value))
      fiber.addObserver(settle)
      stop = () => fiber.interruptUnsafe()
    })
    return () => stop()
  }
  const append = (store: string, append: Append) =>
    Effect.callback<number, EventStoreError>((resume) => Effect.sync(begin(store, append, resume)))

  return {
    append: (store, events) =>
      Effect.withFiber((fiber) => {
        if (isInTransaction(client, fiber)) {
          return ensureOpen(store).pipe(
            Effect.andThen(stage(client, store, events, Effect.sync(() => signals.tell("events", store)))),
            Effect.flatMap((verdict) => versionFrom(store, events, verdict))
          )
        }
        return opened.has(store) ? append(store, events) : Effect.andThen(ensureOpen(store), append(store, events))
      }),
    beginAppend: (store, append, settle) => opened.has(store) ? begin(store, append, settle) : undefined,
    journal: (store) =>
      Effect.withFiber((fiber) =>
        Effect.map(ensureOpen(store), () => isInTransaction(client, fiber) ? undefined : journalOf(store))
      ),
    link: (store, eventStreamId, eventIds, expectedVersion) =>
      Effect.gen(function*() {
        yield* ensureOpen(store)
        const part = { eventStreamId, expectedVersion, eventIds }
        const verdict = yield* committer.commit(store, linkStatement(store), part)
        const version = yield* decided(store, eventStreamId, expectedVersion, verdict)
        signals.tell("events", store)
        return version ?? (yield* versionNow(store, eventStreamId))
      }),
    deleteStream: (store, eventStreamId, expectedVersion, hard) =>
      Effect.gen(function*() {
        const config = yield* reader.open(store)
        if (hard && (JSON.parse(config) as StoreConfig).hardDeletes !== true) {
          return yield* failure(new HardDeletesDisabled({ store, eventStreamId }))
        }
        const part = { eventStreamId, expectedVersion, hard }
        const verdict = yield* committer.commit(store, deleteStatement(store), part)
        yield* decided(store, eventStreamId, expectedVersion, verdict)
      }),

    read: (store, eventStreamId, start, count, direction) =>
      Effect.map(
        read(store, eventStreamId, start, count, direction),
        (rows) => page(rows, eventStreamId === all ? 0 : 1, eventStreamId).map(({ event }) => event)
      ),
    readText: (store, eventStreamId, start, count, direction) =>
      Effect.map(
        read(store, eventStreamId, start, count, direction),
        (rows) => rows.flatMap((row) => textOf(row, eventStreamId === all ? 0 : 1, eventStreamId) ?? [])
      ),
    streamInfo: (store, eventStreamId) =>
      Effect.map(
        reader.call(store, "streamInfo", "*", "stream($1)", [text(eventStreamId)]),
        ([row]) => row === undefined ? undefined : streamInfoOf(row)
      ),
    streams: (store, after, limit) =>
      Effect.map(
        reader.call(store, "getStreams", "*", "streams($1, $2)", [text(after), int8(limit)]),
        (rows) => rows.map(streamInfoOf)
      ),

    scan: (store, selector, after, limit) => {
      const stream = streamOf(selector)
      if (stream !== undefined) {
        const params = [text(stream), int8(after + 1), int8(limit)]
        return Effect.map(reader.call(store, "subscribe", "*", "read_forward($1, $2, $3)", params), (rows) => {
          const events = page(rows, 1, stream)
          return { events, scannedTo: events.at(-1)?.cursor ?? after, atEnd: events.length < limit }
        })
      }
      const params = [int8(after), int8(scanWindow), int8(limit), ...filterOf(selector)]
      const call = "scan($1, $2, $3, $4::text[], $5, $6::text::uuid, $7, $8, $9, $10::text::jsonb, $11::text::jsonb)"
      return Effect.map(reader.call(store, "subscribe", "*", call, params), (rows) => {
        const head = Number(rows[0]?.[0] ?? -1)
        const found = page(rows, 1)
        const end = Math.min(head, after + scanWindow)
        const scannedTo = found.length < limit ? Math.max(after, end) : found.at(-1)?.cursor ?? after
        return {
          events: found.filter(({ event }) => matches(selector, event)),
          scannedTo,
          atEnd: scannedTo >= head
        }
      })
    },
    head: (store, selector) =>
      Effect.map(
        reader.call(store, "head", "head", "head($1)", [text(streamOf(selector))]),
        ([row]) => Number(row?.[0])
      ),
    eventsOf: signals.eventsOf,
    ownersOf: signals.ownersOf,

    ...subscriptionsOf({ engine, reader, changed: (store) => signals.tell("subscriptions", store) }),

    recordSnapshot: (store, sourceId, eventStreamId, version, record) =>
      Effect.asVoid(
        reader.call(store, "recordSnapshot", "*", "record_snapshot($1, $2, $3, $4)", [
          text(sourceId),
          text(eventStreamId),
          int8(version),
          text(record)
        ])
      ),
    snapshots: (store, { eventStreamId, limit, sourceId, version }) =>
      Effect.map(
        reader.call(store, "readSnapshot", "*", "snapshots($1, $2, $3, $4)", [
          text(sourceId),
          text(eventStreamId),
          version === undefined ? PgTypes.int8(null) : int8(version),
          limit === undefined ? PgTypes.int8(null) : int8(limit)
        ]),
        (rows) => rows.map(snapshotOf)
      ),
    deleteSnapshot: (store, sourceId, eventStreamId, version) =>
      Effect.map(
        reader.call(store, "deleteSnapshot", "*", "delete_snapshot($1, $2, $3)", [
          text(sourceId),
          text(eventStreamId),
          int8(version)
        ]),
        ([row]) => row?.[0] === true
      ),

    createStore: (store, config) =>
      Effect.map(
        reader.ask(store, "createStore", "SELECT holdfast.create_event_store($1, $2)", [
          text(store),
          text(JSON.stringify(config))
        ]),
        ([row]) => row?.[0] === true
      ),
    removeStore: (store, purge) =>
      Effect.map(
        reader.ask(store, "removeStore", "SELECT holdfast.remove_event_store($1, $2)", [text(store), purge]),
        ([row]) => {
          signals.tell("events", store)
          signals.tell("subscriptions", store)
          return row?.[0] === true
        }
      ),
    stores: Effect.map(
      reader.ask("", "listStores", "SELECT id FROM holdfast.event_store WHERE NOT removed ORDER BY id", []),
      (rows) => rows.map(([id]) => String(id))
    ),
    storeStatus: (store) =>
      Effect.gen(function*() {
        const [row] = yield* reader.call(store, "getStoreStatus", "*", "status()", [])
        const [made] = yield* reader.ask(
          store,
          "getStoreStatus",
          "SELECT created_epoch::float8 FROM holdfast.event_store WHERE id = $1",
          [text(store)]
        )
        return {
          store,
          globalPosition: Number(row?.[0]),
          streams: Number(row?.[1]),
          subscriptions: Number(row?.[2]),
          created: dateOf(made?.[0])
        }
      }),
    storeConfig: (store) => Effect.map(reader.open(store), (config) => JSON.parse(config) as StoreConfig)
  }
})
