/**
 * A durable server: a state that outlives any process, and the operations on it, named by a kind and a key.
 *
 * `make` defines one: the schema of its state, and its protocol as `Rpc` definitions. The definition needs no handlers, so a
 * process that only sends messages imports nothing else. `toLayer` gives it handlers in this process; `client` gives refs,
 * with `call` (waits for the reply, which comes after the commit) and `cast` (resolves once the message, or its effect, is
 * durable). Which process runs the handlers, and whether it is still the one of a minute ago, is nobody's concern: at any
 * time at most one process can change the state, and every message is handled in exactly one transition.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { CurrentTransition } from "./CurrentTransition.ts"
import type { DurableNode } from "./DurableNode.ts"
import type { DurableServerError } from "./DurableServerError.ts"
import * as client from "./internal/client.ts"
import { compile } from "./internal/definition.ts"
import { answer, codecOf } from "./internal/from.ts"
import * as later from "./internal/later.ts"
import { register } from "./internal/register.ts"
import * as scheduling from "./internal/scheduling.ts"
import * as stateVersions from "./internal/stateVersions.ts"
import type { Lock, Outcome } from "./Outcome.ts"

/**
 * The runtime type identifier of definitions.
 *
 * @since 0.1.0
 * @category type IDs
 */
export const TypeId: TypeId = "~holdfast/durable/DurableServer"

/**
 * The type-level identifier of definitions.
 *
 * @since 0.1.0
 * @category type IDs
 */
export type TypeId = "~holdfast/durable/DurableServer"

/**
 * A schema that encodes and decodes without services, as everything durable must.
 *
 * @since 0.1.0
 * @category models
 */
export type Durable = Schema.Top & { readonly DecodingServices: never; readonly EncodingServices: never }

/**
 * A schema for keys: whatever it describes, it is encoded to a string.
 *
 * @since 0.1.0
 * @category models
 */
export type KeySchema = Durable & { readonly Encoded: string }

/**
 * The definition of a kind of durable server. Made by `make`; extend it to give it a name of its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface DurableServer<
  in out Kind extends string,
  in out State extends Durable,
  in out Rpcs extends Rpc.Any,
  in out Key extends KeySchema,
  in out Info extends Durable = Schema.Never
> {
  new(_: never): {}
  readonly [TypeId]: typeof TypeId
  /** The name under which its rows are kept. Renaming it loses them. */
  readonly kind: Kind
  readonly state: State
  readonly protocol: ReadonlyArray<Rpcs>
  readonly key: Key
  /** What `info` may be told; nothing, unless the definition says so. */
  readonly info: Info
  readonly "~Rpcs": Rpcs

  /**
   * Refs by key. Needs no handlers in this process.
   */
  client<Self extends Any>(this: Self): Effect.Effect<(key: KeyOf<Self>) => Ref<Self>, never, DurableNode>

  /**
   * Runs these servers in this process: at most one process at a time runs each, and another one goes on when it ends.
   *
   * `build` is the behaviour, or an Effect of it. The layer ends with its scope: what is being handled is finished first.
   */
  toLayer<Self extends Any, const B extends Behaviour<Self>, EX = never, RX = never>(
    this: Self,
    build: (B & Checked<Self, B>) | Effect.Effect<B & Checked<Self, B>, EX, RX>,
    options?: Options
  ): Layer.Layer<
    never,
    EX,
    | DurableNode
    | Exclude<RX | BehaviourServices<B>, Scope.Scope | CurrentTransition>
    | Exclude<LockedServices<B>, Scope.Scope>
  >

  /**
   * Gives a behaviour its types where it stands alone, inside the Effect given to `toLayer` for instance.
   */
  of<Self extends Any, const B extends Behaviour<Self>>(this: Self, behaviour: B & Checked<Self, B>): B
}

/**
 * Any definition.
 *
 * @since 0.1.0
 * @category models
 */
