/**
 * What all types of this room share: the comparison of ranges and scalars in seven answers, and the codecs with which a
 * client reads and writes them.
 *
 * **Example** (A client that knows these types)
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { DbTypes, IntegerRange } from "holdfast/dbtypes"
 *
 * const Client = PgClient.layer({ database: "shop", types: DbTypes.registry })
 *
 * const program = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   const teens = IntegerRange.makeUnsafe({ lower: 13n, upper: 20n })
 *   return yield* sql<{ name: string; ages: IntegerRange.IntegerRange }>`
 *     SELECT name, ages FROM offers WHERE ages && ${teens}`
 * }).pipe(Effect.provide(Client))
 * ```
 *
 * @since 0.1.0
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as DateTime from "effect/DateTime"
import type * as Order from "effect/Order"
import * as Result from "effect/Result"
import * as CalendarDate from "./CalendarDate.ts"
import type { DateTimeRange } from "./DateTimeRange.ts"
import { OperatorNotApplicable } from "./DbTypeError.ts"
import type { Decimal } from "./DecimalRange.ts"
import * as Inet from "./Inet.ts"
import type { IntegerRange } from "./IntegerRange.ts"
import { codecs } from "./internal/codecs.ts"
import { order as decimalOrder } from "./internal/decimal.ts"
import { oids } from "./internal/oids.ts"
import {
  type Bound,
  canonical,
  compareBounds,
  type Fields,
  isRange,
  type Range as AnyRange,
  type Subtype,
  subtypeOf
} from "./internal/range.ts"
import * as Interval from "./Interval.ts"
import type { Range, Scalar } from "./Range.ts"
import * as Timestamp from "./Timestamp.ts"

/**
 * How two operands stand to each other.
 *
 * **Details**
 *
 * - `"eq"`: the same values.
 * - `"lt"`, `"gt"`: the left one lies wholly before, or behind, the right one. Adjacent ranges do.
 * - `"lcr"`, `"rcl"`: left contains right, right contains left. One that shares a bound is contained.
 * - `"lto"`, `"gto"`: they overlap, and the left one begins and ends earlier, or later.
 *
 * @since 0.1.0
 * @category models
 */
export type Operator = "eq" | "lt" | "gt" | "lcr" | "rcl" | "gto" | "lto"

/**
 * The operators for two scalars.
 *
 * @since 0.1.0
 * @category models
 */
export type ScalarOperator = "eq" | "lt" | "gt"

/**
 * The operators for a range and a scalar.
 *
 * @since 0.1.0
 * @category models
 */
export type RangeScalarOperator = "lt" | "gt" | "lcr"

/**
 * The operators for a scalar and a range.
 *
 * @since 0.1.0
 * @category models
 */
export type ScalarRangeOperator = "lt" | "gt" | "rcl"

type Ordinal = -1 | 0 | 1

const scalarOperators = { [-1]: "lt", [0]: "eq", [1]: "gt" } as const

const scalarOrder = (scalar: unknown): Order.Order<unknown> => {
  const order = typeof scalar === "bigint"
    ? (self: bigint, that: bigint): Ordinal => self < that ? -1 : self > that ? 1 : 0
    : DateTime.isDateTime(scalar)
    ? Timestamp.Order
    : CalendarDate.isCalendarDate(scalar)
    ? CalendarDate.Order
    : Interval.isInterval(scalar)
    ? Interval.Order
    : Inet.isInet(scalar)
    ? Inet.Order
    : decimalOrder
  return order as Order.Order<never> as Order.Order<unknown> // of the type that both operands are of, by the overloads
}

const compareRanges = (left: AnyRange<unknown>, right: AnyRange<unknown>): Operator => {
  if (left.isEmpty || right.isEmpty) return left.isEmpty === right.isEmpty ? "eq" : left.isEmpty ? "rcl" : "lcr"
  const { order } = subtypeOf(left)
  const lowers = compareBounds(order, left.lowerBound, true, right.lowerBound, true)
  const uppers = compareBounds(order, left.upperBound, false, right.upperBound, false)
  if (lowers === 0 && uppers === 0) return "eq"
  if (lowers <= 0 && uppers >= 0) return "lcr"
  if (lowers >= 0 && uppers <= 0) return "rcl"
  return lowers < 0
    ? compareBounds(order, left.upperBound, false, right.lowerBound, true) < 0 ? "lt" : "lto"
    : compareBounds(order, left.lowerBound, true, right.upperBound, false) > 0
    ? "gt"
    : "gto"
}

