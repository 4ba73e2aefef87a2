/**
 * What the suites have in common that a third party runs against a backend of its own: a suite is a list of cases, and a case
 * is a name and an effect.
 *
 * A case needs no test runner. It succeeds where the backend keeps the promise that is its name, and fails with `NotConforming`,
 * which says what was found, where it does not. Give the list to vitest or `node:test`, one test for each case, or walk through
 * it in a script.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * A backend that does not keep a promise.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotConforming extends Schema.TaggedError<NotConforming>("holdfast/testing/NotConforming")(
  "NotConforming",
  {
    /** The name of the case: the promise that is not kept. */
    promise: Schema.String,
    /** What was found instead. */
    finding: Schema.String
  }
) {
  override get message() {
    return `not kept: ${this.promise}\n${this.finding}`
  }
}

/**
 * One promise, and the effect that finds out whether it is kept. `R` is the backend.
 *
 * @since 0.1.0
 * @category models
 */
export interface Case<in out R> {
  /** A sentence, unlike that of every other case in the suite. */
  readonly name: string
  /** Takes half a minute at most, leaves nothing running, and may be run again, beside others too. */
  readonly effect: Effect.Effect<void, NotConforming, R>
}
