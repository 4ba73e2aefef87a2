/**
 * The machinery that the range types share: what a range is, how one is made canonical, read and written. What differs from
 * type to type is its `Subtype`, which is Postgres's name for the type of the bounds.
 */
import * as Hash from "effect/Hash"
import type * as Option from "effect/Option"
import type * as Order from "effect/Order"
import { hasProperty } from "effect/Predicate"
import * as Result from "effect/Result"
import { type InvalidText, InvalidValue } from "../DbTypeError.ts"
import { instantiate, type SchemaClass, schemaClass, type Value } from "./schemaClass.ts"
import { flaw, orInvalid, type Parsed, skipSpace } from "./text.ts"

/** Where a range ends on one side, and whether that value belongs to it. */
export type Bound<A> =
  | { readonly _tag: "Unbounded" }
  | { readonly _tag: "Inclusive"; readonly value: A }
  | { readonly _tag: "Exclusive"; readonly value: A }

export interface Fields<out A> {
  /** Whether there is no value in the range. The bounds of an empty range are unbounded, as `lower` of one is NULL. */
  readonly isEmpty: boolean
  /** The lower bound, in its canonical form: a discrete one is inclusive. */
  readonly lowerBound: Bound<A>
  /** The upper bound, in its canonical form: a discrete one is exclusive. */
  readonly upperBound: Bound<A>
}

export interface Range<out A> extends Fields<A>, Value {}

/** The bounds of a range that is to be made. `null` is no bound, as in Postgres's own constructors. */
export interface Input<out B> {
  readonly lower?: B | null | undefined
  readonly upper?: B | null | undefined
  /** Which bounds belong to the range; `"[)"` by default. */
  readonly bounds?: "[)" | "[]" | "(]" | "()" | undefined
}

/** What a range type knows of its bounds. */
export interface Subtype<A> {
  /** The name of the range type in Postgres. */
  readonly typeName: string
  readonly rangeOid: number
  readonly order: Order.Order<A>
  readonly hash: (value: A) => number
  readonly parse: (text: string) => Parsed<A>
  readonly format: (value: A) => string
  /** Of a discrete type: the next value, the value itself where there is no next one by nature, or what is wrong. */
  readonly next?: (value: A) => Result.Result<A, string>
  /** Of a discrete type: the value before an exclusive upper bound, the value itself where that is infinite. */
  readonly previous?: (value: A) => Option.Option<A>
}

const subtypeKey = "~holdfast/dbtypes/Range/subtype"

export const unbounded: Bound<never> = Object.freeze({ _tag: "Unbounded" })

const emptyFields: Fields<never> = { isEmpty: true, lowerBound: unbounded, upperBound: unbounded }

export const isRange = (u: unknown): u is Range<unknown> => hasProperty(u, subtypeKey)

/** The subtype of a range, which every instance carries. */
export const subtypeOf = <A>(self: Range<A>): Subtype<A> =>
  (self as Range<A> & { readonly [subtypeKey]: Subtype<A> })[subtypeKey]

/** A range of the same type as one that is there. */
export const like = <R extends Range<unknown>>(self: R, fields: Fields<unknown>): R =>
  new (self.constructor as new(fields: Fields<unknown>) => R)(fields)

const orderOf = { Unbounded: 0, Inclusive: 1, Exclusive: 2 } as const

/**
 * Compares two bounds by the place where they stand, as Postgres's `range_cmp_bounds` does. At one value an exclusive upper
 * bound stands before it and an exclusive lower bound behind it.
 */
export const compareBounds = <A>(
  order: Order.Order<A>,
  left: Bound<A>,
  leftIsLower: boolean,
  right: Bound<A>,
  rightIsLower: boolean
): -1 | 0 | 1 => {
  if (left._tag === "Unbounded") {
    if (right._tag === "Unbounded" && leftIsLower === rightIsLower) return 0
    return leftIsLower ? -1 : 1
  }
  if (right._tag === "Unbounded") return rightIsLower ? 1 : -1
  const byValue = order(left.value, right.value)
  if (byValue !== 0) return byValue
  const place = (left._tag === "Inclusive" ? 0 : leftIsLower ? 1 : -1) -
    (right._tag === "Inclusive" ? 0 : rightIsLower ? 1 : -1)
  return place < 0 ? -1 : place > 0 ? 1 : 0
}

const exclusive = <A>(value: A): Bound<A> => Object.freeze({ _tag: "Exclusive", value })
const inclusive = <A>(value: A): Bound<A> => Object.freeze({ _tag: "Inclusive", value })

/** A bound, or none. */
export const boundOf = <A>(value: A | null | undefined, isInclusive: boolean): Bound<A> =>
  value === null || value === undefined ? unbounded : isInclusive ? inclusive(value) : exclusive(value)

