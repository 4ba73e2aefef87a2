/**
 * A calendar date: a day, the same on every clock on earth, and no instant. Postgres's `date`, with its two infinities.
 *
 * Days are those of the Gregorian calendar, carried on into the past, from 24 November 4714 BC to 31 December 5874897.
 *
 * @since 0.1.0
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import { dual } from "effect/Function"
import * as Hash from "effect/Hash"
import * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type InvalidText, InvalidValue, OutOfRange } from "./DbTypeError.ts"
import { civilFromDays, daysFromCivil, firstDay, formatCivil, lastDay, monthLength, pad } from "./internal/calendar.ts"
import { dayOf, parseEra, parseYearMonthDay } from "./internal/dateText.ts"
import {
  instantiate,
  type SchemaClass,
  schemaClass,
  textTransformation,
  typeId,
  type Value
} from "./internal/schemaClass.ts"
import { flaw, orInvalid, type Parsed, trimmed } from "./internal/text.ts"

interface Fields {
  /** Days since 1970-01-01; `Infinity` or `-Infinity` for the infinite dates. */
  readonly epochDays: number
}

const identifier = "holdfast/dbtypes/CalendarDate"

const isFiniteDate = ({ epochDays }: Fields): boolean => Number.isFinite(epochDays)

const formatFields = (self: Fields): string => {
  if (!isFiniteDate(self)) return self.epochDays > 0 ? "infinity" : "-infinity"
  const civil = civilFromDays(self.epochDays)
  return `${formatCivil(civil)}${civil.year > 0 ? "" : " BC"}`
}

/** Reads a date, and tells the place of what is wrong with it. */
const parseFields = (text: string): Parsed<Fields> => {
  const { end, start } = trimmed(text)
  const word = text.slice(start, end).toLowerCase()
  if (word === "infinity") return Result.succeed({ epochDays: Infinity })
  if (word === "-infinity") return Result.succeed({ epochDays: -Infinity })
  return Result.gen(function*() {
    const read = yield* parseYearMonthDay(text, start, end)
    const isBc = yield* parseEra(text, read.end, end)
    const epochDays = daysFromCivil(yield* dayOf(read, isBc))
    return epochDays < firstDay || epochDays > lastDay
      ? yield* flaw(start, "not within 24 November 4714 BC and the year 5874897")
      : { epochDays }
  })
}

/**
 * A calendar date: made by this module's constructors, equal by value, and a query parameter of type `date` as it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface CalendarDate extends Fields, Value {}

/**
 * The schema of calendar dates: it accepts dates, and they are text (`"2024-02-29"`) in JSON.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CalendarDate: SchemaClass<CalendarDate> = schemaClass<Fields>({
  identifier,
  oid: PgTypes.OID.date,
  fromString: (text) => orInvalid(parseFields(text), "date", text),
  format: formatFields,
  equals: (self, that) => self.epochDays === that.epochDays,
  hash: (self) => Hash.number(self.epochDays),
  parameter: (self) => {
    if (!isFiniteDate(self)) return formatFields(self)
    const { day, month, year } = civilFromDays(self.epochDays)
    return `${year < 0 ? "-" : ""}${pad(Math.abs(year), 4)}-${pad(month, 2)}-${pad(day, 2)}`
  }
})

const ofDays = (epochDays: number): CalendarDate => instantiate(CalendarDate, { epochDays })

const invalid = (field: string, problem: string) => Result.fail(new InvalidValue({ typeName: "date", field, problem }))

/**
 * Whether a value is a calendar date.
 *
 * @since 0.1.0
 * @category guards
 */
export const isCalendarDate = (u: unknown): u is CalendarDate =>
  typeof u === "object" && u !== null && typeId(identifier) in u

