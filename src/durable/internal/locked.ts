/**
 * What goes on under a lock: the `handleLocked` of the message that locked the server, run outside of any transition, as long
 * as it takes, and tried again when it fails. What it came to is applied by whoever runs the server, over the latest state.
 */
import * as Cause from "effect/Cause"
import type * as Fiber from "effect/Fiber"
import { type Attempts, none, note } from "./attempts.ts"
import type { Environment, Server } from "./environment.ts"
import { type Handled, handleLocked, type Registration } from "./handling.ts"
import type { Message } from "./message.ts"

/** What it came to. */
export type Conclusion =
  | Extract<Handled, { readonly _tag: "Outcome" | "Failure" }>
  | { readonly _tag: "Exhausted"; readonly attempts: Attempts }

export class Locked {
  readonly message: Message
  conclusion: Conclusion | undefined
  /** Whether the conclusion is part of a step that is being made or is in flight. */
  isConcluding = false
  readonly #registration: Registration
  readonly #server: Server
  readonly #environment: Environment
  readonly #state: () => unknown
  readonly #attempts: Attempts = none()
  #fiber: Fiber.Fiber<unknown, unknown> | undefined
  #begun = false
  #isBackingOff = false
  #ended = false

  constructor(
    registration: Registration,
    server: Server,
    environment: Environment,
    message: Message,
    state: () => unknown
  ) {
    this.#registration = registration
    this.#server = server
    this.#environment = environment
    this.message = message
    this.#state = state
  }

  /** Waiting for the next attempt, after one that failed. */
  get isBackingOff(): boolean {
    return this.#isBackingOff
  }

  /** Begins, unless that was done. */
  begin(): void {
    if (this.#begun) return
    this.#begun = true
    this.#attempt()
  }

  /** An attempt failed, or what it gave cannot be stored. */
  failed(cause: Cause.Cause<unknown>): void {
    const attempts = this.#attempts
    note(attempts, this.message, cause)
    this.conclusion = undefined
    this.#environment.attemptFailed(this.#server, this.message, cause, false)
    this.#isBackingOff = true
    this.#fiber = this.#environment.backOff(this.#server.kind, attempts, (again) => {
      if (this.#ended) return
      this.#isBackingOff = false
      if (again) this.#attempt()
      else this.conclusion = { _tag: "Exhausted", attempts }
      this.#server.pump()
    })
  }

  /** Gives it up: the server is somebody else's, who begins it anew. */
  end(): void {
    this.#ended = true
    this.#fiber?.interruptUnsafe()
  }

  #attempt(): void {
    const { message } = this
    if (message.undecodable !== undefined) return this.failed(Cause.die(new Error(message.undecodable)))
    const handled = handleLocked(this.#registration, this.#server, message, this.#state(), {
      started: (fiber) => {
        this.#fiber = fiber
      },
      done: (handled) => {
        if (this.#ended) return
        this.#conclude(handled)
        this.#server.pump()
      }
    })
    if (handled !== undefined) this.#conclude(handled)
  }

  #conclude(handled: Handled): void {
    this.#fiber = undefined
    switch (handled._tag) {
      case "Defect":
        return this.failed(handled.cause)
      case "Lock":
        return this.failed(Cause.die(new Error("a server that is locked cannot be locked again")))
      default:
        this.conclusion = handled
    }
  }
}
