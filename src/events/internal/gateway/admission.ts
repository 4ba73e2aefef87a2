/**
 * How many requests a client has in flight at a worker: as many as the worker allows, altogether and for one store. More of them
 * wait in the client, in order, and none of them for a place that only another store needs.
 */
import * as Effect from "effect/Effect"

interface Waiting {
  readonly store: string
  readonly resume: () => void
}

export class Admission {
  #count = 0
  readonly #stores = new Map<string, number>()
  #waiting: Array<Waiting> = []

  readonly #limit: number
  readonly #storeLimit: number

  constructor(limit: number, storeLimit: number) {
    this.#limit = limit
    this.#storeLimit = storeLimit
  }

  #fits(store: string): boolean {
    return this.#count < this.#limit && (this.#stores.get(store) ?? 0) < this.#storeLimit
  }

  #take(store: string): void {
    this.#count++
    this.#stores.set(store, (this.#stores.get(store) ?? 0) + 1)
  }

  /** Gives a place back. */
  #leave(store: string): void {
    this.#count--
    const left = (this.#stores.get(store) ?? 1) - 1
    if (left === 0) this.#stores.delete(store)
    else this.#stores.set(store, left)
    const index = this.#waiting.findIndex((waiting) => this.#fits(waiting.store))
    if (index < 0) return
    const [waiting] = this.#waiting.splice(index, 1)
    if (waiting === undefined) return
    this.#take(waiting.store)
    waiting.resume()
  }

  /** Waits for a place. Whoever is let in has to leave again. */
  #wait(store: string): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      let isIn = false
      const waiting: Waiting = {
        store,
        resume: () => {
          isIn = true
          resume(Effect.void)
        }
      }
      this.#waiting.push(waiting)
      return Effect.sync(() => {
        if (isIn) this.#leave(store)
        else this.#waiting = this.#waiting.filter((other) => other !== waiting)
      })
    })
  }

  /** Does something in a place. */
  within<A, E, R>(store: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      // Of those who wait none fits, or it would not.
      if (!this.#fits(store)) {
        return Effect.acquireUseRelease(this.#wait(store), () => effect, () => Effect.sync(() => this.#leave(store)))
      }
      this.#take(store)
      return Effect.onExit(effect, () => {
        this.#leave(store)
        return Effect.void
      })
    })
  }
}
