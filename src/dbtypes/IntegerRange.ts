/**
 * Ranges of integers: Postgres's `int8range`, which reads `int4range` as well.
 *
 * Integers are discrete: `(10,20]` is `[11,21)`, and there is nothing in `(1,2)`.
 *
 * @since 0.1.0
 */
import * as Hash from "effect/Hash"
import * as Option from "effect/Option"
import type * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { InvalidText, InvalidValue } from "./DbTypeError.ts"
import { maxInt64, minInt64, parseInt64 } from "./internal/integerText.ts"
import { oids } from "./internal/oids.ts"
import { rangeType } from "./internal/range.ts"
import { type SchemaClass, textTransformation } from "./internal/schemaClass.ts"
import { format as formatRange, type Input, Order as RangeOrder, type Range } from "./Range.ts"

const { empty: emptyRange, fromString: read, make: makeRange, schema } = rangeType<bigint, bigint>(
  "holdfast/dbtypes/IntegerRange",
  {
    typeName: "int8range",
    rangeOid: oids.int8range.oid,
    order: (self, that) => self < that ? -1 : self > that ? 1 : 0,
    hash: (value) => Hash.hash(value),
    parse: parseInt64,
    format: String,
    next: (value) =>
      value === maxInt64 ? Result.fail("has no integer of 64 bits behind it") : Result.succeed(value + 1n),
    previous: (value) => value === minInt64 ? Option.none() : Option.some(value - 1n)
  },
  (value) =>
    typeof value === "bigint" && value >= minInt64 && value <= maxInt64
      ? Result.succeed(value)
      : Result.fail(`is not an integer of 64 bits: ${String(value)}`)
)

/**
 * A range of integers: equal by the values in it, a query parameter of type `int8range` as it is, made by this module's
 * constructors. What can be done with it is in the module `Range`.
 *
 * @since 0.1.0
 * @category models
 */
export interface IntegerRange extends Range<bigint> {}

/**
 * The schema of ranges of integers: it accepts such ranges, and they are text in Postgres's notation in JSON.
 *
 * @since 0.1.0
 * @category schemas
 */
export const IntegerRange: SchemaClass<IntegerRange> = schema

/**
 * Whether a value is a range of integers.
 *
 * @since 0.1.0
 * @category guards
 */
export const isIntegerRange: (u: unknown) => u is IntegerRange = Schema.is(schema)

/**
 * A range by its bounds. Fails where the lower one is above the upper one, or one does not fit into 64 bits.
 *
 * **Example** (Bounds that belong to the range, and one that does not)
 *
 * ```ts
 * import { DbTypes, IntegerRange, Range } from "holdfast/dbtypes"
 *
 * const teens = IntegerRange.makeUnsafe({ lower: 13n, upper: 19n, bounds: "[]" })
 * console.log(String(teens)) // [13,20)
 * console.log(String(Range.upper(teens))) // some(19n)
 * console.log(DbTypes.compare(teens, 15n)) // lcr
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (input: Input<bigint>) => Result.Result<IntegerRange, InvalidValue> = makeRange

/**
 * A range by bounds that are known to be in order. Throws `InvalidValue` where {@link make} fails.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeUnsafe = (input: Input<bigint>): IntegerRange => Result.getOrThrow(make(input))

/**
 * The range without values.
 *
 * @since 0.1.0
 * @category constants
 */
export const empty: IntegerRange = emptyRange

/**
 * Reads a range in Postgres's notation: `[10,20)`, `(,5]`, `empty`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromString: (text: string) => Result.Result<IntegerRange, InvalidText> = read

/**
 * Reads a range that is known to be one. Throws `InvalidText` where {@link fromString} fails.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromStringUnsafe = (text: string): IntegerRange => Result.getOrThrow(fromString(text))

/**
 * Writes a range in Postgres's notation.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format: (self: IntegerRange) => string = formatRange

/**
 * Ranges in the order in which Postgres sorts them: the empty one first, then by lower bound, then by upper bound.
 *
 * @since 0.1.0
 * @category instances
 */
export const Order: Order_.Order<IntegerRange> = RangeOrder

/**
 * A schema of such ranges whose encoded side is text.
 *
 * @since 0.1.0
 * @category schemas
 */
export const IntegerRangeFromString: Schema.Codec<IntegerRange, string> = Schema.String.pipe(
  Schema.decodeTo(schema, textTransformation(fromString, format))
)
