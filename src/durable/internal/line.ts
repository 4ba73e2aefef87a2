/**
 * The line of one server, as far as its holder knows it: what was read of it and waits, how far it was read, and how far it
 * is known, or only said, to go on.
 *
 * It is read from its head on, a window at a time. Messages with priority are read beside that, wherever they stand, and are
 * consumed out of their place.
 */
import type { Message } from "./message.ts"

export class Line {
  #waiting: Array<Message> = []
  #priority: Array<Message> = []
  /** Where messages with priority stand that were read ahead of the window: the window meets them again. */
  #ahead = new Set<number>()
  /** Up to here everything was read. */
  #read = 0
  /** Up to here everything with priority was read. */
  #priorityRead = 0
  /** Where a statement last said that the line ends. */
  #end = 0
  /** Somebody says that there is more, and not how much. */
  #hinted = false
  /** Somebody says that there is more with priority. */
  #priorityHinted = false
  /** Where the line was known to end when the read that is under way was asked for; `undefined` while none is. */
  #readingTo: number | undefined
  /** Whether that read goes on with the head, or only looks for priority. */
  #readsHead = false

  /** Starts over, behind a position, with everything up to another still to come. */
  reset(taken: number, pushed: number): void {
    this.#waiting = []
    this.#priority = []
    this.#ahead.clear()
    this.#read = this.#priorityRead = taken
    this.#end = pushed
    this.#hinted = this.#priorityHinted = false
    this.#readingTo = undefined
  }

  get read(): number {
    return this.#read
  }

  get priorityRead(): number {
    return this.#priorityRead
  }

  /** Where it ends, as far as is known. */
  get end(): number {
    return Math.max(this.#read, this.#end)
  }

  get isReading(): boolean {
    return this.#readingTo !== undefined
  }

  /** Nothing waits, and as far as anybody knows nothing will. */
  get isDone(): boolean {
    return this.#waiting.length === 0 && this.#priority.length === 0 && !this.#goesOn
  }

  /** Whether everything up to a position was read, and waits no more. */
  isConsumedTo(position: number): boolean {
    return this.#read >= position && this.#waiting.length === 0 && this.#priority.length === 0
  }

  /** It is time to read on. */
  get wantsReading(): boolean {
    return this.#readingTo === undefined && (this.#priorityHinted || this.#wantsHead)
  }

  /** Whether the read that is under way goes on with the head, or only looks for priority. */
  get readsHead(): boolean {
    return this.#readsHead
  }

  get #wantsHead(): boolean {
    return this.#waiting.length === 0 && this.#goesOn
  }

  get hasPriority(): boolean {
    return this.#priority.length > 0
  }

  get #goesOn(): boolean {
    return this.#hinted || this.#end > this.#read
  }

  shift(): Message | undefined {
    return this.#priority.shift() ?? this.#waiting.shift()
  }

  shiftPriority(): Message | undefined {
    return this.#priority.shift()
  }

  putBack(messages: ReadonlyArray<Message>): void {
    this.#priority.unshift(...messages.filter((message) => message.priority))
    this.#waiting.unshift(...messages.filter((message) => !message.priority))
  }

  remove(message: Message): void {
    this.#waiting = this.#waiting.filter((other) => other !== message)
    this.#priority = this.#priority.filter((other) => other !== message)
  }

  /** A statement said where it ends. */
  endsAt(pushed: number): void {
    this.#end = Math.max(this.#end, pushed)
  }

  /** There may be more. */
  mayGoOn(): void {
    this.#hinted = true
  }

  /** There may be more with priority. */
  mayHavePriority(): void {
    this.#priorityHinted = true
  }

  beginReading(): void {
    this.#readingTo = this.#end
    this.#readsHead = this.#wantsHead
    if (this.#readsHead) this.#hinted = false
    this.#priorityHinted = false
  }

  /**
   * What was read behind a position: the head, `complete` where that was all there was, and what has priority. `false`: it is of
   * no use any more.
   */
  wasRead(
    after: number,
    head: ReadonlyArray<Message>,
    priority: ReadonlyArray<Message>,
    complete: boolean
  ): boolean {
    const readingTo = this.#readingTo
    this.#readingTo = undefined
    if (after !== this.#read || readingTo === undefined) return false
    for (const message of head) {
      this.#read = message.position
      if (!message.priority) this.#waiting.push(message)
      else if (!this.#ahead.delete(message.position)) this.#priority.push(message)
    }
    for (const message of priority) {
      if (message.position <= this.#read || this.#ahead.has(message.position)) continue
      this.#ahead.add(message.position)
      this.#priority.push(message)
    }
    // Positions are given in the order of commits: whoever sees one sees all before it.
    this.#priorityRead = Math.max(this.#priorityRead, this.#read, readingTo, priority.at(-1)?.position ?? 0)
    // What was said after the read was asked for is still to be looked at.
    if (this.#readsHead && !complete) this.#hinted = true
    else if (this.#readsHead && readingTo > this.#read) this.#read = readingTo
    for (const position of this.#ahead) if (position <= this.#read) this.#ahead.delete(position)
    return true
  }

  /** The read came to nothing, and is still wanted. */
  wasNotRead(): boolean {
    if (this.#readingTo === undefined) return false
    this.#readingTo = undefined
    this.#hinted = this.#priorityHinted = true
    return true
  }
}
