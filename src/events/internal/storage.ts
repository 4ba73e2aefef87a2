/**
 * Where events are kept: the seam between what an event store promises in general (checks, encoding, subscriptions and who is
 * given what) and the place that keeps it, a database or the memory of this process.
 *
 * A storage decides each append alone and atomically, numbers what it appends, and fences the checkpoints of persistent
 * subscriptions by the token of the claim. Whatever else it does may be done twice without harm.
 */
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import type { Journal, JournalEvent } from "../../durable/DurableStorage.ts"
import type { EventStoreError, ExpectedVersion } from "../EventStoreError.ts"
import type { RecordedEvent, StreamInfo } from "../RecordedEvent.ts"
import type { Selector } from "../Selector.ts"
import type { Snapshot } from "../Snapshot.ts"
import type { StoreConfig, StoreStatus } from "../StoreConfig.ts"
import type { SubscriptionInfo } from "../Subscription.ts"
import type { Direction } from "./eventStore.ts"
import type { Signal } from "./signal.ts"

/** An event as it is stored: data and metadata as JSON text. */
export type EncodedEvent = JournalEvent

export interface Append {
  readonly eventStreamId: string
  readonly expectedVersion: ExpectedVersion
  readonly events: ReadonlyArray<EncodedEvent>
}

/** An event with its place in what a subscription goes through: numbers of one stream, or global positions. */
export interface Placed {
  readonly cursor: number
  readonly event: RecordedEvent
}

/** An event as it goes over the wire of a gateway, with its place. */
export interface PlacedText {
  readonly cursor: number
  readonly text: string
}

/** Selected events in order, and how far was looked for them. */
export interface Page {
  readonly events: ReadonlyArray<Placed>
  readonly scannedTo: number
  /** Whether there was nothing behind that when it was read. */
  readonly atEnd: boolean
}

/** The answer to a claim of a persistent subscription. */
export type Claim = Claimed | { readonly _tag: "Held" } | { readonly _tag: "Gone" }

export interface Claimed {
  readonly _tag: "Claimed"
  readonly id: number
  /** What fences the checkpoint: it goes up with each claim. */
  readonly token: number
  /** The last cursor that is done. */
  readonly position: number
}

/** What became of a checkpoint: another one has claimed the subscription, or it was removed. */
export type Checkpointed = "done" | "lost" | "gone"

export interface Parking {
  readonly cursor: number
  readonly eventId: string
  readonly attempts: number
  readonly reason: string
}

type Answer<A> = Effect.Effect<A, EventStoreError>

export interface EventStorage {
  readonly append: (store: string, append: Append) => Answer<number>
  /**
   * Begins an append, in no transaction of the caller's, and tells once what came of it. What is given back stops waiting for that.
   * For those who have many appends, and need no fiber for each. `undefined`: not now, `append` it.
   */
  readonly beginAppend?: (
    store: string,
    append: Append,
    settle: (exit: Exit.Exit<number, EventStoreError>) => void
  ) => (() => void) | undefined
  /**
   * The store as the storages of durable servers know it, for appends that are committed with a handler's step. `undefined`: the
   * caller has a transaction of its own open, and appends in that.
   */
  readonly journal: (store: string) => Answer<Journal | undefined>
  readonly link: (
    store: string,
    eventStreamId: string,
    eventIds: ReadonlyArray<string>,
    expectedVersion: ExpectedVersion
  ) => Answer<number>
  readonly deleteStream: (
    store: string,
    eventStreamId: string,
    expectedVersion: ExpectedVersion,
    hard: boolean
  ) => Answer<void>

  /** Fails where the stream is not there or was deleted; `$all` always is. */
  readonly read: (
    store: string,
    eventStreamId: string,
    start: number,
    count: number,
    direction: Direction
  ) => Answer<ReadonlyArray<RecordedEvent>>
  /** The same as `read`, without making values of what is text: where a storage has it so. */
  readonly readText?: (
    store: string,
    eventStreamId: string,
    start: number,
    count: number,
    direction: Direction
  ) => Answer<ReadonlyArray<PlacedText>>
  readonly streamInfo: (store: string, eventStreamId: string) => Answer<StreamInfo | undefined>
  readonly streams: (store: string, after: string, limit: number) => Answer<ReadonlyArray<StreamInfo>>

  /** What a subscription is given: selected events after a cursor. */
  readonly scan: (store: string, selector: Selector, after: number, limit: number) => Answer<Page>
  /** The last cursor there is for a selector. */
  readonly head: (store: string, selector: Selector) => Answer<number>
  /** Changes when there may be new events in a store. */
  readonly eventsOf: (store: string) => Signal
  /** Changes when subscriptions of a store may have become free, or may be gone. */
  readonly ownersOf: (store: string) => Signal

  readonly save: (store: string, name: string, selector: Selector, position: number) => Answer<void>
  /** Whether there was one. */
  readonly remove: (store: string, name: string, selector: Selector | undefined) => Answer<boolean>
  readonly subscriptions: (store: string) => Answer<ReadonlyArray<SubscriptionInfo>>
  readonly claim: (store: string, name: string, selector: Selector) => Answer<Claim>
  readonly checkpoint: (store: string, claim: Claimed, position: number) => Answer<Checkpointed>
  readonly park: (store: string, claim: Claimed, parking: Parking) => Answer<Checkpointed>
  readonly release: (store: string, claim: Claimed) => Answer<void>

  readonly recordSnapshot: (
    store: string,
    sourceId: string,
    eventStreamId: string,
    version: number,
    record: string
  ) => Answer<void>
  /** The latest first. */
  readonly snapshots: (store: string, wanted: SnapshotQuery) => Answer<ReadonlyArray<Snapshot>>
  /** Whether there was one. */
  readonly deleteSnapshot: (
    store: string,
    sourceId: string,
    eventStreamId: string,
    version: number
  ) => Answer<boolean>

  /** Whether it was made now. */
  readonly createStore: (store: string, config: StoreConfig) => Answer<boolean>
  /** Whether there was one. */
  readonly removeStore: (store: string, purge: boolean) => Answer<boolean>
  readonly stores: Answer<ReadonlyArray<string>>
  readonly storeStatus: (store: string) => Answer<StoreStatus>
  readonly storeConfig: (store: string) => Answer<StoreConfig>
}

export interface SnapshotQuery {
  readonly sourceId: string | undefined
  readonly eventStreamId: string | undefined
  readonly version: number | undefined
  readonly limit: number | undefined
}

/** JSON as it is stored. */
export type Json = Schema.Json
