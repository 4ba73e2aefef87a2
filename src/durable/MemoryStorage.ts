/**
 * A storage that keeps everything in this process: for tests, under `TestClock` too, and for trying things out.
 *
 * It keeps every promise that does not need a disk. Several nodes may share one, and see of each other what they would see
 * of each other through a database. Nothing in it waits for a clock.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Gathering } from "../member/internal/gathering.ts"
import {
  type Address,
  type Claim,
  DurableStorage,
  type Hint,
  type LineRead,
  type Located,
  type Member,
  NodeLost,
  type NodeStorage,
  type Outgoing,
  type Parked,
  type Reply,
  type StoredMessage,
  type Transition,
  type Verdict
} from "./DurableStorage.ts"

interface Server extends Address {
  readonly id: number
  version: number
  taken: number
  pushed: number
  holder: number | undefined
  state: string | undefined
  lock: StoredMessage | undefined
  readonly line: Array<{ readonly position: number; readonly message: StoredMessage }>
  readonly outcomes: Map<string, Kept>
  readonly parked: Array<Parked>
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
}

class Store {
  #identity = 0
  readonly #servers = new Map<number, Server>()
  readonly #names = new Map<string, Server>()
  readonly #nodes = new Map<number, Node>()
  /** Replies outlive the node that waits for them, as rows would. */
  readonly #replies = new Map<number, Map<number, Reply>>()
  readonly #clock: Clock.Clock

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  join(node: Node): number {
    const id = ++this.#identity
    this.#nodes.set(id, node)
    this.#replies.set(id, node.replies)
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

  claim(node: number, address: Address): Claim {
    const server = this.#server(address)
    const holder = this.#liveHolder(server)
    if (holder !== undefined && holder !== node) return { _tag: "HeldElsewhere", id: server.id, holder }
    server.holder = node
    server.version++
    return {
      _tag: "Claimed",
      id: server.id,
      version: server.version,
      taken: server.taken,
      pushed: server.pushed,
      state: server.state,
      lock: server.lock
    }
  }

  release(node: number, id: number, version: number | undefined): void {
    const server = this.#servers.get(id)
    if (server?.holder !== node || (version !== undefined && server.version !== version)) return
    server.holder = undefined
    if (server.pushed > server.taken || server.lock !== undefined) this.#hintAll({ _tag: "Unattended" })
  }

  read(id: number, after: number, limit: number): LineRead {
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
    const until = this.#clock.currentTimeMillisUnsafe() + retentionMillis
    const verdicts = group.map((member) => this.#decide(member))
    group.forEach((member, index) => {
      if (verdicts[index]?._tag === "Done" && member._tag === "Transition") this.#apply(member, until)
    })
    group.forEach((member, index) => {
      if (verdicts[index]?._tag !== "Done" || member._tag === "Check") return
      for (const outgoing of member.outgoing) this.#push(outgoing)
      for (const reply of member.replies) this.#reply(reply)
    })
    return group.map((member, index) => {
      const verdict = verdicts[index]
      if (verdict === undefined || verdict._tag !== "Done" || member._tag !== "Enqueue") {
        return verdict ?? { _tag: "Superseded" }
      }
      const target = member.outgoing[0]
      return { _tag: "Done", pushed: target === undefined ? 0 : this.#servers.get(target.id)?.pushed ?? 0 }
    })
  }

  #decide(member: Member): Verdict {
    if (member._tag === "Enqueue") return { _tag: "Done", pushed: 0 }
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
    if (member.guard !== undefined && member.guard !== server.pushed) {
      return { _tag: "LineMoved", pushed: server.pushed }
    }
    return server.version === member.version ? { _tag: "Done", pushed: server.pushed } : { _tag: "Superseded" }
  }

  #apply(transition: Transition, until: number): void {
    const server = this.#servers.get(transition.id)
    if (server === undefined) return
    server.version++
    server.taken = transition.taken
    if (transition.state !== undefined) server.state = transition.state
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
      server.parked.push(parked)
      // A repeat of a message that was set aside is a message of its own again.
      const { primaryKey } = parked.message
      if (primaryKey !== undefined && server.outcomes.get(primaryKey)?.reply === undefined) {
        server.outcomes.delete(primaryKey)
      }
    }
  }

  #reply(reply: Reply): void {
    this.#replies.get(reply.node)?.set(reply.call, reply)
    this.#nodes.get(reply.node)?.hints.add({ _tag: "Replies" })
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
    server.line.push({ position: server.pushed, message })
    const holder = this.#liveHolder(server)
    if (holder === undefined) this.#hintAll({ _tag: "Unattended" })
    else this.#nodes.get(holder)?.hints.add({ _tag: "Lines", ids: [id], priority: message.priority })
  }

  #hintAll(hint: Hint): void {
    for (const node of this.#nodes.values()) node.hints.add(hint)
  }
}

const joinStore = (store: Store, retentionMillis: number): Effect.Effect<NodeStorage, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const node: Node = { hints: new Gathering(), replies: new Map() }
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
        commit: (group) => alive(() => store.commit(group, retentionMillis)),
        read: (lines) => alive(() => lines.map((line) => store.read(line.id, line.after, line.limit))),
        unattended: (kinds, after) => alive(() => store.unattended(id.current, kinds, after)),
        replies: alive(() => Array.from(node.replies.values())),
        forget: (replies) => alive(() => replies.forEach((reply) => node.replies.delete(reply.call))),
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
    return DurableStorage.of({
      join: ({ outcomeRetention }) => joinStore(store, Duration.toMillis(outcomeRetention))
    })
  })
)
