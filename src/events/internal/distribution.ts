/**
 * Who is given which event of a persistent subscription, and how far it is done: nothing but that, without effects.
 *
 * Events are offered in order. Each goes to a subscriber that has room, in turns; one with a key goes to the subscriber that
 * has others of its key, as long as it has any, and waits if that one has no room: so events of a key are handled in order,
 * whoever joins or goes. What a subscriber leaves behind is given out again, before everything that comes after it.
 *
 * `position` is the last cursor before which everything is done. It moves over what was acknowledged without a gap, and over
 * what was looked at and not selected.
 */
import type { RecordedEvent } from "../RecordedEvent.ts"
import type { Placed } from "./storage.ts"

/** An event that is to be handled. */
export class Item {
  attempt = 0
  /** Who has it now. */
  holder: Subscriber | undefined
  done = false
  /** Whether the holder has taken it out of the outbox. */
  taken = false
  /** It is tried again later: until then nothing of its key goes before it. */
  delayed = false

  readonly cursor: number
  readonly event: RecordedEvent
  readonly key: string | undefined

  constructor(cursor: number, event: RecordedEvent, key: string | undefined) {
    this.cursor = cursor
    this.event = event
    this.key = key
  }
}

/** Somebody who handles events. */
export class Subscriber {
  /** What was given and not yet taken away by the one who handles it. */
  outbox: Array<Item> = []
  readonly inFlight = new Map<number, Item>()

  readonly bufferSize: number
  /** Called when something was put in the outbox. */
  readonly wake: () => void

  constructor(bufferSize: number, wake: () => void) {
    this.bufferSize = bufferSize
    this.wake = wake
  }

  /** Everything that is there for it now. */
  take(): ReadonlyArray<Item> {
    const items = this.outbox
    this.outbox = []
    for (const item of items) item.taken = true
    return items
  }

  get hasRoom(): boolean {
    return this.inFlight.size < this.bufferSize
  }
}

export class Distribution {
  /** Everything from the first that is not done on, in order. */
  #line: Array<Item> = []
  #lineHead = 0
  /** What nobody has, in order. */
  #waiting: Array<Item> = []
  #waitingHead = 0
  #delayed = 0
  readonly #subscribers: Array<Subscriber> = []
  #turn = 0
  /** Who has events of a key, and how many. */
  readonly #keys = new Map<string, { readonly holder: Subscriber; count: number }>()
  #scannedTo: number
  #doneCount = 0

  readonly #keyOf: ((event: RecordedEvent) => string) | undefined

  constructor(position: number, keyOf: ((event: RecordedEvent) => string) | undefined) {
    this.#keyOf = keyOf

    this.#scannedTo = position
  }

  get scannedTo(): number {
    return this.#scannedTo
  }

  get position(): number {
    const first = this.#line[this.#lineHead]
    return first === undefined ? this.#scannedTo : first.cursor - 1
  }

  /** How many events were done so far. */
  get doneCount(): number {
    return this.#doneCount
  }

  get subscribers(): ReadonlyArray<Subscriber> {
    return this.#subscribers
  }

  /** How many events the subscribers may have at once. */
  get capacity(): number {
    return this.#subscribers.reduce((sum, subscriber) => sum + subscriber.bufferSize, 0)
  }

  /** Whether more should be read: not when enough is waiting, nor when one that is not done holds up too many that are. */
  get wantsMore(): boolean {
    const waiting = this.#waiting.length - this.#waitingHead
    return waiting < this.capacity && this.#line.length - this.#lineHead < 4 * this.capacity + 1000
  }

  join(subscriber: Subscriber): void {
    this.#subscribers.push(subscriber)
    this.distribute()
  }

  leave(subscriber: Subscriber): void {
    const index = this.#subscribers.indexOf(subscriber)
    if (index >= 0) this.#subscribers.splice(index, 1)
    const left = [...subscriber.inFlight.values()].sort((a, b) => a.cursor - b.cursor)
    for (const item of left) this.#takeFrom(item)
    this.#waitAgain(left)
    this.distribute()
  }

