/**
 * A span of time in the units of the calendar: Postgres's `interval`.
 *
 * It keeps months, days and microseconds apart, each with a sign of its own, since a month has no fixed number of days and a
 * day no fixed number of hours. Only the order of intervals makes a month 30 days and a day 24 hours, as Postgres does.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Equivalence_ from "effect/Equivalence"
import { dual } from "effect/Function"
import * as Hash from "effect/Hash"
import * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type InvalidText, InvalidValue, OutOfRange } from "./DbTypeError.ts"
import { addMonths, microsPerDay } from "./internal/calendar.ts"
import * as internal from "./internal/intervalText.ts"
import { oids } from "./internal/oids.ts"
import { instantiate, type SchemaClass, schemaClass, textTransformation, type Value } from "./internal/schemaClass.ts"
import { orInvalid } from "./internal/text.ts"
import * as Timestamp from "./Timestamp.ts"

/**
 * An interval: equal to another one of the same parts, a query parameter of type `interval` as it is, made by this module's
 * constructors.
 *
 * **Gotchas**
 *
 * `Equal.equals` tells `1 month` from `30 days`, which move a date differently. Postgres's `=` does not: that is
 * {@link Equivalence}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Interval extends internal.Parts, Value {}

/**
 * The schema of intervals: it accepts intervals, and they are text in Postgres's notation in JSON.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Interval: SchemaClass<Interval> = schemaClass<internal.Parts>({
  identifier: "holdfast/dbtypes/Interval",
  oid: oids.interval.oid,
  fromString: (text) => orInvalid(internal.parse(text), "interval", text),
  format: internal.format,
  equals: internal.equals,
  hash: (self) => Hash.combine(Hash.combine(Hash.number(self.months), self.days), Hash.hash(self.microseconds))
})

const of = ({ days, microseconds, months }: internal.Parts): Interval =>
  // A negative zero would tell itself from zero.
  instantiate(Interval, { months: months + 0, days: days + 0, microseconds })

/**
 * Whether a value is an interval of this module.
 *
 * @since 0.1.0
 * @category guards
 */
export const isInterval: (u: unknown) => u is Interval = Schema.is(Interval)

/**
 * The units of an interval that is to be made: integers of any sign. Years are 12 months, weeks are 7 days, and what is
 * smaller than a day is added up in microseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Input {
  readonly years?: number | undefined
  readonly months?: number | undefined
  readonly weeks?: number | undefined
  readonly days?: number | undefined
  readonly hours?: number | undefined
  readonly minutes?: number | undefined
  readonly seconds?: number | undefined
  readonly milliseconds?: number | undefined
  readonly microseconds?: number | bigint | undefined
}

const inputUnits = [
  ["years", internal.units.year],
  ["months", internal.units.month],
  ["weeks", internal.units.week],
  ["days", internal.units.day],
  ["hours", internal.units.hour],
  ["minutes", internal.units.minute],
  ["seconds", internal.units.second],
  ["milliseconds", internal.units.millisecond],
  ["microseconds", internal.units.microsecond]
] as const

/**
 * An interval by its units.
 *
 * **Example** (An interval, in three notations)
 *
 * ```ts
 * import { Interval } from "holdfast/dbtypes"
 *
 * const interval = Interval.makeUnsafe({ years: 1, months: 2, days: -3, hours: 4 })
 * console.log(Interval.format(interval)) // 1 year 2 mons -3 days +04:00:00
 * console.log(Interval.formatIso(interval)) // P1Y2M-3DT4H
 * console.log(Interval.formatWords(interval)) // 1 year 2 months -3 days 4 hours
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (input: Input): Result.Result<Interval, InvalidValue> => {
  const fail = (field: string, problem: string) =>
    Result.fail(new InvalidValue({ typeName: "interval", field, problem }))
  const sum = { months: 0n, days: 0n, microseconds: 0n }
  for (const [field, [part, factor]] of inputUnits) {
    const amount = input[field]
    if (amount === undefined) continue
    if (typeof amount !== "bigint" && !Number.isSafeInteger(amount)) return fail(field, `is not an integer: ${amount}`)
    sum[part] += BigInt(amount) * factor
  }
  const beyond = internal.overflow(sum)
  if (beyond !== undefined) return fail(beyond, `are out of range: ${sum[beyond]}`)
  return Result.succeed(
    of({ months: Number(sum.months), days: Number(sum.days), microseconds: sum.microseconds })
  )
}

/**
 * An interval by units that are known to be right. Throws `InvalidValue` where {@link make} fails.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeUnsafe = (input: Input): Interval => Result.getOrThrow(make(input))

/**
 * The interval that moves nothing.
 *
 * @since 0.1.0
 * @category constants
 */
