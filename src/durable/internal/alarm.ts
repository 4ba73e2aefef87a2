/**
 * An alarm clock that can be set to an earlier time while somebody waits for it.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

export class Alarm {
  /** When it rings, by the clock that only goes forward. */
  #at = Number.POSITIVE_INFINITY
  #sooner: (() => void) | undefined
  readonly #clock: Clock.Clock
  readonly #now: () => number

  constructor(clock: Clock.Clock, now: () => number) {
    this.#clock = clock
    this.#now = now
  }

  /** Sets it to ring in so many milliseconds, unless it rings before that anyway. */
  set(millis: number): void {
    const at = this.#now() + millis
    if (at >= this.#at) return
    this.#at = at
    this.#sooner?.()
  }

  /** Starts over, not set. */
  reset(): void {
    this.#at = Number.POSITIVE_INFINITY
  }

  /** Waits until it rings. */
  readonly wait: Effect.Effect<void> = Effect.suspend(() => {
    const millis = this.#at - this.#now()
    if (millis <= 0) return Effect.void
    const sooner = Effect.callback<boolean>((resume) => {
      this.#sooner = () => resume(Effect.succeed(true))
      return Effect.sync(() => {
        this.#sooner = undefined
      })
    })
    return Effect.flatMap(
      Effect.raceFirst(Effect.as(this.#clock.sleep(Duration.millis(Math.ceil(millis))), false), sooner),
      (isSooner) => isSooner ? this.wait : Effect.void
    )
  })
}
