/**
 * Ranges of instants: Postgres's `tstzrange`, which reads `tsrange` as well.
 *
 * Instants are continuous, and exact to the microsecond: the bounds are `Timestamp`s, which are `DateTime.Utc`s that keep
 * microseconds. A `tsrange`, which has no time zone, is read as UTC.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Hash from "effect/Hash"
import type * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { InvalidText, InvalidValue } from "./DbTypeError.ts"
import { oids } from "./internal/oids.ts"
import { rangeType } from "./internal/range.ts"
import { type SchemaClass, textTransformation } from "./internal/schemaClass.ts"
import { format as formatRange, type Input, Order as RangeOrder, type Range } from "./Range.ts"
import * as Timestamp from "./Timestamp.ts"

const { empty: emptyRange, fromString: read, make: makeRange, schema } = rangeType<
  Timestamp.Timestamp,
  DateTime.DateTime
>(
  "holdfast/dbtypes/DateTimeRange",
  {
    typeName: "tstzrange",
    rangeOid: oids.tstzrange.oid,
    order: Timestamp.Order,
    hash: (value) => Hash.hash(value),
    parse: Timestamp.fromString,
    format: Timestamp.format
  },
  (value) =>
    DateTime.isDateTime(value)
      ? Result.mapError(Timestamp.fromDateTime(value), ({ problem }) => problem)
      : Result.fail("is not a DateTime")
)

/**
 * A range of instants: equal by the values in it, a query parameter of type `tstzrange` as it is, made by this module's
 * constructors. What can be done with it is in the module `Range`.
 *
 * @since 0.1.0
 * @category models
 */
export interface DateTimeRange extends Range<Timestamp.Timestamp> {}

/**
 * The schema of ranges of instants: it accepts such ranges, and they are text in Postgres's notation in JSON.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DateTimeRange: SchemaClass<DateTimeRange> = schema

/**
 * Whether a value is a range of instants.
 *
 * @since 0.1.0
 * @category guards
 */
export const isDateTimeRange: (u: unknown) => u is DateTimeRange = Schema.is(schema)

/**
 * A range by its bounds. Fails where the lower one is above the upper one, or one is not an instant that Postgres can hold.
 *
 * **Example** (An hour)
 *
 * ```ts
 * import { DateTime } from "effect"
 * import { DateTimeRange, DbTypes } from "holdfast/dbtypes"
 *
 * const start = DateTime.makeUnsafe("2024-02-29T12:00:00Z")
 * const hour = DateTimeRange.makeUnsafe({ lower: start, upper: DateTime.add(start, { hours: 1 }) })
 * console.log(String(hour)) // ["2024-02-29 12:00:00+00","2024-02-29 13:00:00+00")
 * console.log(DbTypes.compare(hour, DateTime.add(start, { hours: 1 }))) // lt
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (input: Input<DateTime.DateTime>) => Result.Result<DateTimeRange, InvalidValue> = makeRange

/**
 * A range by bounds that are known to be in order. Throws `InvalidValue` where {@link make} fails.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeUnsafe = (input: Input<DateTime.DateTime>): DateTimeRange => Result.getOrThrow(make(input))

/**
 * The range without values.
 *
 * @since 0.1.0
 * @category constants
 */
export const empty: DateTimeRange = emptyRange

/**
 * Reads a range in Postgres's notation: `["2024-02-29 12:00:00+00",)`, `(,2024-02-29T12:00:00Z)`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromString: (text: string) => Result.Result<DateTimeRange, InvalidText> = read

/**
 * Reads a range that is known to be one. Throws `InvalidText` where {@link fromString} fails.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromStringUnsafe = (text: string): DateTimeRange => Result.getOrThrow(fromString(text))

/**
 * Writes a range in Postgres's notation.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format: (self: DateTimeRange) => string = formatRange

/**
 * Ranges in the order in which Postgres sorts them: the empty one first, then by lower bound, then by upper bound.
 *
 * @since 0.1.0
 * @category instances
 */
export const Order: Order_.Order<DateTimeRange> = RangeOrder

/**
 * A schema of such ranges whose encoded side is text.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DateTimeRangeFromString: Schema.Codec<DateTimeRange, string> = Schema.String.pipe(
  Schema.decodeTo(schema, textTransformation(fromString, format))
)