export const zero: Interval = of({ months: 0, days: 0, microseconds: 0n })

/**
 * `infinity`, longer than every other interval. Postgres has it from version 17 on.
 *
 * **Gotchas**
 *
 * An older server takes it for the longest interval that it can hold. It comes back as `infinity` from a column, and sorts behind
 * all others, but the server reckons with it as with any number of years, prints it as one, `178956970 years 7 mons …`, and
 * cannot read the text `infinity`.
 *
 * @since 0.1.0
 * @category constants
 */
export const infinity: Interval = of(internal.infinity)

/**
 * `-infinity`, shorter than every other interval. Postgres has it from version 17 on; for older servers the same holds as of
 * {@link infinity}.
 *
 * @since 0.1.0
 * @category constants
 */
export const negativeInfinity: Interval = of(internal.negativeInfinity)

/**
 * Whether an interval is none of the two infinite ones.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFinite: (self: Interval) => boolean = internal.isFinite

const linear = (self: Interval): bigint =>
  (BigInt(self.months) * 30n + BigInt(self.days)) * microsPerDay + self.microseconds

/**
 * Intervals in the order of Postgres, for which a month is 30 days and a day is 24 hours.
 *
 * @since 0.1.0
 * @category instances
 */
export const Order: Order_.Order<Interval> = Order_.make((self, that) => {
  const [left, right] = [linear(self), linear(that)]
  return left < right ? -1 : left > right ? 1 : 0
})

/**
 * Postgres's `=`: two intervals that have the same place in its order, such as `1 month` and `30 days`.
 *
 * @since 0.1.0
 * @category instances
 */
export const Equivalence: Equivalence_.Equivalence<Interval> = Equivalence_.make((self, that) =>
  Order(self, that) === 0
)

const outOfRange = (operation: string, problem: string) =>
  Result.fail(new OutOfRange({ typeName: "interval", operation, problem }))

/** An interval that was computed, as Postgres takes it: one that would turn out infinite is out of range. */
const computed = (
  operation: string,
  sum: { readonly months: bigint; readonly days: bigint; readonly microseconds: bigint },
  of_: string
): Result.Result<Interval, OutOfRange> => {
  const beyond = internal.overflow(sum)
  if (beyond !== undefined) return outOfRange(operation, `the ${beyond} of ${of_}`)
  const parts = { months: Number(sum.months), days: Number(sum.days), microseconds: sum.microseconds }
  return internal.isFinite(parts) ? Result.succeed(of(parts)) : outOfRange(operation, of_)
}

/**
 * The sum of two intervals, part by part: Postgres's `+`. Fails with `OutOfRange` where a part has no room for it, and for
 * two opposite infinite ones.
 *
 * @since 0.1.0
 * @category combinators
 */
