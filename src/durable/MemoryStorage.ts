/**
 * A storage that keeps everything in this process: for tests, under `TestClock` too, and for trying things out.
 *
 * It keeps every promise that does not need a disk. Several nodes may share one, and see of each other what they would see
 * of each other through a database. Nothing in it waits for a clock; what was scheduled is in line at its very millisecond.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Gathering } from "../member/internal/gathering.ts"
import type { RetryVerdict } from "./AdminStorage.ts"
import {
  type Address,
  type Append,
  type AppendRefusal,
  type Claim,
  DurableStorage,
  type Hint,
  type Killed,
  type Later,
  type LineRead,
  type Located,
  type Member,
  NodeLost,
  type NodeStorage,
  type Outgoing,
  type Parked,
  type Reply,
  type ScheduledId,
  type StoredMessage,
  type Transition,
  type Verdict,
  type Wanted
} from "./DurableStorage.ts"
import { Agenda } from "./internal/agenda.ts"
import { MemoryJournal, orderOf } from "./internal/journals.ts"
import { enter, type StoreView } from "./internal/memoryAdmin.ts"

interface Server extends Address {
  readonly id: number
  version: number
  taken: number
  pushed: number
  holder: number | undefined
  state: string | undefined
  readonly fragments: Map<number, string>
  stateVersion: number
  lock: StoredMessage | undefined
  readonly line: Array<{ readonly position: number; readonly message: StoredMessage; readonly at: number }>
  readonly outcomes: Map<string, Kept>
  readonly parked: Array<Parked & { readonly id: number; readonly at: number }>
}

/** What was answered under a key; no reply while the message that bears it is in line, or is answered later. */
interface Kept {
  readonly reply: string | undefined
  /** When it is forgotten. */
  readonly until: number
}

interface Node {
  readonly hints: Gathering<Hint>
  readonly replies: Map<number, Reply>
  joinedAt: number
  /** How many groups it has committed. */
  groups: number
}

class Store implements StoreView {
  #identity = 0
  readonly #servers = new Map<number, Server>()
  readonly #names = new Map<string, Server>()
  readonly #nodes = new Map<number, Node>()
  /** Replies outlive the node that waits for them, as rows would. */
  readonly #waiting = new Map<number, Node>()
  readonly #agenda = new Agenda()
  readonly #clock: Clock.Clock

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  join(node: Node): number {
    const id = ++this.#identity
    node.joinedAt = this.#clock.currentTimeMillisUnsafe()
    node.groups = 0
    this.#nodes.set(id, node)
    this.#waiting.set(id, node)
    return id
  }

  #kept(server: Server, primaryKey: string): Kept | undefined {
    const kept = server.outcomes.get(primaryKey)
    if (kept === undefined || kept.until > this.#clock.currentTimeMillisUnsafe()) return kept
    server.outcomes.delete(primaryKey)
    return undefined
  }

  leave(id: number): void {
    this.#nodes.delete(id)
    this.#hintAll({ _tag: "Unattended" })
  }

  isAlive(id: number): boolean {
    return this.#nodes.has(id)
  }

