/**
 * A persistent subscription in this process: claims it for as long as anybody here subscribes to it, reads ahead, gives events
 * out, and writes the checkpoint.
 *
 * What was claimed has a token. Every claim raises it, and a checkpoint counts only under the token that is the latest: a
 * process that was given up and does not know it yet moves nothing. When that is found out, everything that was given out is
 * void here, and the hub waits for its turn to claim again.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import {
  type EventStoreError,
  type EventStoreErrorReason,
  SubscriptionLost,
  SubscriptionNotFound,
  TooManySubscribers
} from "../EventStoreError.ts"
import type { RecordedEvent } from "../RecordedEvent.ts"
import type { Selector } from "../Selector.ts"
import type { Delivery, Nack } from "../Subscription.ts"
import { failure } from "./checks.ts"
import { Consumer } from "./consumer.ts"
import { Distribution, type Item } from "./distribution.ts"
import * as metrics from "./metrics.ts"
import { Signal } from "./signal.ts"
import type { Checkpointed, Claimed, EventStorage } from "./storage.ts"

export interface HubSettings {
  readonly store: string
  readonly name: string
  readonly selector: Selector
  readonly concurrencyLimit: number
  readonly partitionBy: ((event: RecordedEvent) => string) | undefined
  readonly checkpointThreshold: number
  readonly checkpointMillis: number
  readonly pollMillis: number
}

/** What may be otherwise the next time. */
const passing: ReadonlySet<EventStoreErrorReason["_tag"]> = new Set([
  "StoreUnavailable",
  "NoGatewayWorkers",
  "Overloaded"
])

/** How many events are read at once, at most. */
const maxPage = 1000

/** One claim, for as long as it lasts. */
class Tenure {
  readonly distribution: Distribution
  /** The position that is stored. */
  written: number
  doneAtWrite = 0

  readonly claim: Claimed

  constructor(claim: Claimed, partitionBy: HubSettings["partitionBy"]) {
    this.claim = claim

    this.distribution = new Distribution(claim.position, partitionBy)
    this.written = claim.position
  }
}

class HubDelivery implements Delivery {
  readonly #hub: Hub
  readonly #tenure: Tenure
  readonly #subscriber: Consumer
  readonly #item: Item
  readonly attempt: number

  constructor(hub: Hub, tenure: Tenure, subscriber: Consumer, item: Item, attempt: number) {
    this.#hub = hub
    this.#tenure = tenure
    this.#subscriber = subscriber
    this.#item = item
    this.attempt = attempt
  }

  get event(): RecordedEvent {
    return this.#item.event
  }