export const add: {
  (that: Interval): (self: Interval) => Result.Result<Interval, OutOfRange>
  (self: Interval, that: Interval): Result.Result<Interval, OutOfRange>
} = dual(2, (self: Interval, that: Interval): Result.Result<Interval, OutOfRange> => {
  if (!isFinite(self) || !isFinite(that)) {
    if (isFinite(self)) return Result.succeed(that)
    return isFinite(that) || internal.equals(self, that)
      ? Result.succeed(self)
      : outOfRange("add", `${format(self)} and ${format(that)}`)
  }
  return computed("add", {
    months: BigInt(self.months) + BigInt(that.months),
    days: BigInt(self.days) + BigInt(that.days),
    microseconds: self.microseconds + that.microseconds
  }, `${format(self)} and ${format(that)}`)
})

/**
 * The interval that moves as far the other way: Postgres's `-`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const negate = (self: Interval): Result.Result<Interval, OutOfRange> =>
  internal.equals(self, internal.infinity)
    ? Result.succeed(negativeInfinity)
    : internal.equals(self, internal.negativeInfinity)
    ? Result.succeed(infinity)
    : computed("negate", {
      months: -BigInt(self.months),
      days: -BigInt(self.days),
      microseconds: -self.microseconds
    }, format(self))

/**
 * What an interval moves an instant by, unit by unit, zeros left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface ShiftOptions {
  readonly months?: number
  readonly days?: number
  readonly seconds?: number
  readonly microseconds?: number
}

/**
 * An interval as the units by which it moves an instant, in the order in which they are applied: months, days, seconds,
 * microseconds. Zeros are left out. An infinite interval has none that would say it, and gives `{ seconds: Infinity }` or
 * `{ seconds: -Infinity }`.
 *
 * @since 0.1.0
 * @category converting
 */
export const toShiftOptions = (self: Interval): ShiftOptions => {
  if (!isFinite(self)) return { seconds: self.months > 0 ? Infinity : -Infinity }
  const seconds = Number(self.microseconds / 1_000_000n)
  const microseconds = Number(self.microseconds % 1_000_000n)
  return {
    ...(self.months === 0 ? {} : { months: self.months }),
    ...(self.days === 0 ? {} : { days: self.days }),
    ...(seconds === 0 ? {} : { seconds }),
    ...(microseconds === 0 ? {} : { microseconds })
  }
}

/** Moves an instant step by step; Postgres has no way through instants that it cannot hold. */
const shiftUtc = (micros: bigint, { days, microseconds, months }: Interval) =>
  Result.gen(function*() {
    const ofDay = ((micros % microsPerDay) + microsPerDay) % microsPerDay
    const day = Number((micros - ofDay) / microsPerDay)
    const at = (day: number) => Timestamp.fromEpochMicros(BigInt(day) * microsPerDay + ofDay)
    const monthsLater = months === 0 ? day : addMonths(day, months)
    yield* at(monthsLater)
    const { epochMicros } = yield* at(monthsLater + days)
    return yield* Timestamp.fromEpochMicros(epochMicros + microseconds)
  })

const shiftZoned = (dateTime: DateTime.Zoned, interval: Interval): Result.Result<DateTime.Zoned, string> => {
  if (interval.microseconds % 1000n !== 0n) return Result.fail("a DateTime in a time zone has no microseconds")
  return Result.try({
    try: () => {
      // One after the other, as Postgres does: DateTime.add would take days before months.
      const moved = DateTime.add(DateTime.add(dateTime, { months: interval.months }), { days: interval.days })
      // Through a Date, which refuses what it cannot hold.
      const millis = moved.epochMilliseconds + Number(interval.microseconds / 1000n)
      return DateTime.mapEpochMillis(moved, () => DateTime.makeUnsafe(millis).epochMilliseconds)
    },
    catch: () => "JavaScript has no such instant"
  })
}

