/**
 * What a kind of durable server does, as types: how its state begins, how it answers each of its operations, and what its handlers
 * are given.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { Any, InfoOf, KeyOf, RpcOf, StateOf, Tag } from "./Definition.ts"
import type { DurableServerError } from "./DurableServerError.ts"
import type { Lock, Outcome } from "./Outcome.ts"

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

/**
 * The runtime type identifier of failures that are failed attempts.
 *
 * @since 0.1.0
 * @category type IDs
 */
export const FailedAttemptTypeId: FailedAttemptTypeId = "~holdfast/durable/FailedAttempt"

/**
 * The type-level identifier of failures that are failed attempts.
 *
 * @since 0.1.0
 * @category type IDs
 */
export type FailedAttemptTypeId = "~holdfast/durable/FailedAttempt"

/**
 * What a handler may fail with beside what its operation declares, as `EventStoreError`: a failed attempt, as a defect is, unless
 * the operation declares it.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailedAttempt {
  readonly [FailedAttemptTypeId]: true
}

/** A value, or an Effect of one. */
type OrEffect<A, E, R> = A | Effect.Effect<A, E, R>

/**
 * What a kind of server does: how its state begins, and how it answers each of its operations.
 *
 * A handler answers an outcome, or an Effect of one. Its typed failure is the caller's answer: the message is consumed and
 * the state stays. A defect is a failed attempt, tried again by `defectRetryPolicy` and at last parked; so is a
 * `DurableServerError`, and an `EventStoreError` that its operation does not declare.
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
      Rpc.Error<RpcOf<Self, T>> | DurableServerError | FailedAttempt,
      any
    >
  }
  /** What is done about what `info` tells. Without it, that is ignored. What fails in it is logged, and not tried again. */
  readonly handleInfo?: (
    request: InfoRequest<Self>
  ) => OrEffect<Outcome<void, StateOf<Self>, any>, DurableServerError | FailedAttempt, any>
  /** What goes on under a lock, for the operations whose handlers may lock. */
  readonly handleLocked?: {
    readonly [T in Tag<Self>]?: (
      request: LockedRequest<Self, T>
    ) => OrEffect<
      Outcome<Rpc.Success<RpcOf<Self, T>>, StateOf<Self>, any>,
      Rpc.Error<RpcOf<Self, T>> | DurableServerError | FailedAttempt,
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
