/**
 * How a server handles the messages it is given: one at a time over its state, in steps that are committed as a whole.
 *
 * A step grows, message by message, until the committer seals it. While it is in flight no other message is begun, but a
 * handler that was running already goes on, over the state that the step comes to. What the verdict makes void is given back,
 * to be handled again. A message whose handler fails is tried again as the policy says, and is parked when that has ended.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Member, OpenTransaction, Reply, StoredMessage, Verdict } from "../DurableStorage.ts"
import { Actions } from "./actions.ts"
import * as Answer from "./answer.ts"
import { type Attempts, AttemptsByMessage, parkedAnswer } from "./attempts.ts"
import type { Environment, Server, Settlement } from "./environment.ts"
import {
  type Foreknown,
  handle,
  type Handled,
  initialise,
  nothingStaged,
  type Registration,
  type Staged
} from "./handling.ts"
import { Lessons } from "./lessons.ts"
import { Locked } from "./locked.ts"
import type { Message } from "./message.ts"
import { HandlerOutcome } from "./outcome.ts"
import { Pause } from "./pause.ts"
import type { State, Stored } from "./state/stored.ts"
import { Draft, type Step } from "./transition.ts"

/** What a handler has staged for its step. */
const stagedBy = (handled: Handled): Staged =>
  handled._tag === "Outcome" || handled._tag === "Lock" ? handled.staged : nothingStaged

/** The state stays, and nothing else happens. */
const unchanged = new HandlerOutcome(undefined, undefined)

const noReplies: ReadonlyArray<Reply> = []

export class Execution {
  readonly #server: Server
  readonly #environment: Environment
  #version = 0
  /** The version of the definition that the state was stored by. */
  #storedVersion = 1
  #state: State | undefined
  /** What is stored of a state that is passed over. */
  #instead: Stored | undefined
  #taken = 0
  #draft: Draft | undefined
  #inFlight: Draft | undefined
  /** The number of arrivals when the statement in flight was sent. */
  #sentAt = 0
  #busy = false
  #isBackingOff = false
  #running: { readonly message: Message; fiber: Fiber.Fiber<unknown, unknown> | undefined } | undefined
  /** What a handler answered while the step before it was not decided. */
  #afterFlight: { readonly resume: () => void; readonly discard: () => void } | undefined
  /** Goes up when everything under way became void. */
  #epoch = 0
  /** Encode every single state: the last batch held one that does not encode, and it must be told which. */
  #careful = false
  /** What refused commits have taught: their handlers are run again, and told so. */
  readonly #lessons = new Lessons()
  /** While a stream that a step appends to is locked by somebody. */
  readonly #pause: Pause
  readonly #attempts = new AttemptsByMessage()
  readonly #actions: Actions
  /** What goes on under a lock. */
  #locked: Locked | undefined
  /** Why the server is to leave memory now. */
  #stopped: string | undefined

  constructor(server: Server, environment: Environment) {
    this.#server = server
    this.#environment = environment
    this.#actions = new Actions(environment.fork)
    this.#pause = new Pause(environment.fork)
  }

  /** Starts on a state: none where `init` is to give one, perhaps in the place of what is stored and passed over. */
  begin(
    registration: Registration,
    version: number,
    taken: number,
    state: State | undefined,
    storedVersion: number,
    lock: StoredMessage | undefined,
    instead: Stored | undefined
  ): void {
    this.#version = version
    this.#storedVersion = storedVersion
    this.#taken = taken
    this.#state = state
    this.#instead = instead
    this.#locked = this.#lockedBy(registration, lock)
  }