export interface Any {
  readonly [TypeId]: typeof TypeId
  readonly kind: string
  readonly state: Durable
  readonly protocol: ReadonlyArray<Rpc.Any>
  readonly key: KeySchema
  readonly info: Durable
  readonly "~Rpcs": Rpc.Any
}

/**
 * The state of a server, decoded.
 *
 * @since 0.1.0
 * @category utility types
 */
export type StateOf<Self extends Any> = Self["state"]["Type"]

/**
 * The key of a server, decoded.
 *
 * @since 0.1.0
 * @category utility types
 */
export type KeyOf<Self extends Any> = Self["key"]["Type"]

/**
 * What a server may be told by `info`, decoded.
 *
 * @since 0.1.0
 * @category utility types
 */
export type InfoOf<Self extends Any> = Self["info"]["Type"]

/**
 * The names of a server's operations.
 *
 * @since 0.1.0
 * @category utility types
 */
export type Tag<Self extends Any> = Self["~Rpcs"]["_tag"]

/** The operation of that name. */
type RpcOf<Self extends Any, T extends string> = Extract<Self["~Rpcs"], { readonly _tag: T }>

/**
 * What a handler is given: the message, the state it meets, and the ways to answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request<Self extends Any, T extends string> {
  readonly payload: Rpc.Payload<RpcOf<Self, T>>
  /** The state as every earlier message left it. A value: a next state is a new one, and this one is never changed. */
  readonly state: StateOf<Self>
  readonly key: KeyOf<Self>
  /** Whether somebody waits for the answer. */
  readonly event: "call" | "cast"
  /** The sender, to be answered later by `replyTo` or `failTo`. `From` keeps it in a state. */
  readonly from: From<Rpc.Success<RpcOf<Self, T>>, Rpc.Error<RpcOf<Self, T>>>
  /** The same for every attempt at this message, and for no other message. */
  readonly messageId: string
  /** From 1. */
  readonly attempt: number
  /** Answers, and sets the state where one is given. */
  reply(
    value: Rpc.Success<RpcOf<Self, T>>,
    next?: StateOf<Self>
  ): Outcome<Rpc.Success<RpcOf<Self, T>>, StateOf<Self>>
  /** Sets the state where one is given. Only for operations without a success: a call resolves at the commit. */
  noReply: Rpc.Success<RpcOf<Self, T>> extends void ? (next?: StateOf<Self>) => Outcome<void, StateOf<Self>>
    : (theOperationDeclaresASuccess: never) => never
  /**
   * Sets the state where one is given, and leaves the answer to a later message: keep `from`, and answer it by `replyTo`. As
   * long as a message with a `primaryKey` is not answered, a repeat of it is handled like a message of its own.
   */
  replyLater(next?: StateOf<Self>): Outcome<never, StateOf<Self>>
  /**
   * Sets the state where one is given, and locks the server: its messages wait, and the behaviour's `handleLocked` of this
   * operation runs, outside of any transition, and gives the answer. The lock is on disk, and is not lost with a process:
   * whoever follows begins `handleLocked` anew.
   */
  lock(next?: StateOf<Self>): Lock<StateOf<Self>>
  /**
   * Answers, sets the state where one is given, and lets the server leave memory once that is on disk. The next message to it
   * finds the state as it was left, in whichever process. A reason other than `"normal"` is logged.
   */
  stop(
    options:
      & { readonly reason: string; readonly state?: StateOf<Self> | undefined }
      & StopReply<
        Rpc.Success<RpcOf<Self, T>>
      >
  ): Outcome<Rpc.Success<RpcOf<Self, T>>, StateOf<Self>>
}

/**
 * What a `handleLocked` is given: the message that locked the server, and the ways to answer. It runs outside of any
 * transition: it may take its time, what it does in the world is done, and it is done again where its process dies or it fails.
 *
 * @since 0.1.0
 * @category models
 */
