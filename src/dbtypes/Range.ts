/**
 * What all range types have in common: the algebra of ranges, as Postgres has it.
 *
 * A range lies between two bounds, each of which belongs to it or not, or is not there; the empty range is a range of its
 * own. Ranges of integers and of dates are discrete and canonical: `[1,10]` is `[1,11)`. Ranges of decimals and of instants
 * are continuous. The functions here take ranges of any of these types, both of the same one.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import { NotContiguous } from "./DbTypeError.ts"
import * as internal from "./internal/range.ts"

/**
 * Where a range ends on one side, and whether that value belongs to the range.
 *
 * @since 0.1.0
 * @category models
 */
export type Bound<A> = internal.Bound<A>

/**
 * A range of values of type `A`.
 *
 * **Details**
 *
 * `lowerBound` and `upperBound` are the bounds as Postgres keeps them, in their canonical form.
 *
 * @since 0.1.0
 * @category models
 */
export interface Range<out A> extends internal.Range<A> {}

/**
 * The bounds of a range that is to be made; one that is absent or `null` is no bound. `bounds` tells which of the two belong
 * to the range: `"[)"`, which is Postgres's own default, `"[]"`, `"(]"` or `"()"`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Input<out B> extends internal.Input<B> {}

/**
 * The values that can be in a range of `A`. An instant is any `DateTime`, in whatever time zone.
 *
 * @since 0.1.0
 * @category models
 */
export type Scalar<A> = A extends DateTime.Utc ? DateTime.DateTime : A

type Any = Range<unknown>

/**
 * Whether a value is a range.
 *
 * @since 0.1.0
 * @category guards
 */
export const isRange: (u: unknown) => u is Range<unknown> = internal.isRange

/**
 * Whether there is no value in a range: Postgres's `isempty`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isEmpty = (self: Any): boolean => self.isEmpty

const valueOf = <A>(bound: Bound<A>): Option.Option<A> =>
  bound._tag === "Unbounded" ? Option.none() : Option.some(bound.value)

/**
 * The lower bound of a range, if it has one. That of a discrete range is its first value: 11 for `(10,20)`.
 *
 * @since 0.1.0
 * @category getters
 */
export const lower = <A>(self: Range<A>): Option.Option<A> => valueOf(self.lowerBound)

/**
 * The upper bound of a range, if it has one. That of a discrete range is its last value: 99 for `[10,100)`. A range that ends
 * before the first value there is has no last one.
 *
 * **Gotchas**
 *
 * Postgres's own `upper` answers the bound of the canonical form, which for a discrete range is the first value behind it:
 * 100 for `[10,100)`. That is `upperBound` here.
 *
 * @since 0.1.0
 * @category getters
 */
export const upper = <A>(self: Range<A>): Option.Option<A> => {
  const { previous } = internal.subtypeOf(self)
  return self.upperBound._tag === "Exclusive" && previous !== undefined
    ? previous(self.upperBound.value)
    : valueOf(self.upperBound)
}

const comparisonsOf = <A>(self: Range<A>, that: Range<A>) => {
  const { order } = internal.subtypeOf(self)
  const compare = (left: Bound<A>, leftIsLower: boolean, right: Bound<A>, rightIsLower: boolean) =>
    internal.compareBounds(order, left, leftIsLower, right, rightIsLower)
  return {
    lowers: () => compare(self.lowerBound, true, that.lowerBound, true),
    uppers: () => compare(self.upperBound, false, that.upperBound, false),
    /** This lower bound and that upper one. */
    lowerUpper: () => compare(self.lowerBound, true, that.upperBound, false),
    /** This upper bound and that lower one. */
    upperLower: () => compare(self.upperBound, false, that.lowerBound, true)
  }
}

/**
 * Whether a range contains another one: Postgres's `@>`. Every range contains the empty one.
 *
 * @since 0.1.0
 * @category predicates
 */
