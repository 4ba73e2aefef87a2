/**
 * The failed attempts at messages: how many there were, why the last one failed, and where the policy for further ones stands.
 */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import { DurableServerError, MessageParked } from "../DurableServerError.ts"
import type { Address } from "../DurableStorage.ts"
import type { Answer } from "./answer.ts"
import type { Message } from "./message.ts"

/** The failed attempts at one message. */
export interface Attempts {
  count: number
  /** Whether the policy's delay is still to be waited for. */
  due: boolean
  last: Cause.Cause<unknown>
  /** Whether the policy has ended. */
  exhausted: boolean
  /** Where the policy stands. */
  step: ((input: unknown) => Effect.Effect<unknown, unknown>) | undefined
}

export const none = (): Attempts => ({ count: 0, due: false, last: Cause.empty, exhausted: false, step: undefined })

/** Notes one more. */
export const note = (attempts: Attempts, message: Message, cause: Cause.Cause<unknown>): void => {
  attempts.count++
  attempts.last = cause
  message.attempts = attempts.count
}

/** What whoever waits for a message is told that is set aside. */
export const parkedAnswer = ({ key, kind }: Address, message: Message, { count, last }: Attempts): Answer => ({
  _tag: "Broken",
  error: new DurableServerError({
    reason: new MessageParked({
      kind,
      key,
      rpc: message.operation.tag,
      messageId: message.id,
      attempts: count,
      failure: Cause.pretty(last)
    })
  })
})

/** Those at the messages of one server, by message. */
export class AttemptsByMessage {
  readonly #byId = new Map<string, Attempts>()

  of(message: Message): Attempts | undefined {
    return this.#byId.size === 0 ? undefined : this.#byId.get(message.id)
  }

  /** Notes one more. */
  note(message: Message, cause: Cause.Cause<unknown>): Attempts {
    const attempts = this.of(message) ?? none()
    this.#byId.set(message.id, attempts)
    note(attempts, message, cause)
    return attempts
  }

  /** The message is done with, or somebody else's. */
  forget(message: Message): void {
    if (this.#byId.size > 0) this.#byId.delete(message.id)
  }

  clear(): void {
    this.#byId.clear()
  }
}