/**
 * A date by its parts. `year` is astronomical, as in ISO 8601: 0 is 1 BC, -1 is 2 BC.
 *
 * **Example** (A date, and none)
 *
 * ```ts
 * import { Result } from "effect"
 * import { CalendarDate } from "holdfast/dbtypes"
 *
 * console.log(String(CalendarDate.makeUnsafe({ year: 2024, month: 2, day: 29 }))) // 2024-02-29
 * console.log(Result.isFailure(CalendarDate.make({ year: 2023, month: 2, day: 29 }))) // true
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  parts: { readonly year: number; readonly month: number; readonly day: number }
): Result.Result<CalendarDate, InvalidValue> => {
  const { day, month, year } = parts
  if (!Number.isSafeInteger(year)) return invalid("year", `is not an integer: ${year}`)
  if (!Number.isInteger(month) || month < 1 || month > 12) return invalid("month", `is not within 1 and 12: ${month}`)
  const most = monthLength(year, month)
  if (!Number.isInteger(day) || day < 1 || day > most) return invalid("day", `is not within 1 and ${most}: ${day}`)
  const days = daysFromCivil(parts)
  return days < firstDay || days > lastDay
    ? invalid("year", `is not within 24 November 4714 BC and the year 5874897: ${year}`)
    : Result.succeed(ofDays(days))
}

/**
 * A date by its parts, for parts that are known to be right. Throws `InvalidValue` where {@link make} fails.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeUnsafe = (
  parts: { readonly year: number; readonly month: number; readonly day: number }
): CalendarDate => Result.getOrThrow(make(parts))

/**
 * A date by the number of days since 1970-01-01; `Infinity` and `-Infinity` give the infinite dates.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromEpochDays = (epochDays: number): Result.Result<CalendarDate, InvalidValue> => {
  if (epochDays === Infinity) return Result.succeed(infinity)
  if (epochDays === -Infinity) return Result.succeed(negativeInfinity)
  if (!Number.isInteger(epochDays)) return invalid("epochDays", `is not an integer: ${epochDays}`)
  return epochDays < firstDay || epochDays > lastDay
    ? invalid("epochDays", `is not within ${firstDay} and ${lastDay}: ${epochDays}`)
    : Result.succeed(ofDays(epochDays))
}

/**
 * `infinity`: later than every other date, and a value of its own: a range up to it is bounded.
 *
 * @since 0.1.0
 * @category constants
 */
export const infinity: CalendarDate = ofDays(Infinity)

/**
 * `-infinity`: earlier than every other date.
 *
 * @since 0.1.0
 * @category constants
 */
export const negativeInfinity: CalendarDate = ofDays(-Infinity)

/**
 * Whether a date is a day, and not one of the two infinities.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFinite: (self: CalendarDate) => boolean = isFiniteDate

/**
 * Year (astronomical: 0 is 1 BC), month and day of a date. Of an infinite one the year is infinite, and month and day are
 * `NaN`.
 *
 * @since 0.1.0
 * @category getters
 */
export const toParts = (self: CalendarDate): { readonly year: number; readonly month: number; readonly day: number } =>
  isFinite(self) ? civilFromDays(self.epochDays) : { year: self.epochDays, month: NaN, day: NaN }

/**
 * The date so many days later, or earlier. An infinite date stays where it is.
 *
 * @since 0.1.0
 * @category combinators
 */
export const addDays: {
  (days: number): (self: CalendarDate) => Result.Result<CalendarDate, OutOfRange>
  (self: CalendarDate, days: number): Result.Result<CalendarDate, OutOfRange>
} = dual(2, (self: CalendarDate, days: number): Result.Result<CalendarDate, OutOfRange> =>
  !isFinite(self)
    ? Result.succeed(self)
    : Result.mapError(
      fromEpochDays(Number.isInteger(days) ? self.epochDays + days : NaN),
      () => new OutOfRange({ typeName: "date", operation: "addDays", problem: `${format(self)} and ${days} days` })
    ))

/**
 * Dates in the order of time, between the two infinities.
 *
 * @since 0.1.0
 * @category instances
 */
export const Order: Order_.Order<CalendarDate> = Order_.make((self, that) =>
  self.epochDays < that.epochDays ? -1 : self.epochDays > that.epochDays ? 1 : 0
)

/**
 * Reads a date as Postgres writes it: `2024-02-29`, `0044-03-15 BC`, `infinity`, `-infinity`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromString = (text: string): Result.Result<CalendarDate, InvalidText> =>
  Result.map(orInvalid(parseFields(text), "date", text), ({ epochDays }) => ofDays(epochDays))

/**
 * Reads a date that is known to be one. Throws `InvalidText` where {@link fromString} fails.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromStringUnsafe = (text: string): CalendarDate => Result.getOrThrow(fromString(text))

/**
 * Writes a date as Postgres does: `2024-02-29`, `0044-03-15 BC`, `infinity`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format: (self: CalendarDate) => string = formatFields

/**
 * A schema of dates whose encoded side is text.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CalendarDateFromString: Schema.Codec<CalendarDate, string> = Schema.String.pipe(
  Schema.decodeTo(CalendarDate, textTransformation(fromString, format))
)
