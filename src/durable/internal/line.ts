/**
 * The line of one server, as far as its holder knows it: what was read of it and waits, how far it was read, and how far it
 * is known, or only said, to go on.
 */
import type { Message } from "./message.ts"

export class Line {
  #waiting: Array<Message> = []
  /** The last position that was read. */
  #read = 0
  /** Where a statement last said that the line ends. */
  #end = 0
  /** Somebody says that there is more, and not how much. */
  #hinted = false
  /** Where the line was known to end when the read that is under way was asked for; `undefined` while none is. */
  #readingTo: number | undefined

  /** Starts over, behind a position, with everything up to another still to come. */
  reset(taken: number, pushed: number): void {
    this.#waiting = []
    this.#read = taken
    this.#end = pushed
    this.#hinted = false
    this.#readingTo = undefined
  }

  get read(): number {
    return this.#read
  }

  get isReading(): boolean {
    return this.#readingTo !== undefined
  }

  /** Nothing waits, and as far as anybody knows nothing will. */
  get isDone(): boolean {
    return this.#waiting.length === 0 && !this.#goesOn
  }

  /** It is time to read on. */
  get wantsReading(): boolean {
    return this.#readingTo === undefined && this.#waiting.length === 0 && this.#goesOn
  }

  get #goesOn(): boolean {
    return this.#hinted || this.#end > this.#read
  }

  shift(): Message | undefined {
    return this.#waiting.shift()
  }

  putBack(messages: ReadonlyArray<Message>): void {
    this.#waiting.unshift(...messages)
  }

  remove(message: Message): void {
    this.#waiting = this.#waiting.filter((other) => other !== message)
  }

  /** A statement said where it ends. */
  endsAt(pushed: number): void {
    this.#end = Math.max(this.#end, pushed)
  }

  /** There may be more. */
  mayGoOn(): void {
    this.#hinted = true
  }

  beginReading(): void {
    this.#readingTo = this.#end
    this.#hinted = false
  }

  /** What was read behind a position; `complete` where that was all there was. `false`: it is of no use any more. */
  wasRead(after: number, messages: ReadonlyArray<Message>, complete: boolean): boolean {
    const readingTo = this.#readingTo
    this.#readingTo = undefined
    if (after !== this.#read || readingTo === undefined) return false
    for (const message of messages) {
      this.#waiting.push(message)
      this.#read = message.position
    }
    // What was said after the read was asked for is still to be looked at.
    if (!complete) this.#hinted = true
    else if (this.#end === readingTo) this.#end = this.#read
    return true
  }

  /** The read came to nothing, and is still wanted. */
  wasNotRead(): boolean {
    if (this.#readingTo === undefined) return false
    this.#readingTo = undefined
    this.#hinted = true
    return true
  }
}
