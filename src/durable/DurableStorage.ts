/**
 * Where durable servers live: the seam between the machinery that runs handlers and the place that keeps states and lines.
 *
 * A storage keeps, for each server, one row that its holder writes (`version`, `taken`, the state) and one line of messages
 * that senders append to (`pushed` numbers them, densely, in commit order). What makes durable servers exact is a single
 * operation, `commit`: it takes everything that is ready in one process, decides each member alone by comparing what the
 * process believed (`version`, and where needed `pushed`) with what is stored, and writes all that passed atomically and
 * durably. Nothing else may change a state or consume a message.
 *
 * Two implementations come with the library. `MemoryStorage` keeps everything in this process: it is for tests, works under
 * `TestClock`, and several nodes may share one. `PostgresStorage` is the real one. The operations say nothing of SQL, so that
 * a store with versionstamps and watches can take the place too. `DurableStorageSuite`, in `holdfast/testing`, is what every
 * storage is run against.
 *
 * Storages retry on their own whatever is a passing fault (a lost connection, a restarted server, a deadlock). The only
 * failure they hand on is `NodeLost`: this process was declared dead by another one, and everything that it held is void.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/**
 * This process was declared dead (its lease ran out), or its storage was closed. Nothing that was in flight is committed.
 *
 * @since 0.1.0
 * @category errors
 */
export class NodeLost extends Schema.TaggedError<NodeLost>("holdfast/durable/NodeLost")("NodeLost", {
  node: Schema.Int,
  /** Why, as far as the storage knows. */
  why: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    return `node ${this.node} was declared dead: ${this.why ?? "its lease ran out"}`
  }
}

/**
 * The name of a server: its kind, and its key in encoded form.
 *
 * @since 0.1.0
 * @category models
 */
export interface Address {
  readonly kind: string
  readonly key: string
}

/**
 * What is known of a server once it has been looked up.
 *
 * @since 0.1.0
 * @category models
 */
export interface Located {
  /** Given once, never used again, also when a server of the same name is made anew. */
  readonly id: number
  /** The living node that runs this server's handlers, if there is one. */
  readonly holder: number | undefined
}

/**
 * The answer to a claim: held by us from now on, with everything needed to run it, or held by somebody else.
 *
 * @since 0.1.0
 * @category models
 */
export type Claim = Claimed | (Located & { readonly _tag: "HeldElsewhere" }) | TooNew

/**
 * A server that a claim is about.
 *
 * @since 0.1.0
 * @category models
 */
export interface Wanted extends Address {
  /** The newest version of a stored state that the claimer can read; any where it is not given. */
  readonly stateVersion?: number | undefined
}

/**
 * A server that was left alone, since its state was stored by a newer version of its definition than the claimer's.
 *
 * @since 0.1.0
 * @category models
 */
export interface TooNew {
  readonly _tag: "TooNew"
  readonly id: number
  readonly stateVersion: number
}

/**
 * A server that this node holds from now on.
 *
 * @since 0.1.0
 * @category models
 */
export interface Claimed {
  readonly _tag: "Claimed"
  readonly id: number
  readonly version: number
  /** The position in line up to which messages are consumed. */
  readonly taken: number
  /** The last position in line that was given out. */
  readonly pushed: number
  /** The encoded state, or where it is kept in fragments, its head; `undefined` as long as no message was ever handled. */
  readonly state: string | undefined
  /** The fragments of the state, all of them as of `version`, in any order. */
  readonly fragments: ReadonlyArray<Fragment>
  /** The version of the definition that the state was stored by: 1 unless a step said otherwise. */
  readonly stateVersion: number
  /** The message that locked the server, where what it began is not over. */
  readonly lock: StoredMessage | undefined
}

/**
 * A server whose life was ended: its number, and the version at which the next one begins.
 *
 * @since 0.1.0
 * @category models
 */
export interface Killed {
  readonly id: number
  readonly version: number
}

/**
 * A fragment of a state that is too large to be written as a whole with every step: 8 KB at most.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fragment {
  /** Given by the holder: each fragment of a server has its own. */
  readonly number: number
  readonly text: string
}

/**
 * What becomes of a fragment: it is written, whether it was there or not, or it goes.
 *
 * @since 0.1.0
 * @category models
 */
export interface FragmentChange {
  readonly number: number
  /** `undefined`: it goes. */
  readonly text: string | undefined
}