export interface LockedRequest<Self extends Any, T extends string> {
  readonly payload: Rpc.Payload<RpcOf<Self, T>>
  /** The state at the beginning of this attempt. The latest one is what an update is given. */
  readonly state: StateOf<Self>
  readonly key: KeyOf<Self>
  readonly event: "call" | "cast"
  readonly messageId: string
  /** From 1, by this process. */
  readonly attempt: number
  /** Answers, unlocks, and sets the state to what becomes of the latest one, where an update is given. */
  reply(
    value: Rpc.Success<RpcOf<Self, T>>,
    update?: (latest: StateOf<Self>) => StateOf<Self>
  ): Outcome<Rpc.Success<RpcOf<Self, T>>, StateOf<Self>>
  noReply: Rpc.Success<RpcOf<Self, T>> extends void
    ? (update?: (latest: StateOf<Self>) => StateOf<Self>) => Outcome<void, StateOf<Self>>
    : (theOperationDeclaresASuccess: never) => never
}

/** The reply of a server that stops: needed where the operation declares a success. */
type StopReply<A> = [A] extends [void] ? { readonly reply?: A } : { readonly reply: A }

/**
 * The sender of a message whose operation succeeds with `A` and fails with `E`.
 *
 * @since 0.1.0
 * @category models
 */
export interface From<in A, in E> {
  readonly "~holdfast/durable/From": { readonly _A: (_: A) => void; readonly _E: (_: E) => void }
}

/**
 * What a `handleInfo` is given: something that somebody thought worth mentioning, and the ways to answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface InfoRequest<Self extends Any> {
  readonly message: InfoOf<Self>
  readonly state: StateOf<Self>
  readonly key: KeyOf<Self>
  /** Sets the state where one is given. */
  noReply(next?: StateOf<Self>): Outcome<void, StateOf<Self>>
  /** Sets the state where one is given, and lets the server leave memory once that is on disk. */
  stop(
    options: { readonly reason: string; readonly state?: StateOf<Self> | undefined }
  ): Outcome<void, StateOf<Self>>
}

/** A value, or an Effect of one. */
type OrEffect<A, E, R> = A | Effect.Effect<A, E, R>

/**
 * What a kind of server does: how its state begins, and how it answers each of its operations.
 *
 * A handler answers an outcome, or an Effect of one. Its typed failure is the caller's answer: the message is consumed and
 * the state stays. A defect is a failed attempt, tried again by `defectRetryPolicy` and at last parked.
 *
 * @since 0.1.0
 * @category models
 */
export interface Behaviour<Self extends Any> {
  readonly init: (key: KeyOf<Self>) => OrEffect<StateOf<Self>, never, any>
  readonly handlers: {
    readonly [T in Tag<Self>]: (
      request: Request<Self, T>
    ) => OrEffect<
      Outcome<Rpc.Success<RpcOf<Self, T>>, StateOf<Self>, any> | Lock<StateOf<Self>, any>,
      Rpc.Error<RpcOf<Self, T>> | DurableServerError,
      any
    >
  }
  /** What is done about what `info` tells. Without it, that is ignored. What fails in it is logged, and not tried again. */
  readonly handleInfo?: (
    request: InfoRequest<Self>
  ) => OrEffect<Outcome<void, StateOf<Self>, any>, DurableServerError, any>
  /** What goes on under a lock, for the operations whose handlers may lock. */
  readonly handleLocked?: {
    readonly [T in Tag<Self>]?: (
      request: LockedRequest<Self, T>
    ) => OrEffect<
      Outcome<Rpc.Success<RpcOf<Self, T>>, StateOf<Self>, any>,
      Rpc.Error<RpcOf<Self, T>> | DurableServerError,
      any
    >
  }
}

/** What a handler answers in the end. */
type AnswerOf<F> = F extends (...args: any) => infer X ? X extends Effect.Effect<infer O, any, any> ? O : X : never

/** Whether an answer may be a lock. One that has no type at all is not counted: it has an error of its own. */
type IsLock<A> = 0 extends 1 & A ? false : [Extract<A, Lock<any, any>>] extends [never] ? false : true

/** The operations whose handlers may lock. */
type Locking<H> = { [K in keyof H]: IsLock<AnswerOf<H[K]>> extends true ? K : never }[keyof H]

