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
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { EventStore } from "./internal/eventStore.ts"
import { compile, facade } from "./internal/typed.ts"
import { type Definition, type Envelope, type EventSchema, TypeId, type Upcast } from "./internal/typedStore.ts"
import type { Metadata } from "./RecordedEvent.ts"
import type { StoreConfig } from "./StoreConfig.ts"

export {
  /**
   * @since 0.1.0
   * @category models
   */
  type AppendOptions,
  /**
   * @since 0.1.0
   * @category models
   */
  type Direction,
  /**
   * @since 0.1.0
   * @category services
   */
  EventStore,
  /**
   * @since 0.1.0
   * @category models
   */
  type ReadOptions
} from "./internal/eventStore.ts"

export {
  /**
   * @since 0.1.0
   * @category models
   */
  type Any,
  /**
   * @since 0.1.0
   * @category models
   */
  type Definition,
  /**
   * @since 0.1.0
   * @category models
   */
  type Envelope,
  /**
   * @since 0.1.0
   * @category utility types
   */
  type EventOf,
  /**
   * @since 0.1.0
   * @category models
   */
  type EventSchema,
  /**
   * @since 0.1.0
   * @category models
   */
  type Recorded,
  /**
   * @since 0.1.0
   * @category models
   */
  type Store,
  /**
   * @since 0.1.0
   * @category models
   */
  type StoredEvent,
  /**
   * @since 0.1.0
   * @category models
   */
  type SubscribeOptions,
  /**
   * @since 0.1.0
   * @category type IDs
   */
  TypeId,
  /**
   * @since 0.1.0
   * @category models
   */
  type Upcast
} from "./internal/typedStore.ts"

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