  get ack(): Effect.Effect<void, EventStoreError> {
    return Effect.suspend(() => this.#hub.finish(this.#tenure, [this.#item]))
  }

  get ackUpTo(): Effect.Effect<void, EventStoreError> {
    return Effect.suspend(() => {
      const items: Array<Item> = [this.#item]
      for (const item of this.#subscriber.current.inFlight.values()) {
        if (item.cursor <= this.#item.cursor) items.push(item)
      }
      return this.#hub.finish(this.#tenure, items)
    })
  }

  nack(how: Nack): Effect.Effect<void, EventStoreError> {
    return this.#hub.nack(this.#tenure, this.#subscriber, this.#item, how)
  }
}

export class Hub {
  readonly #consumers = new Set<Consumer>()
  #tenure: Tenure | undefined
  /** Something was taken or done: there may be room to read on, or reason to write the checkpoint. */
  readonly #progress = new Signal()
  #fiber: Fiber.Fiber<void> | undefined
  #ended: EventStoreError | undefined
  #isOver = false

  readonly #storage: EventStorage
  readonly settings: HubSettings
  readonly #scope: Scope.Scope

  constructor(storage: EventStorage, settings: HubSettings, scope: Scope.Scope) {
    this.#storage = storage
    this.settings = settings
    this.#scope = scope
  }

  get isEmpty(): boolean {
    return this.#consumers.size === 0
  }

  /** Whether it has come to an end by itself, and another one is to take its place. */
  get hasEnded(): boolean {
    return this.#isOver
  }

  // ---------------------------------------------------------------------------------------------- subscribers

  /** The deliveries of one subscriber, who is one for as long as the stream runs. */
  subscribe(bufferSize: number): Effect.Effect<Stream.Stream<Delivery, EventStoreError>, EventStoreError, Scope.Scope> {
    const { concurrencyLimit, name, store } = this.settings
    return Effect.acquireRelease(
      Effect.suspend(() => {
        if (this.#consumers.size >= concurrencyLimit) {
          return Effect.fail(failure(new TooManySubscribers({ store, name, concurrencyLimit })))
        }
        const consumer = new Consumer(bufferSize)
        this.#consumers.add(consumer)
        this.#tenure?.distribution.join(consumer.current)
        this.#progress.changed()
        const running = this.#fiber === undefined
          ? Effect.map(Effect.forkIn(this.#run, this.#scope), (fiber) => {
            this.#fiber = fiber
          })
          : Effect.void
        return Effect.as(running, consumer)
      }),
      (consumer) =>
        Effect.sync(() => {
          this.#consumers.delete(consumer)
          this.#tenure?.distribution.leave(consumer.current)
          this.#progress.changed()
        })
    ).pipe(Effect.map((consumer) => Stream.fromPull(Effect.succeed(this.#pull(consumer)))))
  }

  #pull(consumer: Consumer) {
    const take: Effect.Effect<readonly [Delivery, ...Array<Delivery>], EventStoreError | Cause.Done> = Effect.suspend(
      () => {
        const { ended } = consumer
        if (ended !== undefined) return Exit.isFailure(ended) ? Effect.failCause(ended.cause) : Cause.done()
        const tenure = this.#tenure
        if (tenure === undefined || consumer.current.outbox.length === 0) return Effect.andThen(consumer.awake, take)
        const [first, ...rest] = consumer.current.take().map((item) =>
          new HubDelivery(this, tenure, consumer, item, item.attempt)
        )
        return first === undefined ? take : Effect.succeed([first, ...rest] as const)
      }
    )
    return take
  }

  /** The item of this event that a subscriber here has. */
  acknowledge(eventId: string): Effect.Effect<void, EventStoreError> | undefined {
    const tenure = this.#tenure
    for (const { current } of this.#consumers) {
      for (const item of current.inFlight.values()) {
        if (tenure !== undefined && item.event.eventId === eventId) return this.finish(tenure, [item])
      }
    }
    return undefined
  }

  finish(tenure: Tenure, items: ReadonlyArray<Item>): Effect.Effect<void, EventStoreError> {
    if (tenure !== this.#tenure) return Effect.fail(this.#lost())
    const { distribution } = tenure
    distribution.finish(items)
    if (
      distribution.wantsMore || distribution.doneCount - tenure.doneAtWrite >= this.settings.checkpointThreshold
    ) this.#progress.changed()
    return Effect.void
  }

  nack(tenure: Tenure, consumer: Consumer, item: Item, how: Nack): Effect.Effect<void, EventStoreError> {
    return Effect.suspend(() => {
      if (tenure !== this.#tenure) return Effect.fail(this.#lost())
      switch (how.action) {
        case "stop":
          return Effect.sync(() => consumer.end(Exit.void))
        case "retry": {
          const millis = how.delay === undefined ? 0 : Duration.toMillis(Duration.fromInputUnsafe(how.delay))
          tenure.distribution.retry(item, millis > 0)
          return millis > 0
            ? Effect.sleep(Duration.millis(millis)).pipe(
              Effect.andThen(Effect.sync(() => tenure.distribution.resume(item))),
              Effect.forkIn(this.#scope),
              Effect.asVoid
            )
            : Effect.void
        }
        case "park": {
          const parking = {
            cursor: item.cursor,
            eventId: item.event.eventId,
            attempts: item.attempt,
            reason: how.reason ?? ""
          }
          return Effect.flatMap(
            this.#storage.park(this.settings.store, tenure.claim, parking),
            (parked) => {
              metrics.count(metrics.parked)
              return parked === "done" ? this.finish(tenure, [item]) : Effect.fail(this.#lost())
            }
          )
        }
      }
    })
  }

  #lost(): EventStoreError {
    const { name, store } = this.settings
    return this.#ended ?? failure(new SubscriptionLost({ store, name }))
  }

  // ---------------------------------------------------------------------------------------------- the claim

  readonly #run: Effect.Effect<void> = Effect.suspend(() => {
    const { name, pollMillis, selector, store } = this.settings
    const owners = this.#storage.ownersOf(store)
    const round: Effect.Effect<void, EventStoreError> = Effect.gen({ self: this }, function*() {
      while (true) {
        const seen = owners.count
        const claim = yield* this.#storage.claim(store, name, selector)
        if (claim._tag === "Gone") return yield* failure(new SubscriptionNotFound({ store, name }))
        if (claim._tag === "Held") {
          yield* Effect.raceFirst(owners.after(seen), Effect.sleep(Duration.millis(pollMillis)))
          continue
        }
        yield* this.#hold(claim)
      }
    })
    // A storage that is not there is waited for: a subscription has all the time in the world.
    const patient: Effect.Effect<void, EventStoreError> = Effect.catchIf(
      round,
      ({ reason }) => passing.has(reason._tag),
      (error) =>
        Effect.logWarning(`the subscription "${name}" waits: ${error.message}`).pipe(
          Effect.andThen(Effect.sleep(Duration.millis(pollMillis))),
          Effect.andThen(Effect.suspend(() => patient))
        )
    )
    return Effect.onExit(patient, (exit) =>
      Effect.sync(() => {
        this.#isOver = true
        if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return
        this.#ended = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
        for (const consumer of this.#consumers) consumer.end(Exit.failCause(exit.cause))
      })).pipe(Effect.exit, Effect.asVoid)
  })

  /** Works under a claim until it is lost. The claim is given back when the hub is closed. */
  #hold(claim: Claimed): Effect.Effect<void, EventStoreError> {
    return Effect.suspend(() => {
      const { name, partitionBy, store } = this.settings
      const tenure = new Tenure(claim, partitionBy)
      this.#tenure = tenure
      for (const consumer of this.#consumers) {
        tenure.distribution.join(consumer.renew())
      }
      return Effect.raceFirst(this.#read(tenure), this.#checkpoint(tenure)).pipe(
        Effect.onExit((exit) => {
          this.#tenure = undefined
          for (const consumer of this.#consumers) consumer.renew()
          return Exit.isSuccess(exit) && exit.value === "gone"
            ? Effect.void
            : Effect.ignore(Effect.andThen(this.#write(tenure), this.#storage.release(store, claim)))
        }),
        Effect.flatMap((ended) =>
          ended === "gone"
            ? Effect.fail(failure(new SubscriptionNotFound({ store, name })))
            : Effect.logWarning(
              `the subscription "${name}" to ${store} has another owner: its deliveries here are void`
            )
        )
      )
    })
  }

  #read({ distribution }: Tenure): Effect.Effect<never, EventStoreError> {
    const { selector, store } = this.settings
    const events = this.#storage.eventsOf(store)
    return Effect.gen({ self: this }, function*() {
      while (true) {
        const progress = this.#progress.count
        if (!distribution.wantsMore) {
          yield* this.#progress.after(progress)
          continue
        }
        const seen = events.count
        const limit = Math.min(maxPage, Math.max(64, 2 * distribution.capacity))
        const page = yield* this.#storage.scan(store, selector, distribution.scannedTo, limit)
        distribution.offer(page.events, page.scannedTo)
        metrics.count(metrics.delivered, page.events.length)
        if (page.atEnd) yield* events.after(seen)
      }
    })
  }

  /** Writes how far it is: after enough events, after a while, and when it may be somebody else's by now. */
  #checkpoint(tenure: Tenure): Effect.Effect<Exclude<Checkpointed, "done">, EventStoreError> {
    const { checkpointMillis, checkpointThreshold, pollMillis, store } = this.settings
    const owners = this.#storage.ownersOf(store)
    return Effect.gen({ self: this }, function*() {
      let lookedAt = yield* Clock.currentTimeMillis
      let seen = owners.count
      while (true) {
        const progress = this.#progress.count
        const enough = () => tenure.distribution.doneCount - tenure.doneAtWrite >= checkpointThreshold
        if (!enough() && owners.count === seen) {
          yield* Effect.raceAllFirst([
            this.#progress.after(progress),
            owners.after(seen),
            Effect.sleep(Duration.millis(checkpointMillis))
          ])
        }
        const now = yield* Clock.currentTimeMillis
        const due = now - lookedAt >= checkpointMillis && tenure.distribution.position !== tenure.written
        if (!enough() && !due && owners.count === seen && now - lookedAt < pollMillis) continue
        lookedAt = now
        seen = owners.count
        const written = yield* this.#write(tenure)
        if (written !== "done") return written
      }
    })
  }

  #write(tenure: Tenure): Effect.Effect<Checkpointed, EventStoreError> {
    return Effect.suspend(() => {
      const { doneCount, position } = tenure.distribution
      return Effect.tap(
        this.#storage.checkpoint(this.settings.store, tenure.claim, position),
        (written) =>
          Effect.sync(() => {
            if (written !== "done") return
            tenure.written = position
            tenure.doneAtWrite = doneCount
          })
      )
    })
  }

  /** Gives the subscription back, once nobody here subscribes to it. */
  readonly close: Effect.Effect<void> = Effect.suspend(() =>
    this.#fiber === undefined ? Effect.void : Fiber.interrupt(this.#fiber)
  )
}
