/**
 * Options of members and of what stands on them, checked before anything is opened. They are written in code, so a bad one is
 * a defect; what it dies with is `InvalidOptions`, which names the field and its limit.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { InvalidOptions } from "../../datastore/DatastoreOptions.ts"

const refuse = (field: string, problem: string): never => {
  throw new InvalidOptions({ issues: [{ field, problem }] })
}

/** The milliseconds of a duration that has to be above zero, and may be endless only where that is said. */
export const millisOf = (
  field: string,
  input: Duration.Input,
  options: { readonly endless?: boolean; readonly atLeast?: number } = {}
): number => {
  const duration = Duration.fromInput(input)
  const millis = Option.isSome(duration) ? Duration.toMillis(duration.value) : Number.NaN
  const least = options.atLeast ?? 1
  if (Number.isNaN(millis) || millis < least) return refuse(field, `must be a duration of at least ${least} ms`)
  return millis === Number.POSITIVE_INFINITY && options.endless !== true ? refuse(field, "must be finite") : millis
}

/** A whole number from 1 on. */
export const countOf = (field: string, count: number): number =>
  Number.isSafeInteger(count) && count >= 1 ? count : refuse(field, "must be a whole number of at least 1")

/** The milliseconds of a duration that was given by somebody else; undefined where it is none, or endless. */
export const millisIn = (input: Duration.Input): number | undefined => {
  const millis = Option.map(Duration.fromInput(input), Duration.toMillis)
  return Option.isSome(millis) && Number.isFinite(millis.value) ? millis.value : undefined
}
