/**
 * What refused commits have taught a server about the messages that are handled again: a step is refused where it cancels what is
 * gone already, or appends what a stream does not take. The handlers run anew, and are told so at once.
 */
import type { Append, AppendRefusal, ScheduledId } from "../DurableStorage.ts"
import type { Foreknown } from "./handling.ts"
import { nameOf } from "./later.ts"
import type { Message } from "./message.ts"

export class Lessons {
  /** Messages for later that could not be cancelled any more. */
  readonly #missed = new Set<string>()
  /** What could not be appended, by the messages that it was appended for. */
  readonly #refused = new Map<string, Map<Append, AppendRefusal>>()

  missed(ids: ReadonlyArray<ScheduledId>): void {
    for (const id of ids) this.#missed.add(nameOf(id))
  }

  hasMissed(id: ScheduledId): boolean {
    return this.#missed.has(nameOf(id))
  }

  refused(message: Message | undefined, append: Append, refusal: AppendRefusal): void {
    const id = message?.id ?? ""
    const ofMessage = this.#refused.get(id) ?? new Map<Append, AppendRefusal>()
    this.#refused.set(id, ofMessage.set(append, refusal))
  }

  /** Adds what was learnt about a message to what is known in general. */
  about(message: Message, general: Foreknown): Foreknown {
    const refused = this.#refused.size === 0 ? undefined : this.#refused.get(message.id)
    return refused === undefined ? general : { ...general, refused }
  }

  /** The message is done with, or its next attempt is to find out for itself. */
  forget(message: Message): void {
    if (this.#refused.size > 0) this.#refused.delete(message.id)
  }

  forgetMissed(): void {
    // Most often there is nothing to forget, and to clear a set makes a new one.
    if (this.#missed.size > 0) this.#missed.clear()
  }

  clear(): void {
    this.#missed.clear()
    this.#refused.clear()
  }
}