/**
 * A message as it lies in a line.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredMessage {
  readonly mode: "call" | "cast"
  readonly rpc: string
  readonly payload: string
  /** Two messages with the same key to the same server are one message. */
  readonly primaryKey: string | undefined
  /** Whether it goes before those that have no priority. */
  readonly priority: boolean
  /** The node that sent it, and its number there: together the message's id, and where its reply goes. */
  readonly node: number
  readonly call: number
}

/**
 * A message read from a line, with its place in it.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueuedMessage extends StoredMessage {
  readonly position: number
  /** What this message was answered before, when its key is known already. */
  readonly recorded: string | undefined
}

/**
 * A reply on its way to the node that waits for it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reply {
  readonly node: number
  readonly call: number
  readonly value: string
}

/**
 * A message set aside because its handler fails, with its last failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Parked {
  readonly message: StoredMessage
  readonly attempts: number
  readonly failure: string
}

/**
 * A message to a server, in the order in which it was sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Outgoing {
  readonly id: number
  readonly message: StoredMessage
}

/**
 * A transaction of the storage's own that a handler has opened. Only the storage that made it knows what it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface OpenTransaction {
  /** Rolls it back, unless it has ended. */
  readonly close: Effect.Effect<void>
}

/**
 * When a message for later is due: at a time by the storage's clock, in milliseconds since 1970, or so many milliseconds
 * after the commit that schedules it.
 *
 * @since 0.1.0
 * @category models
 */
export type Due =
  | { readonly _tag: "At"; readonly millis: number }
  | { readonly _tag: "After"; readonly millis: number }

/**
 * A message for later. Its mode is `cast`, and it has no priority.
 *
 * @since 0.1.0
 * @category models
 */
export interface Scheduling extends Outgoing {
  readonly due: Due
}

/**
 * The name of a message for later: its server's id, and its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface ScheduledId {
  readonly server: number
  readonly node: number
  readonly call: number
}

/**
 * What becomes of messages for later. One is put in line when it is due and not before, those of one server by their due times,
 * and where these are equal by their ids. One whose key is known, in line, or scheduled already is left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface Later {
  readonly scheduled: ReadonlyArray<Scheduling>
  /** To be taken back. One that is not there any more, or is taken back by an earlier member, refuses the member. */
  readonly cancelled: ReadonlyArray<ScheduledId>
}

/**
 * An event store, as far as a storage has to know it: events are appended with a step where the store is kept in the same place as
 * the servers. Only storages of the kind that it is kept in know what it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface Journal {
  /** The id of the store. */
  readonly store: string
  /** To be told that so many events were appended to it. */
  readonly appended: (events: number) => void
}

/**
 * An event as it is stored: data and metadata are JSON.
 *
 * @since 0.1.0
 * @category models
 */
export interface JournalEvent {
  readonly id: string
  /** Whether the id was given, and may be known already. */
  readonly idGiven: boolean
  readonly type: string
  readonly data: string
  /** Null: none. */
  readonly metadata: string | null
  /** Null: `application/json`. */
  readonly dataContentType: string | null
  readonly metadataContentType: string | null
}

/**
 * Events that a step appends to a stream, behind what it appends there before.
 *
 * @since 0.1.0
 * @category models
 */
export interface Append {
  readonly journal: Journal
  readonly eventStreamId: string
  /** Where the stream has to be; a number is that of its last event. Of what a step appends to a stream only the first expects. */
  readonly expectedVersion: number | "any" | "noStream" | "streamExists"
  readonly events: ReadonlyArray<JournalEvent>
}

/**
 * Why events cannot be appended: the stream is elsewhere, or was deleted; an event of that id is there; there is no such store.
 *
 * @since 0.1.0
 * @category models
 */
export type AppendRefusal =
  | { readonly _tag: "WrongVersion"; readonly version: number }
  | { readonly _tag: "Deleted" }
  | { readonly _tag: "Known"; readonly eventId: string; readonly eventStreamId: string; readonly version: number }
  | { readonly _tag: "NoStore" }

