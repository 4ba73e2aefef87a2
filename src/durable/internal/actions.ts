/**
 * What handlers want done once their outcomes are on disk: one after the other, in the order of the messages, beside the
 * handlers that go on meanwhile.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { halt } from "../Outcome.ts"
import type { Action } from "./outcome.ts"

/** The actions of one outcome, and the state that was committed with it. */
export interface Committed {
  readonly state: unknown
  readonly actions: ReadonlyArray<Action>
}

/** The actions of one server. */
export class Actions {
  readonly #fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly #waiting: Array<readonly [Committed, Context.Context<never>]> = []
  #running = false

  constructor(fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.#fork = fork
  }

  get isRunning(): boolean {
    return this.#running
  }

  /** Adds the actions of an outcome. `done` is told when there is nothing left to do. */
  add(committed: Committed, context: Context.Context<never>, done: () => void): void {
    this.#waiting.push([committed, context])
    if (this.#running) return
    this.#running = true
    this.#fork(
      this.#runAll.pipe(
        Effect.ensuring(Effect.sync(() => {
          this.#running = false
          done()
        }))
      )
    )
  }

  readonly #runAll: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const [{ actions, state }, context] = next
      for (const action of actions) {
        const result = yield* Effect.suspend(() => action(state)).pipe(
          Effect.scoped,
          // What an action needs is what its handler's layer was built with.
          Effect.provideContext(context as Context.Context<unknown>),
          Effect.catchCause((cause) => Effect.logError("an action after a commit failed", cause))
        )
        if (result === halt) break
      }
    }
  })
}
