/**
 * Event stores in the memory of this process: for tests, and for programs that need nothing kept. They promise what those in
 * Postgres promise, but for the disk, and work under `TestClock`: nothing in them waits for a clock to make progress.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { AppendRefusal } from "../durable/DurableStorage.ts"
import { MemoryJournal } from "../durable/internal/journals.ts"
import { EventStore } from "./EventStore.ts"
import {
  DuplicateEvent,
  EventNotFound,
  EventStoreError,
  type ExpectedVersion,
  HardDeletesDisabled,
  StoreNotFound,
  StreamDeleted,
  StreamNotFound,
  WrongExpectedVersion
} from "./EventStoreError.ts"
import { failure } from "./internal/checks.ts"
import { matches, streamOf, textOf } from "./internal/matching.ts"
import { isExpected, make as makeService } from "./internal/service.ts"
import { Signal } from "./internal/signal.ts"
import type { Append, EncodedEvent, EventStorage, Placed } from "./internal/storage.ts"
import { all, type Metadata, type RecordedEvent, type StreamInfo } from "./RecordedEvent.ts"
import type { Selector } from "./Selector.ts"
import type { Snapshot } from "./Snapshot.ts"
import type { StoreConfig } from "./StoreConfig.ts"

interface Stream {
  readonly created: DateTime.Utc
  deleted: boolean
  /** Its events by number; those that came by a link are marked. A hard deletion leaves holes where links were. */
  readonly entries: Array<RecordedEvent | undefined>
}

interface Subscription {
  readonly id: number
  readonly name: string
  readonly selector: Selector
  position: number
  token: number
  held: boolean
  readonly parked: Map<number, { readonly attempts: number; readonly reason: string }>
}

interface Store {
  readonly id: string
  readonly config: StoreConfig
  readonly created: DateTime.Utc
  removed: boolean
  /** By global position. A hard deletion leaves holes. */
  readonly events: Array<RecordedEvent | undefined>
  readonly byId: Map<string, RecordedEvent>
  readonly streams: Map<string, Stream>
  readonly subscriptions: Map<string, Subscription>
  readonly snapshots: Map<string, Snapshot>
}

const key = (...parts: ReadonlyArray<string | number>): string => JSON.stringify(parts)

const isError = (defect: unknown): defect is EventStoreError => defect instanceof EventStoreError

const isThere = <A>(value: A | undefined): value is A => value !== undefined