/**
 * One server's step from one version to the next, with all that goes with it. It is done whole or not at all.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transition {
  readonly _tag: "Transition"
  readonly id: number
  /** The version this step starts from: anything else is refused. */
  readonly version: number
  /** When given, the line must end here: nothing may have been pushed that the holder has not seen. */
  readonly guard: number | undefined
  /** The position up to which the line was consumed before, and is afterwards. */
  readonly takenBefore: number
  readonly taken: number
  /** Positions behind that which are consumed out of their turn. */
  readonly consumed: ReadonlyArray<number>
  /** The new state, encoded, or its head; `undefined` where that stays. */
  readonly state: string | undefined
  /** The fragments of the state that change, each once; all others stay. */
  readonly fragments: ReadonlyArray<FragmentChange>
  /** The version of the definition that the state is stored by, where that changes. */
  readonly stateVersion?: number | undefined
  /** The message that locks the server from now on, or none; `undefined` where that stays. */
  readonly lock: StoredMessage | "none" | undefined
  /** Answers to keep under their keys. One that is known already refuses the member, unless it is late. */
  readonly outcomes: ReadonlyArray<KeyedOutcome>
  readonly replies: ReadonlyArray<Reply>
  readonly outgoing: ReadonlyArray<Outgoing>
  readonly parked: ReadonlyArray<Parked>
  /** What the step is to be committed in, and with. The storage ends it, whatever the verdict. */
  readonly transaction: OpenTransaction | undefined
  readonly later?: Later | undefined
  /** Events that are appended with it, in this order. */
  readonly appends?: ReadonlyArray<Append> | undefined
}

/**
 * Answers that changed nothing: checked against version and line, writing nothing.
 *
 * @since 0.1.0
 * @category models
 */
export interface Check {
  readonly _tag: "Check"
  readonly id: number
  readonly version: number
  readonly guard: number | undefined
}

/**
 * Messages put in line, and replies sent, beside any step: done, or `Failed`. A cast whose key is known is dropped.
 *
 * @since 0.1.0
 * @category models
 */
export interface Enqueue {
  readonly _tag: "Enqueue"
  readonly outgoing: ReadonlyArray<Outgoing>
  readonly replies: ReadonlyArray<Reply>
  readonly later?: Later | undefined
}

/**
 * Something to commit.
 *
 * @since 0.1.0
 * @category models
 */
export type Member = Transition | Check | Enqueue

/**
 * What became of a member, in the order of the group.
 *
 * - `Done`: it is durable. `pushed` is where the server's line ended when the group was decided; `undefined` where that is
 *   not known any more, since only the decision survived.
 * - `Known`: refused because of these keys, which are answered already.
 * - `Missed`: refused because these messages for later, which it would cancel, are not scheduled any more.
 * - `Unappended`: refused because these events cannot be appended.
 * - `Busy`: left undone, since a stream that it appends to is not free: another member of the group is before it there, or,
 *   `elsewhere`, somebody else has it locked. It is as good as before, and to be committed again.
 * - `LineMoved`: refused by its guard; the line now ends at `pushed`.
 * - `Superseded`: refused by its version: somebody else holds the server now.
 * - `Failed`: the storage does not take it, whatever stands beside it; `failure` says why.
 *
 * Where several of the refusals hold, the first of them in this order is told.
 *
 * @since 0.1.0
 * @category models
 */
export type Verdict =
  | { readonly _tag: "Done"; readonly pushed: number | undefined }
  | { readonly _tag: "LineMoved"; readonly pushed: number }
  | { readonly _tag: "Superseded" }
  | { readonly _tag: "Known"; readonly replies: ReadonlyMap<string, string> }
  | { readonly _tag: "Missed"; readonly cancelled: ReadonlyArray<ScheduledId> }
  | { readonly _tag: "Unappended"; readonly refusals: ReadonlyMap<Append, AppendRefusal> }
  | { readonly _tag: "Busy"; readonly elsewhere: boolean }
  | { readonly _tag: "Failed"; readonly failure: string }

/**
 * Something worth looking at. Hints make things fast and may be lost: a slow poll covers them.
 *
 * @since 0.1.0
 * @category models
 */
export type Hint =
  | { readonly _tag: "Lines"; readonly ids: ReadonlyArray<number>; readonly priority: boolean }
  | { readonly _tag: "Replies" }
  | { readonly _tag: "Unattended" }
  | { readonly _tag: "Killed"; readonly id: number; readonly version: number; readonly answer: string }
  /** Something was scheduled that is due in so many milliseconds. */
  | { readonly _tag: "Scheduled"; readonly millis: number }
  | { readonly _tag: "Everything" }

/**
 * What a message with a primary key came to.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyedOutcome {
  readonly primaryKey: string
  /** `undefined`: it was handled, and is answered later. */
  readonly reply: string | undefined
  /** The answer to an earlier message: kept where there is none yet. */
  readonly late: boolean
}

