/**
 * What a handler answers: a reply or none, and the state afterwards, or that it stays.
 *
 * Outcomes are plain values. A handler does not change anything by itself: the machinery commits the outcome, and only then
 * lets the caller have the reply. So a handler may be run again, after a conflict for instance, without undoing anything.
 * They are made by the request, which knows their types: `({ reply, state }) => reply(state.count, state.next())`.
 *
 * What should happen in the world because of a state, and only once that state is on disk, is added by `afterCommit`.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"

/**
 * The runtime type identifier of outcomes.
 *
 * @since 0.1.0
 * @category type IDs
 */
export const TypeId: TypeId = "~holdfast/durable/Outcome"

/**
 * The type-level identifier of outcomes.
 *
 * @since 0.1.0
 * @category type IDs
 */
export type TypeId = "~holdfast/durable/Outcome"

/**
 * A handler's answer: `A` for the caller, `S` as the state from now on. Without a next state nothing is written. `R` are the
 * services that its actions after the commit use.
 *
 * @since 0.1.0
 * @category models
 */
export interface Outcome<out A, out S, out R = never> {
  readonly [TypeId]: { readonly _A: () => A; readonly _S: () => S; readonly _R: () => R }
  /**
   * Adds an action that runs once the outcome is on disk, given the state that was committed with it.
   *
   * Actions of one server run one after the other, in the order of its messages, beside its handlers: they hold nobody up,
   * and the caller has its reply already. They are not durable: what must not be lost when a process dies is a cast, made
   * inside the handler. One that succeeds with `halt` ends the actions of its outcome. A defect is logged.
   *
   * **Example** (Telling somebody, once it is true)
   *
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Rpc } from "effect/rpc"
   * import { DurableServer } from "holdfast/durable"
   *
   * class Door extends DurableServer.make("Door", {
   *   state: Schema.Struct({ open: Schema.Boolean }),
   *   protocol: [Rpc.make("Toggle")]
   * }) {}
   *
   * export const DoorLive = Door.toLayer({
   *   init: () => ({ open: false }),
   *   handlers: {
   *     Toggle: ({ noReply, state }) =>
   *       noReply({ open: !state.open }).afterCommit(({ open }) => Effect.log(open ? "it is open" : "it is shut"))
   *   }
   * })
   * ```
   */
  afterCommit<R2 = never>(
    action: (committed: S) => Effect.Effect<unknown, never, R2>
  ): Outcome<A, S, R | R2>
}

/**
 * A handler's answer that locks its server: `S` is the state from now on. What goes on under the lock is the behaviour's
 * `handleLocked` of the same operation. It is not an `Outcome`: only handlers that have their `handleLocked` may give it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lock<out S, out R = never> {
  readonly "~holdfast/durable/Outcome/Lock": { readonly _S: () => S; readonly _R: () => R }
  /** Adds an action that runs once the lock is on disk, as for an `Outcome`. */
  afterCommit<R2 = never>(action: (committed: S) => Effect.Effect<unknown, never, R2>): Lock<S, R | R2>
}

/**
 * What an action after the commit succeeds with when the actions behind it are not to run.
 *
 * @since 0.1.0
 * @category constants
 */
export const halt: unique symbol = Symbol.for("holdfast/durable/Outcome/halt")
