/**
 * One durable server, as far as this process is concerned: what was sent to it from here, what was read from its line, the
 * state where this process holds it, and the step that is being made.
 *
 * Messages come in two ways. A direct message was sent in this process, and never becomes a row unless it has to. A message
 * in line has a position. Their order is decided so that nobody who was acknowledged is overtaken: every statement about a
 * server tells where its line ended (`pushed`), and for a direct message that came in before the statement was sent, that is
 * its horizon: everything in line up to there goes first, whatever comes behind it need not. A direct message without a
 * horizon is tried at once, guarded: the commit refuses it if the line moved, and thereby tells the horizon.
 *
 * At most one step is in flight. What arrives meanwhile waits; handlers run one at a time.
 */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { DurableServerError, MessageParked, StateUndecodable } from "../DurableServerError.ts"
import type { Claimed, Member, Outgoing, Reply, Verdict } from "../DurableStorage.ts"
import * as Answer from "./answer.ts"
import type { Checked } from "./definition.ts"
import { handle, type Handled, initialise, type Registration } from "./handling.ts"
import { Line } from "./line.ts"
import { type Batch, Mailbox } from "./mailbox.ts"
import type { Caller, Message } from "./message.ts"
import { Draft, type State } from "./transition.ts"

/** What a resident needs of the node it lives in. */
export interface Host {
  /** How many messages have come in so far. */
  readonly arrivals: () => number
  readonly registration: (kind: string) => Registration | undefined
  /** Whether nothing new is to be begun any more. */
  readonly isClosing: (kind: string) => boolean
  readonly isLocal: (node: number) => boolean
  /** Finds out who holds the server, and takes it where it is free and this process has its handlers. */
  readonly locate: (resident: Resident) => void
  /** Reads on in its line. */
  readonly read: (resident: Resident) => void
  /** There is a step to commit. */
  readonly ready: (resident: Resident) => void
  /** Puts messages in line, behind what was put there before. */
  readonly enqueue: (resident: Resident, batch: Batch) => void
  /** Waits as the policy says after a failed attempt; `false` when there is no further one. */
  readonly backOff: (
    resident: Resident,
    attempts: Attempts,
    next: (again: boolean) => void
  ) => Fiber.Fiber<unknown, unknown>
  /** Answers messages that stay in line. */
  readonly reply: (resident: Resident, replies: ReadonlyArray<Reply>) => void
  readonly interrupt: (fiber: Fiber.Fiber<unknown, unknown>) => void
  /** Called for every failed attempt, and for typed failures that nobody hears. */
  readonly attemptFailed: (resident: Resident, message: Message, cause: Cause.Cause<unknown>, parked: boolean) => void
  readonly castFailed: (resident: Resident, message: Message, error: unknown) => void
}

/** The failed attempts at one message. */
export interface Attempts {
  count: number
  /** Whether the policy's delay is still to be waited for. */
  due: boolean
  last: Cause.Cause<unknown>
  /** Whether the policy has ended. */
  exhausted: boolean
  /** Where the policy stands. */
  step: ((input: unknown) => Effect.Effect<unknown, unknown>) | undefined
}

type Phase = "unknown" | "locating" | "held" | "elsewhere" | "broken" | "releasing"

export class Resident {
  readonly kind: string
  readonly key: string
  readonly decodedKey: unknown
  readonly #host: Host
  id = 0
  phase: Phase = "unknown"
  version = 0
  /** Why the state cannot be read, where it cannot. */
  broken: DurableServerError | undefined
  /** When it was last used, for its owner to see. */
  lastUsed = 0

  #state: State | undefined
  #taken = 0
  readonly #mailbox = new Mailbox()
  readonly #line = new Line()
  /** How many batches of its messages are on their way into the line: what comes later must not pass them. */
  #enqueueing = 0
  /** Some got there while it was being located: what that tells of the line may be older. */
  #enqueuedMeanwhile = false
  #draft: Draft | undefined
  #inFlight: Draft | undefined
  /** The number of arrivals when the statement in flight was sent. */
  #sentAt = 0
  #busy = false
  /** Waiting for the next attempt at a message that failed. */
  #backingOff = false
  #running: { readonly message: Message; fiber: Fiber.Fiber<unknown, unknown> | undefined } | undefined
  /** What a handler answered while the step before it was in flight. */
  #afterFlight: (() => void) | undefined
  /** Goes up when everything under way became void. */
  #epoch = 0
  /** Encode every single state: the last batch held one that does not encode, and it must be told which. */
  #careful = false
  readonly #attempts = new Map<string, Attempts>()

