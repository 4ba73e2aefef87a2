/**
 * The lease of a member, as the member itself may count on it.
 *
 * What the database grants runs by the database's clock from some moment after the renewal was sent; so counted from the
 * sending, by a clock here, the member can only be too careful. It counts on four fifths of it. When that time has passed
 * without another renewal the lease has *lapsed*: others cannot act on it yet, and whoever must let go of something before
 * they can is told now. A process that was stopped meanwhile finds the lease lapsed when it goes on, before it does anything.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"

/** What rooms see of it. */
export interface Lease {
  /** Whether the lease lasts for certain, at this moment. */
  readonly isHeld: () => boolean
  /** Waits until it does. */
  readonly held: Effect.Effect<void>
  /** Hears when it has lapsed, and also when the member has come back under another id. */
  readonly onLapse: (heard: () => void) => Effect.Effect<void, never, Scope.Scope>
}

/** A moment by both clocks. The one that does not jump stands still while a machine sleeps: time has passed if either says so. */
export interface Moment {
  readonly wall: number
  readonly monotonic: number
}

const counted = 0.8

/** Of three renewals in a lease, one was missed for certain. */
const late = 0.6

export class MemberLease implements Lease {
  readonly #clock: Clock.Clock
  readonly #leaseMillis: number
  readonly #latch: Latch.Latch
  readonly #listeners = new Set<() => void>()
  #renewed: Moment
  #lapsed = false

  constructor(clock: Clock.Clock, leaseMillis: number, renewed: Moment) {
    this.#clock = clock
    this.#leaseMillis = leaseMillis
    this.#renewed = renewed
    this.#latch = Latch.makeUnsafe(true)
  }

  static now(clock: Clock.Clock): Moment {
    return { wall: clock.currentTimeMillisUnsafe(), monotonic: Number(clock.monotonicTimeNanosUnsafe()) / 1e6 }
  }

  /** The milliseconds between two moments, by the clock by which there are more. */
  static between(from: Moment, to: Moment): number {
    return Math.max(to.wall - from.wall, to.monotonic - from.monotonic)
  }

  get #left(): number {
    return this.#leaseMillis * counted - this.age
  }

  /** How many milliseconds ago the last renewal was sent. */
  get age(): number {
    return MemberLease.between(this.#renewed, MemberLease.now(this.#clock))
  }

  /** Whether it should have been renewed since. */
  get isLate(): boolean {
    return this.age > this.#leaseMillis * late
  }

  readonly isHeld = (): boolean => {
    if (!this.#lapsed && this.#left <= 0) this.lapse()
    return !this.#lapsed
  }

  /** Open while it is held. It is looked at once more by whoever passes: the latch may be late, the clocks are not. */
  readonly held: Effect.Effect<void> = Effect.suspend(() =>
    this.isHeld() ? Effect.void : Effect.andThen(this.#latch.await, this.held)
  )

  readonly onLapse = (heard: () => void): Effect.Effect<void, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.sync(() => {
        this.#listeners.add(heard)
      }),
      () =>
        Effect.sync(() => {
          this.#listeners.delete(heard)
        })
    )

  /** The database has renewed it, by a statement that was sent at that moment. */
  renewed(sent: Moment): void {
    // A lease that has lapsed unnoticed has to be told of before it is renewed.
    this.isHeld()
    this.#renewed = sent
    if (this.#left <= 0) return
    this.#lapsed = false
    this.#latch.openUnsafe()
  }

  lapse(): void {
    if (this.#lapsed) return
    this.#lapsed = true
    this.#latch.closeUnsafe()
    for (const heard of this.#listeners) heard()
  }

  /** Notices in time. */
  readonly watch: Effect.Effect<never> = Effect.suspend(() => {
    const sleep = Effect.sleep(Duration.millis(Math.max(1, this.#left)))
    return this.isHeld() ? sleep : this.held
  }).pipe(Effect.forever)
}
