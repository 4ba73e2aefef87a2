/**
 * What a storage of durable servers shows to those who look after them, and lets them do: the seam behind `DurableAdmin`.
 *
 * It stands beside `DurableStorage`, which is for nodes. An operator is none: whoever looks holds no server, has no lease and
 * commits nothing through a node's way, so that looking can never take part in what is looked at. What an operator changes is
 * decided by what he changes: a message that was set aside is retried or dropped as long as it is still set aside, and
 * whoever comes second is told that there is none. So each operation may be repeated when its answer was lost.
 *
 * The operations say nothing of SQL. Lists come in pages, each with a mark to go on behind, which only the storage reads.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Address, StoredMessage } from "./DurableStorage.ts"

// ------------------------------------------------------------------------------------------------ errors

/**
 * There is no server of that name: nothing was ever sent to it.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerNotFound extends Schema.TaggedError<ServerNotFound>("holdfast/durable/ServerNotFound")(
  "ServerNotFound",
  { kind: Schema.String, key: Schema.String }
) {
  override get message() {
    return `there is no ${this.kind} ${JSON.stringify(this.key)}`
  }
}

/**
 * No message is set aside under that number: it was retried or dropped, perhaps by somebody else, or there never was one.
 *
 * @since 0.1.0
 * @category errors
 */
export class ParkedNotFound extends Schema.TaggedError<ParkedNotFound>("holdfast/durable/ParkedNotFound")(
  "ParkedNotFound",
  { id: Schema.Finite }
) {
  override get message() {
    return `there is no parked message ${this.id}: it was retried or dropped, or there never was one`
  }
}

/**
 * A payload that cannot be put in line. The message stays as it is, set aside.
 *
 * @since 0.1.0
 * @category errors
 */
export class PayloadInvalid extends Schema.TaggedError<PayloadInvalid>("holdfast/durable/PayloadInvalid")(
  "PayloadInvalid",
  { id: Schema.Finite, problem: Schema.String }
) {
  override get message() {
    return `the payload for parked message ${this.id} was refused: ${this.problem}`
  }
}

/**
 * The primary key of a message that was set aside is known by now: it was sent again, and that repeat was answered, or is in
 * line. What has the key is done once, so this message will not be: it stays set aside, to be dropped.
 *
 * @since 0.1.0
 * @category errors
 */
export class PrimaryKeyKnown extends Schema.TaggedError<PrimaryKeyKnown>("holdfast/durable/PrimaryKeyKnown")(
  "PrimaryKeyKnown",
  {
    id: Schema.Finite,
    primaryKey: Schema.String,
    /** Whether the repeat is done; otherwise it waits, or is answered later. */
    answered: Schema.Boolean
  }
) {
  override get message() {
    const repeat = this.answered ? "was answered already" : "is under way"
    return `parked message ${this.id} is not retried: another message with its primary key ` +
      `${JSON.stringify(this.primaryKey)} ${repeat}. Drop it`
  }
}

/**
 * The storage did not answer, or refused.
 *
 * @since 0.1.0
 * @category errors
 */
export class StorageFailed extends Schema.TaggedError<StorageFailed>("holdfast/durable/StorageFailed")(
  "StorageFailed",
  {
    /** What was asked of it. */
    operation: Schema.String,
    /** What it said. */
    problem: Schema.String,
    /** Whether the same may succeed a little later. What it was to do may have been done: looking tells. */
    isRetryable: Schema.Boolean,
    /** What Postgres calls it, where it was Postgres that said it. */
    sqlState: Schema.optionalKey(Schema.String)
  }
) {
  override get message() {
    const code = this.sqlState === undefined ? "" : ` (SQLSTATE ${this.sqlState})`
    return `${this.operation} failed: ${this.problem}${code}`
  }
}

// ------------------------------------------------------------------------------------------------ what is seen

/**
 * A server in a list.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerSummary extends Address {
  readonly id: number
  /** The living member that runs its handlers, if there is one. */
  readonly holder: number | undefined
  /** How many steps it has made, and how often it changed hands. */
  readonly version: number
  /** How many messages are in its line. */
  readonly queue: number
  /** The operation whose message locked it, if it is locked. */
  readonly lockedBy: string | undefined
  /** How many of its messages are set aside. */
  readonly parked: number
}

/**
 * A message in a line.
 *
 * @since 0.1.0
 * @category models
 */
export interface WaitingMessage extends StoredMessage {
  readonly position: number
  /** When it came into the line. */
  readonly sentAt: DateTime.Utc
}

/**
 * A message that was set aside, because its handler failed at every attempt.
 *
 * @since 0.1.0
 * @category models
 */
export interface ParkedMessage extends Address {
  readonly id: number
  readonly message: StoredMessage
  readonly attempts: number
  /** The last failure, rendered. */
  readonly failure: string
  readonly parkedAt: DateTime.Utc
}

