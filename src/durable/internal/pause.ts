/**
 * A pause before a step is tried again that found a stream locked by somebody: a few milliseconds, longer each time in a row.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { backOff } from "../../member/internal/backOff.ts"

export class Pause {
  readonly #fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  #inARow = 0
  #current: object | undefined

  constructor(fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.#fork = fork
  }

  get isOn(): boolean {
    return this.#current !== undefined
  }

  /** Nothing has come to be committed since the last one. */
  get isCalledFor(): boolean {
    return this.#inARow > 0
  }

  begin(afterwards: () => void): void {
    const own = this.#current = {}
    this.#fork(Effect.andThen(
      backOff(this.#inARow++),
      Effect.sync(() => {
        if (this.#current !== own) return
        this.#current = undefined
        afterwards()
      })
    ))
  }

  /** What it was for is void. */
  end(): void {
    this.#current = undefined
  }

  /** The next one is the first in a row. */
  forget(): void {
    this.#inARow = 0
  }
}
