/**
 * The service `EventStore` over any storage: checks what is asked, encodes what is given, pages what is read.
 */
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CurrentTransition, Staging } from "../../durable/CurrentTransition.ts"
import { openTransition } from "../../durable/internal/sending.ts"
import { traced } from "../../member/internal/tracing.ts"
import {
  AlreadyExists,
  DuplicateEvent,
  EventStoreError,
  type ExpectedVersion,
  InvalidArgument,
  SnapshotNotFound,
  StoreElsewhere,
  StoreNotFound,
  StreamDeleted,
  StreamNotFound,
  SubscriptionNotFound,
  WrongExpectedVersion
} from "../EventStoreError.ts"
import { all, type NewEvent, type RecordedEvent, type StreamInfo } from "../RecordedEvent.ts"
import * as Selector from "../Selector.ts"
import type { StoreConfig } from "../StoreConfig.ts"
import {
  checkCount,
  checkEventId,
  checkExpectedVersion,
  checkName,
  checkNewStore,
  checkReadable,
  checkSelector,
  checkStore,
  checkStream,
  encodeEvents,
  encodeJson,
  failure
} from "./checks.ts"
import type { Direction, EventStore, ReadOptions } from "./eventStore.ts"
import type { Append, EventStorage } from "./storage.ts"
import { checking, make as makeSubscribing } from "./subscribing.ts"

type Service = EventStore["Service"]

/** How many events are read at once where nothing else is said, and at most. */
const defaultBatch = 1000
const maxCount = 100_000

/** What a snapshot is named by, as far as it is. */
const checkingSnapshot = (store: string, sourceId?: string, eventStreamId?: string, version?: number) =>
  checking(
    checkStore(store),
    sourceId === undefined ? undefined : checkName("sourceId", sourceId),
    eventStreamId === undefined ? undefined : checkStream(eventStreamId),
    version === undefined ? undefined : checkCount("version", version, 0)
  )

/** Random bytes, drawn many at once: each draw costs about as much as an append. */
const randomBytes = (): (size: number) => Uint8Array => {
  const drawn = new Uint8Array(4096)
  let used = drawn.length
  return (size) => {
    if (size > drawn.length) return globalThis.crypto.getRandomValues(new Uint8Array(size))
    if (used + size > drawn.length) {
      globalThis.crypto.getRandomValues(drawn)
      used = 0
    }
    used += size
    return drawn.slice(used - size, used)
  }
}

/** The first id that is there twice. */
const repeated = (ids: Iterable<string>): string | undefined => {
  const seen = new Set<string>()
  for (const id of ids) {
    if (seen.has(id)) return id
    seen.add(id)
  }
  return undefined
}

/** Whether a stream of this version, -1 where there is none, is where it is expected. */
export const isExpected = (expected: ExpectedVersion, version: number): boolean => {
  switch (expected) {
    case "any":
      return true
    case "noStream":
      return version === -1
    case "streamExists":
      return version >= 0
    default:
      return version === expected
  }
}

/** What a handler is told of an append that is committed with its step. */
const staged = (
  store: string,
  { eventStreamId, expectedVersion }: Append,
  staging: Staging,
  { key, kind }: CurrentTransition["Service"]
): Effect.Effect<number, EventStoreError> => {
  switch (staging._tag) {
    case "Staged":
      return Effect.succeed(staging.version ?? Number.NaN)
    case "Elsewhere":
      return Effect.fail(failure(new StoreElsewhere({ store, eventStreamId, kind, key })))
    case "NoStore":
      return Effect.fail(failure(new StoreNotFound({ store })))
    case "Deleted":
      return Effect.fail(failure(new StreamDeleted({ store, eventStreamId })))
    case "WrongVersion":
      return Effect.fail(failure(
        new WrongExpectedVersion({ store, eventStreamId, expectedVersion, currentVersion: staging.version })
      ))
    case "Known": {
      const { eventId, version } = staging
      const place = version < 0 ? {} : { eventNumber: version }
      return Effect.fail(failure(
        new DuplicateEvent({ store, eventStreamId: staging.eventStreamId, eventId, ...place })
      ))
    }
  }
}

