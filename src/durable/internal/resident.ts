/**
 * One durable server, as far as this process is concerned: who holds it, what was sent to it from here, what was read from its
 * line, and whose turn it is. What happens to the message whose turn it is stands in `execution.ts`.
 *
 * Messages come in two ways. A direct message was sent in this process, and never becomes a row unless it has to. A message
 * in line has a position. Their order is decided so that nobody who was acknowledged is overtaken: every statement about a
 * server tells where its line ended (`pushed`), and for a direct message that came in before the statement was sent, that is
 * its horizon: everything in line up to there goes first, whatever comes behind it need not. A direct message without a
 * horizon is tried at once, guarded: the commit refuses it if the line moved, and thereby tells the horizon.
 *
 * At most one step is in flight. What arrives meanwhile waits; handlers run one at a time.
 */
import { DurableServerError, StateTooNew, StateUndecodable } from "../DurableServerError.ts"
import type { Claimed, Member, Reply, Verdict } from "../DurableStorage.ts"
import * as Answer from "./answer.ts"
import type { Environment, Server, Settlement } from "./environment.ts"
import { Execution } from "./execution.ts"
import type { Registration } from "./handling.ts"
import { Line } from "./line.ts"
import { type Batch, Mailbox, type ToLine } from "./mailbox.ts"
import type { Message } from "./message.ts"
import { leftOver, type State } from "./state/stored.ts"

/** What a resident needs of the node it lives in. */
export interface Host extends Environment {
  /** How many messages have come in so far. */
  readonly arrivals: () => number
  readonly registration: (kind: string) => Registration | undefined
  /** Whether nothing new is to be begun any more. */
  readonly isClosing: (kind: string) => boolean
  /** Finds out who holds the server, and takes it where it is free and this process has its handlers. */
  readonly locate: (resident: Resident) => void
  /** Reads on in its line. */
  readonly read: (resident: Resident) => void
  /** There is a step to commit. */
  readonly ready: (resident: Resident) => void
  /** Puts messages in line, behind what was put there before. */
  readonly enqueue: (resident: Resident, batch: Batch) => void
  /** Gives it back, after a handler has said that it stops. */
  readonly stop: (resident: Resident, reason: string) => void
  /** Answers messages that stay in line. */
  readonly reply: (resident: Resident, replies: ReadonlyArray<Reply>) => void
}

type Phase = "unknown" | "locating" | "held" | "elsewhere" | "broken" | "releasing"

export class Resident implements Server {
  readonly kind: string
  readonly key: string
  readonly decodedKey: unknown
  readonly #host: Host
  id = 0
  phase: Phase = "unknown"
  /** Why the state cannot be read, where it cannot. */
  broken: DurableServerError | undefined
  /** Why it is left to others, where its state was stored by a newer version of its definition than this process has. */
  tooNew: DurableServerError | undefined
  /** When it was last used, for its owner to see. */
  lastUsed = 0
  /** The living node that held it when it was last looked up, where it is elsewhere. */
  #holder: number | undefined

  readonly #mailbox = new Mailbox()
  readonly #line = new Line()
  /** How many batches of its messages are on their way into the line: what comes later must not pass them. */
  #enqueueing = 0
  /** Some got there while it was being located: what that tells of the line may be older. */
  #enqueuedMeanwhile = false
  /** The line was said to have grown while it was being located or released. */
  #hintedMeanwhile = false
  readonly #execution: Execution

  constructor(host: Host, kind: string, key: string, decodedKey: unknown) {
    this.#host = host
    this.#execution = new Execution(this, host)
    this.kind = kind
    this.key = key
    this.decodedKey = decodedKey
  }

