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
 * **Example** (A store with two kinds of events)
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { EventStore, MemoryEventStore } from "holdfast/events"
 *
 * const Departed = Schema.TaggedStruct("Departed", { delay: Schema.Int })
 * const Landed = Schema.TaggedStruct("Landed", { runway: Schema.String })
 *
 * class Flights extends EventStore.make("flights", { events: [Departed, Landed] }) {}
 *
 * const program = Effect.gen(function*() {
 *   const flights = yield* Flights.client()
 *   yield* flights.appendEvents("AS 123", [Departed.make({ delay: 4 })], { expectedVersion: "noStream" })
 *   const [first] = yield* flights.getEvents("AS 123", 0, 10)
 *   return first?.eventType === "Departed" ? first.data.delay : 0
 * })
 *
 * export const delay = Effect.provide(program, Flights.layer.pipe(Layer.provideMerge(MemoryEventStore.layer)))
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { EventStoreError, ExpectedVersion } from "./EventStoreError.ts"
import { compile, facade } from "./internal/typed.ts"
import type { Metadata, NewEvent, RecordedEvent, StreamInfo } from "./RecordedEvent.ts"
import type { Selector } from "./Selector.ts"
import type { Snapshot } from "./Snapshot.ts"
import type { StoreConfig, StoreStatus } from "./StoreConfig.ts"
import type { Delivery, Options, SubscriptionInfo } from "./Subscription.ts"

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

// ------------------------------------------------------------------------------------------------ typed stores

/**
 * The runtime type identifier of definitions.
 *
 * @since 0.1.0
 * @category type IDs
 */
export const TypeId: TypeId = "~holdfast/events/EventStore"

/**
 * The type-level identifier of definitions.
 *
 * @since 0.1.0
 * @category type IDs
 */
export type TypeId = "~holdfast/events/EventStore"

/**
 * The schema of a type of events: a `Schema.TaggedStruct` or `Schema.TaggedClass`, whose tag is the event type, and which
 * encodes and decodes without services.
 *
 * @since 0.1.0
 * @category models
 */
export type EventSchema = Schema.Top & {
  readonly DecodingServices: never
  readonly EncodingServices: never
  readonly Type: { readonly _tag: string }
  readonly fields: { readonly _tag: { readonly schema: { readonly literal: unknown } } }
}

/**
 * An event as it was stored, before it is decoded.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredEvent {
  readonly eventType: string
  readonly data: Schema.Json
}

/**
 * Makes the present form of an event out of an earlier one, by the type under which it was stored. It is called for every
 * event of that type, so it has to know which form it is given.
 *
 * @since 0.1.0
 * @category models
 */
export type Upcast = (event: StoredEvent, recorded: RecordedEvent) => StoredEvent

/**
 * The definition of a store. Made by `make`; extend it to give it a name of its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Definition<in out Id extends string, in out Events extends EventSchema> {
  new(_: never): {}
  readonly [TypeId]: typeof TypeId
  /** The id under which it is kept. Renaming it loses it. */
  readonly id: Id
  readonly events: ReadonlyArray<Events>
  readonly "~Event": Events

  /** The store, with the types of its events. It has to be there: `layer` makes it. */
  client<Self extends Any>(this: Self): Effect.Effect<Store<Self>, never, EventStore>

  /** Makes the store where it is not there. */
  readonly layer: Layer.Layer<never, EventStoreError, EventStore>
}

/**
 * Any definition.
 *
 * @since 0.1.0
 * @category models
 */
export interface Any {
  readonly [TypeId]: typeof TypeId
  readonly id: string
  readonly events: ReadonlyArray<EventSchema>
  readonly "~Event": EventSchema
}

/**
 * The events of a store, decoded.
 *
 * @since 0.1.0
 * @category utility types
 */
export type EventOf<Self extends Any> = Self["~Event"]["Type"]

/**
 * An event with what is recorded beside it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Envelope<out E> extends Omit<NewEvent, "data" | "eventType"> {
  readonly event: E
}

/**
 * A recorded event with its data decoded: `eventType` tells which it is.
 *
 * @since 0.1.0
 * @category models
 */
export type Recorded<E> = E extends { readonly _tag: infer Tag }
  ? Omit<RecordedEvent, "data" | "eventType"> & { readonly eventType: Tag; readonly data: E }
  : never