/** Where a scalar stands to a range: before it, in it or behind it. */
const place = (range: AnyRange<unknown>, scalar: unknown): Ordinal => {
  const { order } = subtypeOf(range)
  const { lowerBound, upperBound } = range
  if (lowerBound._tag !== "Unbounded") {
    const at = order(scalar, lowerBound.value)
    if (at < 0 || (at === 0 && lowerBound._tag === "Exclusive")) return -1
  }
  if (upperBound._tag !== "Unbounded") {
    const at = order(scalar, upperBound.value)
    if (at > 0 || (at === 0 && upperBound._tag === "Exclusive")) return 1
  }
  return 0
}

interface Compare {
  <A>(left: Range<A>, right: Range<A>): Operator
  <A>(left: Range<A>, right: Scalar<A>): RangeScalarOperator
  <A>(left: Scalar<A>, right: Range<A>): ScalarRangeOperator
  (left: bigint, right: bigint): ScalarOperator
  (left: Decimal, right: Decimal): ScalarOperator
  (left: CalendarDate.CalendarDate, right: CalendarDate.CalendarDate): ScalarOperator
  (left: DateTime.DateTime, right: DateTime.DateTime): ScalarOperator
  (left: Interval.Interval, right: Interval.Interval): ScalarOperator
  (left: Inet.Inet, right: Inet.Inet): ScalarOperator
}

/**
 * How two ranges, two scalars, or a range and a scalar stand to each other, in one of seven answers.
 *
 * **Details**
 *
 * A range never equals a scalar: `[5,6)` contains 5. Two intervals are equal as Postgres has it, for which a month is 30
 * days. The empty range is equal to itself and contained in every other range; to a scalar it stands where Postgres sorts it,
 * before everything.
 *
 * **Example** (The seven answers)
 *
 * ```ts
 * import { DbTypes, IntegerRange } from "holdfast/dbtypes"
 *
 * const range = (lower: bigint, upper: bigint) => IntegerRange.makeUnsafe({ lower, upper })
 *
 * DbTypes.compare(range(200n, 210n), range(100n, 110n)) // => "gt"
 * DbTypes.compare(range(100n, 110n), range(200n, 210n)) // => "lt"
 * DbTypes.compare(range(100n, 110n), range(100n, 110n)) // => "eq"
 * DbTypes.compare(range(90n, 110n), range(100n, 110n)) // => "lcr"
 * DbTypes.compare(range(100n, 110n), range(100n, 111n)) // => "rcl"
 * DbTypes.compare(range(150n, 250n), range(100n, 175n)) // => "gto"
 * DbTypes.compare(range(100n, 150n), range(125n, 175n)) // => "lto"
 * ```
 *
 * @since 0.1.0
 * @category comparisons
 */
export const compare: Compare = ((left: unknown, right: unknown): Operator => {
  if (isRange(left)) {
    if (isRange(right)) return compareRanges(left, right)
    if (left.isEmpty) return "lt"
    const at = place(left, right)
    return at < 0 ? "gt" : at > 0 ? "lt" : "lcr"
  }
  if (isRange(right)) {
    if (right.isEmpty) return "gt"
    const at = place(right, left)
    return at < 0 ? "lt" : at > 0 ? "gt" : "rcl"
  }
  return scalarOperators[scalarOrder(left)(left, right)]
}) as Compare // each overload is one of the branches

interface TestCompare {
  <A>(left: Range<A>, right: Range<A>, operator: Operator): boolean
  <A>(left: Range<A>, right: Scalar<A>, operator: RangeScalarOperator): boolean
  <A>(left: Scalar<A>, right: Range<A>, operator: ScalarRangeOperator): boolean
  (left: bigint, right: bigint, operator: ScalarOperator): boolean
  (left: Decimal, right: Decimal, operator: ScalarOperator): boolean
  (left: CalendarDate.CalendarDate, right: CalendarDate.CalendarDate, operator: ScalarOperator): boolean
  (left: DateTime.DateTime, right: DateTime.DateTime, operator: ScalarOperator): boolean
  (left: Interval.Interval, right: Interval.Interval, operator: ScalarOperator): boolean
  (left: Inet.Inet, right: Inet.Inet, operator: ScalarOperator): boolean
}

const applicable = {
  range: { range: ["eq", "lt", "gt", "lcr", "rcl", "gto", "lto"], scalar: ["lt", "gt", "lcr"] },
  scalar: { range: ["lt", "gt", "rcl"], scalar: ["eq", "lt", "gt"] }
} as const

/**
 * Whether two operands stand to each other as an operator says: whether {@link compare} answers it.
 *
 * **Details**
 *
 * An operator that two such operands can never answer is refused by its type. Where an operator comes from elsewhere and
 * gets past that, it throws `OperatorNotApplicable`.
 *
 * @since 0.1.0
 * @category comparisons
 */
