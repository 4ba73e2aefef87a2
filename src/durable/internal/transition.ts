/**
 * One server's step while it is being made: the messages handled so far, and everything that goes with them.
 */
import type { LateReply } from "../CurrentTransition.ts"
import type {
  Append,
  FragmentChange,
  Journal,
  KeyedOutcome,
  OpenTransaction,
  Outgoing,
  Parked,
  Reply,
  Transition
} from "../DurableStorage.ts"
import type { Committed } from "./actions.ts"
import type { Answer } from "./answer.ts"
import type { Staged } from "./handling.ts"
import { Together } from "./journals.ts"
import { LaterWrites } from "./later.ts"
import type { Message } from "./message.ts"
import { noChanges, type State } from "./state/stored.ts"

/** A message that was handled, and what is to be answered and done once that is on disk. */
export interface Step {
  readonly message: Message
  /** None yet, where the reply comes later. */
  readonly answer: Answer | undefined
  /** Replies to earlier calls of this process. */
  readonly lateReplies: ReadonlyArray<Reply>
  readonly committed: Committed | undefined
  /** Whether this is the message that had locked the server. */
  readonly endsLock: boolean
}

/** A step from `version` on. It grows until the committer takes it. */
export class Draft {
  readonly version: number
  /** The state it starts from and the one it comes to; none where `init` has not given one yet. */
  readonly from: State | undefined
  state: State | undefined
  /** What that changes of the fragments which the state is kept in, once it is known. */
  fragments: ReadonlyArray<FragmentChange> = noChanges
  taken: number
  readonly takenBefore: number
  /** Where the line must end for this step to be valid; `undefined` where that does not matter. */
  guard: number | undefined = undefined
  readonly consumed: Array<number> = []
  readonly steps: Array<Step> = []
  /** What keyed messages came to, by their keys. */
  readonly outcomes = new Map<string, KeyedOutcome>()
  readonly outgoing: Array<Outgoing> = []
  readonly parked: Array<Parked> = []
  /** What is done about messages for later, where anything is. */
  later: LaterWrites | undefined
  /** The events that it appends, and for which message. */
  readonly appends = new Map<Append, Message>()
  #appendedTogether: Together | undefined
  readonly replies: Array<Reply> = []
  /** The message that locks the server from this step on; `"none"` where the step ends a lock. */
  lock: Message | "none" | undefined
  /** Why the server is to leave memory after this step. */
  stop: string | undefined
  /** What this step, of one message alone, is to be committed in. */
  transaction: OpenTransaction | undefined

  constructor(version: number, state: State | undefined, taken: number) {
    this.version = version
    this.from = state
    this.state = state
    this.taken = taken
    this.takenBefore = taken
  }

  /** Whether these can be appended with it: else what it appends has to be there first. */
  takesAppends(appends: ReadonlyArray<Append>): boolean {
    return this.#appendedTogether === undefined || this.#appendedTogether.takes(appends)
  }

  addAppends(appends: ReadonlyArray<Append>, message: Message): void {
    for (const append of appends) this.appends.set(append, message)
    this.#appendedTogether ??= new Together()
    this.#appendedTogether.add(appends)
  }

  /** Tells each event store, once, how many events were appended to it. */
  tellJournals(): void {
    if (this.appends.size === 0) return
    const counts = new Map<Journal, number>()
    for (const { events, journal } of this.appends.keys()) {
      counts.set(journal, (counts.get(journal) ?? 0) + events.length)
    }
    for (const [journal, events] of counts) journal.appended(events)
  }

  /** Takes a message from where it waits. */
  take(message: Message): void {
    if (message.position > 0 && message.priority) this.consumed.push(message.position)
    else if (message.position > 0) this.taken = message.position
    else if (message.horizon === undefined) this.guard ??= message.guard
  }

  /** What a message's handler has staged, but for what it tells earlier callers. */
  addStaged(message: Message, { appends, later, outgoing, transaction }: Staged): void {
    for (const item of outgoing) this.outgoing.push(item)
    if (later !== undefined) {
      this.later ??= new LaterWrites()
      this.later.add(later)
    }
    if (appends.length > 0) this.addAppends(appends, message)
    this.transaction = transaction
  }

  /** What earlier callers are told: those of this process hear it once it is committed, and are given back here. */
  addLateReplies(replies: ReadonlyArray<LateReply>, isLocal: (node: number) => boolean): ReadonlyArray<Reply> {
    if (replies.length === 0) return replies
    const local: Array<Reply> = []
    for (const late of replies) {
      const { primaryKey } = late
      if (primaryKey !== undefined && this.outcomes.get(primaryKey)?.reply === undefined) {
        this.outcomes.set(primaryKey, { primaryKey, reply: late.value, late: true })
      }
      if (late.mode === "call") (isLocal(late.node) ? local : this.replies).push(late)
    }
    return local
  }

  /** Ends what is done about a message; its reply, where its caller waits in another process. */
  finish(step: Step, reply: string | undefined): void {
    const { endsLock, message } = step
    if (endsLock) this.lock = "none"
    this.steps.push(step)
    if (message.mode === "call" && reply !== undefined) {
      this.replies.push({ node: message.node, call: message.call, value: reply })
    }
  }

  /** Whether a message in it has no place in line yet, and is not on disk in another way either. */
  get hasDirect(): boolean {
    return this.steps.some((step) => step.message.position === 0 && !step.endsLock)
  }

  get isEmpty(): boolean {
    return this.steps.length === 0 && this.parked.length === 0 && this.consumed.length === 0 &&
      this.taken === this.takenBefore
  }

  /** Whether anything is to be written. A server whose state was never stored is stored with its first message. */
  get writes(): boolean {
    return this.state !== this.from || (this.from !== undefined && this.from.stored === undefined) ||
      this.taken !== this.takenBefore || this.consumed.length > 0 || this.lock !== undefined ||
      this.outcomes.size > 0 || this.outgoing.length > 0 || this.parked.length > 0 || this.replies.length > 0 ||
      this.transaction !== undefined || this.later?.isEmpty === false || this.appends.size > 0
  }

  /** Whether the state is written with it. */
  get writesState(): boolean {
    return this.state !== this.from && this.state?.stored !== undefined
  }

  /** For the storage, at a moment of a clock that only goes forward; with the state's version, where that is to be stored. */
  toTransition(id: number, stateVersion: number | undefined, now: () => number): Transition {
    const head = this.state?.stored?.head
    return {
      _tag: "Transition",
      id,
      version: this.version,
      guard: this.guard,
      takenBefore: this.takenBefore,
      taken: this.taken,
      consumed: this.consumed,
      state: head === this.from?.stored?.head ? undefined : head,
      fragments: this.fragments,
      lock: this.lock === undefined || this.lock === "none" ? this.lock : this.lock.stored(),
      outcomes: Array.from(this.outcomes.values()),
      replies: this.replies,
      outgoing: this.outgoing,
      parked: this.parked,
      transaction: this.transaction,
      stateVersion,
      later: this.later?.isEmpty === false ? this.later.toLater(now()) : undefined,
      appends: this.appends.size > 0 ? Array.from(this.appends.keys()) : undefined
    }
  }
}
