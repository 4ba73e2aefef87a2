/**
 * The service of event stores, without the types of their events.
 *
 * It lies apart from its two users: `EventStore` defines typed stores on top of it, and `service` makes one over any storage.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { EventStoreError, ExpectedVersion } from "../EventStoreError.ts"
import type { NewEvent, RecordedEvent, StreamInfo } from "../RecordedEvent.ts"
import type { Selector } from "../Selector.ts"
import type { Snapshot } from "../Snapshot.ts"
import type { StoreConfig, StoreStatus } from "../StoreConfig.ts"
import type { Delivery, Options, SubscriptionInfo } from "../Subscription.ts"

/**
 * A direction to read in.
 *
 * @since 0.1.0
 * @category models
 */
export type Direction = "forward" | "backward"

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
   *
   * In a handler of a durable server it is part of the handler's step: the events are there with the state, or not at all, and
   * nobody sees them before, the handler neither. The number is given where `expectedVersion` tells it, as `"noStream"` and
   * a number do; without, it is `NaN` until the commit. Where the commit finds that the events cannot be appended, the
   * handler is run again, and told here: by `WrongExpectedVersion` and the like. A handler that does not catch that has
   * failed an attempt at its message. A store that is not kept where the server is, is `StoreElsewhere`.
   */
  readonly appendEvents: (
    store: string,
    eventStreamId: string,
    events: ReadonlyArray<NewEvent>,
    options?: AppendOptions
  ) => Effect.Effect<number, EventStoreError>
  /** Puts events of other streams in a stream, without recording them again, and at once. Gives the number of the last link. */
  readonly linkToStream: (
    store: string,
    eventStreamId: string,
    eventIds: ReadonlyArray<string>,
    options?: AppendOptions
  ) => Effect.Effect<number, EventStoreError>
  /**
   * Deletes a stream, at once. Softly: it is `StreamDeleted` from then on, and its events stay in `$all`. `hard`, where the store
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