/**
 * One server from close by, all of it as it stood at one moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerDetails extends ServerSummary {
  /** The state as it is stored, in JSON; `undefined` as long as no message was ever handled. */
  readonly state: string | undefined
  /** The message that locked it. */
  readonly lock: StoredMessage | undefined
  /** The messages whose turn is next, in order. */
  readonly head: ReadonlyArray<WaitingMessage>
  /** The messages that were set aside first. `parked` says how many there are. */
  readonly parkedHead: ReadonlyArray<ParkedMessage>
}

/**
 * All servers of one kind, counted.
 *
 * @since 0.1.0
 * @category models
 */
export interface KindSummary {
  readonly kind: string
  /** How many servers there are. */
  readonly servers: number
  /** How many of them a living member holds. */
  readonly held: number
  /** How many have messages in line. */
  readonly waiting: number
  /** How many messages are in their lines. */
  readonly queue: number
  readonly locked: number
  /** How many messages are set aside. */
  readonly parked: number
  /** The sum of their versions: what it grows by is what was done. */
  readonly versions: number
}

/**
 * A living member: a process that takes part.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemberSummary {
  readonly id: number
  readonly name: string
  readonly joinedAt: DateTime.Utc
  /**
   * For how many milliseconds it counts as alive without another sign of it: below zero, it is overdue. `undefined` where
   * nothing has to be renewed.
   */
  readonly leaseMillis: number | undefined
  /** How many servers it holds. */
  readonly servers: number
  /** How many groups it has committed. */
  readonly groups: number
}

/**
 * Everything at a glance, as it stood at one moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Overview {
  /** When it was taken, by the storage's clock. */
  readonly at: DateTime.Utc
  readonly kinds: ReadonlyArray<KindSummary>
  readonly members: ReadonlyArray<MemberSummary>
}

// ------------------------------------------------------------------------------------------------ what is asked

/**
 * Which servers to list: all, those of a kind, and of these only those of which at least one of these things is true.
 *
 * - `"waiting"`: it has messages in line.
 * - `"locked"`: it is locked.
 * - `"parked"`: it has messages that were set aside.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerFilter {
  readonly kind?: string | undefined
  readonly only?: ReadonlyArray<"waiting" | "locked" | "parked"> | undefined
}

/**
 * Which of the messages that were set aside to list: all, those of a kind, those of one server.
 *
 * @since 0.1.0
 * @category models
 */
export type ParkedFilter =
  | { readonly kind?: string | undefined; readonly key?: undefined }
  | { readonly kind: string; readonly key?: string | undefined }

/**
 * A part of a list.
 *
 * @since 0.1.0
 * @category models
 */
export interface Page<A> {
  readonly items: ReadonlyArray<A>
  /** What to go on behind; `undefined` where this was all. */
  readonly next: string | undefined
}

/**
 * What became of a retry: it is in line, at that position; or nothing was done.
 *
 * @since 0.1.0
 * @category models
 */
export type RetryVerdict =
  | { readonly _tag: "InLine"; readonly position: number }
  | { readonly _tag: "NotFound" }
  | { readonly _tag: "KeyKnown"; readonly primaryKey: string; readonly answered: boolean }

/**
 * What a storage does for `DurableAdmin`.
 *
 * @since 0.1.0
 * @category models
 */
export interface AdminStorage {
  /**
   * Lists servers: by kind and key; with `only`, in the order in which they were made, and at a cost that does not depend on
   * how many others there are.
   */
  readonly servers: (
    filter: ServerFilter,
    after: string | undefined,
    limit: number
  ) => Effect.Effect<Page<ServerSummary>, StorageFailed>
  /** One server, with as many of its first messages at most; `undefined` where there is none of that name. */
  readonly server: (server: Address, messages: number) => Effect.Effect<ServerDetails | undefined, StorageFailed>
  /** Lists messages that were set aside, in the order in which they were, and only those that were when the listing began. */
  readonly parked: (
    filter: ParkedFilter,
    after: string | undefined,
    limit: number
  ) => Effect.Effect<Page<ParkedMessage>, StorageFailed>
  readonly parkedMessage: (id: number) => Effect.Effect<ParkedMessage | undefined, StorageFailed>
  /**
   * Puts a message that was set aside at the end of its server's line, as a cast, with its identity, its priority and its
   * primary key, and with another payload where one is given; and wakes who should look at it. All of it or nothing, and
   * durably. Its key is known from then on, as that of any message in line.
   */
  readonly retry: (id: number, payload: string | undefined) => Effect.Effect<RetryVerdict, StorageFailed>
  /** Forgets a message that was set aside. `false` where there was none. */
  readonly drop: (id: number) => Effect.Effect<boolean, StorageFailed>
  /** Counts servers by kind, and members. Reads something of every server: seconds, where there are hundreds of thousands. */
  readonly overview: Effect.Effect<Overview, StorageFailed>
}