export const containsRange: {
  <R extends Any>(that: R): (self: R) => boolean
  <R extends Any>(self: R, that: R): boolean
} = dual(2, <R extends Any>(self: R, that: R): boolean => {
  if (that.isEmpty) return true
  if (self.isEmpty) return false
  const compare = comparisonsOf<unknown>(self, that)
  return compare.lowers() <= 0 && compare.uppers() >= 0
})

/**
 * Whether a range contains a value: Postgres's `@>`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const contains: {
  <B>(value: B): <A>(self: Range<A> & ([B] extends [Scalar<A>] ? unknown : never)) => boolean
  <A>(self: Range<A>, value: Scalar<A>): boolean
} = dual(2, (self: Any, value: unknown): boolean => {
  if (self.isEmpty) return false
  const { order } = internal.subtypeOf(self)
  const { lowerBound, upperBound } = self
  if (lowerBound._tag !== "Unbounded") {
    const place = order(value, lowerBound.value)
    if (place < 0 || (place === 0 && lowerBound._tag === "Exclusive")) return false
  }
  if (upperBound._tag === "Unbounded") return true
  const place = order(value, upperBound.value)
  return place < 0 || (place === 0 && upperBound._tag === "Inclusive")
})

/**
 * Whether two ranges have a value in common: Postgres's `&&`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const overlaps: {
  <R extends Any>(that: R): (self: R) => boolean
  <R extends Any>(self: R, that: R): boolean
} = dual(2, <R extends Any>(self: R, that: R): boolean => {
  if (self.isEmpty || that.isEmpty) return false
  const compare = comparisonsOf<unknown>(self, that)
  return compare.lowerUpper() <= 0 && compare.upperLower() >= 0
})

/**
 * Whether a range lies wholly before another one: Postgres's `<<`. Nothing is before or after the empty range.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isBefore: {
  <R extends Any>(that: R): (self: R) => boolean
  <R extends Any>(self: R, that: R): boolean
} = dual(
  2,
  <R extends Any>(self: R, that: R): boolean =>
    !self.isEmpty && !that.isEmpty && comparisonsOf<unknown>(self, that).upperLower() < 0
)

/**
 * Whether a range lies wholly behind another one: Postgres's `>>`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isAfter: {
  <R extends Any>(that: R): (self: R) => boolean
  <R extends Any>(self: R, that: R): boolean
} = dual(2, <R extends Any>(self: R, that: R): boolean => isBefore(that, self))

const meets = (order: Order_.Order<unknown>, upperBound: Bound<unknown>, lowerBound: Bound<unknown>): boolean =>
  upperBound._tag !== "Unbounded" && lowerBound._tag !== "Unbounded" && upperBound._tag !== lowerBound._tag &&
  order(upperBound.value, lowerBound.value) === 0

/**
 * Whether one range begins just where the other one ends: Postgres's `-|-`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const adjacent: {
  <R extends Any>(that: R): (self: R) => boolean
  <R extends Any>(self: R, that: R): boolean
} = dual(2, <R extends Any>(self: R, that: R): boolean => {
  if (self.isEmpty || that.isEmpty) return false
  const { order } = internal.subtypeOf(self)
  return meets(order, self.upperBound, that.lowerBound) || meets(order, that.upperBound, self.lowerBound)
})

/** A range between bounds of two canonical ones, which are in order or leave nothing between them. */
const between = <R extends Any>(self: R, lowerBound: Bound<unknown>, upperBound: Bound<unknown>): R =>
  internal.like(self, Result.getOrThrow(internal.canonical(internal.subtypeOf<unknown>(self), lowerBound, upperBound)))

const hull = <R extends Any>(self: R, that: R): R => {
  const compare = comparisonsOf<unknown>(self, that)
  return between(
    self,
    // Of two equal decimals of different scale, Postgres takes the second here, and the first where it intersects.
    compare.lowers() < 0 ? self.lowerBound : that.lowerBound,
    compare.uppers() > 0 ? self.upperBound : that.upperBound
  )
}

const emptyLike = <R extends Any>(self: R): R =>
  internal.like(self, { isEmpty: true, lowerBound: internal.unbounded, upperBound: internal.unbounded })