  constructor(host: Host, kind: string, key: string, decodedKey: unknown) {
    this.#host = host
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
    return this.#busy || this.#draft !== undefined || this.#inFlight !== undefined || this.#line.isReading ||
      this.phase === "locating" || this.phase === "releasing"
  }

  /** Nothing is under way that should be finished before this process ends. */
  get isQuiet(): boolean {
    const handling = this.isWorking && !this.#backingOff
    return !handling && this.#enqueueing === 0 && this.#mailbox.isEmpty
  }

  get taken(): number {
    return this.#draft?.taken ?? this.#inFlight?.taken ?? this.#taken
  }

  get lineRead(): number {
    return this.#line.read
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
  lineMayHaveGrown(): void {
    if (this.phase === "held" || this.phase === "broken") {
      this.#line.mayGoOn()
      this.pump()
    } else if (this.phase === "unknown" || this.phase === "elsewhere") {
      this.locateAgain()
    }
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
    this.version = claim.version
    this.#taken = claim.taken
    this.#line.reset(claim.taken, claim.pushed)
    this.#state = undefined
    if (claim.state !== undefined) {
      const state = registration.definition.state.decode(claim.state)
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
      this.#state = { value: state.value, text: claim.state }
    }
    this.phase = "held"
    if (this.#enqueuedMeanwhile) this.#line.mayGoOn()
    else this.#mailbox.lineEndsAt(claim.pushed, sentAt)
    this.pump()
  }

  heldElsewhere(id: number): void {
    if (this.phase !== "locating") return
    this.id = id
    this.phase = "elsewhere"
    this.pump()
  }

  /** Looking it up failed because the node was lost: the next one will do it. */
  notLocated(): void {
    if (this.phase === "locating") this.phase = "unknown"
  }

  /** What was read from its line behind `after`; `complete` where that was all there was. */
  lineWasRead(after: number, messages: ReadonlyArray<Message>, complete: boolean): void {
    if (!this.#line.wasRead(after, messages, complete)) return
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
        this.#putInLine(true)
        if (this.phase === "broken") this.#readOn()
        return
      case "held":
        break
    }
    this.#putInLine(this.#backingOff)
    if (this.#busy || this.#inFlight !== undefined) return
    const registration = this.#host.registration(this.kind)
    if (registration === undefined) return
    this.#busy = true
    let going = true
    while (going) {
      if (this.#draft !== undefined && this.#draft.steps.length >= (this.#careful ? 1 : registration.maxBatch)) break
      const message = this.#next()
      if (message === undefined) break
      going = this.#step(registration, message)
    }
    if (going) this.#busy = false
    this.#putInLine(this.#backingOff)
    if (this.#draft !== undefined && !this.#draft.isEmpty) this.#host.ready(this)
    this.#readOn()
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
  #next(): Message | undefined {
    const direct = this.#enqueueing === 0 ? this.#mailbox.first : undefined
    if (direct !== undefined) {
      const mayGo = direct.horizon === undefined
        ? this.#line.isDone && !this.#line.isReading
        : direct.horizon <= this.taken
      if (mayGo) {
        this.#mailbox.takeFirst()
        return direct
      }
    }
    // Behind a guarded message nothing from the line may follow in the same step: it may have been there before.
    return this.#draft?.guard === undefined && !this.#host.isClosing(this.kind) ? this.#line.shift() : undefined
  }

  get #current(): State | undefined {
    return this.#draft?.state ?? this.#inFlight?.state ?? this.#state
  }

  #draftNow(state: State | undefined): Draft {
    return this.#draft ??= new Draft(this.version, state, this.#taken)
  }

  /** Handles one message. `false`: something must be waited for, and goes on by itself. */
  #step(registration: Registration, message: Message): boolean {
    if (message.recorded === undefined && message.primaryKey !== undefined) {
      message.recorded = this.#draft?.outcomes.get(message.primaryKey)
    }
    const attempts = this.#attempts.get(message.id)
    if (message.recorded === undefined && attempts !== undefined) {
      message.attempts = attempts.count
      if (attempts.exhausted) return this.#park(message, attempts)
      if (attempts.due) {
        this.#backOff(registration, message, attempts)
        return false
      }
    }
    return this.#withState(registration, message, (state) =>
      message.recorded === undefined
        ? this.#attempt(registration, message, state)
        : this.#add(registration, message, Answer.decode(message.operation, this, message.recorded), undefined, []))
  }

  /** Goes on with the state, which is made first where there is none yet. */
  #withState(registration: Registration, message: Message, go: (state: State) => boolean): boolean {
    const state = this.#current
    if (state !== undefined) return go(state)
    const use = (exit: Exit.Exit<unknown, unknown>): boolean => {
      if (Exit.isFailure(exit)) return this.#failed(registration, message, exit.cause)
      this.#state = { value: exit.value, text: undefined }
      return go(this.#state)
    }
    const exit = initialise(registration, this.decodedKey, this.#wait(message, use))
    return exit === undefined ? false : use(exit)
  }

  #attempt(registration: Registration, message: Message, state: State): boolean {
    if (message.undecodable !== undefined) {
      return this.#failed(registration, message, Cause.die(new Error(message.undecodable)))
    }
    const handled = handle(
      registration,
      this,
      message,
      state.value,
      this.#wait(message, (result: Handled) => this.#conclude(registration, message, result))
    )
    return handled === undefined ? false : this.#conclude(registration, message, handled)
  }

  /** For something that has to be waited for: what comes of it counts only if nothing became void meanwhile. */
  #wait<A>(message: Message, use: (result: A) => boolean) {
    const epoch = this.#epoch
    const done = (result: A): void => {
      if (epoch !== this.#epoch) return
      if (this.#inFlight !== undefined) {
        this.#afterFlight = () => done(result)
        return
      }
      this.#running = undefined
      if (use(result)) {
        this.#busy = false
        this.pump()
      } else if (this.#draft !== undefined && !this.#draft.isEmpty) {
        this.#host.ready(this)
      }
    }
    return {
      started: (fiber: Fiber.Fiber<unknown, unknown>) => {
        this.#running = { message, fiber }
      },
      done
    }
  }

  #conclude(registration: Registration, message: Message, handled: Handled): boolean {
    switch (handled._tag) {
      case "Outcome":
        return this.#add(
          registration,
          message,
          handled.value === undefined ? Answer.nothing : { _tag: "Success", value: handled.value },
          handled.next,
          handled.outgoing
        )
      case "Failure":
        if (message.mode === "cast") this.#host.castFailed(this, message, handled.error)
        return this.#add(registration, message, { _tag: "Failure", error: handled.error }, undefined, [])
      case "Defect":
        return this.#failed(registration, message, handled.cause)
    }
  }