  /** More events, in order after all before, and how far was looked. */
  offer(events: ReadonlyArray<Placed>, scannedTo: number): void {
    for (const { cursor, event } of events) {
      const item = new Item(cursor, event, this.#keyOf?.(event))
      this.#line.push(item)
      this.#waiting.push(item)
    }
    this.#scannedTo = Math.max(this.#scannedTo, scannedTo)
    this.distribute()
  }

  /** These were handled, or set aside. */
  finish(items: ReadonlyArray<Item>): void {
    for (const item of items) {
      if (item.done) continue
      item.done = true
      this.#doneCount++
      this.#takeFrom(item)
    }
    while (this.#line[this.#lineHead]?.done === true) this.#lineHead++
    if (this.#lineHead > 1024 && this.#lineHead * 2 > this.#line.length) {
      this.#line = this.#line.slice(this.#lineHead)
      this.#lineHead = 0
    }
    this.distribute()
  }

  /** This one was not handled, and is to be given out again; when `delayed`, not before `resume`. */
  retry(item: Item, delayed: boolean): void {
    if (item.done || item.holder === undefined) return
    this.#takeFrom(item)
    if (delayed) {
      item.delayed = true
      this.#delayed++
    }
    this.#waitAgain([item])
    this.distribute()
  }

  resume(item: Item): void {
    if (!item.delayed) return
    item.delayed = false
    this.#delayed--
    this.distribute()
  }

  #takeFrom(item: Item): void {
    const { holder, key } = item
    if (holder === undefined) return
    item.holder = undefined
    holder.inFlight.delete(item.cursor)
    if (!item.taken) holder.outbox.splice(holder.outbox.indexOf(item), 1)
    if (key === undefined) return
    const holding = this.#keys.get(key)
    if (holding !== undefined && --holding.count === 0) this.#keys.delete(key)
  }

  #waitAgain(items: ReadonlyArray<Item>): void {
    if (items.length === 0) return
    const rest = this.#waiting.slice(this.#waitingHead)
    this.#waiting = [...items, ...rest].sort((a, b) => a.cursor - b.cursor)
    this.#waitingHead = 0
  }

  #nextWithRoom(): Subscriber | undefined {
    const count = this.#subscribers.length
    for (let offset = 0; offset < count; offset++) {
      const index = (this.#turn + offset) % count
      const subscriber = this.#subscribers[index]
      if (subscriber?.hasRoom === true) {
        this.#turn = index + 1
        return subscriber
      }
    }
    return undefined
  }

  #give(item: Item, subscriber: Subscriber): void {
    item.attempt++
    item.taken = false
    item.holder = subscriber
    subscriber.inFlight.set(item.cursor, item)
    subscriber.outbox.push(item)
    if (item.key !== undefined) {
      const holding = this.#keys.get(item.key)
      if (holding === undefined) this.#keys.set(item.key, { holder: subscriber, count: 1 })
      else holding.count++
    }
  }

  /** Gives out whatever can be given. */
  distribute(): void {
    if (this.#keyOf === undefined && this.#delayed === 0) this.#distributeInTurns()
    else this.#distributeByKey()
    for (const subscriber of this.#subscribers) {
      if (subscriber.outbox.length > 0) subscriber.wake()
    }
  }

  #distributeInTurns(): void {
    while (this.#waitingHead < this.#waiting.length) {
      const item = this.#waiting[this.#waitingHead]
      const subscriber = this.#nextWithRoom()
      if (item === undefined || subscriber === undefined) break
      this.#waitingHead++
      this.#give(item, subscriber)
    }
    if (this.#waitingHead > 1024 && this.#waitingHead * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#waitingHead)
      this.#waitingHead = 0
    }
  }

  #distributeByKey(): void {
    if (!this.#subscribers.some(({ hasRoom }) => hasRoom)) return
    const kept: Array<Item> = []
    /** Keys of which one has to wait: all behind it wait too. */
    const blocked = new Set<string>()
    for (const item of this.#waiting.slice(this.#waitingHead)) {
      const { key } = item
      const holder = key === undefined ? undefined : this.#keys.get(key)?.holder
      const isFree = !item.delayed && (key === undefined || !blocked.has(key))
      const subscriber = !isFree
        ? undefined
        : holder === undefined
        ? this.#nextWithRoom()
        : holder.hasRoom
        ? holder
        : undefined
      if (subscriber !== undefined) this.#give(item, subscriber)
      else {
        kept.push(item)
        if (key !== undefined) blocked.add(key)
      }
    }
    this.#waiting = kept
    this.#waitingHead = 0
  }
}
