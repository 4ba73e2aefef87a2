/**
 * The node: all durable servers that this process knows of, and what they need of each other.
 *
 * The fibers that serve them stand in `service.ts`; here is what they share: who is in memory, which handlers this process
 * has, which callers wait for a reply from elsewhere, and what is ready to be located, read and committed.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import { Gathering } from "../../member/internal/gathering.ts"
import { DurableServerError, NodeClosed, Overloaded } from "../DurableServerError.ts"
import type { Address, Journal, NodeLost, NodeStorage, QueuedMessage, Reply, StoredMessage } from "../DurableStorage.ts"
import { Alarm } from "./alarm.ts"
import { type Answer, decode } from "./answer.ts"
import type { Attempts } from "./attempts.ts"
import { Deadlines } from "./deadlines.ts"
import { type Definition, type Operation, operationNamed } from "./definition.ts"
import type { Settlement } from "./environment.ts"
import type { Registration } from "./handling.ts"
import type { Errand } from "./later.ts"
import type { Batch } from "./mailbox.ts"
import { type Caller, Message } from "./message.ts"
import * as metrics from "./metrics.ts"
import { type Host, Resident } from "./resident.ts"

/** Messages of one server on their way into its line, or replies of it, in one member: all of them get there, or none. */
export interface Enqueueing extends Batch {
  readonly resident: Resident
  readonly replies: ReadonlyArray<Reply>
}

/** A call whose reply comes from elsewhere. */
export interface AwaitedReply {
  readonly caller: Caller
  readonly operation: Operation
  readonly server: Address
}

/** The end of a server's life: to be brought about, for a caller, or known to have come, and still to be drawn. */
export type Kill =
  | { readonly _tag: "Wanted"; readonly server: Address; readonly error: DurableServerError; readonly caller: Caller }
  | { readonly _tag: "Done"; readonly id: number; readonly version: number; readonly error: DurableServerError }

/** A key with its text. */
export interface Key {
  readonly text: string
  readonly value: unknown
}

/** A message that its client has checked and encoded. */
export interface Prepared {
  readonly operation: Operation
  readonly payload: unknown
  readonly text: string
  readonly primaryKey: string | undefined
}

/** So many calls at most are remembered that were given up. */
const maxGivenUp = 10_000