export const testCompare: TestCompare = (left: unknown, right: unknown, operator: Operator): boolean => {
  const kinds = { left: isRange(left) ? "range" : "scalar", right: isRange(right) ? "range" : "scalar" } as const
  const operators: ReadonlyArray<string> = applicable[kinds.left][kinds.right]
  if (!operators.includes(operator)) {
    throw new OperatorNotApplicable({ operator: String(operator), ...kinds, applicable: operators })
  }
  return (compare as (left: unknown, right: unknown) => Operator)(left, right) === operator
}

interface BoundsCompare {
  <A>(left: Range<A>, right: Range<A> | Scalar<A>): BoundsOrder
  <A>(left: Scalar<A>, right: Range<A>): BoundsOrder
}

/**
 * How the bounds of two ranges stand to each other.
 *
 * @since 0.1.0
 * @category models
 */
export interface BoundsOrder {
  readonly lower: ScalarOperator
  readonly upper: ScalarOperator
}

/** A range, or that of a scalar alone; the greatest integer there is has no canonical one. */
const boundsOf = (subtype: Subtype<unknown>, operand: unknown): Fields<unknown> => {
  if (isRange(operand)) return operand
  const bound: Bound<unknown> = { _tag: "Inclusive", value: operand }
  return Result.getOrElse(
    canonical(subtype, bound, bound),
    () => ({ isEmpty: false, lowerBound: bound, upperBound: bound })
  )
}

/**
 * How the lower bounds and the upper bounds of two ranges stand to each other. No lower bound is below all, no upper bound is
 * above all. At one value, an exclusive lower bound is above an inclusive one, and an exclusive upper bound below it. A scalar
 * is taken as the range of itself alone. The empty range has no bounds, and stands before all that have.
 *
 * @since 0.1.0
 * @category comparisons
 */
export const boundsCompare: BoundsCompare = (left: unknown, right: unknown): BoundsOrder => {
  const range = isRange(left) ? left : right as AnyRange<unknown>
  const subtype = subtypeOf(range)
  const { order } = subtype
  const [one, other] = [boundsOf(subtype, left), boundsOf(subtype, right)]
  if (one.isEmpty || other.isEmpty) {
    const both = one.isEmpty === other.isEmpty ? "eq" : one.isEmpty ? "lt" : "gt"
    return { lower: both, upper: both }
  }
  return {
    lower: scalarOperators[compareBounds(order, one.lowerBound, true, other.lowerBound, true)],
    upper: scalarOperators[compareBounds(order, one.upperBound, false, other.upperBound, false)]
  }
}

/**
 * Adds the codecs of this room to a registry of one's own: ranges, intervals and addresses are read as the values of this
 * room, and written from them, singly and in arrays. `int4range` and `tsrange` are among them; a `timestamptz` is read as
 * before, and written to the microsecond from a `Timestamp`.
 *
 * @since 0.1.0
 * @category codecs
 */
export const register = (registry: PgTypes.Registry): void => {
  const add = <A>(codec: PgTypes.Codec<A>, { arrayOid, oid }: { readonly arrayOid: number; readonly oid: number }) =>
    registry.register(oid, codec, { arrayOid })
  add(codecs.int4range, oids.int4range)
  add(codecs.int8range, oids.int8range)
  add(codecs.numrange, oids.numrange)
  add(codecs.daterange, oids.daterange)
  add(codecs.tsrange, oids.tsrange)
  add(codecs.tstzrange, oids.tstzrange)
  add(codecs.interval, oids.interval)
  add(codecs.inet, oids.inet)
  add(codecs.cidr, oids.cidr)
  add(codecs.timestamptz, oids.timestamptz)
}

/**
 * A registry with the codecs of this room, for the `types` of a `PgClient`.
 *
 * @since 0.1.0
 * @category codecs
 */
export const registry: PgTypes.Registry = /* @__PURE__ */ (() => {
  const registry = PgTypes.makeRegistry()
  register(registry)
  return registry
})()

const parameter = (oid: number) => (value: unknown): PgTypes.Parameter => ({
  [PgTypes.ParameterTypeId]: PgTypes.ParameterTypeId,
  oid,
  value
})

/**
 * A parameter of type `int4range`; by itself a range of integers is an `int8range`. The statement fails where a bound does not
 * fit into 32 bits.
 *
 * @since 0.1.0
 * @category codecs
 */
export const int4range: (value: IntegerRange | null) => PgTypes.Parameter = parameter(oids.int4range.oid)

/**
 * A parameter of type `tsrange`, in UTC; by itself a range of instants is a `tstzrange`.
 *
 * @since 0.1.0
 * @category codecs
 */
export const tsrange: (value: DateTimeRange | null) => PgTypes.Parameter = parameter(oids.tsrange.oid)

/**
 * A parameter of type `cidr`; by itself an address is an `inet`. The statement fails where a bit is set behind the prefix.
 *
 * @since 0.1.0
 * @category codecs
 */
export const cidr: (value: Inet.Inet | null) => PgTypes.Parameter = parameter(oids.cidr.oid)
