/**
 * Messages for later, as a storage in memory keeps them: by due time, and where that is equal by their ids.
 */
import type { Outgoing, ScheduledId } from "../DurableStorage.ts"

/** A message, and when it is due, in milliseconds since 1970. */
export interface Entry extends Outgoing {
  readonly at: number
}

const before = (left: Entry, right: Entry): boolean =>
  left.at !== right.at
    ? left.at < right.at
    : left.message.node !== right.message.node
    ? left.message.node < right.message.node
    : left.message.call < right.message.call

const keyOf = ({ id, message }: Entry): string | undefined =>
  message.primaryKey === undefined ? undefined : JSON.stringify([id, message.primaryKey])

export class Agenda {
  /** A heap: no entry is before the one above it, which is at half its place. Those that were cancelled are still in it. */
  #heap: Array<Entry> = []
  readonly #byName = new Map<string, Entry>()
  readonly #keys = new Set<string>()

  static nameOf({ call, node, server }: ScheduledId): string {
    return `${server}.${node}.${call}`
  }

  /** When the first one is due. */
  get nextAt(): number | undefined {
    while (this.#heap[0] !== undefined && !this.#isThere(this.#heap[0])) this.#removeFirst()
    return this.#heap[0]?.at
  }

  has(id: ScheduledId): boolean {
    return this.#byName.has(Agenda.nameOf(id))
  }

  /** `false`: a message with its key is there already. */
  add(entry: Entry): boolean {
    const key = keyOf(entry)
    if (key !== undefined) {
      if (this.#keys.has(key)) return false
      this.#keys.add(key)
    }
    this.#byName.set(nameOf(entry), entry)
    const heap = this.#heap
    let place = heap.length
    for (let above = (place - 1) >> 1; place > 0; place = above, above = (place - 1) >> 1) {
      const parent = heap[above]
      if (parent === undefined || !before(entry, parent)) break
      heap[place] = parent
    }
    heap[place] = entry
    return true
  }

  delete(id: ScheduledId): void {
    const entry = this.#byName.get(Agenda.nameOf(id))
    if (entry === undefined) return
    this.#forget(entry)
    // Timers that are set and cancelled, over and over, must not gather until they would have been due. What is sorted is a heap.
    if (this.#heap.length > 2 * this.#byName.size + 64) {
      this.#heap = Array.from(this.#byName.values()).sort((left, right) => before(left, right) ? -1 : 1)
    }
  }

  /** Takes back all that is for one server. */
  deleteAllOf(server: number): void {
    for (const entry of this.#byName.values()) if (entry.id === server) this.#forget(entry)
  }

  /** Takes what is due, in order. */
  takeDue(now: number): ReadonlyArray<Entry> {
    const due: Array<Entry> = []
    while (this.nextAt !== undefined && this.nextAt <= now) {
      const entry = this.#removeFirst()
      if (entry === undefined) break
      this.#forget(entry)
      due.push(entry)
    }
    return due
  }

  #isThere(entry: Entry): boolean {
    return this.#byName.get(nameOf(entry)) === entry
  }

  #forget(entry: Entry): void {
    this.#byName.delete(nameOf(entry))
    const key = keyOf(entry)
    if (key !== undefined) this.#keys.delete(key)
  }

  #removeFirst(): Entry | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let place = 0
    for (;;) {
      const left = 2 * place + 1
      const [one, other] = [heap[left], heap[left + 1]]
      if (one === undefined) break
      const [child, childAt] = other !== undefined && before(other, one) ? [other, left + 1] : [one, left]
      if (!before(child, last)) break
      heap[place] = child
      place = childAt
    }
    heap[place] = last
    return first
  }
}

const nameOf = ({ id, message }: Entry): string => Agenda.nameOf({ server: id, node: message.node, call: message.call })
