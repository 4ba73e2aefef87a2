/**
 * Deadlines of calls. A timer for each call would cost more than the call itself; so calls with the same timeout stand in one
 * queue, in which the first is always the next to expire, and one sleeping fiber per timeout watches its head.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** A call that waits. Taken out of its queue, by `cancel`, in no time. */
export class Deadline {
  readonly at: number
  readonly expired: () => void
  before: Deadline | undefined
  after: Deadline | undefined
  queue: DeadlineQueue | undefined
  constructor(at: number, expired: () => void, queue: DeadlineQueue) {
    this.at = at
    this.expired = expired
    this.queue = queue
  }
  cancel(): void {
    this.queue?.remove(this)
  }
}

class DeadlineQueue {
  #first: Deadline | undefined
  #last: Deadline | undefined
  #watched = false
  readonly #clock: Clock.Clock
  readonly #millis: number
  readonly #fork: (effect: Effect.Effect<void>) => void
  readonly #ended: () => void

  constructor(
    clock: Clock.Clock,
    millis: number,
    fork: (effect: Effect.Effect<void>) => void,
    ended: () => void
  ) {
    this.#clock = clock
    this.#millis = millis
    this.#fork = fork
    this.#ended = ended
  }

  add(expired: () => void): Deadline {
    const deadline = new Deadline(this.#clock.currentTimeMillisUnsafe() + this.#millis, expired, this)
    deadline.before = this.#last
    if (this.#last === undefined) this.#first = deadline
    else this.#last.after = deadline
    this.#last = deadline
    if (!this.#watched) {
      this.#watched = true
      this.#fork(this.#watch)
    }
    return deadline
  }

  remove(deadline: Deadline): void {
    if (deadline.queue === undefined) return
    deadline.queue = undefined
    if (deadline.before === undefined) this.#first = deadline.after
    else deadline.before.after = deadline.after
    if (deadline.after === undefined) this.#last = deadline.before
    else deadline.after.before = deadline.before
    deadline.before = deadline.after = undefined
  }

  /** Sleeps from head to head. Ends a whole timeout after the last call, so that a busy node does not fork for each. */
  readonly #watch: Effect.Effect<void> = Effect.suspend(() => {
    const now = this.#clock.currentTimeMillisUnsafe()
    while (this.#first !== undefined && this.#first.at <= now) {
      const deadline = this.#first
      this.remove(deadline)
      deadline.expired()
    }
    const wait = this.#first === undefined ? this.#millis : this.#first.at - now
    return Effect.flatMap(this.#clock.sleep(Duration.millis(wait)), () => {
      if (this.#first !== undefined) return this.#watch
      this.#watched = false
      this.#ended()
      return Effect.void
    })
  })
}

/** The deadlines of one node. */
export class Deadlines {
  readonly #queues = new Map<number, DeadlineQueue>()
  readonly #clock: Clock.Clock
  readonly #fork: (effect: Effect.Effect<void>) => void

  constructor(clock: Clock.Clock, fork: (effect: Effect.Effect<void>) => void) {
    this.#clock = clock
    this.#fork = fork
  }

  /** Calls `expired` after that many milliseconds, by the node's clock, unless cancelled. */
  add(millis: number, expired: () => void): Deadline {
    let queue = this.#queues.get(millis)
    if (queue === undefined) {
      queue = new DeadlineQueue(this.#clock, millis, this.#fork, () => this.#queues.delete(millis))
      this.#queues.set(millis, queue)
    }
    return queue.add(expired)
  }
}
