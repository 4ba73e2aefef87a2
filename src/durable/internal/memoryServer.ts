/**
 * One durable server in memory: what would be its row, its line and its keys in a database, and what a step changes of them.
 */
import type { Address, Parked, StoredMessage, Transition } from "../DurableStorage.ts"

/** What was answered under a key; no reply while the message that bears it is in line, or is answered later. */
interface Kept {
  readonly reply: string | undefined
  /** When it is forgotten. */
  readonly until: number
}

type KeptParked = Parked & { readonly id: number; readonly at: number }

export class MemoryServer implements Address {
  readonly id: number
  readonly kind: string
  readonly key: string
  version = 0
  taken = 0
  pushed = 0
  holder: number | undefined = undefined
  state: string | undefined = undefined
  readonly fragments = new Map<number, string>()
  stateVersion = 1
  lock: StoredMessage | undefined = undefined
  readonly line: Array<{ readonly position: number; readonly message: StoredMessage; readonly at: number }> = []
  readonly outcomes = new Map<string, Kept>()
  readonly parked: Array<KeptParked> = []

  constructor(id: number, kind: string, key: string) {
    this.id = id
    this.kind = kind
    this.key = key
  }

  /** What is kept under a key, unless it is to be forgotten by now. */
  kept(primaryKey: string, now: number): Kept | undefined {
    const kept = this.outcomes.get(primaryKey)
    if (kept === undefined || kept.until > now) return kept
    this.outcomes.delete(primaryKey)
    return undefined
  }

  /** Does a step that has passed. What it answers under keys is kept until then. */
  apply(transition: Transition, now: number, until: number): void {
    this.version++
    this.taken = transition.taken
    if (transition.state !== undefined) this.state = transition.state
    for (const { number, text } of transition.fragments) {
      // A copy: what was cut out of a long text would keep all of that in memory.
      if (text === undefined) this.fragments.delete(number)
      else this.fragments.set(number, structuredClone(text))
    }
    if (transition.stateVersion !== undefined) this.stateVersion = transition.stateVersion
    if (transition.lock !== undefined) this.lock = transition.lock === "none" ? undefined : transition.lock
    while (this.line[0] !== undefined && this.line[0].position <= transition.taken) this.line.shift()
    for (const position of transition.consumed) {
      const index = this.line.findIndex((queued) => queued.position === position)
      if (index >= 0) this.line.splice(index, 1)
    }
    for (const { primaryKey, reply } of transition.outcomes) {
      if (this.kept(primaryKey, now)?.reply !== undefined) continue
      this.outcomes.set(primaryKey, { reply, until: reply === undefined ? Number.POSITIVE_INFINITY : until })
    }
  }

  /** Sets a message aside. A repeat of it is a message of its own again. */
  park(parked: KeptParked): void {
    this.parked.push(parked)
    const { primaryKey } = parked.message
    if (primaryKey !== undefined && this.outcomes.get(primaryKey)?.reply === undefined) this.outcomes.delete(primaryKey)
  }

  /** Ends its life: the next one begins at the version after, and knows nothing of it. */
  end(): void {
    this.version++
    this.taken = this.pushed
    this.holder = this.state = this.lock = undefined
    this.line.length = this.parked.length = 0
    this.outcomes.clear()
    this.fragments.clear()
    this.stateVersion = 1
  }
}