/** The bound that begins where this one ends, or the other way round. */
export const flip = <A>(bound: Bound<A>): Bound<A> =>
  bound._tag === "Unbounded" ? bound : boundOf(bound.value, bound._tag === "Exclusive")

interface Problem {
  readonly field: "lower" | "upper"
  readonly problem: string
}

/** The range between two bounds in its canonical form, as Postgres's `make_range` makes it. */
export const canonical = <A>(
  subtype: Subtype<A>,
  lowerBound: Bound<A>,
  upperBound: Bound<A>
): Result.Result<Fields<A>, Problem> => {
  if (lowerBound._tag !== "Unbounded" && upperBound._tag !== "Unbounded") {
    const order = subtype.order(lowerBound.value, upperBound.value)
    if (order > 0) {
      const [low, high] = [subtype.format(lowerBound.value), subtype.format(upperBound.value)]
      return Result.fail({ field: "lower", problem: `is above the upper bound: ${low} > ${high}` })
    }
    if (order === 0 && (lowerBound._tag === "Exclusive" || upperBound._tag === "Exclusive")) {
      return Result.succeed(emptyFields)
    }
  }
  const { next } = subtype
  if (next === undefined || (lowerBound._tag !== "Exclusive" && upperBound._tag !== "Inclusive")) {
    return Result.succeed({ isEmpty: false, lowerBound, upperBound })
  }
  let lower = lowerBound
  if (lower._tag === "Exclusive") {
    const { value } = lower
    const stepped = next(value)
    if (Result.isFailure(stepped)) return Result.fail({ field: "lower", problem: stepped.failure })
    if (stepped.success !== value) lower = inclusive(stepped.success)
  }
  let upper = upperBound
  if (upper._tag === "Inclusive") {
    const { value } = upper
    const stepped = next(value)
    if (Result.isFailure(stepped)) return Result.fail({ field: "upper", problem: stepped.failure })
    if (stepped.success !== value) upper = exclusive(stepped.success)
  }
  // Nothing is left of an open range between two neighbours.
  const isEmpty = lower._tag !== "Unbounded" && upper._tag === "Exclusive" &&
    subtype.order(lower.value, upper.value) === 0
  return Result.succeed(isEmpty ? emptyFields : { isEmpty, lowerBound: lower, upperBound: upper })
}

/** The range of what a caller gave; `toBound` makes a bound of it, or tells what is wrong with it. */
export const fromInput = <A, B>(
  subtype: Subtype<A>,
  toBound: (value: B) => Result.Result<A, string>,
  input: Input<B>
): Result.Result<Fields<A>, InvalidValue> => {
  const bounds = input.bounds ?? "[)"
  const fail = ({ field, problem }: { readonly field: string; readonly problem: string }) =>
    Result.fail(new InvalidValue({ typeName: subtype.typeName, field, problem }))
  if (!/^[[(][)\]]$/.test(bounds)) {
    return fail({ field: "bounds", problem: `is none of "[)", "[]", "(]" and "()": ${JSON.stringify(bounds)}` })
  }
  const read = (value: B | null | undefined): Result.Result<A | undefined, string> =>
    value === null || value === undefined ? Result.succeed(undefined) : toBound(value)
  const lower = read(input.lower)
  if (Result.isFailure(lower)) return fail({ field: "lower", problem: lower.failure })
  const upper = read(input.upper)
  if (Result.isFailure(upper)) return fail({ field: "upper", problem: upper.failure })
  const made = canonical(subtype, boundOf(lower.success, bounds[0] === "["), boundOf(upper.success, bounds[1] === "]"))
  return Result.isFailure(made) ? fail(made.failure) : Result.succeed(made.success)
}

interface BoundText {
  /** Absent where there is no bound; else its text without quotes, and the place each of its characters has. */
  readonly value: { readonly text: string; readonly places: ReadonlyArray<number> } | undefined
  readonly start: number
  readonly end: number
}

/** Reads the text of a bound, up to the comma or bracket behind it, as Postgres's `range_parse_bound` does. */
const boundText = (text: string, start: number): Parsed<BoundText> => {
  const isEnd = (at: number) => text[at] === "," || text[at] === ")" || text[at] === "]"
  if (isEnd(start)) return Result.succeed({ value: undefined, start, end: start })
  let value = ""
  const places: Array<number> = []
  let quotedAt = -1
  let at = start
  while (quotedAt !== -1 || !isEnd(at)) {
    if (at >= text.length) {
      return quotedAt === -1 ? flaw(at, "the range is not closed") : flaw(quotedAt, "the quotation mark is not closed")
    }
    const character = text.charAt(at)
    if (character === "\"" && quotedAt === -1) {
      quotedAt = at++
    } else if (character === "\"" && text[at + 1] !== "\"") {
      quotedAt = -1
      at++
    } else {
      // A backslash, or a quotation mark within quotation marks, stands before a character that is meant as it is.
      const taken = character === "\\" || character === "\"" ? at + 1 : at
      if (taken >= text.length) return flaw(taken, "nothing stands behind the backslash")
      value += text.charAt(taken)
      places.push(taken)
      at = taken + 1
    }
  }
  return Result.succeed({ value: { text: value, places }, start, end: at })
}

