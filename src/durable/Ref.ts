/**
 * What callers hold of a durable server, as types: the ways to send it messages.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { Any, InfoOf, RpcOf, Tag } from "./Definition.ts"
import type { DurableServerError } from "./DurableServerError.ts"
import type { Scheduled } from "./internal/later.ts"

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
