/**
 * Ranges of decimals: Postgres's `numrange`.
 *
 * Decimals are continuous: `[10,100)` contains 99.5. A bound keeps its scale, `1.50` stays `1.50`, and is equal to 1.5.
 *
 * @since 0.1.0
 */
import type * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { InvalidText, InvalidValue } from "./DbTypeError.ts"
import * as decimal from "./internal/decimal.ts"
import { oids } from "./internal/oids.ts"
import { rangeType } from "./internal/range.ts"
import { type SchemaClass, textTransformation } from "./internal/schemaClass.ts"
import { format as formatRange, type Input, Order as RangeOrder, type Range } from "./Range.ts"

/**
 * A bound of such a range: a decimal, or one of the three values that Postgres's `numeric` has beside. `NaN` is equal to
 * itself and above everything else. An infinite bound is a value, and not the same as no bound.
 *
 * @since 0.1.0
 * @category models
 */
export type Decimal = decimal.Decimal

const { empty: emptyRange, fromString: read, make: makeRange, schema } = rangeType<Decimal, Decimal>(
  "holdfast/dbtypes/DecimalRange",
  {
    typeName: "numrange",
    rangeOid: oids.numrange.oid,
    order: decimal.order,
    hash: decimal.hash,
    parse: decimal.parse,
    format: decimal.format
  },
  decimal.fromInput
)

/**
 * A range of decimals: equal by the values in it, a query parameter of type `numrange` as it is, made by this module's
 * constructors. What can be done with it is in the module `Range`.
 *
 * @since 0.1.0
 * @category models
 */
export interface DecimalRange extends Range<Decimal> {}

/**
 * The schema of ranges of decimals: it accepts such ranges, and they are text in Postgres's notation in JSON.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DecimalRange: SchemaClass<DecimalRange> = schema

/**
 * Whether a value is a range of decimals.
 *
 * @since 0.1.0
 * @category guards
 */
export const isDecimalRange: (u: unknown) => u is DecimalRange = Schema.is(schema)

/**
 * A range by its bounds. Fails where the lower one is above the upper one, or one has more digits than a `numeric` can.
 *
 * **Example** (Nothing is stepped over)
 *
 * ```ts
 * import { BigDecimal } from "effect"
 * import { DecimalRange, Range } from "holdfast/dbtypes"
 *
 * const decimal = BigDecimal.fromStringUnsafe
 * const range = DecimalRange.makeUnsafe({ lower: decimal("10"), upper: decimal("100") })
 * console.log(Range.contains(range, decimal("99.5"))) // true
 * console.log(Range.contains(range, decimal("100"))) // false
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (input: Input<Decimal>) => Result.Result<DecimalRange, InvalidValue> = makeRange

/**
 * A range by bounds that are known to be in order. Throws `InvalidValue` where {@link make} fails.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeUnsafe = (input: Input<Decimal>): DecimalRange => Result.getOrThrow(make(input))

/**
 * The range without values.
 *
 * @since 0.1.0
 * @category constants
 */
export const empty: DecimalRange = emptyRange

/**
 * Reads a range in Postgres's notation: `[1.50,2)`, `(,1e3]`, `[0,Infinity]`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromString: (text: string) => Result.Result<DecimalRange, InvalidText> = read

/**
 * Reads a range that is known to be one. Throws `InvalidText` where {@link fromString} fails.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromStringUnsafe = (text: string): DecimalRange => Result.getOrThrow(fromString(text))

/**
 * Writes a range in Postgres's notation.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format: (self: DecimalRange) => string = formatRange

/**
 * Ranges in the order in which Postgres sorts them: the empty one first, then by lower bound, then by upper bound.
 *
 * @since 0.1.0
 * @category instances
 */
export const Order: Order_.Order<DecimalRange> = RangeOrder

/**
 * A schema of such ranges whose encoded side is text.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DecimalRangeFromString: Schema.Codec<DecimalRange, string> = Schema.String.pipe(
  Schema.decodeTo(schema, textTransformation(fromString, format))
)