/**
 * What was read of a line, all of it as it stood at one moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface LineRead {
  /** The messages behind the position, in order, as many as were asked for at most. */
  readonly head: ReadonlyArray<QueuedMessage>
  /** Those behind the position that have priority, in order, wherever they stand: 1,000 at most. */
  readonly priority: ReadonlyArray<QueuedMessage>
}

/**
 * One node's way into the storage.
 *
 * @since 0.1.0
 * @category models
 */
export interface NodeStorage {
  /** This node's id. It changes when the node was lost and has come back. */
  readonly node: () => number
  /** Why nothing gets through at the moment, where that is so. */
  readonly trouble: () => string | undefined
  /** Finds servers, making the ones that are not there yet. */
  readonly locate: (servers: ReadonlyArray<Address>) => Effect.Effect<ReadonlyArray<Located>, NodeLost>
  /** Takes over servers that no living node holds and whose states it can read, making the ones that are not there yet. */
  readonly claim: (servers: ReadonlyArray<Wanted>) => Effect.Effect<ReadonlyArray<Claim>, NodeLost>
  /** Gives servers back, at that version or at any. What is no longer ours is passed over. */
  readonly release: (
    servers: ReadonlyArray<{ readonly id: number; readonly version: number | undefined }>
  ) => Effect.Effect<void, NodeLost>
  /** Whether steps can append to an event store: it is kept where the servers are. Without this, to none. */
  readonly appendsTo?: ((journal: Journal) => boolean) | undefined
  /** Commits a group: each member alone is done or refused, all at once and durably. After a defect nothing of it was done. */
  readonly commit: (group: ReadonlyArray<Member>) => Effect.Effect<ReadonlyArray<Verdict>, NodeLost>
  /**
   * Ends the life of a server: state, line, lock, keys and what was set aside are gone, and the calls in its line are answered
   * with this text. Its number stays, its version goes on. The holder hears of it. `undefined`: there is no such server.
   */
  readonly kill: (server: Address, answer: string) => Effect.Effect<Killed | undefined, NodeLost>
  /** Reads on in lines, from behind a position. */
  readonly read: (
    lines: ReadonlyArray<{ readonly id: number; readonly after: number; readonly limit: number }>
  ) => Effect.Effect<ReadonlyArray<LineRead>, NodeLost>
  /**
   * Servers of these kinds that have a line or are locked, and are held by this node or by no living one: 1,000 at most, by id.
   */
  readonly unattended: (
    kinds: ReadonlyArray<string>,
    after: number
  ) => Effect.Effect<ReadonlyArray<Address & { readonly id: number }>, NodeLost>
  /**
   * The replies that wait for this node, to calls with this number and later ones: what is known to be over with is not looked through
   * again. They stay until they are forgotten, and where there are many, a part of them has to be before the others come.
   */
  readonly replies: (from: number) => Effect.Effect<ReadonlyArray<Reply>, NodeLost>
  readonly forget: (replies: ReadonlyArray<Reply>) => Effect.Effect<void, NodeLost>
  /**
   * Puts messages for later that are due in line, as many as one statement should. Tells in how many milliseconds there will be
   * more, as far as is known now: 0 where there is more already, `undefined` where nothing is scheduled. Any node may do
   * it for all of them.
   */
  readonly deliverDue: Effect.Effect<number | undefined, NodeLost>
  /** Whether a hint may get lost, so that one has to look from time to time. */
  readonly mayLoseHints: boolean
  /** Waits for hints; several come at once where they have gathered. */
  readonly hints: Effect.Effect<ReadonlyArray<Hint>>
  /** Comes back under a new id after `NodeLost`. Replies to the old id are still received. */
  readonly rejoin: Effect.Effect<void>
}

/**
 * What a node asks of a storage when it joins.
 *
 * @since 0.1.0
 * @category models
 */
export interface JoinOptions {
  /** How long answers are kept under their primary keys, at least. */
  readonly outcomeRetention: Duration.Duration
}

/**
 * The storage of durable servers, as a service.
 *
 * @since 0.1.0
 * @category services
 */
export class DurableStorage extends Context.Service<DurableStorage, {
  /** Joins as a node. Leaving, at the end of the scope, frees what the node holds. */
  readonly join: (options: JoinOptions) => Effect.Effect<NodeStorage, never, Scope.Scope>
}>()("holdfast/durable/DurableStorage") {}
