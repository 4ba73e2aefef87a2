/**
 * Subscriptions of a process: the transient ones, each of which reads for itself, and the hubs of the persistent ones, one for
 * each name and selector that somebody here subscribes to.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { type EventStoreError, InvalidArgument, SubscriptionNotFound } from "../EventStoreError.ts"
import type { RecordedEvent } from "../RecordedEvent.ts"
import * as Selector from "../Selector.ts"
import type { Delivery, Options, StartFrom } from "../Subscription.ts"
import { checkCount, checkName, checkSelector, checkStore, failure } from "./checks.ts"
import { Hub } from "./hub.ts"
import { textOf } from "./matching.ts"
import * as metrics from "./metrics.ts"
import type { EventStorage } from "./storage.ts"

/** How many events a transient subscription reads at once. */
const transientPage = 500

class TransientDelivery implements Delivery {
  readonly attempt = 1
  readonly ack = Effect.void
  readonly ackUpTo = Effect.void

  readonly event: RecordedEvent

  constructor(event: RecordedEvent) {
    this.event = event
  }

  nack(): Effect.Effect<void> {
    return Effect.void
  }
}

const checkStart = (start: StartFrom): EventStoreError | undefined =>
  start === "origin" || start === "current" ? undefined : checkCount("startFrom", start, 0)

/** The milliseconds of a duration that is finite and not negative. */
const millisOf = (field: string, input: Duration.Input): Effect.Effect<number, EventStoreError> => {
  const millis = Option.map(Duration.fromInput(input), Duration.toMillis)
  return Option.isSome(millis) && Number.isFinite(millis.value)
    ? Effect.succeed(millis.value)
    : Effect.fail(failure(new InvalidArgument({ field, issue: "Expected a finite duration" })))
}

/** Fails with the first of these that is an error. */
export const checking = (
  ...checks: ReadonlyArray<EventStoreError | undefined>
): Effect.Effect<void, EventStoreError> => {
  const error = checks.find((check) => check !== undefined)
  return error === undefined ? Effect.void : Effect.fail(error)
}

export interface Subscribing {
  readonly subscribe: (store: string, options?: Options) => Stream.Stream<Delivery, EventStoreError>
  readonly save: (
    store: string,
    name: string,
    options?: Pick<Options, "selector" | "startFrom">
  ) => Effect.Effect<void, EventStoreError>
  readonly acknowledge: (store: string, name: string, eventId: string) => Effect.Effect<void, EventStoreError>
}

export const make = (storage: EventStorage, pollMillis: number, scope: Scope.Scope): Subscribing => {
  /** The last cursor before the first event that is wanted. */
  const beforeFirst = (
    store: string,
    selector: Selector.Selector,
    start: StartFrom
  ): Effect.Effect<number, EventStoreError> =>
    start === "current" ? storage.head(store, selector) : Effect.succeed(start === "origin" ? -1 : start - 1)

  const save = Effect.fn("EventStore.saveSubscription")(function*(
    store: string,
    name: string,
    { selector = Selector.all, startFrom = "origin" }: Pick<Options, "selector" | "startFrom"> = {}
  ) {
    yield* checking(checkStore(store), checkName("name", name), checkSelector(selector), checkStart(startFrom))
    const position = yield* beforeFirst(store, selector, startFrom)
    yield* storage.save(store, name, selector, position)
  })

  // ---------------------------------------------------------------------------------------------- transient

  const transient = (store: string, { selector = Selector.all, startFrom = "current" }: Options) =>
    Stream.unwrap(Effect.gen(function*() {
      yield* checking(checkStore(store), checkSelector(selector), checkStart(startFrom))
      const events = storage.eventsOf(store)
      let cursor = yield* beforeFirst(store, selector, startFrom)
      const next: Effect.Effect<readonly [Delivery, ...Array<Delivery>], EventStoreError> = Effect.gen(function*() {
        while (true) {
          const seen = events.count
          const page = yield* storage.scan(store, selector, cursor, transientPage)
          cursor = page.scannedTo
          metrics.count(metrics.delivered, page.events.length)
          const [first, ...rest] = page.events.map(({ event }) => new TransientDelivery(event))
          if (first !== undefined) return [first, ...rest] as const
          if (page.atEnd) yield* events.after(seen)
        }
      })
      return Stream.fromPull(Effect.succeed(next))
    }))

  // ---------------------------------------------------------------------------------------------- persistent

  const hubs = new Map<string, Hub>()
  const changing = Semaphore.makeUnsafe(1)

  const hubFor = (store: string, name: string, selector: Selector.Selector, options: Options) =>
    Effect.gen(function*() {
      const key = JSON.stringify([store, name, textOf(selector)])
      const known = hubs.get(key)
      if (known !== undefined && !known.hasEnded) return [key, known] as const
      const checkpointMillis = yield* millisOf("checkpointAfter", options.checkpointAfter ?? "250 millis")
      const hub = new Hub(storage, {
        store,
        name,
        selector,
        concurrencyLimit: options.concurrencyLimit ?? 1,
        partitionBy: options.partitionBy,
        checkpointThreshold: options.checkpointThreshold ?? 100,
        checkpointMillis: Math.max(1, checkpointMillis),
        pollMillis
      }, scope)
      hubs.set(key, hub)
      return [key, hub] as const
    })

  const persistent = (store: string, name: string, options: Options) =>
    Stream.unwrap(Effect.gen(function*() {
      const { bufferSize = 100, checkpointThreshold = 1, concurrencyLimit = 1, selector = Selector.all } = options
      yield* checking(
        checkStore(store),
        checkCount("bufferSize", bufferSize, 1),
        checkCount("concurrencyLimit", concurrencyLimit, 1),
        checkCount("checkpointThreshold", checkpointThreshold, 1)
      )
      yield* save(store, name, options)
      // One that is just being given back is claimed anew only afterwards.
      return yield* Effect.uninterruptible(changing.withPermit(Effect.gen(function*() {
        const [key, hub] = yield* hubFor(store, name, selector, options)
        yield* Effect.addFinalizer(() =>
          changing.withPermit(Effect.suspend(() => {
            if (!hub.isEmpty || hubs.get(key) !== hub) return Effect.void
            hubs.delete(key)
            return hub.close
          }))
        )
        return yield* hub.subscribe(bufferSize)
      })))
    }))

  return {
    subscribe: (store, options = {}) =>
      options.name === undefined ? transient(store, options) : persistent(store, options.name, options),
    save,
    acknowledge: (store, name, eventId) =>
      Effect.suspend(() => {
        for (const hub of hubs.values()) {
          if (hub.settings.store !== store || hub.settings.name !== name) continue
          const acknowledged = hub.acknowledge(eventId)
          if (acknowledged !== undefined) return acknowledged
        }
        return Effect.fail(failure(new SubscriptionNotFound({ store, name })))
      })
  }
}