/**
 * Refuses handlers for operations that the protocol does not declare, and handlers that may lock without a `handleLocked`.
 *
 * @since 0.1.0
 * @category utility types
 */
export type Checked<Self extends Any, B> = B extends { readonly handlers: infer H } ?
    & { readonly handlers: { readonly [K in Exclude<keyof H, Tag<Self>>]: never } }
    & (B extends { readonly handleLocked: infer L }
      ? { readonly handleLocked: { readonly [K in Exclude<keyof L, Tag<Self>>]: never } }
      : unknown)
    // Before anything is known of it, `B` is any behaviour, which may lock.
    & (Behaviour<Self> extends B ? unknown
      : [Locking<H>] extends [never] ? unknown
      : { readonly handleLocked: { readonly [K in Locking<H>]: unknown } })
  : unknown

/** The services of the actions of an outcome. */
type ActionServices<X> = X extends Outcome<any, any, infer R> ? R : X extends Lock<any, infer R> ? R : never

/** The services of what a function gives back, and of the actions of its outcome. */
type ServicesOf<F> = F extends (...args: any) => infer X
  ? X extends Effect.Effect<infer O, any, infer R> ? R | ActionServices<O> : ActionServices<X>
  : never

/**
 * The services that a behaviour's `init` and handlers use.
 *
 * @since 0.1.0
 * @category utility types
 */
export type BehaviourServices<B> =
  | (B extends { readonly init: infer I; readonly handlers: infer H }
    ? ServicesOf<I> | { [K in keyof H]: ServicesOf<H[K]> }[keyof H]
    : never)
  | (B extends { readonly handleInfo: infer I } ? ServicesOf<I> : never)

/**
 * The services that a behaviour's `handleLocked` uses. It has no transition.
 *
 * @since 0.1.0
 * @category utility types
 */
export type LockedServices<B> = B extends { readonly handleLocked: infer L }
  ? { [K in keyof L]: ServicesOf<L[K]> }[keyof L]
  : never

/**
 * How servers of one kind are run in this process.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** After how long without a message a server leaves memory. 1 minute. */
  readonly maxIdleTime?: Duration.Input | undefined
  /** How many messages of one server go into one commit at most. 256. */
  readonly maxBatch?: number | undefined
  /**
   * Whether a server stays in memory between its messages. `true`. Without it, each burst of messages begins by reading the state,
   * and any process may take the server over as soon as nothing waits for it here.
   */
  readonly cache?: boolean | undefined
  /**
   * Whether servers begin anew, with `init`, when this process first runs them, whatever was stored of their states; what waits in
   * their lines stays, and one that is locked goes on with what it has. `false`.
   */
  readonly reset?: boolean | undefined
  /** When a message whose handler failed is tried again. When the schedule ends it is parked. 5 times, from 50 ms on. */
  readonly defectRetryPolicy?: Schedule.Schedule<unknown, unknown> | undefined
}

/** A payload as an argument: none where the operation takes none. */
type Arguments<R, Rest extends ReadonlyArray<unknown>> = [Rpc.Payload<R>] extends [void]
  ? [payload?: void, ...rest: Rest]
  : [payload: Rpc.PayloadConstructor<R>, ...rest: Rest]

/**
 * How a single call is made.
 *
 * @since 0.1.0
 * @category models
 */