const parseBound = <A>(subtype: Subtype<A>, bound: BoundText): Parsed<A | undefined> => {
  const { end, value } = bound
  if (value === undefined) return Result.succeed(undefined)
  return Result.mapError(subtype.parse(value.text), ({ position, problem }) => ({
    // What is missing at the end of a text is missing behind its last character, before the quotation mark.
    position: value.places[position] ?? (value.places.at(-1) ?? end - 1) + 1,
    problem
  }))
}

/** Reads a range in Postgres's notation. */
export const parse = <A>(subtype: Subtype<A>, text: string): Parsed<Fields<A>> =>
  Result.gen(function*() {
    const start = skipSpace(text, 0)
    if (/^empty/i.test(text.slice(start))) {
      const end = skipSpace(text, start + 5)
      return end === text.length ? emptyFields : yield* flaw(end, "unexpected text behind \"empty\"")
    }
    const opening = text[start]
    if (opening !== "[" && opening !== "(") return yield* flaw(start, "expected \"[\", \"(\" or \"empty\"")
    const lowerText = yield* boundText(text, start + 1)
    if (text[lowerText.end] !== ",") return yield* flaw(lowerText.end, "expected a comma behind the lower bound")
    const upperText = yield* boundText(text, lowerText.end + 1)
    const closing = text[upperText.end]
    if (closing === ",") return yield* flaw(upperText.end, "a range has two bounds")
    const end = skipSpace(text, upperText.end + 1)
    if (end !== text.length) return yield* flaw(end, "unexpected text behind the range")
    const lower = yield* parseBound(subtype, lowerText)
    const upper = yield* parseBound(subtype, upperText)
    const made = canonical(subtype, boundOf(lower, opening === "["), boundOf(upper, closing === "]"))
    return yield* Result.mapError(made, ({ field, problem }) => ({
      position: (field === "lower" ? lowerText : upperText).start,
      problem: `the ${field} bound ${problem}`
    }))
  })

/** Whether a bound needs quotation marks in a range; the types of this room have no quotation marks in their text. */
const quoted = (text: string): string => /[\s,()[\]\\"]/.test(text) ? `"${text}"` : text

/** Writes a range in Postgres's notation. */
export const format = <A>(subtype: Subtype<A>, { isEmpty, lowerBound, upperBound }: Fields<A>): string => {
  if (isEmpty) return "empty"
  const lower = lowerBound._tag === "Unbounded" ? "" : quoted(subtype.format(lowerBound.value))
  const upper = upperBound._tag === "Unbounded" ? "" : quoted(subtype.format(upperBound.value))
  return `${lowerBound._tag === "Inclusive" ? "[" : "("}${lower},${upper}${upperBound._tag === "Inclusive" ? "]" : ")"}`
}

/** What a module of a range type is made of. */
export interface RangeType<A, B> {
  readonly schema: SchemaClass<Range<A>>
  readonly empty: Range<A>
  readonly make: (input: Input<B>) => Result.Result<Range<A>, InvalidValue>
  readonly fromString: (text: string) => Result.Result<Range<A>, InvalidText>
}

export const rangeType = <A, B>(
  identifier: string,
  subtype: Subtype<A>,
  toBound: (value: B) => Result.Result<A, string>
): RangeType<A, B> => {
  const read = (text: string) => orInvalid(parse(subtype, text), subtype.typeName, text)
  const hashBound = (bound: Bound<A>): number =>
    bound._tag === "Unbounded" ? 0 : Hash.combine(subtype.hash(bound.value), orderOf[bound._tag])
  const schema = schemaClass<Fields<A>>({
    identifier,
    oid: subtype.rangeOid,
    fromString: read,
    format: (self) => format(subtype, self),
    equals: (self, that) =>
      self.isEmpty === that.isEmpty &&
      compareBounds(subtype.order, self.lowerBound, true, that.lowerBound, true) === 0 &&
      compareBounds(subtype.order, self.upperBound, false, that.upperBound, false) === 0,
    hash: (self) => self.isEmpty ? 1 : Hash.combine(hashBound(self.lowerBound), hashBound(self.upperBound)),
    proto: { [subtypeKey]: subtype }
  })
  const instance = (fields: Fields<A>) => instantiate(schema, fields)
  return {
    schema,
    empty: instance(emptyFields),
    make: (input) => Result.map(fromInput(subtype, toBound, input), instance),
    fromString: (text) => Result.map(read(text), instance)
  }
}