export const make = (storage: EventStorage, pollMillis: number, scope: Scope.Scope): Service => {
  const subscribing = makeSubscribing(storage, pollMillis, scope)
  const random = SecureRandom.make(randomBytes())

  const span = (name: string, store: string, eventStreamId?: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    traced(effect, `EventStore.${name}`, "client", () => ({
      "holdfast.store": store,
      ...(eventStreamId === undefined ? {} : { "holdfast.stream": eventStreamId })
    }))

  // ---------------------------------------------------------------------------------------------- appending

  /** Ids in the order of time, for events that have none. */
  const newIds = (count: number): Effect.Effect<ReadonlyArray<string>> =>
    count === 1
      ? Effect.map(random.uuidV7(), (id) => [id])
      : Effect.forEach(Array.from({ length: count }), () => random.uuidV7())

  /** What an append of nothing answers: where the stream is, if that is where it is expected. */
  const current = Effect.fnUntraced(function*(store: string, eventStreamId: string, expectedVersion: ExpectedVersion) {
    const stream = yield* storage.streamInfo(store, eventStreamId)
    if (stream?.deleted === true) return yield* failure(new StreamDeleted({ store, eventStreamId }))
    const currentVersion = stream?.version ?? -1
    return isExpected(expectedVersion, currentVersion)
      ? currentVersion
      : yield* failure(new WrongExpectedVersion({ store, eventStreamId, expectedVersion, currentVersion }))
  })

  /** In a handler, whose step it is to be committed with. */
  const stage = Effect.fnUntraced(function*(store: string, append: Append, transition: CurrentTransition["Service"]) {
    const journal = yield* storage.journal(store)
    const staging = journal === undefined ? undefined : transition.append({ journal, ...append })
    // Where the handler has ended meanwhile, what it left running is on its own.
    return yield* staging === undefined ? storage.append(store, append) : staged(store, append, staging, transition)
  })

  /** Appends are many: no generator, and no step more than there has to be. */
  const appendEvents = (
    store: string,
    eventStreamId: string,
    events: ReadonlyArray<NewEvent>,
    expectedVersion: ExpectedVersion
  ): Effect.Effect<number, EventStoreError> =>
    Effect.withFiber((fiber) => {
      const refused = checkStore(store) ?? checkStream(eventStreamId) ?? checkExpectedVersion(expectedVersion)
      if (refused !== undefined) return Effect.fail(refused)
      if (events.length === 0) return current(store, eventStreamId, expectedVersion)
      const missing = events.reduce((sum, { eventId }) => eventId === undefined ? sum + 1 : sum, 0)
      return Effect.flatMap(newIds(missing), (ids) => {
        let used = 0
        const encoded = encodeEvents(store, eventStreamId, events, () => ids[used++] ?? "")
        if (encoded instanceof EventStoreError) return Effect.fail(encoded)
        const twice = encoded.length > 1 ? repeated(encoded.map(({ id }) => id)) : undefined
        if (twice !== undefined) {
          return Effect.fail(failure(new DuplicateEvent({ store, eventStreamId, eventId: twice })))
        }
        const append = { eventStreamId, expectedVersion, events: encoded }
        const transition = openTransition(fiber)
        return transition === undefined ? storage.append(store, append) : stage(store, append, transition)
      })
    })

  // ---------------------------------------------------------------------------------------------- reading

  const paged = (
    store: string,
    eventStreamId: string,
    direction: Direction,
    { batchSize = defaultBatch, from }: ReadOptions = {}
  ): Stream.Stream<RecordedEvent, EventStoreError> => {
    const step = direction === "forward" ? 1 : -1
    const read = (start: number) =>
      Effect.gen(function*() {
        yield* checking(
          checkStore(store),
          checkReadable(eventStreamId),
          checkCount("from", start, 0),
          checkCount("batchSize", batchSize, 1)
        )
        const events = yield* storage.read(store, eventStreamId, start, Math.min(batchSize, maxCount), direction)
        const last = events.at(-1)
        if (last === undefined || events.length < batchSize) return [events, Option.none<number>()] as const
        const place = eventStreamId === all ? last.globalPosition : last.link?.eventNumber ?? last.eventNumber
        return [events, place + step < 0 ? Option.none<number>() : Option.some(place + step)] as const
      })
    return Stream.paginate(from ?? (direction === "forward" ? 0 : Number.MAX_SAFE_INTEGER), read)
  }

  const streamInfo = Effect.fn("EventStore.streamInfo")(function*(store: string, eventStreamId: string) {
    yield* checking(checkStore(store), checkStream(eventStreamId))
    const info = yield* storage.streamInfo(store, eventStreamId)
    return info ?? (yield* failure(new StreamNotFound({ store, eventStreamId })))
  })

  const getVersion = Effect.fnUntraced(function*(store: string, eventStreamId: string) {
    yield* checking(checkStore(store), checkReadable(eventStreamId))
    return eventStreamId === all
      ? yield* storage.head(store, Selector.all)
      : yield* current(store, eventStreamId, "any")
  })

  // ---------------------------------------------------------------------------------------------- the service

  const service: Service = {
    appendEvents: (store, eventStreamId, events, options) =>
      span("appendEvents", store, eventStreamId)(
        appendEvents(store, eventStreamId, events, options?.expectedVersion ?? "any")
      ),
    linkToStream: Effect.fn("EventStore.linkToStream")(function*(store, eventStreamId, eventIds, options) {
      const expectedVersion = options?.expectedVersion ?? "any"
      yield* checking(
        checkStore(store),
        checkStream(eventStreamId),
        checkExpectedVersion(expectedVersion),
        ...eventIds.map(checkEventId)
      )
      if (eventIds.length === 0) return yield* current(store, eventStreamId, expectedVersion)
      const ids = eventIds.map((id) => id.toLowerCase())
      const twice = repeated(ids)
      if (twice !== undefined) return yield* failure(new DuplicateEvent({ store, eventStreamId, eventId: twice }))
      return yield* storage.link(store, eventStreamId, ids, expectedVersion)
    }),
    deleteStream: Effect.fn("EventStore.deleteStream")(function*(store, eventStreamId, options) {
      const expectedVersion = options?.expectedVersion ?? "any"
      yield* checking(checkStore(store), checkStream(eventStreamId), checkExpectedVersion(expectedVersion))
      yield* storage.deleteStream(store, eventStreamId, expectedVersion, options?.hard === true)
    }),

    getEvents: (store, eventStreamId, start, count, direction = "forward") =>
      Effect.gen(function*() {
        yield* checking(
          checkStore(store),
          checkReadable(eventStreamId),
          checkCount("start", start, 0),
          checkCount("count", count, 1),
          count > maxCount
            ? failure(new InvalidArgument({ field: "count", issue: `Expected at most ${maxCount}` }))
            : undefined
        )
        return yield* storage.read(store, eventStreamId, start, count, direction)
      }).pipe(span("getEvents", store, eventStreamId)),
    getVersion: (store, eventStreamId) => span("getVersion", store, eventStreamId)(getVersion(store, eventStreamId)),
    getStreams: Effect.fn("EventStore.getStreams")(
      function*(store, options): Effect.fn.Return<ReadonlyArray<StreamInfo>, EventStoreError> {
        const { after = "", limit = defaultBatch } = options ?? {}
        yield* checking(
          checkStore(store),
          checkCount("limit", limit, 1),
          after === "" ? undefined : checkName("after", after)
        )
        return yield* storage.streams(store, after, Math.min(limit, maxCount))
      }
    ),
    streamInfo,
    streamForward: (store, eventStreamId, options) => paged(store, eventStreamId, "forward", options),
    streamBackward: (store, eventStreamId, options) => paged(store, eventStreamId, "backward", options),
    readAll: (store, options) => paged(store, all, options?.direction ?? "forward", options),

    subscribe: subscribing.subscribe,
    saveSubscription: subscribing.save,
    removeSubscription: Effect.fn("EventStore.removeSubscription")(function*(store, name, selector) {
      yield* checking(
        checkStore(store),
        checkName("name", name),
        selector === undefined ? undefined : checkSelector(selector)
      )
      if (yield* storage.remove(store, name, selector)) return
      return yield* failure(new SubscriptionNotFound({ store, name }))
    }),
    getSubscriptions: Effect.fn("EventStore.getSubscriptions")(function*(store) {
      yield* checking(checkStore(store))
      return yield* storage.subscriptions(store)
    }),
    ackEvent: (store, name, event) => subscribing.acknowledge(store, name, event.eventId),

    recordSnapshot: Effect.fn("EventStore.recordSnapshot")(
      function*(store, sourceId, eventStreamId, version, record: Schema.Json) {
        const encoded = encodeJson("record", record)
        yield* checking(
          checkStore(store),
          checkName("sourceId", sourceId),
          checkStream(eventStreamId),
          checkCount("version", version, 0),
          encoded.ok ? undefined : failure(new InvalidArgument({ field: "record", issue: encoded.issue }))
        )
        if (encoded.ok) yield* storage.recordSnapshot(store, sourceId, eventStreamId, version, encoded.value)
      }
    ),
    readSnapshot: Effect.fn("EventStore.readSnapshot")(function*(store, sourceId, eventStreamId, version) {
      yield* checkingSnapshot(store, sourceId, eventStreamId, version)
      const [found] = yield* storage.snapshots(store, { sourceId, eventStreamId, version, limit: 1 })
      if (found !== undefined) return found
      return yield* failure(
        new SnapshotNotFound({ store, sourceId, eventStreamId, ...(version === undefined ? {} : { version }) })
      )
    }),
    listSnapshots: Effect.fn("EventStore.listSnapshots")(function*(store, sourceId, eventStreamId) {
      yield* checkingSnapshot(store, sourceId, eventStreamId)
      return yield* storage.snapshots(store, { sourceId, eventStreamId, version: undefined, limit: undefined })
    }),
    deleteSnapshot: Effect.fn("EventStore.deleteSnapshot")(function*(store, sourceId, eventStreamId, version) {
      yield* checkingSnapshot(store, sourceId, eventStreamId, version)
      if (yield* storage.deleteSnapshot(store, sourceId, eventStreamId, version)) return
      return yield* failure(new SnapshotNotFound({ store, sourceId, eventStreamId, version }))
    }),

    createStore: Effect.fn("EventStore.createStore")(function*(store: string, config: StoreConfig = {}) {
      yield* checking(checkNewStore(store))
      if (!(yield* storage.createStore(store, config))) return yield* failure(new AlreadyExists({ store }))
    }),
    removeStore: Effect.fn("EventStore.removeStore")(function*(store, options) {
      yield* checking(checkStore(store))
      if (yield* storage.removeStore(store, options?.purge === true)) return
      return yield* failure(new StoreNotFound({ store }))
    }),
    listStores: storage.stores,
    getStoreStatus: Effect.fn("EventStore.getStoreStatus")(function*(store) {
      yield* checking(checkStore(store))
      return yield* storage.storeStatus(store)
    }),
    getStoreConfig: Effect.fn("EventStore.getStoreConfig")(function*(store) {
      yield* checking(checkStore(store))
      return yield* storage.storeConfig(store)
    })
  }
  storages.set(service, storage)
  return service
}

const storages = new WeakMap<Service, EventStorage>()

/** What a service of this library stands on. The gateway serves it. */
export const storageOf = (service: Service): EventStorage | undefined => storages.get(service)