  #server({ key, kind }: Address): Server {
    const name = JSON.stringify([kind, key])
    let server = this.#names.get(name)
    if (server === undefined) {
      server = {
        kind,
        key,
        id: ++this.#identity,
        version: 0,
        taken: 0,
        pushed: 0,
        holder: undefined,
        state: undefined,
        fragments: new Map(),
        stateVersion: 1,
        lock: undefined,
        line: [],
        outcomes: new Map(),
        parked: []
      }
      this.#names.set(name, server)
      this.#servers.set(server.id, server)
    }
    return server
  }

  #liveHolder(server: Server): number | undefined {
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
    server.version++
    server.taken = server.pushed
    server.holder = server.state = server.lock = undefined
    server.line.length = server.parked.length = 0
    server.outcomes.clear()
    server.fragments.clear()
    server.stateVersion = 1
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
      recorded: message.primaryKey === undefined ? undefined : this.#kept(server, message.primaryKey)?.reply
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
    const now = this.#clock.currentTimeMillisUnsafe()
    const until = now + retentionMillis
    const missed = this.#missed(group)
    const order = orderOf(group)
    const verdicts = group.map((member): Verdict =>
      order?.waiting.has(member) === true
        ? { _tag: "Busy", elsewhere: false }
        : this.#decide(member, missed?.get(member))
    )
    group.forEach((member, index) => {
      if (verdicts[index]?._tag === "Done" && member._tag === "Transition") this.#apply(member, until)
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
        const recorded = this.#kept(server, primaryKey)?.reply
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

  #apply(transition: Transition, until: number): void {
    const server = this.#servers.get(transition.id)
    if (server === undefined) return
    server.version++
    server.taken = transition.taken
    if (transition.state !== undefined) server.state = transition.state
    for (const { number, text } of transition.fragments) {
      // A copy: what was cut out of a long text would keep all of that in memory.
      if (text === undefined) server.fragments.delete(number)
      else server.fragments.set(number, structuredClone(text))
    }
    if (transition.stateVersion !== undefined) server.stateVersion = transition.stateVersion
    if (transition.lock !== undefined) server.lock = transition.lock === "none" ? undefined : transition.lock
    while (server.line[0] !== undefined && server.line[0].position <= transition.taken) server.line.shift()
    for (const position of transition.consumed) {
      const index = server.line.findIndex((queued) => queued.position === position)
      if (index >= 0) server.line.splice(index, 1)
    }
    for (const { primaryKey, reply } of transition.outcomes) {
      if (this.#kept(server, primaryKey)?.reply !== undefined) continue
      server.outcomes.set(primaryKey, { reply, until: reply === undefined ? Number.POSITIVE_INFINITY : until })
    }
    for (const parked of transition.parked) {
      server.parked.push({ ...parked, id: ++this.#identity, at: this.#clock.currentTimeMillisUnsafe() })
      // A repeat of a message that was set aside is a message of its own again.
      const { primaryKey } = parked.message
      if (primaryKey !== undefined && server.outcomes.get(primaryKey)?.reply === undefined) {
        server.outcomes.delete(primaryKey)
      }
    }
  }

  #later({ cancelled, scheduled }: Later, now: number): void {
    for (const id of cancelled) this.#agenda.delete(id)
    let next = Number.POSITIVE_INFINITY
    for (const { due, id, message } of scheduled) {
      const server = this.#servers.get(id)
      const { primaryKey } = message
      if (server === undefined) continue
      if (primaryKey !== undefined && this.#kept(server, primaryKey) !== undefined) continue
      const at = due._tag === "At" ? due.millis : now + due.millis
      if (this.#agenda.add({ at, id, message })) next = Math.min(next, at - now)
    }
    if (next < Number.POSITIVE_INFINITY) this.#hintAll({ _tag: "Scheduled", millis: next })
  }

  /** Puts what is due in line. In how many milliseconds there will be more. */
  deliverDue(): number | undefined {
    const now = this.#clock.currentTimeMillisUnsafe()
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
      const known = this.#kept(server, message.primaryKey) !== undefined
      if (known && message.mode === "cast") return
      if (!known) server.outcomes.set(message.primaryKey, { reply: undefined, until: Number.POSITIVE_INFINITY })
    }
    server.pushed++
    server.line.push({ position: server.pushed, message, at: this.#clock.currentTimeMillisUnsafe() })
    const holder = this.#liveHolder(server)
    if (holder === undefined) this.#hintAll({ _tag: "Unattended" })
    else this.#nodes.get(holder)?.hints.add({ _tag: "Lines", ids: [id], priority: message.priority })
  }

  #hintAll(hint: Hint): void {
    for (const node of this.#nodes.values()) node.hints.add(hint)
  }

  // ---------------------------------------------------------------------------------------------- for operators

  servers(): Iterable<Server> {
    this.deliverDue()
    return this.#servers.values()
  }

  *members() {
    for (const [id, { groups, joinedAt }] of this.#nodes) yield { id, joinedAt, groups }
  }

  #withParked(id: number): Server | undefined {
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
    const known = primaryKey === undefined ? undefined : this.#kept(server, primaryKey)
    if (primaryKey !== undefined && known !== undefined) {
      return { _tag: "KeyKnown", primaryKey, answered: known.reply !== undefined }
    }
    this.drop(id)
    this.#push({ id: server.id, message: { ...message, mode: "cast", payload: payload ?? message.payload } })
    return { _tag: "InLine", position: server.pushed }
  }
}

const joinStore = (store: Store, retentionMillis: number): Effect.Effect<NodeStorage, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const node: Node = { hints: new Gathering(), replies: new Map(), joinedAt: 0, groups: 0 }
        return { node, id: { current: store.join(node) } }
      }),
      ({ id }) => Effect.sync(() => store.leave(id.current))
    ),
    ({ id, node }): NodeStorage => {
      const alive = <A>(go: () => A): Effect.Effect<A, NodeLost> =>
        Effect.suspend(() =>
          store.isAlive(id.current) ? Effect.sync(go) : Effect.fail(new NodeLost({ node: id.current }))
        )
      return {
        node: () => id.current,
        trouble: () => undefined,
        locate: (servers) => alive(() => servers.map((server) => store.locate(server))),
        claim: (servers) => alive(() => servers.map((server) => store.claim(id.current, server))),
        release: (servers) =>
          alive(() => servers.forEach((server) => store.release(id.current, server.id, server.version))),
        appendsTo: (journal) => journal instanceof MemoryJournal,
        commit: (group) =>
          alive(() => {
            if (group.some(({ _tag }) => _tag !== "Check")) node.groups++
            return store.commit(group, retentionMillis)
          }),
        kill: (server, answer) => alive(() => store.kill(server, answer)),
        read: (lines) => alive(() => lines.map((line) => store.read(line.id, line.after, line.limit))),
        unattended: (kinds, after) => alive(() => store.unattended(id.current, kinds, after)),
        replies: (from) => alive(() => Array.from(node.replies.values()).filter(({ call }) => call >= from)),
        forget: (replies) => alive(() => replies.forEach((reply) => node.replies.delete(reply.call))),
        deliverDue: alive(() => store.deliverDue()),
        mayLoseHints: false,
        hints: node.hints.take(Number.MAX_SAFE_INTEGER),
        rejoin: Effect.sync(() => {
          store.leave(id.current)
          id.current = store.join(node)
        })
      }
    }
  )

/**
 * A storage in memory, new with each time the layer is built.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<DurableStorage> = Layer.effect(
  DurableStorage,
  Effect.map(Clock.Clock, (clock) => {
    const store = new Store(clock)
    return enter(
      DurableStorage.of({
        join: ({ outcomeRetention }) => joinStore(store, Duration.toMillis(outcomeRetention))
      }),
      store,
      clock
    )
  })
)
