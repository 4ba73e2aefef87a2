/**
 * What was sent to one server in this process and waits for its turn, in the order in which it was sent.
 *
 * Most of it may be handled directly. Some must become rows of the line first: casts that were sent together, and a message
 * whose handler failed. Such a batch stands where it was sent, so that it does not get into the line before what came before
 * it is settled, and so that nothing that came later passes it.
 */
import { type Caller, Message } from "./message.ts"

/** Messages that go into the line together: all of them get there, or none. */
export interface Batch {
  readonly messages: ReadonlyArray<Message>
  /** Who waits for the whole of it; each message may have a caller of its own besides. */
  readonly caller: Caller | undefined
}

/** What is to be put in line. */
export type ToLine = "what must" | "what has no priority" | "everything"

const hasPriority = (entry: Message | Batch): entry is Message => entry instanceof Message && entry.priority

const isWanted = (message: Message): boolean => message.caller?.gone !== true

export class Mailbox {
  #entries: Array<Message | Batch> = []
  /** Messages with priority, which wait for none of the others. */
  #priority: Array<Message> = []

  get isEmpty(): boolean {
    return this.#entries.length === 0 && this.#priority.length === 0
  }

  /** How many messages wait, those of a batch as one. */
  get size(): number {
    return this.#entries.length + this.#priority.length
  }

  /** The first one with priority. */
  get firstPriority(): Message | undefined {
    while (this.#priority[0] !== undefined && !isWanted(this.#priority[0])) this.#priority.shift()
    return this.#priority[0]
  }

  /** The direct message whose turn it is, if what is first may be handled directly. */
  get first(): Message | undefined {
    for (;;) {
      const first = this.#entries[0]
      if (!(first instanceof Message)) return undefined
      if (isWanted(first)) return first
      this.#entries.shift()
    }
  }

  /** What is first has to go into the line. */
  get wantsLine(): boolean {
    const first = this.#entries[0]
    return first !== undefined && !(first instanceof Message)
  }

  add(entry: Message | Batch): void {
    if (hasPriority(entry)) this.#priority.push(entry)
    else this.#entries.push(entry)
  }

  takeFirst(): void {
    this.#entries.shift()
  }

  takeFirstPriority(): void {
    this.#priority.shift()
  }

  /** Puts back what was taken, before everything else. */
  putBack(entries: ReadonlyArray<Message | Batch>): void {
    this.#priority.unshift(...entries.filter(hasPriority))
    this.#entries.unshift(...entries.filter((entry) => !hasPriority(entry)))
  }

  /**
   * Takes what is to be put in line now, in order: what must get there before anything else can go on, everything that has no
   * priority, or everything.
   */
  takeForLine(what: ToLine): ReadonlyArray<Batch> {
    const batches: Array<Batch> = []
    const urgent = what === "everything" ? this.#priority.splice(0).filter(isWanted) : []
    if (urgent.length > 0) batches.push({ messages: urgent, caller: undefined })
    let singles: Array<Message> = []
    let taken = 0
    for (const entry of this.#entries) {
      if (what === "what must" && entry instanceof Message) break
      taken++
      if (entry instanceof Message) {
        if (isWanted(entry)) singles.push(entry)
        continue
      }
      if (singles.length > 0) batches.push({ messages: singles, caller: undefined })
      singles = []
      const messages = entry.messages.filter(isWanted)
      if (messages.length > 0) batches.push({ messages, caller: entry.caller })
    }
    if (singles.length > 0) batches.push({ messages: singles, caller: undefined })
    this.#entries.splice(0, taken)
    return batches
  }

  /** Takes the calls out of it. */
  takeCalls(): ReadonlyArray<Message> {
    const isCall = (entry: Message | Batch): entry is Message => entry instanceof Message && entry.mode === "call"
    const calls = [...this.#priority, ...this.#entries].filter(isCall)
    this.#entries = this.#entries.filter((entry) => !isCall(entry))
    this.#priority = this.#priority.filter((entry) => !isCall(entry))
    return calls
  }

  remove(message: Message): void {
    this.#entries = this.#entries.filter((entry) => entry !== message)
    this.#priority = this.#priority.filter((entry) => entry !== message)
  }

  // ---------------------------------------------------------------------------------------------- horizons

  /** A statement that was sent after `sentAt` arrivals said where the line ends: whoever was here by then goes behind that. */
  lineEndsAt(pushed: number, sentAt: number): void {
    for (const entry of this.#entries) {
      if (entry instanceof Message && entry.arrival <= sentAt) entry.horizon ??= pushed
    }
    for (const message of this.#priority) if (message.arrival <= sentAt) message.horizon ??= pushed
  }

  /** What was before these got into the line, which ended at `pushed` then: none of them may pass it. */
  goesBehind(pushed: number, sentAt: number): void {
    for (const entry of [...this.#priority, ...this.#entries]) {
      if (!(entry instanceof Message)) continue
      if (entry.horizon !== undefined) entry.horizon = Math.max(entry.horizon, pushed)
      else if (entry.arrival <= sentAt) entry.horizon = pushed
    }
  }

  /** Nothing is known of the line any more. */
  forgetHorizons(): void {
    for (const entry of [...this.#priority, ...this.#entries]) if (entry instanceof Message) entry.horizon = undefined
  }
}