/**
 * Moves an instant by an interval, as Postgres's `timestamptz + interval` does: first by months, where the 31st becomes the
 * last of a shorter month, then by days, then by microseconds.
 *
 * **Details**
 *
 * A `DateTime.Utc` gives a `Timestamp`, which is a `DateTime.Utc` with microseconds. A `DateTime.Zoned` moves months and days
 * on the clock of its time zone, so that noon stays noon over a change of the clocks; it has no microseconds, and an interval
 * that has some fails with `OutOfRange`, as does an instant that Postgres cannot hold.
 *
 * **Example** (The end of the month)
 *
 * ```ts
 * import { DateTime, Result } from "effect"
 * import { Interval } from "holdfast/dbtypes"
 *
 * const month = Interval.makeUnsafe({ months: 1 })
 * const moved = Interval.shift(DateTime.makeUnsafe("2024-01-31T12:00:00Z"), month)
 * console.log(String(Result.getOrThrow(moved))) // 2024-02-29 12:00:00+00
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const shift: {
  (interval: Interval): {
    (dateTime: DateTime.Utc): Result.Result<Timestamp.Timestamp, OutOfRange>
    (dateTime: DateTime.Zoned): Result.Result<DateTime.Zoned, OutOfRange>
  }
  (dateTime: DateTime.Utc, interval: Interval): Result.Result<Timestamp.Timestamp, OutOfRange>
  (dateTime: DateTime.Zoned, interval: Interval): Result.Result<DateTime.Zoned, OutOfRange>
} = dual(2, (
  dateTime: DateTime.DateTime,
  interval: Interval
): Result.Result<DateTime.DateTime, OutOfRange> => {
  const error = (problem: string) =>
    new OutOfRange({ typeName: "timestamptz", operation: "shift", problem: `${problem}, by ${format(interval)}` })
  const { epochMilliseconds } = dateTime
  if (Number.isNaN(epochMilliseconds)) return Result.fail(error("an invalid DateTime"))
  if (DateTime.isZoned(dateTime)) {
    return isFinite(interval)
      ? Result.mapError(shiftZoned(dateTime, interval), error)
      : Result.fail(error("there is no infinite DateTime in a time zone"))
  }
  const isInfinite = Math.abs(epochMilliseconds) === Infinity
  if (!isFinite(interval)) {
    const end = interval.months > 0 ? Timestamp.infinity : Timestamp.negativeInfinity
    return isInfinite && epochMilliseconds !== end.epochMilliseconds
      ? Result.fail(error("the opposite infinity"))
      : Result.succeed(end)
  }
  const micros = Timestamp.toEpochMicros(dateTime)
  return Result.mapError(
    isInfinite ? Timestamp.fromEpochMicros(micros) : shiftUtc(micros, interval),
    ({ problem }) => error(`the outcome ${problem}`)
  )
})

/**
 * Reads an interval in Postgres's notation, `1 year 2 mons -3 days +04:05:06.789`, in units for people, `2 weeks ago`, or in
 * ISO 8601, `P1Y2M-3DT4H5M6.789S`. What is given must be exact: fractions are those of hours, minutes and seconds, and whole
 * numbers of microseconds.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromString = (text: string): Result.Result<Interval, InvalidText> =>
  Result.map(orInvalid(internal.parse(text), "interval", text), of)

/**
 * Reads an interval that is known to be one. Throws `InvalidText` where {@link fromString} fails.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromStringUnsafe = (text: string): Interval => Result.getOrThrow(fromString(text))

/**
 * Writes an interval as Postgres does: `1 year 2 mons -3 days +04:05:06.789`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format: (self: Interval) => string = internal.format

/**
 * Writes an interval in ISO 8601, as Postgres does: every unit has its own sign, `P1Y2M-3DT4H5M6.789S`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const formatIso: (self: Interval) => string = internal.formatIso

/**
 * Writes an interval for people, every unit with its own sign: `1 year 2 months -3 days 4 hours`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const formatWords: (self: Interval) => string = internal.formatWords

/**
 * A schema of intervals whose encoded side is text.
 *
 * @since 0.1.0
 * @category schemas
 */
export const IntervalFromString: Schema.Codec<Interval, string> = Schema.String.pipe(
  Schema.decodeTo(Interval, textTransformation(fromString, format))
)
