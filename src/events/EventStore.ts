/**
 * Event stores: streams of events that are appended and never changed, in Postgres or in memory.
 *
 * A store has streams; a stream has events, numbered from 0 without gaps; and all events of a store have one order, their
 * global positions, again from 0 without gaps and in the order of commits: whoever has read position n has seen everything
 * before it. Several stores in one database know nothing of each other.
 *
 * `make` defines a store with the schemas of its events. The service `EventStore` is the same without types: every method
 * takes the id of a store, and data is JSON.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { EventStoreError, ExpectedVersion } from "./EventStoreError.ts"
import type { NewEvent, RecordedEvent, StreamInfo } from "./RecordedEvent.ts"
import type { Selector } from "./Selector.ts"
import type { Delivery, Options, SubscriptionInfo } from "./Subscription.ts"

/**
 * A direction to read in.
 *
 * @since 0.1.0
 * @category models
 */
export type Direction = "forward" | "backward"

/**
 * How a store is to be.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StoreConfig = Schema.Struct({
  /** What it is for, for people. */
  description: Schema.optionalKey(Schema.String),
  /** Whether streams may be deleted with their events. Then positions and numbers may have gaps. */
  hardDeletes: Schema.optionalKey(Schema.Boolean)
})

/**
 * How a store is to be.
 *
 * @since 0.1.0
 * @category models
 */
export type StoreConfig = typeof StoreConfig.Type

/**
 * What is known of a store.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StoreStatus = Schema.Struct({
  store: Schema.String,
  /** The position of the last event; -1 where there is none. */
  globalPosition: Schema.Int,
  /** How many streams it has, those that were deleted softly included. */
  streams: Schema.Int,
  /** How many persistent subscriptions it has. */
  subscriptions: Schema.Int,
  created: Schema.DateTimeUtc
})

/**
 * What is known of a store.
 *
 * @since 0.1.0
 * @category models
 */
export type StoreStatus = typeof StoreStatus.Type

/**
 * A state that was built from a stream up to a version, kept so that it need not be built again.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Snapshot = Schema.Struct({
  /** Who made it: a projection, an aggregate. */
  sourceId: Schema.String,
  eventStreamId: Schema.String,
  /** The number of the last event that is in it. */
  version: Schema.Int,
  record: Schema.Json,
  created: Schema.DateTimeUtc
})

/**
 * A state that was built from a stream up to a version.
 *
 * @since 0.1.0
 * @category models
 */
export type Snapshot = typeof Snapshot.Type

/**
 * How far the stream is expected to be: `"any"` by default.
 *
 * @since 0.1.0
 * @category models
 */
export interface AppendOptions {
  readonly expectedVersion?: ExpectedVersion | undefined
}

/**
 * Where reading starts, and how many events are read at once.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReadOptions {
  /** The number, or for `$all` the position, of the first event. By default the first one in the direction of reading. */
  readonly from?: number | undefined
  /** How many events are read in one go: 1,000 by default. */
  readonly batchSize?: number | undefined
}

/**
 * The event stores of a database.
 *
 * Everything fails with `EventStoreError`, whose `reason` tells what happened. A store that is not there is `StoreNotFound`,
 * one that cannot be reached `StoreUnavailable`.
 *
 * @since 0.1.0
 * @category services
 */
export class EventStore extends Context.Service<EventStore, {
  // ---------------------------------------------------------------------------------------------- appending

  /**
   * Appends events to a stream, all of them or none, and gives the number of the last. With no events it gives the number the
   * stream has, and writes nothing. Inside a transaction of the same client it is part of that transaction.
   */
  readonly appendEvents: (
    store: string,
    eventStreamId: string,
    events: ReadonlyArray<NewEvent>,
    options?: AppendOptions
  ) => Effect.Effect<number, EventStoreError>
  /** Puts events of other streams in a stream, without recording them again. Gives the number of the last link. */
  readonly linkToStream: (
    store: string,
    eventStreamId: string,
    eventIds: ReadonlyArray<string>,
    options?: AppendOptions
  ) => Effect.Effect<number, EventStoreError>
  /**
   * Deletes a stream. Softly: it is `StreamDeleted` from then on, and its events stay in `$all`. `hard`, where the store
   * allows it: its events are gone, with the links to them, and the stream may begin anew.
   */
  readonly deleteStream: (
    store: string,
    eventStreamId: string,
    options?: AppendOptions & { readonly hard?: boolean | undefined }
  ) => Effect.Effect<void, EventStoreError>

  // ---------------------------------------------------------------------------------------------- reading

