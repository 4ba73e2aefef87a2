/**
 * What the other members of a database hold, in memory: every lookup is answered from here.
 *
 * It is brought up to date by one statement, which reads what was changed since the snapshot that was read last: after each
 * hint, and every few seconds in case one was lost. Whatever may have been missed for longer than changes are kept is made up
 * for by reading everything. Reads follow one another, so each tells of a later state; and since tokens grow, nothing that
 * was learned in another way is overwritten by one that was sent before.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import type { Engine } from "../../../member/Member.ts"
import type { Change, Remote } from "../../RegistryBackend.ts"
import * as statements from "./statements.ts"

interface Known {
  readonly member: number
  readonly remote: Remote
  /** The number of the last read that was sent before this was learned. */
  readonly learned: number
}

interface Part {
  readonly changed: (change: Change) => void
  readonly known: Map<string, Known>
}

export class Replica {
  readonly #engine: Engine
  /** The ids that this process has had. What is held under one of them is known better elsewhere. */
  readonly #ownIds = new Set<number>()
  readonly #parts = new Map<string, Part>()
  readonly #reading = Semaphore.makeUnsafe(1)
  #reads = 0
  #since = "0"
  #readAt = Number.NEGATIVE_INFINITY

  constructor(engine: Engine) {
    this.#engine = engine
  }

  has(registry: string): boolean {
    return this.#parts.has(registry)
  }

  add(registry: string, changed: (change: Change) => void): void {
    this.#parts.set(registry, { changed, known: new Map() })
  }

  remove(registry: string): void {
    this.#parts.delete(registry)
  }

  lookup(registry: string, key: string): Remote | undefined {
    return this.#parts.get(registry)?.known.get(key)?.remote
  }

  list(registry: string): ReadonlyArray<readonly [key: string, remote: Remote]> {
    return Array.from(this.#parts.get(registry)?.known ?? [], ([key, { remote }]) => [key, remote])
  }

  /** Somebody has said who holds a profile. */
  learn(row: statements.RegistrationRow): void {
    const part = this.#parts.get(row.registry)
    if (part !== undefined) this.#apply(part, row)
  }

  /** Reads what has changed, or all there is. */
  refresh(everything: boolean): Effect.Effect<void, SqlError> {
    return this.#reading.withPermit(Effect.suspend(() => this.#refresh(everything)))
  }

  readonly #refresh = Effect.fnUntraced({ self: this }, function*(this: Replica, everything: boolean) {
    if (this.#parts.size === 0) return
    this.#ownIds.add(this.#engine.id())
    const now = yield* Clock.currentTimeMillis
    const isFull = everything || this.#since === "0" || now - this.#readAt > statements.retentionMillis / 2
    const parts = new Map(this.#parts)
    const read = ++this.#reads
    const params = statements.changes.params(Array.from(parts.keys()), isFull ? "0" : this.#since)
    const { rows, since } = statements.changes.rows(yield* this.#engine.query(statements.changes.sql, params))
    const seen = new Map(Array.from(parts.values(), (part) => [part, new Set<string>()]))
    for (const row of rows) {
      const part = parts.get(row.registry)
      if (part === undefined) continue
      this.#apply(part, row)
      seen.get(part)?.add(row.key)
    }
    if (isFull) {
      for (const [part, keys] of seen) {
        for (const [key, known] of part.known) {
          if (!keys.has(key) && known.learned < read) this.#forget(part, key, known, "Released")
        }
      }
    }
    this.#since = since
    this.#readAt = now
    yield* this.#findDead()
  })

  /** What the dead hold is lost: their rows say nothing of it. */
  #findDead(): Effect.Effect<void, SqlError> {
    const members = new Set<number>()
    for (const { known } of this.#parts.values()) for (const { member } of known.values()) members.add(member)
    if (members.size === 0) return Effect.void
    const params = statements.dead.params(Array.from(members))
    return Effect.map(this.#engine.query(statements.dead.sql, params), (rows) => {
      const dead = new Set(statements.dead.rows(rows))
      if (dead.size === 0) return
      for (const part of this.#parts.values()) {
        for (const [key, known] of part.known) if (dead.has(known.member)) this.#forget(part, key, known, "Lost")
      }
    })
  }

  #apply(part: Part, { address, alive, key, member, token }: statements.RegistrationRow): void {
    const known = part.known.get(key)
    if (known !== undefined && token < known.remote.token) return
    if (member === undefined || !alive || this.#ownIds.has(member)) {
      if (known !== undefined) this.#forget(part, key, known, member !== undefined && !alive ? "Lost" : "Released")
      return
    }
    if (known?.remote.token === token) return
    if (known !== undefined) this.#forget(part, key, known, "Released")
    const remote: Remote = { node: String(member), token, address }
    part.known.set(key, { member, remote, learned: this.#reads })
    part.changed({ _tag: "Registered", key, remote })
  }

  #forget(part: Part, key: string, { remote }: Known, _tag: "Released" | "Lost"): void {
    part.known.delete(key)
    part.changed({ _tag, key, remote })
  }
}
