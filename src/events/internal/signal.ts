/**
 * Something that changes, and those who wait for it to: nobody misses a change that came after they last looked.
 */
import * as Effect from "effect/Effect"

export class Signal {
  #count = 0
  readonly #waiting = new Set<() => void>()

  /** How often it has changed so far. */
  get count(): number {
    return this.#count
  }

  /** Whether anybody waits for a change. */
  get isAwaited(): boolean {
    return this.#waiting.size > 0
  }

  changed(): void {
    this.#count++
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const resume of waiting) resume()
  }

  /** Waits until it has changed more often than that. */
  after(count: number): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.#count > count) return resume(Effect.void)
      const wake = () => resume(Effect.void)
      this.#waiting.add(wake)
      return Effect.sync(() => {
        this.#waiting.delete(wake)
      })
    })
  }
}
