/**
 * Ranges of calendar dates: Postgres's `daterange`.
 *
 * Dates are discrete: `[2024-01-01,2024-01-31]` is `[2024-01-01,2024-02-01)`. An infinite date is a bound of its own, and
 * not the same as no bound.
 *
 * @since 0.1.0
 */
import * as Hash from "effect/Hash"
import type * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as CalendarDate from "./CalendarDate.ts"
import type { InvalidText, InvalidValue } from "./DbTypeError.ts"
import { oids } from "./internal/oids.ts"
import { rangeType } from "./internal/range.ts"
import { type SchemaClass, textTransformation } from "./internal/schemaClass.ts"
import { format as formatRange, type Input, Order as RangeOrder, type Range } from "./Range.ts"

const { empty: emptyRange, fromString: read, make: makeRange, schema } = rangeType<
  CalendarDate.CalendarDate,
  CalendarDate.CalendarDate
>(
  "holdfast/dbtypes/DateRange",
  {
    typeName: "daterange",
    rangeOid: oids.daterange.oid,
    order: CalendarDate.Order,
    hash: (value) => Hash.number(value.epochDays),
    parse: CalendarDate.fromString,
    format: CalendarDate.format,
    next: (value) => Result.mapError(CalendarDate.addDays(value, 1), () => "has no date behind it"),
    previous: (value) => Result.getSuccess(CalendarDate.addDays(value, -1))
  },
  (value) => CalendarDate.isCalendarDate(value) ? Result.succeed(value) : Result.fail("is not a CalendarDate")
)

/**
 * A range of calendar dates: equal by the values in it, a query parameter of type `daterange` as it is, made by this module's
 * constructors. What can be done with it is in the module `Range`.
 *
 * @since 0.1.0
 * @category models
 */
export interface DateRange extends Range<CalendarDate.CalendarDate> {}

/**
 * The schema of ranges of calendar dates: it accepts such ranges, and they are text in Postgres's notation in JSON.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DateRange: SchemaClass<DateRange> = schema

/**
 * Whether a value is a range of calendar dates.
 *
 * @since 0.1.0
 * @category guards
 */
export const isDateRange: (u: unknown) => u is DateRange = Schema.is(schema)

/**
 * A range by its bounds. Fails where the lower one is above the upper one, or an inclusive upper one is the last date there is.
 *
 * **Example** (The days of a month)
 *
 * ```ts
 * import { CalendarDate, DateRange, Range } from "holdfast/dbtypes"
 *
 * const date = CalendarDate.fromStringUnsafe
 * const february = DateRange.makeUnsafe({ lower: date("2024-02-01"), upper: date("2024-03-01") })
 * console.log(Range.contains(february, date("2024-02-29"))) // true
 * console.log(String(Range.upper(february))) // some(2024-02-29)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (input: Input<CalendarDate.CalendarDate>) => Result.Result<DateRange, InvalidValue> = makeRange

/**
 * A range by bounds that are known to be in order. Throws `InvalidValue` where {@link make} fails.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeUnsafe = (input: Input<CalendarDate.CalendarDate>): DateRange => Result.getOrThrow(make(input))

/**
 * The range without values.
 *
 * @since 0.1.0
 * @category constants
 */
export const empty: DateRange = emptyRange

/**
 * Reads a range in Postgres's notation: `[2024-01-01,2024-02-01)`, `["0044-03-15 BC",infinity)`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromString: (text: string) => Result.Result<DateRange, InvalidText> = read

/**
 * Reads a range that is known to be one. Throws `InvalidText` where {@link fromString} fails.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromStringUnsafe = (text: string): DateRange => Result.getOrThrow(fromString(text))

/**
 * Writes a range in Postgres's notation.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format: (self: DateRange) => string = formatRange

/**
 * Ranges in the order in which Postgres sorts them: the empty one first, then by lower bound, then by upper bound.
 *
 * @since 0.1.0
 * @category instances
 */
export const Order: Order_.Order<DateRange> = RangeOrder

/**
 * A schema of such ranges whose encoded side is text.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DateRangeFromString: Schema.Codec<DateRange, string> = Schema.String.pipe(
  Schema.decodeTo(schema, textTransformation(fromString, format))
)
