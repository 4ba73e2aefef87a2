/**
 * Outcomes as the machinery sees them, and the requests that make them.
 */
import type { Outcome, TypeId } from "../Outcome.ts"
import type { Message } from "./message.ts"

/** What a handler answered. `next` is `undefined` where the state stays. */
export class HandlerOutcome implements Outcome<never, never> {
  declare readonly [TypeId]: Outcome<never, never>[TypeId]
  readonly value: unknown
  readonly next: unknown
  constructor(value: unknown, next: unknown) {
    this.value = value
    this.next = next
  }
}

/** What a handler is given. The ways to answer lie on the prototype: taking them out costs nothing, and neither do they. */
export class HandlerRequest {
  readonly payload: unknown
  readonly state: unknown
  readonly key: unknown
  readonly event: "call" | "cast"
  readonly attempt: number
  readonly #message: Message
  constructor(message: Message, state: unknown, key: unknown) {
    this.payload = message.payload
    this.state = state
    this.key = key
    this.event = message.mode
    this.attempt = message.attempts + 1
    this.#message = message
  }
  get messageId(): string {
    return this.#message.id
  }
  reply(value: unknown, next?: unknown): HandlerOutcome {
    return new HandlerOutcome(value, next)
  }
  noReply(next?: unknown): HandlerOutcome {
    return new HandlerOutcome(undefined, next)
  }
}