  /** Nothing to do, nothing under way. */
  get isIdle(): boolean {
    return this.#mailbox.isEmpty && this.#enqueueing === 0 && !this.isWorking &&
      (this.phase !== "held" || this.#line.isDone)
  }

  /** Something is being handled or committed. */
  get isWorking(): boolean {
    return this.#execution.isWorking || this.#line.isReading ||
      this.phase === "locating" || this.phase === "releasing"
  }

  /** Nothing is under way that should be finished before this process ends. */
  get isQuiet(): boolean {
    const waits = this.#line.isReading || this.phase === "locating" || this.phase === "releasing"
    return !waits && !this.#execution.isHandling && !this.#execution.isActing && this.#enqueueing === 0 &&
      this.#mailbox.isEmpty
  }

  /** How many messages from this process wait for their turn, or for a place in line. */
  get waiting(): number {
    return this.#mailbox.size + this.#enqueueing
  }

  /** How many messages are in its line at most, as far as is known here. */
  get inLine(): number {
    return this.phase === "held" ? Math.max(0, this.#line.end - this.taken) : 0
  }

  /** What those who call it may be waiting for, in words, as far as is known here. */
  get waitsFor(): string | undefined {
    switch (this.phase) {
      case "unknown":
      case "locating":
        return "it is not known yet who runs it"
      case "elsewhere":
        return this.#holder === undefined
          ? "no process ran it when it was looked up"
          : `node ${this.#holder} ran it when it was looked up`
      case "releasing":
        return "it is leaving memory"
      default:
        return this.#execution.occupation
    }
  }

  get version(): number {
    return this.#execution.version
  }

  get taken(): number {
    return this.#execution.taken
  }

  get lineRead(): number {
    return this.#line.read
  }

  /** Whether the read that is under way goes on with the head of its line. */
  get readsHead(): boolean {
    return this.#line.readsHead
  }

  /** It is being looked up, and wants to know. */
  get isLocating(): boolean {
    return this.phase === "locating"
  }

  /** A message sent in this process. */
  accept(message: Message): void {
    if (this.phase === "broken" && this.broken !== undefined && message.mode === "call") {
      message.caller?.settle({ _tag: "Broken", error: this.broken })
      return
    }
    this.#mailbox.add(message)
    this.pump()
  }

  /** Casts sent together in this process. */
  acceptAll(batch: Batch): void {
    this.#mailbox.add(batch)
    this.pump()
  }

  /** The line may have grown. */
  lineMayHaveGrown(priority: boolean): void {
    if (this.phase === "held" || this.phase === "broken") {
      this.#line.mayGoOn()
      if (priority) this.#line.mayHavePriority()
      this.pump()
    } else if (this.phase === "unknown" || this.phase === "elsewhere") {
      this.locateAgain()
    } else this.#hintedMeanwhile = true
  }

  /** Somebody may have let go of it. */
  locateAgain(): void {
    if (this.phase !== "unknown" && this.phase !== "elsewhere") return
    this.phase = "locating"
    this.#enqueuedMeanwhile = false
    this.#host.locate(this)
  }

  claimed(claim: Claimed, registration: Registration, sentAt: number): void {
    if (this.phase !== "locating") return
    this.id = claim.id
    this.tooNew = undefined
    this.#line.reset(claim.taken, claim.pushed)
    let current: State | undefined
    if (claim.state !== undefined && !this.#beginsAnew(registration, claim)) {
      const state = registration.definition.state.load(claim.state, claim.fragments, claim.stateVersion)
      if (!state.ok) {
        this.phase = "broken"
        this.broken = new DurableServerError({
          reason: new StateUndecodable({ kind: this.kind, key: this.key, issue: state.issue })
        })
        const calls = this.#mailbox.takeCalls()
        this.pump()
        for (const message of calls) message.caller?.settle({ _tag: "Broken", error: this.broken })
        return
      }
      current = state.value
    }
    const { fragments, lock, stateVersion, taken, version } = claim
    const instead = current === undefined ? leftOver(fragments) : undefined
    this.#execution.begin(registration, version, taken, current, stateVersion, lock, instead)
    this.phase = "held"
    if (this.#enqueuedMeanwhile || this.#hintedMeanwhile) {
      this.#hintedMeanwhile = false
      this.#line.mayGoOn()
      this.#line.mayHavePriority()
    } else this.#mailbox.lineEndsAt(claim.pushed, sentAt)
    this.pump()
  }

  /** Whether what is stored of its state is passed over. What goes on under a lock goes on with what it has. */
  #beginsAnew({ begunAnew }: Registration, { id, lock }: Claimed): boolean {
    return begunAnew?.has(id) === false && lock === undefined
  }

  /** Somebody else is to run it: whoever holds it, or whoever can read its state, if that is of a newer version. */
  heldElsewhere(id: number, holder?: number, newerVersion?: number): void {
    if (this.phase !== "locating") return
    this.id = id
    this.#holder = holder
    const knownVersion = this.#host.registration(this.kind)?.definition.stateVersion
    this.tooNew = newerVersion === undefined || knownVersion === undefined ? undefined : new DurableServerError({
      reason: new StateTooNew({ kind: this.kind, key: this.key, storedVersion: newerVersion, knownVersion })
    })
    this.phase = "elsewhere"
    this.pump()
    this.#followHint()
  }

  /** Looks again, where it was said meanwhile that there is something to see. */
  #followHint(): void {
    if (!this.#hintedMeanwhile) return
    this.#hintedMeanwhile = false
    this.locateAgain()
  }

  /** Looking it up failed because the node was lost: the next one will do it. */
  notLocated(): void {
    if (this.phase === "locating") this.phase = "unknown"
  }

  /** What was read from its line behind `after`: the head, `complete` where that was all there was, and what has priority. */
  lineWasRead(
    after: number,
    head: ReadonlyArray<Message>,
    priority: ReadonlyArray<Message>,
    complete: boolean
  ): void {
    if (!this.#line.wasRead(after, head, priority, complete)) return
    if (this.phase === "broken" && this.broken !== undefined) this.#tellBroken(this.broken)
    if (this.phase === "held" || this.phase === "broken") this.pump()
  }

  notRead(): void {
    if (this.#line.wasNotRead()) this.pump()
  }

  /** A batch is in line now, by a statement that was sent after `sentAt` arrivals; or it failed to get there. */
  wasEnqueued(pushed: number | undefined, sentAt: number): void {
    this.#enqueueing--
    this.#enqueuedMeanwhile = true
    this.#line.mayHavePriority()
    if (pushed === undefined) {
      this.#line.mayGoOn()
      this.#mailbox.forgetHorizons()
    } else if (this.phase === "held") {
      this.#line.endsAt(pushed)
      this.#mailbox.goesBehind(pushed, sentAt)
    }
    this.pump()
  }

  /** Does whatever can be done now. */
  pump(): void {
    switch (this.phase) {
      case "unknown":
        if (!this.#mailbox.isEmpty) this.locateAgain()
        return
      case "locating":
      case "releasing":
        return
      case "elsewhere":
      case "broken":
        this.#putInLine("everything")
        if (this.phase === "broken") this.#readOn()
        return
      case "held":
        break
    }
    const registration = this.#host.registration(this.kind)
    if (registration === undefined) return
    this.#putInLine(this.#toLine)
    this.#execution.handleAll(registration, this.#next)
    // Nothing is taken from a line any more by handlers that close: what waits for something in it will not have its turn.
    const isStuck = this.#host.isClosing(this.kind) && !this.#execution.isWorking
    this.#putInLine(isStuck ? "everything" : this.#toLine)
    this.#execution.announce()
    this.#readOn()
  }

  /** What cannot have its turn soon goes into the line, where it is durable. */
  get #toLine(): ToLine {
    if (this.#execution.isBackingOff) return "everything"
    return this.#execution.isLocked ? "what has no priority" : "what must"
  }

  #readOn(): void {
    if (!this.#line.wantsReading || this.#host.isClosing(this.kind)) return
    this.#line.beginReading()
    this.#host.read(this)
  }

  /** Nothing of this line can be handled: whoever waits for something in it is told. It stays in line. */
  #tellBroken(error: DurableServerError): void {
    const answer: Answer.Answer = { _tag: "Broken", error }
    const replies: Array<Reply> = []
    for (let message = this.#line.shift(); message !== undefined; message = this.#line.shift()) {
      if (message.mode === "cast") continue
      const text = Answer.encode(message.operation, answer)
      if (message.caller !== undefined) message.caller.settle(answer)
      else if (text.ok) replies.push({ node: message.node, call: message.call, value: text.value })
    }
    if (replies.length > 0) this.#host.reply(this, replies)
  }

  /** The message whose turn it is, taken from where it waited. */
  readonly #next = (): Message | undefined => {
    const line = this.#line
    // Behind a guarded message nothing from the line may follow in the same step: it may have been there before.
    const fromLine = !this.#execution.isGuarded && !this.#host.isClosing(this.kind)
    if (fromLine && line.hasPriority) return line.shiftPriority()
    const urgent = this.#directPriority()
    if (urgent !== undefined) return urgent
    if (this.#execution.isLocked) return undefined
    const direct = this.#enqueueing === 0 ? this.#mailbox.first : undefined
    if (direct !== undefined) {
      const mayGo = direct.horizon === undefined
        ? line.isDone && !line.isReading
        : direct.horizon <= this.taken || line.isConsumedTo(direct.horizon)
      if (mayGo) {
        this.#mailbox.takeFirst()
        direct.guard = line.read
        return direct
      }
    }
    return fromLine ? line.shift() : undefined
  }

  /** A direct message with priority, if it has its turn: it waits for those with priority in line, and for nothing else. */
  #directPriority(): Message | undefined {
    const message = this.#enqueueing === 0 ? this.#mailbox.firstPriority : undefined
    if (message === undefined || this.#line.hasPriority) return undefined
    if (message.horizon !== undefined && message.horizon > this.#line.priorityRead) {
      this.#line.mayHavePriority()
      return undefined
    }
    this.#mailbox.takeFirstPriority()
    message.guard = this.#line.priorityRead
    return message
  }

  /**
   * Puts in line what has to go there before anything else, or everything that waits. It must not get there before what was
   * sent earlier: that may still be refused, and would then come behind it.
   */
  #putInLine(what: ToLine): void {
    if (what === "what must" ? !this.#mailbox.wantsLine : this.#mailbox.isEmpty) return
    if (this.#execution.hasDirect) return
    for (const batch of this.#mailbox.takeForLine(what)) {
      this.#enqueueing++
      this.#host.enqueue(this, batch)
    }
  }

  // ---------------------------------------------------------------------------------------------- for the execution

  ready(): void {
    this.#host.ready(this)
  }

  putBack(messages: ReadonlyArray<Message>): void {
    this.#mailbox.putBack(messages.filter((message) => message.position === 0))
    this.#line.putBack(messages.filter((message) => message.position > 0))
  }

  take(message: Message): void {
    this.#mailbox.remove(message)
    this.#line.remove(message)
  }

  putInLine(message: Message): void {
    this.#mailbox.putBack([alone(message)])
  }

  // ---------------------------------------------------------------------------------------------- commits

  /** Hands what was handled over to be committed. */
  seal(): Member | undefined {
    const registration = this.#host.registration(this.kind)
    if (this.phase !== "held" || registration === undefined) return undefined
    return this.#execution.seal(registration, this.#host.arrivals())
  }

  /** The verdict on what was handed over. Callers are told later, through `settled`, when everything is in order. */
  decided(verdict: Verdict, settled: Array<Settlement>): void {
    if (!this.#execution.isInFlight) return
    const resume = this.#execution.decided(this.#host.registration(this.kind), verdict, settled)
    if (verdict._tag === "Superseded") return this.lost()
    if (verdict._tag === "Done" || verdict._tag === "LineMoved") this.#lineEndsAt(verdict.pushed)
    const { stopped } = this.#execution
    if (verdict._tag === "Done" && stopped !== undefined) return this.#leave(stopped)
    if (resume !== undefined) resume()
    else this.pump()
    if (this.#host.registration(this.kind)?.staysInMemory === false && this.phase === "held" && this.isIdle) {
      this.#leave("normal")
    }
  }

  /** Everything under way here is void: the server is somebody else's, or this node was given up. */
  lost(): void {
    this.#execution.end()
    this.#line.reset(0, 0)
    this.broken = undefined
    this.#mailbox.forgetHorizons()
    this.phase = "unknown"
    this.pump()
  }

  /**
   * Its life was ended, and the next one begins at this version: everything under way is void, and these wait here, to be told.
   * What is not of the life that ended stays.
   */
  killed(version: number): ReadonlyArray<Batch> {
    if ((this.phase !== "held" && this.phase !== "broken") || this.version >= version) return []
    this.#execution.end()
    this.#line.reset(0, 0)
    this.broken = undefined
    this.phase = "unknown"
    const left = this.#mailbox.takeForLine("everything")
    this.pump()
    return left
  }

  #leave(reason: string): void {
    this.phase = "releasing"
    this.#host.stop(this, reason)
  }

  /** Begins to leave memory, where that can be done. */
  beginRelease(): boolean {
    if (!this.isIdle) return false
    if (this.phase !== "held" && this.phase !== "broken") return false
    this.phase = "releasing"
    return true
  }

  /** It was given back. Whatever came in meanwhile starts over. */
  released(): void {
    this.#execution.end()
    this.broken = undefined
    this.phase = "unknown"
    this.#followHint()
    this.pump()
  }

  /** Gives everything up. These wait here, to be told that the node is closed, with what they sent. */
  abandon(): ReadonlyArray<Batch> {
    // What has a place in line stays there.
    this.phase = "releasing"
    this.#execution.end()
    return this.#mailbox.takeForLine("everything")
  }

  /** What a statement told of the line. Without that, nothing is known of it, and nobody here has a horizon by it. */
  #lineEndsAt(pushed: number | undefined): void {
    if (pushed === undefined) {
      this.#line.mayGoOn()
      return
    }
    this.#line.endsAt(pushed)
    this.#mailbox.lineEndsAt(pushed, this.#execution.sentAt)
  }
}

const alone = (message: Message): Batch => ({ messages: [message], caller: undefined })