export class Residency implements Host {
  readonly storage: NodeStorage
  readonly clock: Clock.Clock
  readonly deadlines: Deadlines
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  /** Held while a group is under way: what it became must be known before anything here is declared void. */
  readonly committing = Semaphore.makeUnsafe(1)
  /** To be called whenever something came to its end. */
  readonly checkQuiet = (): void => {
    for (const watcher of this.#watchers) watcher()
  }

  /** What is to be committed, looked up, read on, and polled for. */
  readonly toCommit = new Gathering<Resident | Enqueueing | Errand>()
  readonly toLocate = new Gathering<Resident>()
  /** Servers of which only the id is wanted. */
  readonly toFind = new Gathering<{ readonly server: Address; readonly found: (id: number) => void }>()
  readonly toRead = new Gathering<Resident>()
  /** Replies that were handed over. */
  readonly toForget = new Gathering<Reply>()
  readonly toPoll = new Gathering<"lines" | "replies">()
  readonly toStop = new Gathering<Resident>()
  readonly toKill = new Gathering<Kill>()
  /** Open while somebody is in memory. */
  readonly inhabited = Latch.makeUnsafe(false)

  readonly registrations = new Map<string, Registration>()
  readonly byId = new Map<number, Resident>()
  readonly awaited = new Map<number, AwaitedReply>()
  /** Calls that nobody waits for any more, and whose replies from elsewhere have still to be cleared away. */
  readonly givenUp = new Set<number>()
  /** What is on its way into lines, until that is known to be done. */
  readonly enqueued = new Set<Enqueueing>()
  /** What is to be done about messages for later, until that is known to be done. */
  readonly errands = new Set<Errand>()
  /** Rings when something may be due. */
  readonly alarm: Alarm
  /** The ids this node has had: replies to any of them are for callers here. */
  readonly ids = new Set<number>()

  readonly #residents = new Map<string, Map<string, Resident>>()
  readonly #ready = new Set<Resident>()
  readonly #closing = new Set<string>()
  readonly #watchers = new Set<() => void>()
  readonly #mailboxCapacity: number
  #joinedAs: number
  #arrivals = 0
  #closed = false

  constructor(
    storage: NodeStorage,
    clock: Clock.Clock,
    mailboxCapacity: number,
    fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  ) {
    this.storage = storage
    this.#mailboxCapacity = mailboxCapacity
    this.clock = clock
    this.alarm = new Alarm(clock, this.now)
    this.fork = fork
    this.#joinedAs = storage.node()
    this.ids.add(this.#joinedAs)
    this.deadlines = new Deadlines(clock, (effect) => {
      fork(effect)
    })
  }

  // ---------------------------------------------------------------------------------------------- for clients

  /** Takes in a message from this process. Gives its number. */
  send(
    definition: Definition,
    key: Key,
    mode: "call" | "cast",
    message: Prepared,
    priority: boolean,
    caller: Caller
  ): number {
    const resident = this.#admit(definition, key, message.operation.tag, caller)
    if (resident === undefined) return 0
    const arrival = ++this.#arrivals
    resident.accept(this.#message(mode, message, priority, arrival, caller))
    return arrival
  }

  /** Puts casts in line, all of them or none. */
  sendAll(definition: Definition, key: Key, messages: ReadonlyArray<Prepared>, caller: Caller): void {
    const resident = this.#admit(definition, key, messages[0]?.operation.tag ?? "", caller)
    if (resident === undefined) return
    const casts = messages.map((message) => this.#message("cast", message, false, ++this.#arrivals, undefined))
    resident.acceptAll({ messages: casts, caller })
  }

  /** Ends the life of a server. */
  kill(definition: Definition, key: Key, error: DurableServerError, caller: Caller): void {
    const server = { kind: definition.kind, key: key.text }
    if (this.#closed) caller.settle(this.closedAnswer(server, "kill"))
    else this.toKill.add({ _tag: "Wanted", server, error, caller })
  }

  /** A server that is in memory here. */
  known({ key, kind }: Address): Resident | undefined {
    return this.#residents.get(kind)?.get(key)
  }

  /** Does something about messages for later; where it is about a server, `ready` is told its id first. */
  run(errand: Errand, about?: { readonly key: Key; readonly ready: (id: number) => void }): void {
    if (this.#closed) return errand.caller.settle(this.closedAnswer(errand.server, errand.rpc))
    if (this.errands.size >= this.#mailboxCapacity) {
      return errand.caller.settle(this.#overloaded(errand.server, errand.rpc))
    }
    this.errands.add(errand)
    const found = (id: number) => {
      about?.ready(id)
      this.toCommit.add(errand)
    }
    const known = about === undefined ? 0 : this.#knownId(errand.server.kind, about.key)
    if (known !== undefined) found(known)
    else this.toFind.add({ server: errand.server, found })
  }

  #overloaded(server: Address, rpc: string): Answer {
    return {
      _tag: "Broken",
      error: new DurableServerError({
        reason: new Overloaded({ kind: server.kind, key: server.key, rpc, capacity: this.#mailboxCapacity })
      })
    }
  }

  /** Where a message goes, unless it is refused. */
  #admit(definition: Definition, key: Key, rpc: string, caller: Caller): Resident | undefined {
    const server = { kind: definition.kind, key: key.text }
    if (this.#closed) {
      caller.settle(this.closedAnswer(server, rpc))
      return undefined
    }
    const resident = this.resident(definition.kind, key)
    if (resident.waiting < this.#mailboxCapacity) return resident
    caller.settle(this.#overloaded(server, rpc))
    return undefined
  }

  #message(
    mode: "call" | "cast",
    message: Prepared,
    priority: boolean,
    arrival: number,
    caller: Caller | undefined
  ): Message {
    return new Message(
      message.operation,
      mode,
      message.payload,
      message.text,
      message.primaryKey,
      priority,
      this.storage.node(),
      arrival,
      0,
      arrival,
      caller
    )
  }

  /** What those who call a server may be waiting for, in words. */
  waitsFor(kind: string, key: string): string | undefined {
    return this.storage.trouble() ?? this.#residents.get(kind)?.get(key)?.waitsFor
  }

  /** Why messages to a server are left to others, where its state is of a newer version than this process can read. */
  tooNew(kind: string, key: string): DurableServerError | undefined {
    return this.#residents.get(kind)?.get(key)?.tooNew
  }

  closedAnswer(server: Address, rpc: string): Answer {
    return {
      _tag: "Broken",
      error: new DurableServerError({ reason: new NodeClosed({ kind: server.kind, key: server.key, rpc }) })
    }
  }

  /** The id of a server, for a message that goes out with a handler's transition. */
  locatedId(kind: string, key: Key): Effect.Effect<number, NodeLost> {
    const known = this.#knownId(kind, key)
    return known !== undefined
      ? Effect.succeed(known)
      : Effect.map(this.storage.locate([{ kind, key: key.text }]), ([located]) => located?.id ?? 0)
  }

  #knownId(kind: string, key: Key): number | undefined {
    return this.#residents.get(kind)?.get(key.text)?.id || undefined
  }

  /** A number for a message that goes out with a handler's transition. */
  nextNumber(): number {
    return ++this.#arrivals
  }

  // ---------------------------------------------------------------------------------------------- who is here

  resident(kind: string, key: Key): Resident {
    let ofKind = this.#residents.get(kind)
    if (ofKind === undefined) this.#residents.set(kind, ofKind = new Map())
    let resident = ofKind.get(key.text)
    if (resident === undefined) {
      ofKind.set(key.text, resident = new Resident(this, kind, key.text, key.value))
      this.inhabited.openUnsafe()
    }
    resident.lastUsed = this.clock.currentTimeMillisUnsafe()
    return resident
  }

  *all(): Generator<Resident> {
    for (const ofKind of this.#residents.values()) yield* ofKind.values()
  }

  ofKind(kind: string): ReadonlyArray<Resident> {
    return Array.from(this.#residents.get(kind)?.values() ?? [])
  }

  get size(): number {
    let size = 0
    for (const ofKind of this.#residents.values()) size += ofKind.size
    return size
  }

  forget(resident: Resident): void {
    this.#residents.get(resident.kind)?.delete(resident.key)
    if (this.byId.get(resident.id) === resident) this.byId.delete(resident.id)
    if (this.size === 0) this.inhabited.closeUnsafe()
  }

  // ---------------------------------------------------------------------------------------------- for residents

  readonly now = (): number => Number(this.clock.monotonicTimeNanosUnsafe() / 1000n) / 1000

  arrivals(): number {
    return this.#arrivals
  }

  registration(kind: string): Registration | undefined {
    return this.registrations.get(kind)
  }

  isClosing(kind: string): boolean {
    return this.#closed || this.#closing.has(kind)
  }

  isLocal(node: number): boolean {
    return this.ids.has(node)
  }

  appendsTo(journal: Journal): boolean {
    return this.storage.appendsTo?.(journal) === true
  }

  locate(resident: Resident): void {
    this.toLocate.add(resident)
  }

  read(resident: Resident): void {
    this.toRead.add(resident)
  }

  ready(resident: Resident): void {
    if (this.#ready.has(resident)) return
    this.#ready.add(resident)
    this.toCommit.add(resident)
  }

  /** It is being looked at: from now on it may say again that it is ready. */
  takenUp(resident: Resident): void {
    this.#ready.delete(resident)
  }

  enqueue(resident: Resident, batch: Batch): void {
    for (const message of batch.messages) if (message.mode === "call") this.keepCaller(resident, message)
    this.#enqueue({ ...batch, resident, replies: [] })
  }

  keepCaller(server: Address, { call, caller, operation }: Message): void {
    if (caller?.gone === false) this.awaited.set(call, { caller, operation, server })
    else if (caller !== undefined) this.#wasGivenUp(call)
  }

  /** Its caller waits no more. */
  giveUp(call: number): void {
    if (this.awaited.delete(call)) this.#wasGivenUp(call)
  }

  #wasGivenUp(call: number): void {
    this.givenUp.add(call)
    if (this.givenUp.size <= maxGivenUp) return
    // Replies that nobody has cleared away go after a day.
    for (const oldest of this.givenUp) {
      this.givenUp.delete(oldest)
      break
    }
  }

  /** Whether replies from elsewhere have still to come. */
  get expectsReplies(): boolean {
    return this.awaited.size > 0 || this.givenUp.size > 0
  }

  /** No call with a lower number has a reply from elsewhere to come. */
  get oldestAwaited(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const call of this.awaited.keys()) oldest = Math.min(oldest, call)
    for (const call of this.givenUp) oldest = Math.min(oldest, call)
    return oldest === Number.POSITIVE_INFINITY ? 0 : oldest
  }

  keptCaller({ call, value }: Reply): Settlement | undefined {
    const awaited = this.awaited.get(call)
    if (awaited === undefined) {
      this.givenUp.delete(call)
      return undefined
    }
    this.awaited.delete(call)
    // Somebody runs it.
    if (awaited.server instanceof Resident) awaited.server.tooNew = undefined
    return { caller: awaited.caller, answer: decode(awaited.operation, awaited.server, value) }
  }

  stop(resident: Resident, reason: string): void {
    this.toStop.add(resident)
    if (reason === "normal") return
    this.fork(Effect.annotateLogs(Effect.logInfo(`a server stopped: ${reason}`), {
      kind: resident.kind,
      key: resident.key
    }))
  }

  reply(resident: Resident, replies: ReadonlyArray<Reply>): void {
    this.#enqueue({ resident, messages: [], caller: undefined, replies })
  }

  #enqueue(item: Enqueueing): void {
    this.enqueued.add(item)
    this.toCommit.add(item)
  }

  backOff(kind: string, attempts: Attempts, next: (again: boolean) => void): Fiber.Fiber<unknown, unknown> {
    const policy = this.registrations.get(kind)?.defectRetryPolicy ?? Schedule.recurs(0)
    const step = attempts.step === undefined ? Schedule.toStepWithSleep(policy) : Effect.succeed(attempts.step)
    return this.fork(
      Effect.flatMap(step, (step) => {
        attempts.step = step
        return Effect.exit(step(Cause.squash(attempts.last)))
      }).pipe(
        Effect.flatMap((exit) =>
          Effect.sync(() => {
            // What follows may give up this very fiber, which must have ended by then.
            if (!Exit.hasInterrupts(exit)) queueMicrotask(() => next(Exit.isSuccess(exit)))
          })
        )
      )
    )
  }

  attemptFailed(server: Address, message: Message, cause: Cause.Cause<unknown>, parked: boolean): void {
    this.fork(
      (parked
        ? Effect.logError(`a message was parked after ${message.attempts} failed attempts`, cause)
        : Effect.logWarning(`attempt ${message.attempts} at a message failed`, cause)).pipe(
          Effect.annotateLogs(annotations(server, message)),
          Effect.andThen(Metric.update(parked ? metrics.parked : metrics.failedAttempts, 1))
        )
    )
  }

  castFailed(server: Address, message: Message, error: unknown): void {
    this.fork(
      Effect.logWarning("a cast was answered with a failure that nobody hears", Cause.fail(error)).pipe(
        Effect.annotateLogs(annotations(server, message)),
        Effect.andThen(Metric.update(metrics.failedCasts, 1))
      )
    )
  }

  /** A message as it was read from a line. */
  fromLine(definition: Definition, queued: QueuedMessage): Message {
    return this.#fromStored(definition, queued, queued.position, queued.recorded)
  }

  /** A message as it was kept for its server alone. */
  fromLock(definition: Definition, stored: StoredMessage): Message {
    const message = this.#fromStored(definition, stored, 0, undefined)
    message.horizon = 0
    return message
  }

  #fromStored(
    definition: Definition,
    queued: StoredMessage,
    position: number,
    recorded: string | undefined
  ): Message {
    const operation = operationNamed(definition, queued.rpc)
    const payload = operation?.payload.decode(queued.payload)
    // A cast with the number of a call is that call, retried after it was parked, and none that anybody waits for.
    const isAwaited = queued.mode === "call" && this.isLocal(queued.node)
    const local = isAwaited ? this.awaited.get(queued.call)?.caller : undefined
    return new Message(
      operation ?? unknownOperation(queued.rpc),
      queued.mode,
      payload?.ok === true ? payload.value : undefined,
      queued.payload,
      queued.primaryKey,
      queued.priority,
      queued.node,
      queued.call,
      position,
      ++this.#arrivals,
      local,
      recorded,
      payload === undefined
        ? `${definition.kind} declares no "${queued.rpc}"`
        : payload.ok
        ? undefined
        : `the payload does not decode: ${payload.issue}`
    )
  }

  // ---------------------------------------------------------------------------------------------- coming and going

  /** After the storage has joined anew, for whatever reason: everything that stood on the node's old number is void. */
  cameBack(): void {
    const now = this.storage.node()
    if (this.#joinedAs === now) return
    this.#joinedAs = now
    this.ids.add(now)
    this.byId.clear()
    for (const resident of this.all()) resident.lost()
    this.toPoll.add("lines")
  }

  /** Gives servers back that nothing here stands on any more, once what is under way is decided; for as long as it takes. */
  giveBack(
    servers: ReadonlyArray<{ readonly id: number; readonly version: number | undefined }>
  ): Fiber.Fiber<void> {
    return this.fork(
      servers.length === 0
        ? Effect.void
        : Effect.andThen(this.committing.withPermit(Effect.void), Effect.ignore(this.storage.release(servers)))
    )
  }

  register(registration: Registration): void {
    const kind = registration.definition.kind
    if (this.registrations.has(kind)) throw new Error(`the handlers of "${kind}" are in this node twice`)
    this.registrations.set(kind, registration)
    for (const resident of this.ofKind(kind)) resident.locateAgain()
    this.toPoll.add("lines")
  }

  /** From now on nothing new is begun: for one kind, or, with the node, for all. */
  beginClosing(kind?: string): void {
    if (kind === undefined) this.#closed = true
    else this.#closing.add(kind)
  }

  endClosing(kind: string): void {
    this.#closing.delete(kind)
    this.registrations.delete(kind)
  }

  /** Waits until nothing of these residents is under way. */
  quiet(residents: () => Iterable<Resident>): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const check = () => {
        for (const resident of residents()) if (!resident.isQuiet) return
        if (this.#closed && this.errands.size > 0) return
        this.#watchers.delete(check)
        resume(Effect.void)
      }
      this.#watchers.add(check)
      check()
      return Effect.sync(() => {
        this.#watchers.delete(check)
      })
    })
  }
}

const annotations = (server: Address, message: Message) => ({
  kind: server.kind,
  key: server.key,
  rpc: message.operation.tag,
  message: message.id
})

/** An operation that only other versions of the protocol know. */
const unknownOperation = (tag: string): Operation => {
  const refused = () => ({ ok: false, issue: `"${tag}" is not declared` }) as const
  const codec = { encode: refused, decode: refused, decodeJson: refused }
  return { tag, payload: codec, makePayload: refused, success: codec, error: codec }
}
