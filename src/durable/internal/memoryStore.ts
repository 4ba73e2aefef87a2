/**
 * What the nodes of a storage in memory share: servers, lines, what is for later, and who is there. What a database would do in
 * one transaction is one call here, and nothing else runs meanwhile.
 */
import type * as Clock from "effect/Clock"
import type { Gathering } from "../../member/internal/gathering.ts"
import type { RetryVerdict } from "../AdminStorage.ts"
import type {
  Address,
  Append,
  AppendRefusal,
  Claim,
  Hint,
  Killed,
  Later,
  LineRead,
  Located,
  Member,
  Outgoing,
  Reply,
  ScheduledId,
  Transition,
  Verdict,
  Wanted
} from "../DurableStorage.ts"
import { Agenda } from "./agenda.ts"
import { MemoryJournal, orderOf } from "./journals.ts"
import type { StoreView } from "./memoryAdmin.ts"
import { MemoryServer } from "./memoryServer.ts"

/** A node that has joined, as the store has to know it. */
export interface Node {
  readonly hints: Gathering<Hint>
  readonly replies: Map<number, Reply>
  joinedAt: number
  /** How many groups it has committed. */
  groups: number
}

export class MemoryStore implements StoreView {
  #identity = 0
  readonly #servers = new Map<number, MemoryServer>()
  readonly #names = new Map<string, MemoryServer>()
  readonly #nodes = new Map<number, Node>()
  /** Replies outlive the node that waits for them, as rows would. */
  readonly #waiting = new Map<number, Node>()
  readonly #agenda = new Agenda()
  readonly #clock: Clock.Clock

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  get #now(): number {
    return this.#clock.currentTimeMillisUnsafe()
  }

  join(node: Node): number {
    const id = ++this.#identity
    node.joinedAt = this.#now
    node.groups = 0
    this.#nodes.set(id, node)
    this.#waiting.set(id, node)
    return id
  }

  leave(id: number): void {
    this.#nodes.delete(id)
    this.#hintAll({ _tag: "Unattended" })
  }

  isAlive(id: number): boolean {
    return this.#nodes.has(id)
  }

  #server({ key, kind }: Address): MemoryServer {
    const name = JSON.stringify([kind, key])
    let server = this.#names.get(name)
    if (server === undefined) {
      server = new MemoryServer(++this.#identity, kind, key)
      this.#names.set(name, server)
      this.#servers.set(server.id, server)
    }
    return server
  }

  #liveHolder(server: MemoryServer): number | undefined {
    return server.holder !== undefined && this.isAlive(server.holder) ? server.holder : undefined
  }

  locate(address: Address): Located {
    const server = this.#server(address)
    return { id: server.id, holder: this.#liveHolder(server) }
  }

  claim(node: number, wanted: Wanted): Claim {
    this.deliverDue()
    const server = this.#server(wanted)
    const holder = this.#liveHolder(server)
    if (holder !== undefined && holder !== node) return { _tag: "HeldElsewhere", id: server.id, holder }
    if (wanted.stateVersion !== undefined && server.stateVersion > wanted.stateVersion) {
      return { _tag: "TooNew", id: server.id, stateVersion: server.stateVersion }
    }
    server.holder = node
    server.version++
    return {
      _tag: "Claimed",
      id: server.id,
      version: server.version,
      taken: server.taken,
      pushed: server.pushed,
      state: server.state,
      fragments: Array.from(server.fragments, ([number, text]) => ({ number, text })),
      stateVersion: server.stateVersion,
      lock: server.lock
    }
  }

  release(node: number, id: number, version: number | undefined): void {
    const server = this.#servers.get(id)
    if (server?.holder !== node || (version !== undefined && server.version !== version)) return
    server.holder = undefined
    if (server.pushed > server.taken || server.lock !== undefined) this.#hintAll({ _tag: "Unattended" })
  }

  kill({ key, kind }: Address, answer: string): Killed | undefined {
    this.deliverDue()
    const server = this.#names.get(JSON.stringify([kind, key]))
    if (server === undefined) return undefined
    const { id, lock } = server
    for (const message of [...server.line.map((queued) => queued.message), ...(lock === undefined ? [] : [lock])]) {
      if (message.mode === "call") this.#reply({ node: message.node, call: message.call, value: answer })
    }
    const holder = this.#liveHolder(server)
    server.end()
    this.#agenda.deleteAllOf(id)
    const killed = { id, version: server.version }
    if (holder !== undefined) this.#nodes.get(holder)?.hints.add({ _tag: "Killed", ...killed, answer })
    return killed
  }

  read(id: number, after: number, limit: number): LineRead {
    this.deliverDue()
    const server = this.#servers.get(id)
    if (server === undefined) return { head: [], priority: [] }
    const behind = server.line.filter(({ position }) => position > after).map(({ message, position }) => ({
      ...message,
      position,
      recorded: message.primaryKey === undefined ? undefined : server.kept(message.primaryKey, this.#now)?.reply
    }))
    return { head: behind.slice(0, limit), priority: behind.filter(({ priority }) => priority).slice(0, 1000) }
  }

  unattended(node: number, kinds: ReadonlyArray<string>, after: number) {
    const found: Array<Address & { readonly id: number }> = []
    for (const server of this.#servers.values()) {
      if (server.id <= after || !kinds.includes(server.kind)) continue
      if (server.line.length === 0 && server.lock === undefined) continue
      const holder = this.#liveHolder(server)
      if (holder === undefined || holder === node) found.push(server)
      if (found.length === 1000) break
    }
    return found
  }

  /** Every member is decided as things stood before the group, and only then is anything written. */
  commit(group: ReadonlyArray<Member>, retentionMillis: number): ReadonlyArray<Verdict> {
    this.deliverDue()
    const now = this.#now
    const until = now + retentionMillis
    const missed = this.#missed(group)
    const order = orderOf(group)
    const verdicts = group.map((member): Verdict =>
      order?.waiting.has(member) === true
        ? { _tag: "Busy", elsewhere: false }
        : this.#decide(member, missed?.get(member))
    )
    group.forEach((member, index) => {
      if (verdicts[index]?._tag === "Done" && member._tag === "Transition") this.#apply(member, now, until)
    })
    group.forEach((member, index) => {
      if (verdicts[index]?._tag !== "Done" || member._tag === "Check") return
      for (const outgoing of member.outgoing) this.#push(outgoing)
      for (const reply of member.replies) this.#reply(reply)
    })
    if (missed !== undefined) {
      group.forEach((member, index) => {
        if (verdicts[index]?._tag !== "Done" || member._tag === "Check" || member.later === undefined) return
        this.#later(member.later, now)
      })
    }
    if (order !== undefined) {
      const append = (isFirst: boolean) =>
        group.forEach((member, index) => {
          if (verdicts[index]?._tag !== "Done" || order.first.has(member) !== isFirst) return
          if (member._tag === "Transition") this.#append(member)
        })
      append(true)
      append(false)
    }
    return group.map((member, index) => {
      const verdict = verdicts[index]
      if (verdict === undefined || verdict._tag !== "Done" || member._tag !== "Enqueue") {
        return verdict ?? { _tag: "Superseded" }
      }
      const target = member.outgoing[0]
      return { _tag: "Done", pushed: target === undefined ? 0 : this.#servers.get(target.id)?.pushed ?? 0 }
    })
  }

  /** What the members would cancel in vain: of several that would cancel the same, the first may. Where nothing is for later, nothing. */
  #missed(group: ReadonlyArray<Member>): ReadonlyMap<Member, ReadonlyArray<ScheduledId>> | undefined {
    if (!group.some((member) => member._tag !== "Check" && member.later !== undefined)) return undefined
    const missed = new Map<Member, ReadonlyArray<ScheduledId>>()
    const wanted = new Set<string>()
    for (const member of group) {
      if (member._tag === "Check" || member.later === undefined) continue
      const inVain = member.later.cancelled.filter((id) => {
        const name = Agenda.nameOf(id)
        const isFirst = !wanted.has(name)
        wanted.add(name)
        return !isFirst || !this.#agenda.has(id)
      })
      if (inVain.length > 0) missed.set(member, inVain)
    }
    return missed
  }

  #decide(member: Member, missed: ReadonlyArray<ScheduledId> | undefined): Verdict {
    if (member._tag === "Enqueue") {
      return missed === undefined ? { _tag: "Done", pushed: 0 } : { _tag: "Missed", cancelled: missed }
    }
    if (member._tag === "Transition" && member.transaction !== undefined) {
      return { _tag: "Failed", failure: "a storage in memory has no transactions" }
    }
    const server = this.#servers.get(member.id)
    if (server === undefined) return { _tag: "Superseded" }
    if (member._tag === "Transition") {
      const known = new Map<string, string>()
      for (const { late, primaryKey } of member.outcomes) {
        if (late) continue
        const recorded = server.kept(primaryKey, this.#now)?.reply
        if (recorded !== undefined) known.set(primaryKey, recorded)
      }
      if (known.size > 0) return { _tag: "Known", replies: known }
    }
    if (missed !== undefined) return { _tag: "Missed", cancelled: missed }
    if (member._tag === "Transition" && member.appends !== undefined) {
      const refusals = this.#unappended(member.appends)
      if (refusals.size > 0) return { _tag: "Unappended", refusals }
    }
    if (member.guard !== undefined && member.guard !== server.pushed) {
      return { _tag: "LineMoved", pushed: server.pushed }
    }
    return server.version === member.version ? { _tag: "Done", pushed: server.pushed } : { _tag: "Superseded" }
  }

  #unappended(appends: ReadonlyArray<Append>): ReadonlyMap<Append, AppendRefusal> {
    const refusals = new Map<Append, AppendRefusal>()
    for (const append of appends) {
      const refusal = append.journal instanceof MemoryJournal ? append.journal.refusal(append) : undefined
      if (refusal !== undefined) refusals.set(append, refusal)
    }
    return refusals
  }

  #append({ appends = [] }: Transition): void {
    for (const append of appends) if (append.journal instanceof MemoryJournal) append.journal.write(append)
  }

  #apply(transition: Transition, now: number, until: number): void {
    const server = this.#servers.get(transition.id)
    if (server === undefined) return
    server.apply(transition, now, until)
    for (const parked of transition.parked) server.park({ ...parked, id: ++this.#identity, at: now })
  }

  #later({ cancelled, scheduled }: Later, now: number): void {
    for (const id of cancelled) this.#agenda.delete(id)
    let next = Number.POSITIVE_INFINITY
    for (const { due, id, message } of scheduled) {
      const server = this.#servers.get(id)
      const { primaryKey } = message
      if (server === undefined) continue
      if (primaryKey !== undefined && server.kept(primaryKey, this.#now) !== undefined) continue
      const at = due._tag === "At" ? due.millis : now + due.millis
      if (this.#agenda.add({ at, id, message })) next = Math.min(next, at - now)
    }
    if (next < Number.POSITIVE_INFINITY) this.#hintAll({ _tag: "Scheduled", millis: next })
  }

  /** Puts what is due in line. In how many milliseconds there will be more. */
  deliverDue(): number | undefined {
    const now = this.#now
    for (const outgoing of this.#agenda.takeDue(now)) this.#push(outgoing)
    return this.#agenda.nextAt === undefined ? undefined : this.#agenda.nextAt - now
  }

  #reply(reply: Reply): void {
    const node = this.#waiting.get(reply.node)
    node?.replies.set(reply.call, reply)
    node?.hints.add({ _tag: "Replies" })
  }

  #push({ id, message }: Outgoing): void {
    const server = this.#servers.get(id)
    if (server === undefined) return
    if (message.primaryKey !== undefined) {
      const known = server.kept(message.primaryKey, this.#now) !== undefined
      if (known && message.mode === "cast") return
      if (!known) server.outcomes.set(message.primaryKey, { reply: undefined, until: Number.POSITIVE_INFINITY })
    }
    server.pushed++
    server.line.push({ position: server.pushed, message, at: this.#now })
    const holder = this.#liveHolder(server)
    if (holder === undefined) this.#hintAll({ _tag: "Unattended" })
    else this.#nodes.get(holder)?.hints.add({ _tag: "Lines", ids: [id], priority: message.priority })
  }

  #hintAll(hint: Hint): void {
    for (const node of this.#nodes.values()) node.hints.add(hint)
  }

  // ---------------------------------------------------------------------------------------------- for operators

  servers(): Iterable<MemoryServer> {
    this.deliverDue()
    return this.#servers.values()
  }

  *members() {
    for (const [id, { groups, joinedAt }] of this.#nodes) yield { id, joinedAt, groups }
  }

  #withParked(id: number): MemoryServer | undefined {
    for (const server of this.#servers.values()) if (server.parked.some((parked) => parked.id === id)) return server
    return undefined
  }

  drop(id: number): boolean {
    const server = this.#withParked(id)
    server?.parked.splice(server.parked.findIndex((parked) => parked.id === id), 1)
    return server !== undefined
  }

  retry(id: number, payload: string | undefined): RetryVerdict {
    this.deliverDue()
    const server = this.#withParked(id)
    const message = server?.parked.find((parked) => parked.id === id)?.message
    if (server === undefined || message === undefined) return { _tag: "NotFound" }
    const { primaryKey } = message
    const known = primaryKey === undefined ? undefined : server.kept(primaryKey, this.#now)
    if (primaryKey !== undefined && known !== undefined) {
      return { _tag: "KeyKnown", primaryKey, answered: known.reply !== undefined }
    }
    this.drop(id)
    this.#push({ id: server.id, message: { ...message, mode: "cast", payload: payload ?? message.payload } })
    return { _tag: "InLine", position: server.pushed }
  }
}