const makeStorage = (clock: Clock.Clock): EventStorage => {
  const stores = new Map<string, Store>()
  const eventSignals = new Map<string, Signal>()
  const ownerSignals = new Map<string, Signal>()
  let lastId = 0

  const signalIn = (signals: Map<string, Signal>) => (store: string): Signal => {
    const known = signals.get(store) ?? new Signal()
    signals.set(store, known)
    return known
  }
  const eventsOf = signalIn(eventSignals)
  const ownersOf = signalIn(ownerSignals)
  const now = () => DateTime.makeUnsafe(clock.currentTimeMillisUnsafe())

  /** Does something in one go with a store that is there. */
  const within = <A>(id: string, f: (store: Store) => A) =>
    Effect.sync(() => {
      const store = stores.get(id)
      if (store === undefined || store.removed) throw failure(new StoreNotFound({ store: id }))
      return f(store)
    }).pipe(Effect.catchDefect((defect) => isError(defect) ? Effect.fail(defect) : Effect.die(defect)))

  /** The stream, if it is where it is expected; `undefined` where there is none. */
  const expecting = (store: Store, eventStreamId: string, expectedVersion: ExpectedVersion): Stream | undefined => {
    const stream = store.streams.get(eventStreamId)
    if (stream?.deleted === true) throw failure(new StreamDeleted({ store: store.id, eventStreamId }))
    const currentVersion = (stream?.entries.length ?? 0) - 1
    if (isExpected(expectedVersion, currentVersion)) return stream
    throw failure(new WrongExpectedVersion({ store: store.id, eventStreamId, expectedVersion, currentVersion }))
  }

  const madeStream = (store: Store, eventStreamId: string): Stream => {
    const stream = store.streams.get(eventStreamId) ?? { created: now(), deleted: false, entries: [] }
    store.streams.set(eventStreamId, stream)
    return stream
  }

  const record = (store: Store, eventStreamId: string, stream: Stream, event: EncodedEvent): void => {
    const created = now()
    const recorded: RecordedEvent = {
      eventStreamId,
      eventNumber: stream.entries.length,
      globalPosition: store.events.length,
      eventId: event.id,
      eventType: event.type,
      data: JSON.parse(event.data),
      metadata: event.metadata === null ? {} : JSON.parse(event.metadata) as Metadata,
      dataContentType: event.dataContentType ?? "application/json",
      metadataContentType: event.metadataContentType ?? "application/json",
      created,
      createdEpoch: DateTime.toEpochMillis(created) * 1000
    }
    stream.entries.push(recorded)
    store.events.push(recorded)
    store.byId.set(event.id, recorded)
  }

  const entriesOf = (store: Store, eventStreamId: string): ReadonlyArray<RecordedEvent | undefined> =>
    eventStreamId === all ? store.events : store.streams.get(eventStreamId)?.entries ?? []

  const infoOf = (eventStreamId: string, { created, deleted, entries }: Stream): StreamInfo => ({
    eventStreamId,
    version: entries.length - 1,
    created,
    deleted
  })

  const subscriptionOf = (store: Store, id: number): Subscription | undefined =>
    Array.from(store.subscriptions.values()).find((subscription) => subscription.id === id)

  /** What a holder does under its claim. */
  const underClaim = (
    id: string,
    claim: { readonly id: number; readonly token: number },
    f: (held: Subscription) => void
  ) =>
    within(id, (store) => {
      const subscription = subscriptionOf(store, claim.id)
      if (subscription === undefined) return "gone" as const
      if (subscription.token !== claim.token) return "lost" as const
      f(subscription)
      return "done" as const
    })

  const knownOf = (store: Store, events: ReadonlyArray<EncodedEvent>): RecordedEvent | undefined =>
    events.map(({ id }) => store.byId.get(id)).find(isThere)

  const append = (store: Store, { eventStreamId, events }: Append): Stream => {
    const stream = madeStream(store, eventStreamId)
    for (const event of events) record(store, eventStreamId, stream, event)
    return stream
  }

  /** Why a step of a durable server cannot append this, as things stand. */
  const refusalOf = (
    store: Store | undefined,
    { eventStreamId, events, expectedVersion }: Append
  ): AppendRefusal | undefined => {
    if (store === undefined || store.removed) return { _tag: "NoStore" }
    const stream = store.streams.get(eventStreamId)
    if (stream?.deleted === true) return { _tag: "Deleted" }
    const version = (stream?.entries.length ?? 0) - 1
    if (!isExpected(expectedVersion, version)) return { _tag: "WrongVersion", version }
    const known = knownOf(store, events)
    return known === undefined ? undefined : {
      _tag: "Known",
      eventId: known.eventId,
      eventStreamId: known.eventStreamId,
      version: known.eventNumber
    }
  }

  const journals = new Map<string, MemoryJournal>()
  const journalOf = (id: string): MemoryJournal => {
    const known = journals.get(id)
    if (known !== undefined) return known
    const made = new MemoryJournal({
      store: id,
      refusal: (append) => refusalOf(stores.get(id), append),
      write: (staged) => {
        const store = stores.get(id)
        if (store !== undefined) append(store, staged)
      },
      appended: () => eventsOf(id).changed()
    })
    journals.set(id, made)
    return made
  }

  return {
    append: (id, wanted) =>
      within(id, (store) => {
        const { eventStreamId, events, expectedVersion } = wanted
        expecting(store, eventStreamId, expectedVersion)
        const known = knownOf(store, events)
        if (known !== undefined) {
          const { eventId, eventNumber, eventStreamId } = known
          throw failure(new DuplicateEvent({ store: id, eventStreamId, eventId, eventNumber }))
        }
        const stream = append(store, wanted)
        eventsOf(id).changed()
        return stream.entries.length - 1
      }),
    journal: (id) => within(id, () => journalOf(id)),
    link: (id, eventStreamId, eventIds, expectedVersion) =>
      within(id, (store) => {
        const entries = expecting(store, eventStreamId, expectedVersion)?.entries ?? []
        const events = eventIds.map((eventId) => {
          const event = store.byId.get(eventId)
          if (event === undefined) throw failure(new EventNotFound({ store: id, eventId }))
          const eventNumber = entries.findIndex((entry) => entry?.eventId === eventId)
          if (eventNumber < 0) return event
          throw failure(new DuplicateEvent({ store: id, eventStreamId, eventId, eventNumber }))
        })
        const stream = madeStream(store, eventStreamId)
        for (const event of events) {
          stream.entries.push({ ...event, link: { eventStreamId, eventNumber: stream.entries.length } })
        }
        eventsOf(id).changed()
        return stream.entries.length - 1
      }),
    deleteStream: (id, eventStreamId, expectedVersion, hard) =>
      within(id, (store) => {
        if (hard && store.config.hardDeletes !== true) {
          throw failure(new HardDeletesDisabled({ store: id, eventStreamId }))
        }
        const known = store.streams.get(eventStreamId)
        const stream = hard && known?.deleted === true ? known : expecting(store, eventStreamId, expectedVersion)
        if (stream === undefined) throw failure(new StreamNotFound({ store: id, eventStreamId }))
        if (!hard) {
          stream.deleted = true
          return
        }
        store.streams.delete(eventStreamId)
        for (const event of stream.entries.filter(isThere)) {
          if (event.link !== undefined) continue
          store.events[event.globalPosition] = undefined
          store.byId.delete(event.eventId)
          for (const { entries } of store.streams.values()) {
            const index = entries.findIndex((entry) => entry?.eventId === event.eventId)
            if (index >= 0) entries[index] = undefined
          }
        }
      }),

    read: (id, eventStreamId, start, count, direction) =>
      within(id, (store) => {
        if (eventStreamId !== all && expecting(store, eventStreamId, "any") === undefined) {
          throw failure(new StreamNotFound({ store: id, eventStreamId }))
        }
        const entries = entriesOf(store, eventStreamId)
        return direction === "forward"
          ? entries.slice(start).filter(isThere).slice(0, count)
          : entries.slice(0, start + 1).filter(isThere).reverse().slice(0, count)
      }),
    streamInfo: (id, eventStreamId) =>
      within(id, (store) => {
        const stream = store.streams.get(eventStreamId)
        return stream === undefined ? undefined : infoOf(eventStreamId, stream)
      }),
    streams: (id, after, limit) =>
      within(id, (store) =>
        Array.from(store.streams, ([eventStreamId, stream]) => infoOf(eventStreamId, stream))
          .filter(({ eventStreamId }) => eventStreamId > after)
          .sort((a, b) => a.eventStreamId < b.eventStreamId ? -1 : 1)
          .slice(0, limit)),

    scan: (id, selector, after, limit) =>
      within(id, (store) => {
        const entries = entriesOf(store, streamOf(selector) ?? all)
        const events: Array<Placed> = []
        let cursor = after
        while (cursor + 1 < entries.length && events.length < limit) {
          const event = entries[++cursor]
          if (event !== undefined && matches(selector, event)) events.push({ cursor, event })
        }
        return { events, scannedTo: cursor, atEnd: cursor + 1 >= entries.length }
      }),
    head: (id, selector) => within(id, (store) => entriesOf(store, streamOf(selector) ?? all).length - 1),
    eventsOf,
    ownersOf,

    save: (id, name, selector, position) =>
      within(id, (store) => {
        const at = key(name, textOf(selector))
        if (store.subscriptions.has(at)) return
        const parked = new Map<number, { readonly attempts: number; readonly reason: string }>()
        store.subscriptions.set(at, { id: ++lastId, name, selector, position, token: 0, held: false, parked })
      }),
    remove: (id, name, selector) =>
      within(id, (store) => {
        const found = Array.from(store.subscriptions).filter(([, subscription]) =>
          subscription.name === name && (selector === undefined || textOf(subscription.selector) === textOf(selector))
        )
        for (const [at] of found) store.subscriptions.delete(at)
        ownersOf(id).changed()
        return found.length > 0
      }),
    subscriptions: (id) =>
      within(id, (store) =>
        Array.from(store.subscriptions.values(), ({ held, name, parked, position, selector }) => ({
          name,
          selector,
          position,
          lag: Math.max(0, entriesOf(store, streamOf(selector) ?? all).length - 1 - position),
          parked: parked.size,
          active: held
        }))),
    claim: (id, name, selector) =>
      within(id, (store) => {
        const found = store.subscriptions.get(key(name, textOf(selector)))
        if (found === undefined) return { _tag: "Gone" } as const
        if (found.held) return { _tag: "Held" } as const
        found.held = true
        return { _tag: "Claimed", id: found.id, token: ++found.token, position: found.position } as const
      }),
    checkpoint: (id, claim, position) =>
      underClaim(id, claim, (held) => {
        held.position = Math.max(held.position, position)
      }),
    park: (id, claim, { attempts, cursor, reason }) =>
      underClaim(id, claim, ({ parked }) => {
        parked.set(cursor, { attempts, reason })
      }),
    release: (id, claim) =>
      Effect.asVoid(underClaim(id, claim, (held) => {
        held.held = false
        ownersOf(id).changed()
      })),

    recordSnapshot: (id, sourceId, eventStreamId, version, text) =>
      within(id, (store) => {
        const snapshot = { sourceId, eventStreamId, version, record: JSON.parse(text), created: now() }
        store.snapshots.set(key(sourceId, eventStreamId, version), snapshot)
      }),
    snapshots: (id, { eventStreamId, limit, sourceId, version }) =>
      within(id, (store) =>
        Array.from(store.snapshots.values())
          .filter((one) =>
            (sourceId === undefined || one.sourceId === sourceId) &&
            (eventStreamId === undefined || one.eventStreamId === eventStreamId) &&
            (version === undefined || one.version === version)
          )
          .sort((a, b) =>
            a.sourceId < b.sourceId ? -1 : a.sourceId > b.sourceId ?
              1
              : a.eventStreamId < b.eventStreamId ?
              -1 :
              a.eventStreamId > b.eventStreamId ?
              1
              : b.version - a.version
          )
          .slice(0, limit)),
    deleteSnapshot: (id, sourceId, eventStreamId, version) =>
      within(id, (store) => store.snapshots.delete(key(sourceId, eventStreamId, version))),

    createStore: (id, config) =>
      Effect.sync(() => {
        const known = stores.get(id)
        if (known !== undefined && !known.removed) return false
        if (known !== undefined) known.removed = false
        else {
          stores.set(id, {
            id,
            config,
            created: now(),
            removed: false,
            events: [],
            byId: new Map(),
            streams: new Map(),
            subscriptions: new Map(),
            snapshots: new Map()
          })
        }
        return true
      }),
    removeStore: (id, purge) =>
      Effect.sync(() => {
        const store = stores.get(id)
        if (store === undefined || (store.removed && !purge)) return false
        store.removed = true
        if (purge) stores.delete(id)
        eventsOf(id).changed()
        ownersOf(id).changed()
        return true
      }),
    stores: Effect.sync(() => Array.from(stores.values()).filter(({ removed }) => !removed).map(({ id }) => id).sort()),
    storeStatus: (id) =>
      within(id, ({ created, events, streams, subscriptions }) => ({
        store: id,
        globalPosition: events.length - 1,
        streams: streams.size,
        subscriptions: subscriptions.size,
        created
      })),
    storeConfig: (id) => within(id, ({ config }) => config)
  }
}

/**
 * Event stores in memory, new and empty with each build.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<EventStore> = Layer.effect(
  EventStore,
  Effect.gen(function*() {
    const scope: Scope.Scope = yield* Effect.scope
    return makeService(makeStorage(yield* Clock.Clock), 1000, scope)
  })
)
