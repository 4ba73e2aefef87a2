/**
 * What a store with the types of its events is: the schemas that it is defined by, and what its methods take and give.
 *
 * Types alone, and the mark of a definition. `typed` makes values of them, and `EventStore.make` is where users meet both.
 */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { EventStoreError } from "../EventStoreError.ts"
import type { NewEvent, RecordedEvent } from "../RecordedEvent.ts"
import type { Delivery, Options } from "../Subscription.ts"
import type { AppendOptions, Direction, EventStore, ReadOptions } from "./eventStore.ts"

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