  /** Adds a handled message to the step. */
  #add(
    registration: Registration,
    message: Message,
    answer: Answer.Answer,
    next: unknown,
    outgoing: ReadonlyArray<Outgoing>
  ): boolean {
    const before = this.#current
    if (before === undefined) return this.#failed(registration, message, Cause.die(new Error("no state")))
    let state = before
    if (next !== undefined && next !== before.value) {
      state = { value: next, text: undefined }
      if (this.#careful) {
        const text = this.#encodeState(registration, state)
        if (!text.ok) {
          return this.#failed(
            registration,
            message,
            Cause.die(new Error(`the next state does not encode: ${text.issue}`))
          )
        }
        state = text.value
      }
    }
    const wantsText = message.primaryKey !== undefined || (message.mode === "call" && this.#repliesByRow(message))
    let text: string | undefined = message.recorded
    if (text === undefined && wantsText) {
      const encoded = Answer.encode(message.operation, answer)
      if (!encoded.ok) {
        return this.#failed(registration, message, Cause.die(new Error(`the reply does not encode: ${encoded.issue}`)))
      }
      text = encoded.value
    }
    const draft = this.#draftNow(before)
    draft.state = state
    this.#take(draft, message)
    for (const item of outgoing) draft.outgoing.push(item)
    if (message.primaryKey !== undefined && message.recorded === undefined && text !== undefined) {
      draft.outcomes.set(message.primaryKey, text)
    }
    this.#finish(draft, message, answer, text)
    return true
  }

  #take(draft: Draft, message: Message): void {
    if (message.position > 0) draft.taken = message.position
    else if (message.horizon === undefined) draft.guard ??= draft.taken
  }

  #repliesByRow(message: Message): boolean {
    return message.caller === undefined && !this.#host.isLocal(message.node)
  }

  #finish(draft: Draft, message: Message, answer: Answer.Answer, text: string | undefined): void {
    draft.steps.push({ message, answer })
    if (message.mode === "call" && text !== undefined && this.#repliesByRow(message)) {
      draft.replies.push({ node: message.node, call: message.call, value: text })
    }
  }

  /** A failed attempt. A direct message goes into the line first, so that it is durable. */
  #failed(registration: Registration, message: Message, cause: Cause.Cause<unknown>): boolean {
    let attempts = this.#attempts.get(message.id)
    if (attempts === undefined) {
      attempts = { count: 0, due: false, last: cause, exhausted: false, step: undefined }
      this.#attempts.set(message.id, attempts)
    }
    attempts.count++
    attempts.last = cause
    message.attempts = attempts.count
    this.#host.attemptFailed(this, message, cause, false)
    if (message.position === 0) {
      attempts.due = true
      if (message.caller?.gone === true) this.#attempts.delete(message.id)
      this.#mailbox.putBack([alone(message)])
      return true
    }
    this.#backOff(registration, message, attempts)
    return false
  }

  #backOff(registration: Registration, message: Message, attempts: Attempts): void {
    this.#backingOff = true
    const { done, started } = this.#wait(message, (again: boolean) => {
      this.#backingOff = false
      attempts.due = false
      if (again) return this.#step(registration, message)
      attempts.exhausted = true
      return this.#park(message, attempts)
    })
    started(this.#host.backOff(this, attempts, done))
  }

  /** Takes a message out of the line for good, to lie where it can be seen, and tells whoever waits for it. */
  #park(message: Message, attempts: Attempts): boolean {
    const failure = Cause.pretty(attempts.last)
    // Without a state where it is `init` that fails: there is none, and none comes of it.
    const draft = this.#draftNow(this.#current)
    this.#take(draft, message)
    draft.parked.push({ message: message.stored(), attempts: attempts.count, failure })
    const answer: Answer.Answer = {
      _tag: "Broken",
      error: new DurableServerError({
        reason: new MessageParked({
          kind: this.kind,
          key: this.key,
          rpc: message.operation.tag,
          messageId: message.id,
          attempts: attempts.count,
          failure
        })
      })
    }
    const text = Answer.encode(message.operation, answer)
    this.#finish(draft, message, answer, text.ok ? text.value : undefined)
    this.#host.attemptFailed(this, message, attempts.last, true)
    return true
  }

  /**
   * Puts in line what has to go there before anything else, or everything that waits. It must not get there before what was
   * sent earlier: that may still be refused, and would then come behind it.
   */
  #putInLine(everything: boolean): void {
    if (everything ? this.#mailbox.isEmpty : !this.#mailbox.wantsLine) return
    if (this.#draft?.hasDirect === true || this.#inFlight?.hasDirect === true) return
    if (this.#running?.message.position === 0) return
    for (const batch of this.#mailbox.takeForLine(everything)) {
      this.#enqueueing++
      this.#host.enqueue(this, batch)
    }
  }

  #encodeState(registration: Registration, state: State): Checked<State> {
    if (state.text !== undefined) return { ok: true, value: state }
    const codec = registration.definition.state
    const text = codec.encode(state.value)
    if (text.ok) return { ok: true, value: { value: state.value, text: text.value } }
    // A plain object where the schema is a class has the same type, so it is let in.
    const made = codec.make(state.value)
    const again = made.ok ? codec.encode(made.value) : text
    return again.ok && made.ok ? { ok: true, value: { value: made.value, text: again.value } } : text
  }

  /** Hands the step over to be committed. From now on nothing is added to it. */
  seal(): Member | undefined {
    const draft = this.#draft
    const registration = this.#host.registration(this.kind)
    if (this.phase !== "held" || this.#inFlight !== undefined || draft === undefined || registration === undefined) {
      return undefined
    }
    this.#draft = undefined
    const encoded = draft.state === undefined ? undefined : this.#encodeState(registration, draft.state)
    if (encoded?.ok === false) {
      // One of the states in this step is not a state. Do it over, one message at a time, to see whose.
      this.#careful = true
      this.#void(draft)
      const first = draft.steps[0]?.message
      if (draft.state === draft.from && first !== undefined) {
        this.#state = undefined
        this.#failedAlone(registration, first, `the state that init gives does not encode: ${encoded.issue}`)
      }
      this.pump()
      return undefined
    }
    if (encoded !== undefined) draft.state = encoded.value.text === draft.from?.text ? draft.from : encoded.value
    this.#inFlight = draft
    this.#sentAt = this.#host.arrivals()
    if (!draft.writes) return { _tag: "Check", id: this.id, version: draft.version, guard: draft.guard }
    return draft.toTransition(this.id)
  }

  /** A message that was put back turns out to be the culprit. */
  #failedAlone(registration: Registration, message: Message, failure: string): void {
    this.#mailbox.remove(message)
    this.#line.remove(message)
    this.#busy = !this.#failed(registration, message, Cause.die(new Error(failure)))
  }

  /** The verdict on the step in flight. Callers are told later, through `settled`, when everything is in order. */
  decided(verdict: Verdict, settled: Array<{ readonly caller: Caller; readonly answer: Answer.Answer }>): void {
    const draft = this.#inFlight
    if (draft === undefined) return
    this.#inFlight = undefined
    switch (verdict._tag) {
      case "Done": {
        if (draft.writes) this.version = draft.version + 1
        this.#state = draft.state
        this.#taken = draft.taken
        this.#lineEndsAt(verdict.pushed)
        for (const { answer, message } of draft.steps) {
          if (this.#attempts.size > 0) this.#attempts.delete(message.id)
          if (message.caller === undefined) continue
          // Nobody hears what a cast comes to, only that it has.
          settled.push({ caller: message.caller, answer: message.mode === "cast" ? Answer.nothing : answer })
        }
        if (this.#careful && draft.steps.length > 0) this.#careful = false
        const resume = this.#afterFlight
        this.#afterFlight = undefined
        if (resume !== undefined) resume()
        else this.pump()
        return
      }
      case "LineMoved":
        this.#void(draft)
        this.#lineEndsAt(verdict.pushed)
        break
      case "Known":
        for (const { message } of draft.steps) {
          if (message.primaryKey !== undefined) {
            message.recorded = verdict.replies.get(message.primaryKey) ?? message.recorded
          }
        }
        this.#void(draft)
        break
      case "Failed": {
        const only = draft.steps.length === 1 ? draft.steps[0]?.message : undefined
        this.#void(draft)
        this.#careful = true
        const registration = this.#host.registration(this.kind)
        if (only !== undefined && registration !== undefined) this.#failedAlone(registration, only, verdict.failure)
        break
      }
      case "Superseded":
        this.#void(draft)
        this.lost()
        return
    }
    this.pump()
  }

  /** Everything under way here is void: the server is somebody else's, or this node was given up. */
  lost(): void {
    const draft = this.#inFlight ?? this.#draft
    this.#inFlight = undefined
    if (draft !== undefined) this.#void(draft)
    else this.#void(undefined)
    this.#line.reset(0, 0)
    this.#attempts.clear()
    this.#state = undefined
    this.broken = undefined
    this.#mailbox.forgetHorizons()
    this.phase = "unknown"
    this.pump()
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
    this.#state = undefined
    this.broken = undefined
    this.#attempts.clear()
    this.phase = "unknown"
    this.pump()
  }

  /** Gives everything up. These wait here, to be told that the node is closed, with what they sent. */
  abandon(): ReadonlyArray<Batch> {
    const batches: ReadonlyArray<Batch> = [
      ...(this.#inFlight?.steps ?? []).map(({ message }) => alone(message)),
      ...(this.#draft?.steps ?? []).map(({ message }) => alone(message)),
      ...(this.#running === undefined ? [] : [alone(this.#running.message)]),
      ...this.#mailbox.takeForLine(true)
    ]
    this.#epoch++
    if (this.#running?.fiber !== undefined) this.#host.interrupt(this.#running.fiber)
    this.#draft = this.#inFlight = undefined
    this.phase = "releasing"
    return batches
  }

  /** Puts back the messages of a step that did not come to be, and of the attempt that stood on it. */
  #void(draft: Draft | undefined): void {
    const messages = (draft?.steps ?? []).map((step) => step.message)
    const open = this.#draft
    if (open !== undefined && open !== draft) messages.push(...open.steps.map((step) => step.message))
    this.#draft = undefined
    if (this.#running !== undefined) {
      messages.push(this.#running.message)
      if (this.#running.fiber !== undefined) this.#host.interrupt(this.#running.fiber)
      this.#running = undefined
    }
    this.#afterFlight = undefined
    this.#backingOff = false
    this.#epoch++
    this.#busy = false
    this.#mailbox.putBack(messages.filter((message) => message.position === 0))
    this.#line.putBack(messages.filter((message) => message.position > 0))
  }

  /** What a statement told of the line. Without that, nothing is known of it, and nobody here has a horizon by it. */
  #lineEndsAt(pushed: number | undefined): void {
    if (pushed === undefined) {
      this.#line.mayGoOn()
      return
    }
    this.#line.endsAt(pushed)
    this.#mailbox.lineEndsAt(pushed, this.#sentAt)
  }
}

const alone = (message: Message): Batch => ({ messages: [message], caller: undefined })