  /** Up to `count` events from number `start` on, that one included. `$all` is read by global positions. */
  readonly getEvents: (
    store: string,
    eventStreamId: string,
    start: number,
    count: number,
    direction?: Direction
  ) => Effect.Effect<ReadonlyArray<RecordedEvent>, EventStoreError>
  /** The number of the stream's last event; -1 where there is no stream. For `$all`, the last global position. */
  readonly getVersion: (store: string, eventStreamId: string) => Effect.Effect<number, EventStoreError>
  /** Streams in the order of their ids, after the one that is named. 1,000 by default. */
  readonly getStreams: (
    store: string,
    options?: { readonly after?: string | undefined; readonly limit?: number | undefined }
  ) => Effect.Effect<ReadonlyArray<StreamInfo>, EventStoreError>
  readonly streamInfo: (store: string, eventStreamId: string) => Effect.Effect<StreamInfo, EventStoreError>
  /** The events of a stream from the first to the one that is last when it gets there. */
  readonly streamForward: (
    store: string,
    eventStreamId: string,
    options?: ReadOptions
  ) => Stream.Stream<RecordedEvent, EventStoreError>
  readonly streamBackward: (
    store: string,
    eventStreamId: string,
    options?: ReadOptions
  ) => Stream.Stream<RecordedEvent, EventStoreError>
  /** The events of all streams, in their global order. */
  readonly readAll: (
    store: string,
    options?: ReadOptions & { readonly direction?: Direction | undefined }
  ) => Stream.Stream<RecordedEvent, EventStoreError>

  // ---------------------------------------------------------------------------------------------- subscriptions

  /** The selected events, those recorded first and then those to come, for as long as the stream runs. */
  readonly subscribe: (store: string, options?: Options) => Stream.Stream<Delivery, EventStoreError>
  /** Makes a persistent subscription, where there is none of that name and selector, without taking anything from it. */
  readonly saveSubscription: (
    store: string,
    name: string,
    options?: Pick<Options, "selector" | "startFrom">
  ) => Effect.Effect<void, EventStoreError>
  /** Forgets a persistent subscription. Whoever has it stops at once. */
  readonly removeSubscription: (
    store: string,
    name: string,
    selector?: Selector
  ) => Effect.Effect<void, EventStoreError>
  readonly getSubscriptions: (store: string) => Effect.Effect<ReadonlyArray<SubscriptionInfo>, EventStoreError>
  /** Acknowledges an event that this process was given by the subscription of that name: as `ack` of its delivery. */
  readonly ackEvent: (
    store: string,
    name: string,
    event: Pick<RecordedEvent, "eventId">
  ) => Effect.Effect<void, EventStoreError>

  // ---------------------------------------------------------------------------------------------- snapshots

  /** Keeps a snapshot, in place of the one of the same source, stream and version. */
  readonly recordSnapshot: (
    store: string,
    sourceId: string,
    eventStreamId: string,
    version: number,
    record: Schema.Json
  ) => Effect.Effect<void, EventStoreError>
  /** The snapshot of a version, or the latest. */
  readonly readSnapshot: (
    store: string,
    sourceId: string,
    eventStreamId: string,
    version?: number
  ) => Effect.Effect<Snapshot, EventStoreError>
  /** Snapshots by source, stream and version: all of them, those of a source, or those of a source for a stream. */
  readonly listSnapshots: (
    store: string,
    sourceId?: string,
    eventStreamId?: string
  ) => Effect.Effect<ReadonlyArray<Snapshot>, EventStoreError>
  readonly deleteSnapshot: (
    store: string,
    sourceId: string,
    eventStreamId: string,
    version: number
  ) => Effect.Effect<void, EventStoreError>

  // ---------------------------------------------------------------------------------------------- stores

  /** Makes a store: 1 to 40 small letters, digits and `_`, a letter first. One that was removed comes back as it was left. */
  readonly createStore: (store: string, config?: StoreConfig) => Effect.Effect<void, EventStoreError>
  /** Removes a store: nobody finds it any more, and its data is kept; or with `purge`, is gone. */
  readonly removeStore: (
    store: string,
    options?: { readonly purge?: boolean | undefined }
  ) => Effect.Effect<void, EventStoreError>
  readonly listStores: Effect.Effect<ReadonlyArray<string>, EventStoreError>
  readonly getStoreStatus: (store: string) => Effect.Effect<StoreStatus, EventStoreError>
  readonly getStoreConfig: (store: string) => Effect.Effect<StoreConfig, EventStoreError>
}>()("holdfast/events/EventStore") {}