  #lockedBy(registration: Registration, lock: StoredMessage | undefined): Locked | undefined {
    return lock === undefined ? undefined : new Locked(
      registration,
      this.#server,
      this.#environment,
      this.#environment.fromLock(registration.definition, lock),
      () => this.#current?.value
    )
  }

  get version(): number {
    return this.#version
  }

  /** How far the line is consumed, when what is under way comes to be. */
  get taken(): number {
    return this.#draft?.taken ?? this.#inFlight?.taken ?? this.#taken
  }

  get sentAt(): number {
    return this.#sentAt
  }

  /** A step is in flight. */
  get isInFlight(): boolean {
    return this.#inFlight !== undefined
  }

  /** Something is being handled or committed. */
  get isWorking(): boolean {
    return this.#busy || this.#draft !== undefined || this.#inFlight !== undefined || this.#locked !== undefined
  }

  /** Something is being handled or committed that will have ended soon. */
  get isHandling(): boolean {
    return (this.#busy && !this.#isBackingOff) || this.#draft !== undefined || this.#inFlight !== undefined ||
      this.#locked?.isBackingOff === false
  }

  /** Messages have to wait until what goes on under a lock is over. */
  get isLocked(): boolean {
    return this.#locked?.isConcluding === false
  }

  /** Something is being done after a commit. */
  get isActing(): boolean {
    return this.#actions.isRunning
  }

  /** Why the server is to leave memory now, where its handlers said so. */
  get stopped(): string | undefined {
    return this.#stopped
  }

  /** Waiting for the next attempt at a message that failed. */
  get isBackingOff(): boolean {
    return this.#isBackingOff
  }

  /** What keeps messages waiting, in words. */
  get occupation(): string | undefined {
    const rpc = this.#running?.message.operation.tag
    if (this.#isBackingOff) return `an attempt at "${rpc}" has failed, and is to be followed by another one`
    if (this.isLocked) return `it is locked by "${this.#locked?.message.operation.tag}"`
    return rpc === undefined ? undefined : `its handler is at "${rpc}"`
  }

  /** Whether the step being made holds only as long as nothing else is in line. */
  get isGuarded(): boolean {
    return this.#draft?.guard !== undefined
  }

  /** Whether what is under way has a message in it that came in directly, and may still be refused. */
  get hasDirect(): boolean {
    return this.#draft?.hasDirect === true || this.#inFlight?.hasDirect === true ||
      this.#running?.message.position === 0
  }

  /** Handles one message after the other, until there is none or one of them has to be waited for. */
  handleAll(registration: Registration, next: () => Message | undefined): void {
    if (this.#busy || this.#inFlight !== undefined || this.#pause.isOn) return
    if (this.#locked !== undefined) this.#goOnLocked(registration, this.#locked)
    this.#busy = true
    let going = true
    while (going) {
      if (this.#draft !== undefined && this.#isFull(registration, this.#draft)) break
      const message = next()
      if (message === undefined) break
      going = this.#step(registration, message)
    }
    if (going) this.#busy = false
  }

  /** Goes on with what is under a lock, and ends it where it has come to its conclusion. */
  #goOnLocked(registration: Registration, locked: Locked): void {
    locked.begin()
    if (this.#draft !== undefined && this.#isFull(registration, this.#draft)) return
    const { conclusion, message } = locked
    const state = this.#current
    if (conclusion === undefined || locked.isConcluding || state === undefined) return
    switch (conclusion._tag) {
      case "Exhausted":
        this.#park(message, conclusion.attempts)
        return
      case "Failure":
        if (message.mode === "cast") this.#environment.castFailed(this.#server, message, conclusion.error)
        this.#add(registration, message, { _tag: "Failure", error: conclusion.error })
        return
      case "Outcome": {
        const { actions, ending, next, value } = conclusion.outcome
        let latest: unknown
        try {
          latest = typeof next === "function" ? next(state.value) : undefined
        } catch (error) {
          return locked.failed(Cause.die(error))
        }
        const answer = value === undefined ? Answer.nothing : { _tag: "Success" as const, value }
        this.#add(registration, message, answer, new HandlerOutcome(value, latest, ending, actions))
      }
    }
  }

  #isFull(registration: Registration, draft: Draft): boolean {
    // Nothing is begun behind a step that waits for a stream: it might lock that itself.
    return draft.stop !== undefined || typeof draft.lock === "object" || draft.transaction !== undefined ||
      this.#pause.isCalledFor || draft.steps.length >= (this.#careful ? 1 : registration.maxBatch)
  }

  /** Says that there is a step to commit, if there is one. */
  announce(): void {
    if (this.#draft !== undefined && !this.#draft.isEmpty) this.#server.ready()
  }

  get #current(): State | undefined {
    return this.#draft?.state ?? this.#inFlight?.state ?? this.#state
  }

  #draftNow(state: State | undefined): Draft {
    return this.#draft ??= new Draft(this.#version, state, this.#taken)
  }

  /** Handles one message. `false`: something must be waited for, and goes on by itself. */
  #step(registration: Registration, message: Message): boolean {
    let { recorded } = message
    if (recorded === undefined && message.primaryKey !== undefined) {
      // Only for as long as this step lasts: should it become void, there never was such an answer.
      recorded = this.#draft?.outcomes.get(message.primaryKey)?.reply
    }
    const attempts = this.#attempts.of(message)
    if (recorded === undefined && attempts !== undefined) {
      message.attempts = attempts.count
      if (attempts.exhausted) return this.#park(message, attempts)
      if (attempts.due) {
        this.#backOff(registration, message, attempts)
        return false
      }
    }
    return this.#withState(registration, message, (state) =>
      recorded === undefined
        ? this.#attempt(registration, message, state)
        : this.#repeat(message, state, recorded))
  }

  /** Adds a message that is answered already to the step. */
  #repeat(message: Message, state: State, recorded: string): boolean {
    const draft = this.#draftNow(state)
    draft.take(message)
    const answer = Answer.decode(message.operation, this.#server, recorded)
    this.#finish(draft, { message, answer, lateReplies: noReplies, committed: undefined }, recorded)
    return true
  }

  /** Goes on with the state, which is made first where there is none yet. */
  #withState(registration: Registration, message: Message, go: (state: State) => boolean): boolean {
    const state = this.#current
    if (state !== undefined) return go(state)
    const use = (exit: Exit.Exit<unknown, unknown>): boolean => {
      const made = Exit.isSuccess(exit) ? registration.definition.state.asType(exit.value) : undefined
      if (made?.ok !== true) {
        const cause = Exit.isFailure(exit) ? exit.cause : Cause.die(new Error(`init gives no state: ${made?.issue}`))
        return this.#failed(registration, message, cause)
      }
      this.#state = { value: made.value, stored: undefined, instead: this.#instead }
      return go(this.#state)
    }
    const exit = initialise(registration, this.#server.decodedKey, this.#wait(message, use))
    return exit === undefined ? false : use(exit)
  }

  #attempt(registration: Registration, message: Message, state: State): boolean {
    if (message.undecodable !== undefined) {
      return this.#failed(registration, message, Cause.die(new Error(message.undecodable)))
    }
    const waiting = this.#wait(message, (result: Handled) => this.#conclude(registration, message, result), stagedBy)
    const foreknown = this.#lessons.about(message, this.#foreknown)
    const handled = handle(registration, this.#server, message, state.value, foreknown, waiting)
    if (handled === undefined) return false
    if (!this.#mustWait(stagedBy(handled))) return this.#conclude(registration, message, handled)
    waiting.started(undefined)
    waiting.done(handled)
    return false
  }

  /**
   * Whether what a handler has staged cannot join the step that is being made: a transaction is committed with a step of its own,
   * and what is expected of a stream is known of the first append to it alone.
   */
  #mustWait({ appends, transaction }: Staged): boolean {
    const draft = this.#draft
    return draft !== undefined &&
      (transaction !== undefined || (appends.length > 0 && !draft.takesAppends(appends)))
  }

  readonly #foreknown: Foreknown = {
    // If it is not there any more, the commit refuses the step, and tells.
    mayCancel: (id) =>
      !this.#lessons.hasMissed(id) && this.#draft?.later?.hasCancelled(id) !== true &&
      this.#inFlight?.later?.hasCancelled(id) !== true,
    appendsTo: (journal) => this.#environment.appendsTo(journal),
    refused: undefined
  }

  /** For something that has to be waited for: what comes of it counts only if nothing became void meanwhile. */
  #wait<A>(
    message: Message,
    use: (result: A) => boolean,
    stagedBy: (result: A) => Staged = () => nothingStaged
  ) {
    const epoch = this.#epoch
    const done = (result: A): void => {
      const staged = stagedBy(result)
      const discard = () => this.#close(staged.transaction)
      if (epoch !== this.#epoch) return discard()
      if (this.#inFlight !== undefined || this.#mustWait(staged)) {
        this.#afterFlight = { resume: () => done(result), discard }
        return this.announce()
      }
      this.#running = undefined
      if (use(result)) {
        this.#busy = false
        this.#server.pump()
      } else {
        this.announce()
      }
    }
    return {
      started: (fiber: Fiber.Fiber<unknown, unknown> | undefined) => {
        this.#running = { message, fiber }
      },
      done
    }
  }

  #conclude(registration: Registration, message: Message, handled: Handled): boolean {
    switch (handled._tag) {
      case "Outcome": {
        const { outcome, staged } = handled
        const answer = outcome.value === undefined
          ? Answer.nothing
          : { _tag: "Success" as const, value: outcome.value }
        return this.#addOrClose(registration, message, answer, outcome, staged)
      }
      case "Lock": {
        if (this.#locked !== undefined && !this.#locked.isConcluding) {
          this.#close(handled.staged.transaction)
          return this.#failed(registration, message, Cause.die(new Error("the server is locked already")))
        }
        const { lock, staged } = handled
        const outcome = new HandlerOutcome(undefined, lock.next, "later", lock.actions)
        return this.#addOrClose(registration, message, Answer.nothing, outcome, staged, true)
      }
      case "Failure":
        if (message.mode === "cast") this.#environment.castFailed(this.#server, message, handled.error)
        return this.#add(registration, message, { _tag: "Failure", error: handled.error })
      case "Defect":
        return this.#failed(registration, message, handled.cause)
    }
  }

  /** Adds a handled message to the step; what it was to be committed in ends where that cannot be done. */
  #addOrClose(
    registration: Registration,
    message: Message,
    answer: Answer.Answer,
    outcome: HandlerOutcome,
    staged: Staged,
    locks = false
  ): boolean {
    const going = this.#add(registration, message, answer, outcome, staged, locks)
    if (this.#draft?.transaction !== staged.transaction) this.#close(staged.transaction)
    return going
  }

  #close(transaction: OpenTransaction | undefined): void {
    if (transaction !== undefined) this.#environment.fork(transaction.close)
  }

  /** Adds a handled message to the step. */
  #add(
    registration: Registration,
    message: Message,
    answer: Answer.Answer,
    outcome: HandlerOutcome = unchanged,
    staged: Staged = nothingStaged,
    locks = false
  ): boolean {
    const { actions, ending, next } = outcome
    const before = this.#current
    if (before === undefined) return this.#failed(registration, message, Cause.die(new Error("no state")))
    let state = before
    // A next state is looked at even where it is the same object: it may have been changed in place.
    if (next !== undefined) {
      const made = registration.definition.state.asType(next)
      if (!made.ok) {
        return this.#failed(registration, message, Cause.die(new Error(`the next state is none: ${made.issue}`)))
      }
      state = { value: made.value, stored: undefined }
      if (this.#careful) {
        const encoded = registration.definition.state.encode(state.value, before)
        if (!encoded.ok) {
          return this.#failed(
            registration,
            message,
            Cause.die(new Error(`the next state does not encode: ${encoded.issue}`))
          )
        }
      }
    }
    const wantsText = ending !== "later" &&
      (message.primaryKey !== undefined || (message.mode === "call" && this.#repliesByRow(message)))
    let text: string | undefined
    if (wantsText) {
      const encoded = Answer.encode(message.operation, answer)
      if (!encoded.ok) {
        return this.#failed(registration, message, Cause.die(new Error(`the reply does not encode: ${encoded.issue}`)))
      }
      text = encoded.value
    }
    const draft = this.#draftNow(before)
    draft.state = state
    draft.take(message)
    draft.addStaged(message, staged)
    if (message.primaryKey !== undefined) {
      draft.outcomes.set(message.primaryKey, { primaryKey: message.primaryKey, reply: text, late: false })
    }
    const lateReplies = draft.addLateReplies(staged.lateReplies, (node) => this.#environment.isLocal(node))
    if (typeof ending === "object") draft.stop = ending.stop
    if (locks) draft.lock = message
    const committed = actions.length === 0 ? undefined : { state: state.value, actions }
    this.#finish(draft, { message, answer: ending === "later" ? undefined : answer, lateReplies, committed }, text)
    return true
  }

  #repliesByRow(message: Message): boolean {
    return message.caller === undefined && !this.#environment.isLocal(message.node)
  }

  /** Ends what is done about a message in the step. */
  #finish(draft: Draft, step: Omit<Step, "endsLock">, reply: string | undefined): void {
    const { message } = step
    const endsLock = message === this.#locked?.message
    if (endsLock && this.#locked !== undefined) this.#locked.isConcluding = true
    draft.finish({ ...step, endsLock }, this.#repliesByRow(message) ? reply : undefined)
  }

  /** A failed attempt. A direct message goes into the line first, so that it is durable. */
  #failed(registration: Registration, message: Message, cause: Cause.Cause<unknown>): boolean {
    if (message === this.#locked?.message) {
      this.#locked.failed(cause)
      return true
    }
    this.#lessons.forget(message)
    const attempts = this.#attempts.note(message, cause)
    this.#environment.attemptFailed(this.#server, message, cause, false)
    if (message.operation === registration.definition.info) return this.#passOver(message)
    if (message.position === 0) {
      attempts.due = true
      if (message.caller?.gone === true) this.#attempts.forget(message)
      this.#server.putInLine(message)
      return true
    }
    this.#backOff(registration, message, attempts)
    return false
  }

  /** Is done with a message that came to nothing, and that nobody waits for. */
  #passOver(message: Message): boolean {
    this.#attempts.forget(message)
    const draft = this.#draftNow(this.#current)
    draft.take(message)
    this.#finish(draft, { message, answer: Answer.nothing, lateReplies: noReplies, committed: undefined }, undefined)
    return true
  }

  #backOff(registration: Registration, message: Message, attempts: Attempts): void {
    this.#isBackingOff = true
    const { done, started } = this.#wait(message, (again: boolean) => {
      this.#isBackingOff = false
      attempts.due = false
      if (again) return this.#step(registration, message)
      attempts.exhausted = true
      return this.#park(message, attempts)
    })
    started(this.#environment.backOff(this.#server.kind, attempts, done))
  }

  /** Takes a message out of the line for good, to lie where it can be seen, and tells whoever waits for it. */
  #park(message: Message, attempts: Attempts): boolean {
    // Without a state where it is `init` that fails: there is none, and none comes of it.
    const draft = this.#draftNow(this.#current)
    draft.take(message)
    draft.parked.push({ message: message.stored(), attempts: attempts.count, failure: Cause.pretty(attempts.last) })
    const answer = parkedAnswer(this.#server, message, attempts)
    const text = Answer.encode(message.operation, answer)
    const reply = text.ok ? text.value : undefined
    this.#finish(draft, { message, answer, lateReplies: noReplies, committed: undefined }, reply)
    this.#environment.attemptFailed(this.#server, message, attempts.last, true)
    return true
  }

  /** Hands the step over to be committed. From now on nothing is added to it. `undefined`: there is none. */
  seal(registration: Registration, sentAt: number): Member | undefined {
    const draft = this.#draft
    if (this.#inFlight !== undefined || this.#pause.isOn || draft === undefined) return undefined
    this.#draft = undefined
    const { from, state } = draft
    // In comparison with what is stored: the state that the step starts from, if that is.
    const encoded = state === undefined || state.stored !== undefined
      ? undefined
      : registration.definition.state.encode(state.value, from)
    if (encoded?.ok === false) {
      // One of the states in this step is not a state. Do it over, one message at a time, to see whose.
      this.#careful = true
      this.#void(draft)
      const first = draft.steps[0]?.message
      if (state === from && first !== undefined) {
        this.#state = undefined
        this.#failedAlone(registration, first, `the state that init gives does not encode: ${encoded.issue}`)
      }
      this.#server.pump()
      return undefined
    }
    if (encoded !== undefined && state !== undefined) {
      const { changes, stored } = encoded.value
      draft.state = stored === from?.stored ? from : { value: state.value, stored }
      draft.fragments = changes
    }
    this.#inFlight = draft
    this.#sentAt = sentAt
    if (!draft.writes) return { _tag: "Check", id: this.#server.id, version: draft.version, guard: draft.guard }
    const { stateVersion } = registration.definition
    const isOther = stateVersion !== this.#storedVersion && draft.writesState
    return draft.toTransition(this.#server.id, isOther ? stateVersion : undefined, this.#environment.now)
  }

  /** A message that was given back turns out to be the culprit. */
  #failedAlone(registration: Registration, message: Message, failure: string): void {
    this.#server.take(message)
    this.#busy = !this.#failed(registration, message, Cause.die(new Error(failure)))
  }

  /**
   * The verdict on the step in flight. Callers are told later, through `settled`, when everything is in order. Gives what is to
   * be done after that, when there is something.
   */
  decided(
    registration: Registration | undefined,
    verdict: Verdict,
    settled: Array<Settlement>
  ): (() => void) | undefined {
    const draft = this.#inFlight
    if (draft === undefined) return undefined
    this.#inFlight = undefined
    switch (verdict._tag) {
      case "Done": {
        if (draft.writes) this.#version = draft.version + 1
        if (draft.writesState && registration !== undefined) this.#storedVersion = registration.definition.stateVersion
        this.#lessons.forgetMissed()
        this.#state = draft.state
        this.#taken = draft.taken
        this.#stopped = draft.stop
        if (draft.writes) registration?.begunAnew?.add(this.#server.id)
        const { lock } = draft
        for (const step of draft.steps) {
          this.#attempts.forget(step.message)
          this.#lessons.forget(step.message)
          this.#tell(step, settled)
          if (step.committed !== undefined && registration !== undefined) {
            this.#actions.add(step.committed, registration.context, this.#environment.checkQuiet)
          }
        }
        if (lock !== undefined) {
          const by = lock === "none" || registration === undefined ? undefined : lock.stored()
          this.#locked = registration === undefined ? undefined : this.#lockedBy(registration, by)
        }
        this.#pause.forget()
        draft.tellJournals()
        if (this.#careful && draft.steps.length > 0) this.#careful = false
        const resume = this.#afterFlight?.resume
        this.#afterFlight = undefined
        return resume
      }
      case "LineMoved":
      case "Superseded":
        this.#void(draft)
        return undefined
      case "Known":
        for (const { message } of draft.steps) {
          if (message.primaryKey !== undefined) {
            message.recorded = verdict.replies.get(message.primaryKey) ?? message.recorded
          }
        }
        this.#void(draft)
        return undefined
      case "Missed":
        this.#lessons.missed(verdict.cancelled)
        this.#void(draft)
        return undefined
      case "Unappended":
        for (const [append, refusal] of verdict.refusals) {
          this.#lessons.refused(draft.appends.get(append), append, refusal)
        }
        this.#void(draft)
        return undefined
      case "Busy":
        // What is committed in a transaction of its own was rolled back with that. A handler that runs behind this step may have one
        // open that has the very stream locked. Anything else is good as it is.
        if (draft.transaction === undefined && !(verdict.elsewhere && this.#running !== undefined)) this.#draft = draft
        else this.#void(draft)
        if (verdict.elsewhere) this.#pause.begin(() => this.#server.pump())
        return undefined
      case "Failed": {
        const only = draft.steps.length === 1 ? draft.steps[0]?.message : undefined
        this.#void(draft)
        this.#careful = true
        if (only !== undefined && registration !== undefined) this.#failedAlone(registration, only, verdict.failure)
        return undefined
      }
    }
  }

  /** Who is to be told what, now that a message is done with. */
  #tell({ answer, lateReplies, message }: Step, settled: Array<Settlement>): void {
    for (const reply of lateReplies) {
      const kept = this.#environment.keptCaller(reply)
      if (kept !== undefined) settled.push(kept)
    }
    if (message.caller === undefined) return
    // Nobody hears what a cast comes to, only that it has.
    if (message.mode === "cast") settled.push({ caller: message.caller, answer: Answer.nothing })
    else if (answer !== undefined) settled.push({ caller: message.caller, answer })
    else this.#environment.keepCaller(this.#server, message)
  }

  /** Everything under way is void, and the state is not ours any more. What was under way is given back. */
  end(): void {
    const draft = this.#inFlight ?? this.#draft
    this.#inFlight = undefined
    this.#void(draft)
    this.#locked?.end()
    this.#locked = undefined
    this.#attempts.clear()
    this.#lessons.clear()
    this.#pause.forget()
    this.#state = undefined
    this.#stopped = undefined
  }

  /** Gives back the messages of a step that did not come to be, and of the attempt that stood on it. */
  #void(draft: Draft | undefined): void {
    // First of all: what is interrupted below may report at once.
    this.#epoch++
    const messages = (draft?.steps ?? []).map((step) => step.message)
    const open = this.#draft
    if (open !== undefined && open !== draft) messages.push(...open.steps.map((step) => step.message))
    this.#draft = undefined
    if (this.#running !== undefined) {
      messages.push(this.#running.message)
      this.#running.fiber?.interruptUnsafe()
      this.#running = undefined
    }
    this.#afterFlight?.discard()
    this.#afterFlight = undefined
    this.#close(draft?.transaction)
    this.#close(open?.transaction)
    this.#isBackingOff = false
    this.#pause.end()
    this.#busy = false
    // The message that locked the server is on disk as that, and waits nowhere else.
    if (this.#locked !== undefined) this.#locked.isConcluding = false
    const back = messages.filter((message) => message !== this.#locked?.message)
    if (back.length > 0) this.#server.putBack(back)
  }
}
