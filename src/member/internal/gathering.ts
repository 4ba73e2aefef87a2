/**
 * Where things gather until somebody takes them all: the way groups form by themselves while the one before is under way.
 */
import * as Effect from "effect/Effect"

export class Gathering<A> {
  #items: Array<A> = []
  #taker: (() => void) | undefined
  /** How many were taken last. */
  #last = 0

  get size(): number {
    return this.#items.length
  }

  add(item: A): void {
    this.#items.push(item)
    const taker = this.#taker
    if (taker !== undefined) {
      this.#taker = undefined
      // Whoever adds is let finish first: what it adds in one go is taken in one go.
      queueMicrotask(taker)
    }
  }

  /** Puts back what was taken, before everything else. */
  putBack(items: ReadonlyArray<A>): void {
    this.#items.unshift(...items)
  }

  /** Everything there is, without waiting. */
  takeUnsafe(limit: number): Array<A> {
    const isAll = this.#items.length <= limit
    const items = isAll ? this.#items : this.#items.splice(0, limit)
    if (isAll) this.#items = []
    this.#last = items.length
    return items
  }

  /** Waits until there is something. */
  readonly some: Effect.Effect<void> = Effect.suspend(() =>
    this.#items.length > 0
      ? Effect.void
      : Effect.callback<void>((resume) => {
        // It may have come since it was looked for.
        if (this.#items.length > 0) return resume(Effect.void)
        this.#taker = () => resume(Effect.void)
        return Effect.sync(() => {
          this.#taker = undefined
        })
      })
  )

  /**
   * Waits until there is something; and where several things came last time, a turn of the event loop longer, so that they come
   * together this time as well. Where only one came, there is nobody to wait for.
   */
  readonly several: Effect.Effect<void> = Effect.flatMap(
    this.some,
    () => this.#last > 1 ? Effect.yieldNow : Effect.void
  )

  /** Waits until there is something, and takes it all, up to a limit. */
  take(limit: number): Effect.Effect<Array<A>> {
    return Effect.map(this.some, () => this.takeUnsafe(limit))
  }
}
