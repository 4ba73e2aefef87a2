/**
 * Subscriptions: the events of a store as they come, from some place in its history on.
 *
 * A transient subscription lives with the scope of its stream and leaves nothing behind. A persistent one has a name: how far
 * it is, its checkpoint, is kept in the store, and moves over the events that were acknowledged, without gap and never back.
 * At any time one process has it; the others wait, and go on when that one ends. Each event is delivered at least once.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { EventStoreError } from "./EventStoreError.ts"
import type { RecordedEvent } from "./RecordedEvent.ts"
import * as Selector from "./Selector.ts"

/**
 * Where a subscription starts: with the first event, with what comes from now on, or with the event of this number. For one
 * stream that is the number in the stream, for everything else the global position.
 *
 * @since 0.1.0
 * @category models
 */
export type StartFrom = "origin" | "current" | number

/**
 * Which events, from where on, and how they are delivered.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Which events: all of them by default. */
  readonly selector?: Selector.Selector | undefined
  /**
   * The first event. By default transient subscriptions start with `"current"` and persistent ones with `"origin"`; a
   * persistent one that is there already goes on from its checkpoint, whatever is said here.
   */
  readonly startFrom?: StartFrom | undefined
  /** The name makes a subscription persistent. Two with the same name and different selectors are two. */
  readonly name?: string | undefined
  /** How many events one subscriber may have that it has not acknowledged: 100 by default. */
  readonly bufferSize?: number | undefined
  /** How many subscribers this process may have to a persistent subscription: 1 by default. */
  readonly concurrencyLimit?: number | undefined
  /** Events with the same key go to one subscriber as long as it has some of them, and so stay in their order. */
  readonly partitionBy?: ((event: RecordedEvent) => string) | undefined
  /** After how many acknowledged events the checkpoint is written: 100 by default. It is also written when there is a pause. */
  readonly checkpointThreshold?: number | undefined
  /** After how long it is written in any case: 250 milliseconds by default. */
  readonly checkpointAfter?: Duration.Input | undefined
}

/**
 * What is to become of an event that could not be handled: it is delivered again, at once or later; it is set aside with the
 * reason, and the subscription goes on; or this subscriber stops, and the event is for whoever comes next.
 *
 * @since 0.1.0
 * @category models
 */
export type Nack =
  | { readonly action: "retry"; readonly delay?: Duration.Input | undefined }
  | { readonly action: "park"; readonly reason?: string | undefined }
  | { readonly action: "stop" }

/**
 * An event on its way to a subscriber, who has to say what became of it. On a transient subscription that changes nothing.
 *
 * @since 0.1.0
 * @category models
 */
export interface Delivery<out E = RecordedEvent> {
  readonly event: E
  /** 1 for the first time in this process. An event may have been delivered before by another one. */
  readonly attempt: number
  /** The event was handled. Fails with `SubscriptionLost` when the subscription has gone to another process meanwhile. */
  readonly ack: Effect.Effect<void, EventStoreError>
  /** This event, and all that were delivered to this subscriber before it, were handled. */
  readonly ackUpTo: Effect.Effect<void, EventStoreError>
  /** The event was not handled. */
  readonly nack: (how: Nack) => Effect.Effect<void, EventStoreError>
}

/**
 * What is known of a persistent subscription.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SubscriptionInfo = Schema.Struct({
  name: Schema.String,
  selector: Selector.Selector,
  /** The last event that is done, as its number in the stream or its global position; -1 before the first. */
  position: Schema.Int,
  /** How many numbers or positions it is behind. Of these, only the selected ones will be delivered. */
  lag: Schema.Int,
  /** How many events were set aside. */
  parked: Schema.Int,
  /** Whether a living process has it now. */
  active: Schema.Boolean
})

/**
 * What is known of a persistent subscription.
 *
 * @since 0.1.0
 * @category models
 */
export type SubscriptionInfo = typeof SubscriptionInfo.Type

/**
 * How a handler's failures are dealt with.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunOptions<E> {
  /** When a failed handler is tried again, before anything after it is handled. Not at all by default. */
  readonly retry?: Schedule.Schedule<unknown, E> | undefined
  /** What happens then: the run fails with the handler's error (`"stop"`, the default), or the event is set aside. */
  readonly otherwise?: "stop" | "park" | undefined
}

/**
 * Handles deliveries one by one: acknowledges each whose handler succeeds. Runs for as long as the deliveries come.
 *
 * **Example** (A persistent subscription)
 *
 * ```ts
 * import { Effect, Schedule } from "effect"
 * import { EventStore, Selector, Subscription } from "holdfast/events"
 *
 * export const board = Effect.gen(function*() {
 *   const events = yield* EventStore.EventStore
 *   const deliveries = events.subscribe("flights", { name: "board", selector: Selector.byEventType("Departed") })
 *   return yield* Subscription.run(deliveries, (event) => Effect.log(event.data), {
 *     retry: Schedule.recurs(3),
 *     otherwise: "park"
 *   })
 * })
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const run = <Event, A, E, R>(
  deliveries: Stream.Stream<Delivery<Event>, EventStoreError>,
  handler: (event: Event, delivery: Delivery<Event>) => Effect.Effect<A, E, R>,
  options: RunOptions<E> = {}
): Effect.Effect<void, E | EventStoreError, R> =>
  Stream.runForEach(deliveries, (delivery) => {
    const handled: Effect.Effect<unknown, E, R> = Effect.suspend(() => handler(delivery.event, delivery))
    const tried = options.retry === undefined ? handled : Effect.retry(handled, options.retry)
    const acknowledged: Effect.Effect<void, E | EventStoreError, R> = Effect.andThen(tried, delivery.ack)
    if (options.otherwise !== "park") return acknowledged
    return Effect.matchEffect(tried, {
      onSuccess: () => delivery.ack,
      onFailure: (error): Effect.Effect<void, EventStoreError> =>
        delivery.nack({ action: "park", reason: error instanceof Error ? error.message : String(error) })
    })
  })