const notContiguous = (operation: "union" | "difference", left: Any, right: Any) =>
  Result.fail(new NotContiguous({ operation, left: String(left), right: String(right) }))

/**
 * The values that are in either of two ranges: Postgres's `+`. Fails with `NotContiguous` where there is a gap between them.
 *
 * @since 0.1.0
 * @category combinators
 */
export const union: {
  <R extends Any>(that: R): (self: R) => Result.Result<R, NotContiguous>
  <R extends Any>(self: R, that: R): Result.Result<R, NotContiguous>
} = dual(2, <R extends Any>(self: R, that: R): Result.Result<R, NotContiguous> => {
  if (self.isEmpty) return Result.succeed(that)
  if (that.isEmpty) return Result.succeed(self)
  return overlaps(self, that) || adjacent(self, that)
    ? Result.succeed(hull(self, that))
    : notContiguous("union", self, that)
})

/**
 * The smallest range that contains two ranges, with the gap between them if there is one: Postgres's `range_merge`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const merge: {
  <R extends Any>(that: R): (self: R) => R
  <R extends Any>(self: R, that: R): R
} = dual(2, <R extends Any>(self: R, that: R): R => self.isEmpty ? that : that.isEmpty ? self : hull(self, that))

/**
 * The values that are in both of two ranges: Postgres's `*`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const intersect: {
  <R extends Any>(that: R): (self: R) => R
  <R extends Any>(self: R, that: R): R
} = dual(2, <R extends Any>(self: R, that: R): R => {
  if (!overlaps(self, that)) return emptyLike(self)
  const compare = comparisonsOf<unknown>(self, that)
  return between(
    self,
    compare.lowers() >= 0 ? self.lowerBound : that.lowerBound,
    compare.uppers() <= 0 ? self.upperBound : that.upperBound
  )
})

/**
 * The values of a range that are not in another one: Postgres's `-`. Fails with `NotContiguous` where that would leave two
 * ranges.
 *
 * **Example** (What is left of a shift)
 *
 * ```ts
 * import { Result } from "effect"
 * import { IntegerRange, Range } from "holdfast/dbtypes"
 *
 * const shift = IntegerRange.makeUnsafe({ lower: 8n, upper: 17n })
 * const lunch = IntegerRange.makeUnsafe({ lower: 12n, upper: 13n })
 * const after = IntegerRange.makeUnsafe({ lower: 12n })
 *
 * console.log(String(Result.getOrThrow(Range.difference(shift, after)))) // [8,12)
 * console.log(Result.isFailure(Range.difference(shift, lunch))) // true
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const difference: {
  <R extends Any>(that: R): (self: R) => Result.Result<R, NotContiguous>
  <R extends Any>(self: R, that: R): Result.Result<R, NotContiguous>
} = dual(2, <R extends Any>(self: R, that: R): Result.Result<R, NotContiguous> => {
  if (!overlaps(self, that)) return Result.succeed(self)
  const compare = comparisonsOf<unknown>(self, that)
  const startsBefore = compare.lowers() < 0
  const endsBehind = compare.uppers() > 0
  if (startsBefore && endsBehind) return notContiguous("difference", self, that)
  return Result.succeed(
    startsBefore
      ? between(self, self.lowerBound, internal.flip(that.lowerBound))
      : endsBehind
      ? between(self, internal.flip(that.upperBound), self.upperBound)
      : emptyLike(self)
  )
})

/**
 * Ranges in the order in which Postgres sorts them: the empty one first, then by lower bound, then by upper bound.
 *
 * @since 0.1.0
 * @category instances
 */
export const Order: Order_.Order<Any> = Order_.make((self, that) => {
  if (self.isEmpty || that.isEmpty) return self.isEmpty === that.isEmpty ? 0 : self.isEmpty ? -1 : 1
  const compare = comparisonsOf<unknown>(self, that)
  return compare.lowers() || compare.uppers()
})

/**
 * Writes a range in Postgres's notation.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format = (self: Any): string => internal.format(internal.subtypeOf(self), self)