/**
 * What a typed subscription is about: by default all events of the types that the definition knows. At most one of
 * `eventType`, `eventStreamId` and `selector` may be said.
 *
 * @since 0.1.0
 * @category models
 */
export interface SubscribeOptions<Tag> extends Options {
  readonly eventType?: Tag | ReadonlyArray<Tag> | undefined
  readonly eventStreamId?: string | undefined
}

/**
 * A store, with the types of its events.
 *
 * @since 0.1.0
 * @category models
 */
export interface Store<Self extends Any> {
  readonly id: Self["id"]
  /** See `EventStore.appendEvents`. What a schema refuses is `InvalidEvent`. */
  readonly appendEvents: (
    eventStreamId: string,
    events: ReadonlyArray<EventOf<Self> | Envelope<EventOf<Self>>>,
    options?: AppendOptions
  ) => Effect.Effect<number, EventStoreError>
  /** See `EventStore.getEvents`. What does not decode is `EventUndecodable`. */
  readonly getEvents: (
    eventStreamId: string,
    start: number,
    count: number,
    direction?: Direction
  ) => Effect.Effect<ReadonlyArray<Recorded<EventOf<Self>>>, EventStoreError>
  readonly getVersion: (eventStreamId: string) => Effect.Effect<number, EventStoreError>
  readonly streamForward: (
    eventStreamId: string,
    options?: ReadOptions
  ) => Stream.Stream<Recorded<EventOf<Self>>, EventStoreError>
  readonly streamBackward: (
    eventStreamId: string,
    options?: ReadOptions
  ) => Stream.Stream<Recorded<EventOf<Self>>, EventStoreError>
  readonly readAll: (
    options?: ReadOptions & { readonly direction?: Direction | undefined }
  ) => Stream.Stream<Recorded<EventOf<Self>>, EventStoreError>
  /** See `EventStore.subscribe`. */
  readonly subscribe: <const Tag extends EventOf<Self>["_tag"] = EventOf<Self>["_tag"]>(
    options?: SubscribeOptions<Tag>
  ) => Stream.Stream<Delivery<Recorded<Extract<EventOf<Self>, { readonly _tag: Tag }>>>, EventStoreError>
  /** Decodes an event of this store that was read without its types, in a transactional handler for instance. */
  readonly decode: (event: RecordedEvent) => Effect.Effect<Recorded<EventOf<Self>>, EventStoreError>
}

/**
 * An event with an id or with metadata of its own.
 *
 * **Example** (Correlated events)
 *
 * ```ts
 * import { EventStore } from "holdfast/events"
 *
 * declare const departed: { readonly _tag: "Departed"; readonly delay: number }
 *
 * export const event = EventStore.envelope(departed, { metadata: { correlationId: "booking 7", user: "ada" } })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const envelope = <E>(
  event: E,
  options: { readonly eventId?: string | undefined; readonly metadata?: Metadata | undefined }
): Envelope<E> => ({ ...options, event })

/**
 * Defines a store: its id, and the schemas of its events. `upcast` has a function for each type of events that was stored in
 * another form, or under another name, than it has now.
 *
 * **Example** (An event that was renamed)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { EventStore } from "holdfast/events"
 *
 * export class Flights extends EventStore.make("flights", {
 *   events: [Schema.TaggedStruct("Departed", { delayMinutes: Schema.Int })],
 *   upcast: { TookOff: ({ data }) => ({ eventType: "Departed", data: { delayMinutes: Number(data) } }) }
 * }) {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <const Id extends string, const Events extends ReadonlyArray<EventSchema>>(
  id: Id,
  options: {
    readonly events: Events
    readonly config?: StoreConfig | undefined
    readonly upcast?: Readonly<Record<string, Upcast>> | undefined
  }
): Definition<Id, Events[number]> => {
  const compiled = compile(id, options.events, options.upcast ?? {})
  class EventStoreDefinition {
    static readonly [TypeId] = TypeId
    static readonly id = id
    static readonly events = options.events
    static readonly client = () => EventStore.useSync((events) => facade(events, compiled))
    static readonly layer = Layer.effectDiscard(
      EventStore.use((events) =>
        Effect.catchReason(
          events.createStore(id, options.config),
          "EventStoreError",
          "AlreadyExists",
          () => Effect.void
        )
      )
    )
  }
  // Statics are all there is to it; the phantom type has no value.
  return EventStoreDefinition as unknown as Definition<Id, Events[number]>
}