export interface CallOptions {
  /** How long to wait for the reply: 5 seconds unless said otherwise, `"Infinity"` for ever. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * Operations whose answer is waited for.
 *
 * @since 0.1.0
 * @category models
 */
export type Calls<Self extends Any> = {
  readonly [T in Tag<Self>]: (
    ...args: Arguments<RpcOf<Self, T>, [options?: CallOptions]>
  ) => Effect.Effect<Rpc.Success<RpcOf<Self, T>>, Rpc.Error<RpcOf<Self, T>> | DurableServerError>
}

/**
 * Operations that are only sent.
 *
 * @since 0.1.0
 * @category models
 */
export type Casts<Self extends Any> = {
  readonly [T in Tag<Self>]: (...args: Arguments<RpcOf<Self, T>, []>) => Effect.Effect<void, DurableServerError>
}

/**
 * Operations that are sent for later. Each gives the id by which it can be cancelled.
 *
 * @since 0.1.0
 * @category models
 */
export type LaterCasts<Self extends Any> = {
  readonly [T in Tag<Self>]: (...args: Arguments<RpcOf<Self, T>, []>) => Effect.Effect<Scheduled, DurableServerError>
}

/**
 * A cast that is described and not yet sent: see `castAll`.
 *
 * @since 0.1.0
 * @category models
 */
export interface CastMessage {
  readonly rpc: string
  readonly payload: unknown
}

/**
 * Descriptions of casts, by operation.
 *
 * @since 0.1.0
 * @category models
 */
export type CastMessages<Self extends Any> = {
  readonly [T in Tag<Self>]: (...args: Arguments<RpcOf<Self, T>, []>) => CastMessage
}

/**
 * A way to one server. It holds no connection and never goes stale: the server need not exist, nor be awake.
 *
 * @since 0.1.0
 * @category models
 */
export interface Ref<Self extends Any> {
  readonly kind: string
  /** The key, encoded. */
  readonly key: string
  /** Waits for the reply, which comes after everything that the call changed is on disk. */
  readonly call: Calls<Self>
  /** Resolves once the message, or its effect, is on disk. Inside a handler it is sent with the handler's own commit. */
  readonly cast: Casts<Self>
  /**
   * As `call`, but before all messages without priority, and under a lock too: while something slow goes on, for instance, to ask
   * how far it is.
   */
  readonly priorityCall: Calls<Self>
  /** As `cast`, but before all messages without priority, and under a lock too. */
  readonly priorityCast: Casts<Self>
  /** Sends several casts as one: all of them are put in line, in this order, or none. */
  readonly castAll: (
    messages: (cast: CastMessages<Self>) => ReadonlyArray<CastMessage>
  ) => Effect.Effect<void, DurableServerError>
  /**
   * Tells the server something that is not worth keeping: it resolves at once, nobody answers, and it may be lost with a process.
   * Where it arrives, it is handled like any message, by the behaviour's `handleInfo`, and what that changes is committed. It takes
   * no part in the commit of a handler that tells it.
   */
  readonly info: (message: InfoOf<Self>) => Effect.Effect<void, DurableServerError>
  /**
   * Ends the server's life, whichever process runs it: its state, the messages that wait for it, its lock and the answers kept
   * under primary keys are gone. Callers that wait are told `ServerKilled`; those that were answered by nobody yet, since the
   * server said `replyLater`, are told nothing. The next message begins anew, with `init`. The reason has at most 256 characters.
   * It is done at once, and not with a handler's commit.
   */
  readonly kill: (reason: string) => Effect.Effect<void, DurableServerError>
  /**
   * Sends a cast for later: it is put in line when so much time has gone by since it was made. Resolves once that is on disk;
   * inside a handler it belongs to the handler's own commit, and gives its id at once, to be kept in the state. Nothing has
   * to run meanwhile: whichever process lives then puts it in line.
   *
   * The delay is measured by the database's clock. A process's own clock has no say in it, however wrong it is. In memory it is
   * the `Clock`, to the millisecond. Those of one server that are due go into its line in the order of their due times.
   *
   * One with a `primaryKey` is the same message as every other with that key: scheduled twice, the first stands; sent now
   * while it is scheduled, it is executed now, and not again when it is due.
   *
   * A duration that is negative or longer than 1,000,000 days is an `InvalidMessage`, with the field `duration`.
   *
   * **Example** (Closing what nobody uses)
   *
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Rpc } from "effect/rpc"
   * import { DurableServer } from "holdfast/durable"
   *
   * class Session extends DurableServer.make("Session", {
   *   state: Schema.Struct({ open: Schema.Boolean, timer: Schema.NullOr(DurableServer.Scheduled) }),
   *   protocol: [Rpc.make("Touch"), Rpc.make("Close")]
   * }) {}
   *
   * export const SessionLive = Session.toLayer(
   *   Effect.map(Session.client(), (session) =>
   *     Session.of({
   *       init: () => ({ open: true, timer: null }),
   *       handlers: {
   *         Touch: Effect.fnUntraced(function*({ key, noReply, state }) {
   *           // The old timer goes and the new one comes with the state that says so, or none of it happens.
   *           if (state.timer !== null) yield* DurableServer.cancel(state.timer)
   *           return noReply({ open: true, timer: yield* session(key).castAfter("30 minutes").Close() })
   *         }),
   *         Close: ({ noReply }) => noReply({ open: false, timer: null })
   *       }
   *     }))
   * )
   * ```
   */
  readonly castAfter: (duration: Duration.Input) => LaterCasts<Self>
  /**
   * Sends a cast for a time, by the clock of the database. What lies in the past is put in line at once. Otherwise as
   * `castAfter`; what is no time is an `InvalidMessage`, with the field `time`.
   */
  readonly castAt: (time: DateTime.DateTime | Date) => LaterCasts<Self>
}

/**
 * How states are stored.
 *
 * - `"whole"`: encoded as a whole with every step, and above 3 KB written in the pieces that have changed. What a step costs this
 *   process grows with the state.
 * - `"incremental"`: field by field, and the lists among the fields item by item, where items have an `id` that is a string or a
 *   number. What a step costs depends on what it changes, however large the state is. Offered where the state's schema has
 *   fields: a `Schema.Struct` or a `Schema.Class`.
 *
 * Each reads what the other has stored, so a definition may change from one to the other.
 *
 * @since 0.1.0
 * @category models
 */
export type Persistence<State extends Durable> = State extends { readonly fields: Schema.Struct.Fields }
  ? "whole" | "incremental"
  : "whole"

/**
 * From the JSON of a state of one version to the JSON of the next. It is a function of its argument alone: it is run whenever such
 * a state is loaded, until one of today's is stored.
 *
 * @since 0.1.0
 * @category models
 */
export type Migration = (old: unknown) => unknown

/** The versions from 1 to the one before `V`. */
type Before<V extends number, N extends ReadonlyArray<unknown> = [unknown]> = number extends V ? number
  : `${V}` extends `-${string}` | `${string}.${string}` | `${string}e${string}` | "0" ? never
  : N["length"] extends V ? never
  : N["length"] | Before<V, [...N, unknown]>

/** The version before `V`. */
type Previous<V extends number> = Exclude<Before<V>, { [N in Before<V>]: Before<N> }[Before<V>]>

/**
 * The steps to version `V` of a state, by the version that each starts from. The last one has to be there; the earliest ones may
 * be dropped when no such state is stored any more.
 *
 * @since 0.1.0
 * @category models
 */
export type Migrations<V extends number> =
  & { readonly [N in Previous<V>]: Migration }
  & { readonly [N in Before<V>]?: Migration }

/** The steps, where there is more than one version. */
type MigrateOption<V extends number> = [V] extends [1] ? { readonly migrate?: undefined }
  : { readonly migrate: Migrations<V> }

/**
 * Defines a kind of durable server.
 *
 * `kind` is the name under which the rows are kept: a literal, and never derived from the class, which may be renamed.
 * `state` is the schema of the state: a `Schema.Class` where it has behaviour of its own, a `Schema.Struct` where it is
 * plain. `protocol` is a list of `Rpc` definitions; one with a `primaryKey` is executed once however often it is sent.
 * `key` is any schema that encodes to a string, `Schema.String` unless given. `info` is the schema of what the server may be told
 * beside its protocol, without being kept.
 *
 * `stateVersion` is the version of the state's schema, 1 unless given. It is stored with each state. A schema that no longer
 * reads what is stored gets the next version, and `migrate` the step that leads there. A state of an older version is taken
 * through the steps when its server is loaded, and stored anew with the next step that changes it. A state of a newer version,
 * from a process that has been replaced already, is left alone, for a process that knows it: see `StateTooNew`.
 *
 * `persistence` says how states are stored, `"whole"` unless given. With `"incremental"` a field that is still the same value as
 * before is taken to be unchanged, and so is an item of a list: a state of 1 MB of which one field changes costs little more
 * than a small one. Make new values of what changes, and leave the rest as it is; where a field is a class, give instances of it.
 * The order of a list's items is kept, and moving one writes that one. Two items of a list with the same `id` are a failed
 * attempt that names the field.
 *
 * **Example** (A large state, of which each step changes little)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { DurableServer } from "holdfast/durable"
 *
 * const Task = Schema.Struct({ id: Schema.String, title: Schema.String, done: Schema.Boolean })
 *
 * class Board extends DurableServer.make("Board", {
 *   state: Schema.Struct({ title: Schema.String, tasks: Schema.Array(Task) }),
 *   protocol: [
 *     Rpc.make("Add", { payload: { id: Schema.String, title: Schema.String } }),
 *     Rpc.make("Finish", { payload: { id: Schema.String } })
 *   ],
 *   persistence: "incremental"
 * }) {}
 *
 * export const BoardLive = Board.toLayer({
 *   init: (title) => ({ title, tasks: [] }),
 *   handlers: {
 *     Add: ({ noReply, payload, state }) =>
 *       noReply({ ...state, tasks: [{ ...payload, done: false }, ...state.tasks] }),
 *     // Writes this one task, of however many there are.
 *     Finish: ({ noReply, payload, state }) =>
 *       noReply({
 *         ...state,
 *         tasks: state.tasks.map((task) => task.id === payload.id ? { ...task, done: true } : task)
 *       })
 *   }
 * })
 * ```
 *
 * **Example** (A counter)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { DurableServer } from "holdfast/durable"
 *
 * export class Counter extends DurableServer.make("Counter", {
 *   state: Schema.Struct({ count: Schema.Int }),
 *   protocol: [
 *     Rpc.make("Add", { payload: { by: Schema.Int } }),
 *     Rpc.make("Get", { success: Schema.Int })
 *   ]
 * }) {}
 *
 * export const CounterLive = Counter.toLayer({
 *   init: () => ({ count: 0 }),
 *   handlers: {
 *     Add: ({ noReply, payload, state }) => noReply({ count: state.count + payload.by }),
 *     Get: ({ reply, state }) => reply(state.count)
 *   }
 * })
 * ```
 *
 * **Example** (The second version of a state)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { DurableServer } from "holdfast/durable"
 *
 * const First = Schema.Struct({ litres: Schema.Finite })
 * const State = Schema.Struct({ millilitres: Schema.Int })
 *
 * export class Barrel extends DurableServer.make("Barrel", {
 *   state: State,
 *   stateVersion: 2,
 *   migrate: {
 *     1: DurableServer.migration(First, State, ({ litres }) => ({ millilitres: Math.round(litres * 1000) }))
 *   },
 *   protocol: [Rpc.make("Fill", { payload: { millilitres: Schema.Int } })]
 * }) {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <
  const Kind extends string,
  State extends Durable,
  const Protocol extends ReadonlyArray<Rpc.Any>,
  Key extends KeySchema = typeof Schema.String,
  const Version extends number = 1,
  Info extends Durable = Schema.Never
>(
  kind: Kind,
  options: {
    readonly state: State
    readonly protocol: Protocol
    readonly key?: Key | undefined
    readonly info?: Info | undefined
    readonly stateVersion?: Version | undefined
    readonly persistence?: Persistence<State> | undefined
  } & MigrateOption<Version>
): DurableServer<Kind, State, Protocol[number], Key, Info> => {
  const versions = stateVersions.compile(kind, options.stateVersion ?? 1, options.migrate ?? {})
  const { info = Schema.Never, key = Schema.String, protocol, state } = options
  const definition = compile(kind, state, protocol, key, info, versions, options.persistence)
  class Definition {
    static readonly [TypeId]: TypeId = TypeId
    static readonly kind = kind
    static readonly state = state
    static readonly protocol = protocol
    static readonly key = key
    static readonly info = info
    static client() {
      return client.make(definition)
    }
    static toLayer(build: never, layerOptions?: Options) {
      return register(definition, build, layerOptions)
    }
    static of(behaviour: unknown) {
      return behaviour
    }
  }
  return Definition as never
}

/**
 * A schema for the sender of a message, so that a state can keep it until its answer is known.
 *
 * **Example** (A gate that opens for all who wait)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { DurableServer } from "holdfast/durable"
 *
 * const Pass = Rpc.make("Pass", { success: Schema.DateTimeUtcFromString })
 *
 * class Gate extends DurableServer.make("Gate", {
 *   state: Schema.Struct({ waiting: Schema.Array(DurableServer.From(Pass)) }),
 *   protocol: [Pass, Rpc.make("Open", { payload: { at: Schema.DateTimeUtcFromString } })]
 * }) {}
 *
 * export const GateLive = Gate.toLayer({
 *   init: () => ({ waiting: [] }),
 *   handlers: {
 *     Pass: ({ from, replyLater, state }) => replyLater({ waiting: [...state.waiting, from] }),
 *     Open: Effect.fnUntraced(function*({ noReply, payload, state }) {
 *       for (const from of state.waiting) yield* DurableServer.replyTo(from, payload.at)
 *       return noReply({ waiting: [] })
 *     })
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category schemas
 */
export const From = <R extends Rpc.Any>(rpc: R): Schema.Codec<From<Rpc.Success<R>, Rpc.Error<R>>, string> =>
  codecOf(rpc as unknown as Rpc.AnyWithProps) as never

/**
 * Answers the sender of an earlier message, by the commit of the handler that runs: with its state, or not at all.
 *
 * The answer survives whatever becomes of this process; a sender that waits no longer is passed over. Only handlers can do it.
 *
 * @since 0.1.0
 * @category replying later
 */
export const replyTo = <A, E>(from: From<A, E>, value: NoInfer<A>): Effect.Effect<void, never, CurrentTransition> =>
  answer(from as never, { _tag: "Success", value })

/**
 * Answers the sender of an earlier message with a failure that its operation declares. Otherwise as `replyTo`.
 *
 * @since 0.1.0
 * @category replying later
 */
export const failTo = <A, E>(from: From<A, E>, error: NoInfer<E>): Effect.Effect<void, never, CurrentTransition> =>
  answer(from as never, { _tag: "Failure", error })

/**
 * A step from one version of a state to the next, between their schemas: it is given the old state decoded, and gives the new one.
 *
 * @since 0.1.0
 * @category migrations
 */
export const migration = <From extends Durable, To extends Durable>(
  from: From,
  to: To,
  migrate: (old: From["Type"]) => To["Type"]
): Migration => stateVersions.migration(from as never, to as never, migrate)

/**
 * The id of a message for later, and its schema, so that a state can keep it.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Scheduled = later.Scheduled

/**
 * The id of a message for later, as `castAfter` and `castAt` give it.
 *
 * @since 0.1.0
 * @category models
 */
export type Scheduled = later.Scheduled

/**
 * Takes a message for later back, and tells whether that came in time: with `true` it is not executed, with `false` it is gone from
 * among those that wait, since it was due, or was cancelled before.
 *
 * Inside a handler it belongs to the handler's transition: the message is gone with the commit of the state that says so, or it
 * stays. `true` is true there as well: should the message become due before the commit, the commit is refused, and the handler
 * run again, and told `false`. Elsewhere it resolves once it is on disk.
 *
 * @since 0.1.0
 * @category messages for later
 */
export const cancel: (scheduled: Scheduled) => Effect.Effect<boolean, DurableServerError, DurableNode> =
  scheduling.cancel
