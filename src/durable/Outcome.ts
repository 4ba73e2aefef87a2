/**
 * What a handler answers: a reply or none, and the state afterwards, or that it stays.
 *
 * Outcomes are plain values. A handler does not change anything by itself: the machinery commits the outcome, and only then
 * lets the caller have the reply. So a handler may be run again, after a conflict for instance, without undoing anything.
 * They are made by the request, which knows their types: `({ reply, state }) => reply(state.count, state.next())`.
 *
 * @since 0.1.0
 */

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
 * A handler's answer: `A` for the caller, `S` as the state from now on. Without a next state nothing is written.
 *
 * @since 0.1.0
 * @category models
 */
export interface Outcome<out A, out S> {
  readonly [TypeId]: { readonly _A: () => A; readonly _S: () => S }
}
