/**
 * Whoever handles the deliveries of a persistent subscription in this process. It stays the same while the subscription is
 * claimed, lost and claimed again; what it was given under one claim does not go over to the next.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { EventStoreError } from "../EventStoreError.ts"
import { Subscriber } from "./distribution.ts"

export class Consumer {
  current: Subscriber
  ended: Exit.Exit<void, EventStoreError> | undefined
  #resume: (() => void) | undefined

  readonly bufferSize: number

  constructor(bufferSize: number) {
    this.bufferSize = bufferSize
    this.current = this.#fresh()
  }

  /** Begins under another claim, or waits for one: what was given before is void. */
  renew(): Subscriber {
    this.current = this.#fresh()
    return this.current
  }

  #fresh(): Subscriber {
    return new Subscriber(this.bufferSize, () => this.wake())
  }

  wake(): void {
    const resume = this.#resume
    this.#resume = undefined
    resume?.()
  }

  /** Waits until there is something to take, or nothing will ever be. */
  readonly awake: Effect.Effect<void> = Effect.callback<void>((resume) => {
    // It may have come since it was looked for.
    if (this.current.outbox.length > 0 || this.ended !== undefined) return resume(Effect.void)
    this.#resume = () => resume(Effect.void)
    return Effect.sync(() => {
      this.#resume = undefined
    })
  })

  end(exit: Exit.Exit<void, EventStoreError>): void {
    this.ended ??= exit
    this.wake()
  }
}
