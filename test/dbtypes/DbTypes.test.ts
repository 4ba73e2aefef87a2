/**
 * The examples and cases of the original, and what holds without a server.
 */
import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, DateTime, Equal, Hash, HashSet, Option, Order, Result, Schema } from "effect"
import {
  CalendarDate,
  DateRange,
  DateTimeRange,
  DbTypeError,
  DbTypes,
  DecimalRange,
  Inet,
  IntegerRange,
  Interval,
  Range,
  Timestamp
} from "holdfast/dbtypes"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"

const integers = (lower: bigint, upper: bigint) => IntegerRange.makeUnsafe({ lower, upper })

type Untyped = (left: unknown, right: unknown) => DbTypes.Operator
const compare = DbTypes.compare as Untyped

describe("the original's seven examples", () => {
  it.each(
    [
      [[200n, 210n], [100n, 110n], "gt"],
      [[100n, 110n], [200n, 210n], "lt"],
      [[100n, 110n], [100n, 110n], "eq"],
      [[90n, 110n], [100n, 110n], "lcr"],
      [[100n, 110n], [100n, 111n], "rcl"],
      [[150n, 250n], [100n, 175n], "gto"],
      [[100n, 150n], [125n, 175n], "lto"]
    ] as const
  )("%s and %s: %s", ([a, b], [c, d], expected) => {
    assert.strictEqual(DbTypes.compare(integers(a, b), integers(c, d)), expected)
  })

  it("stand in the documentation, and answer there what it says", async () => {
    const source = await readFile(fileURLToPath(import.meta.resolve("holdfast/dbtypes/DbTypes")), "utf8")
    const examples = Array.from(
      source.matchAll(/DbTypes\.compare\(range\((\d+)n, (\d+)n\), range\((\d+)n, (\d+)n\)\) \/\/ => "(\w+)"/g)
    )
    assert.lengthOf(examples, 7)
    for (const [line, a, b, c, d, expected] of examples) {
      assert.strictEqual(
        DbTypes.compare(integers(BigInt(a!), BigInt(b!)), integers(BigInt(c!), BigInt(d!))),
        expected,
        line
      )
    }
  })
})

// The cases of the original's tests, with the number n as the n-th value of each type.
const origin = DateTime.makeUnsafe("2024-01-01T00:00:00Z")
const subjects = [
  {
    name: "IntegerRange",
    make: IntegerRange.makeUnsafe as (input: Range.Input<unknown>) => Range.Range<unknown>,
    value: (n: number): unknown => BigInt(n),
    isDiscrete: true
  },
  {
    name: "DecimalRange",
    make: DecimalRange.makeUnsafe as (input: Range.Input<unknown>) => Range.Range<unknown>,
    value: (n: number): unknown => BigDecimal.fromStringUnsafe(String(n)),
    isDiscrete: false
  },
  {
    name: "DateRange",
    make: DateRange.makeUnsafe as (input: Range.Input<unknown>) => Range.Range<unknown>,
    value: (n: number): unknown => Result.getOrThrow(CalendarDate.fromEpochDays(19_723 + n)),
    isDiscrete: true
  },
  {
    name: "DateTimeRange",
    make: DateTimeRange.makeUnsafe as (input: Range.Input<unknown>) => Range.Range<unknown>,
    value: (n: number): unknown => DateTime.add(origin, { seconds: n }),
    isDiscrete: false
  }
]

describe.each(subjects)("$name", ({ isDiscrete, make, value }) => {
  const range = (lower: number | null, upper: number | null, bounds?: "[)" | "[]" | "(]" | "()") =>
    make({ lower: lower === null ? null : value(lower), upper: upper === null ? null : value(upper), bounds })
  const middle = range(10, 100)

  it.each([[9, "gt"], [-50, "gt"], [10, "lcr"], [50, "lcr"], [99, "lcr"], [100, "lt"], [1000, "lt"]] as const)(
    "[10,100) and %d: %s",
    (n, expected) => {
      assert.strictEqual(compare(middle, value(n)), expected)
      const mirrored = { gt: "lt", lt: "gt", lcr: "rcl" } as const
      assert.strictEqual(compare(value(n), middle), mirrored[expected])
    }
  )

  it("contains what lies between two of the steps of a continuous type", () => {
    if (!isDiscrete) assert.isTrue(Range.contains(middle, value(99.5)))
    assert.isFalse(Range.contains(middle, value(100)))
  })

  it("touching bounds overlap where both are inclusive, and are apart otherwise", () => {
    assert.strictEqual(compare(range(1, 10, "[]"), range(10, 20, "[]")), "lto")
    assert.strictEqual(compare(range(10, 20, "[]"), range(1, 10, "[]")), "gto")
    assert.strictEqual(compare(range(1, 10), range(10, 20, "[]")), "lt")
    assert.strictEqual(compare(range(10, 20, "[]"), range(1, 10)), "gt")
  })

  it("half and fully unbounded ranges", () => {
    const all = range(null, null)
    assert.strictEqual(compare(all, all), "eq")
    assert.strictEqual(compare(all, middle), "lcr")
    assert.strictEqual(compare(middle, all), "rcl")
    assert.strictEqual(compare(all, value(5)), "lcr")
    assert.strictEqual(compare(range(10, null), middle), "lcr")
    assert.strictEqual(compare(range(50, null), middle), "gto")
    assert.strictEqual(compare(range(100, null), middle), "gt")
    assert.strictEqual(compare(range(null, 50), middle), "lto")
    assert.strictEqual(compare(range(null, 10), middle), "lt")
    assert.strictEqual(compare(range(null, 10), range(10, null)), "lt")
    assert.strictEqual(compare(range(null, 10), value(10)), "lt")
    assert.strictEqual(compare(range(10, null), value(9)), "gt")
    const boundsCompare = DbTypes.boundsCompare as (left: unknown, right: unknown) => DbTypes.BoundsOrder
    assert.deepStrictEqual(boundsCompare(all, middle), { lower: "lt", upper: "gt" })
    assert.deepStrictEqual(boundsCompare(middle, range(10, null)), { lower: "eq", upper: "lt" })
    assert.deepStrictEqual(boundsCompare(range(10, 10, "[]"), value(10)), { lower: "eq", upper: "eq" })
    assert.deepStrictEqual(boundsCompare(value(9), middle), { lower: "lt", upper: "lt" })
  })

  it("lower and upper: the first and last value of a discrete range, the bounds of a continuous one, or none", () => {
    const is = (actual: Option.Option<unknown>, expected: number | undefined) =>
      assert.isTrue(Equal.equals(actual, Option.map(Option.fromUndefinedOr(expected), value)), `${actual}`)
    is(Range.lower(range(10, 100, "()")), isDiscrete ? 11 : 10)
    is(Range.upper(range(10, 100, "()")), isDiscrete ? 99 : 100)
    is(Range.lower(range(10, 100, "[]")), 10)
    is(Range.upper(range(10, 100, "[]")), 100)
    is(Range.lower(range(null, 100)), undefined)
    is(Range.upper(range(10, null)), undefined)
    is(Range.lower(range(10, 10)), undefined)
  })

  it("every function of two takes its operands either way", () => {
    const [low, high] = [range(1, 20), range(10, 30)]
    for (const name of ["containsRange", "overlaps", "isBefore", "isAfter", "adjacent"] as const) {
      assert.strictEqual(Range[name](high)(low), Range[name](low, high), name)
    }
    assert.isTrue(Range.contains(value(1))(low) && !Range.contains(value(20))(low))
    assert.isTrue(Equal.equals(Range.intersect(high)(low), range(10, 20)))
    assert.isTrue(Equal.equals(Range.merge(range(40, 50))(low), range(1, 50)))
    assert.isTrue(Equal.equals(Result.getOrThrow(Range.union(high)(low)), range(1, 30)))
    assert.isTrue(Equal.equals(Result.getOrThrow(Range.difference(high)(low)), range(1, 10)))
    const gap = Range.union(low, range(40, 50))
    assert.isTrue(Result.isFailure(gap) && gap.failure instanceof DbTypeError.NotContiguous)
  })

  it("the empty range", () => {
    const empty = range(10, 10)
    assert.isTrue(Range.isEmpty(empty))
    assert.strictEqual(String(empty), "empty")
    assert.strictEqual(compare(empty, range(20, 20)), "eq")
    assert.strictEqual(compare(empty, middle), "rcl")
    assert.strictEqual(compare(middle, empty), "lcr")
    assert.strictEqual(compare(empty, value(10)), "lt")
    assert.strictEqual(compare(value(10), empty), "gt")
    assert.isFalse(Range.contains(empty, value(10)))
    assert.strictEqual(Range.isEmpty(range(1, 2, "()")), isDiscrete)
  })

  it("bounds in the wrong order are refused, and it says which", () => {
    assert.throws(() => range(11, 10), /lower is above the upper bound/)
    assert.throws(() => make({ lower: "x" }), DbTypeError.InvalidValue)
    assert.throws(() => make({ upper: 5 }), /upper is not/)
    assert.throws(() => make({ lower: value(1), bounds: "[" as never }), /bounds is none of/)
  })

  it("testCompare refuses an operator that the pair cannot have", () => {
    const test = DbTypes.testCompare as (left: unknown, right: unknown, operator: string) => boolean
    const operators = ["eq", "gt", "lt", "lcr", "rcl", "gto", "lto", "near"]
    const applicable = (left: unknown, right: unknown) =>
      operators.filter((operator) => {
        try {
          assert.strictEqual(test(left, right, operator), compare(left, right) === operator)
          return true
        } catch (error) {
          assert.instanceOf(error, DbTypeError.OperatorNotApplicable)
          return false
        }
      })
    assert.deepStrictEqual(applicable(middle, middle), operators.slice(0, 7))
    assert.deepStrictEqual(applicable(middle, value(1)), ["gt", "lt", "lcr"])
    assert.deepStrictEqual(applicable(value(1), middle), ["gt", "lt", "rcl"])
    assert.deepStrictEqual(applicable(value(1), value(1)), ["eq", "gt", "lt"])
  })
})

describe("values", () => {
  const values: ReadonlyArray<
    readonly [schema: Schema.Codec<Equal.Equal, Equal.Equal>, value: Equal.Equal, text: string]
  > = [
    [IntegerRange.IntegerRange, integers(1n, 5n), "[1,5)"],
    [IntegerRange.IntegerRange, IntegerRange.empty, "empty"],
    [DecimalRange.DecimalRange, DecimalRange.fromStringUnsafe("[1.50,Infinity]"), "[1.50,Infinity]"],
    [DateRange.DateRange, DateRange.fromStringUnsafe("(2024-02-28,)"), "[2024-02-29,)"],
    [DateTimeRange.DateTimeRange, DateTimeRange.makeUnsafe({ lower: origin }), "[\"2024-01-01 00:00:00+00\",)"],
    [CalendarDate.CalendarDate, CalendarDate.makeUnsafe({ year: 0, month: 2, day: 29 }), "0001-02-29 BC"],
    [Timestamp.Timestamp, Result.getOrThrow(Timestamp.fromEpochMicros(-1n)), "1969-12-31 23:59:59.999999+00"],
    [Interval.Interval, Interval.makeUnsafe({ months: -14, hours: 30 }), "-1 years -2 mons +30:00:00"],
    [Inet.Inet, Inet.fromStringUnsafe("10.0.0.1/8"), "10.0.0.1/8"]
  ]

  it.each(values)("%s: text, JSON, instances and equality", (schema, value, text) => {
    assert.strictEqual(String(value), text)
    assert.strictEqual(JSON.stringify({ value }), JSON.stringify({ value: text }))
    const json = Schema.toCodecJson(Schema.Struct({ value: schema }))
    assert.deepStrictEqual(Schema.encodeSync(json)({ value }), { value: text })
    const again = Schema.decodeUnknownSync(json)({ value: text }).value
    assert.isTrue(Equal.equals(again, value))
    assert.strictEqual(Hash.hash(again), Hash.hash(value))
    assert.strictEqual(HashSet.size(HashSet.make(again, value)), 1)
    assert.notStrictEqual(again, value)
    // Where rows or messages hold the value itself, it passes as it is.
    assert.strictEqual(Schema.decodeUnknownSync(schema)(value), value)
    for (const other of [text, {}, null, { ...value }]) {
      assert.isTrue(Result.isFailure(Schema.decodeUnknownResult(schema)(other)))
    }
    assert.isTrue(Result.isFailure(Schema.decodeUnknownResult(json)({ value: `${text}x` })))
    for (const [, other] of values) assert.strictEqual(Equal.equals(value, other), value === other)
    for (const key of [...Object.keys(value), "another"]) {
      assert.throws(() => Object.assign(value, { [key]: 0 }), TypeError)
    }
  })

  it("a wrong text in JSON says where", () => {
    const decode = Schema.decodeUnknownResult(IntegerRange.IntegerRangeFromString)("[1,x)")
    assert.include(Result.isFailure(decode) ? String(decode.failure) : "", "at position 3: expected a digit")
  })

  it("decimals are equal by value, and keep their scale", () => {
    const [a, b] = [DecimalRange.fromStringUnsafe("[1.0,2)"), DecimalRange.fromStringUnsafe("[1,2.000)")]
    assert.isTrue(Equal.equals(a, b))
    assert.strictEqual(Hash.hash(a), Hash.hash(b))
    assert.strictEqual(String(b), "[1,2.000)")
    assert.strictEqual(String(DecimalRange.makeUnsafe({ lower: BigDecimal.make(15n, -3) })), "[15000,)")
    for (const scale of [16_384, -131_072, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]) {
      assert.isTrue(Result.isFailure(DecimalRange.make({ lower: BigDecimal.make(1n, scale) })), String(scale))
    }
  })

  it("a timestamp is a DateTime, and equal to one of the same microsecond", () => {
    const plain = DateTime.makeUnsafe("2024-02-29T12:00:00.123Z")
    const same = Timestamp.fromStringUnsafe("2024-02-29 13:00:00.123+01")
    const later = Timestamp.fromStringUnsafe("2024-02-29 12:00:00.123001+00")
    assert.isTrue(Equal.equals(plain, same) && Equal.equals(same, plain) && Hash.hash(plain) === Hash.hash(same))
    assert.isFalse(Equal.equals(plain, later) || Equal.equals(later, plain) || Equal.equals(same, later))
    assert.strictEqual(DateTime.formatIso(later), "2024-02-29T12:00:00.123Z")
    assert.strictEqual(DateTime.toPartsUtc(later).day, 29)
    assert.isTrue(DateTime.isUtc(later) && Schema.is(Schema.DateTimeUtc)(later))
    assert.strictEqual(Timestamp.toEpochMicros(DateTime.mapEpochMillis(plain, () => -0.001)), -1n)
    assert.deepStrictEqual([later, same].sort(Timestamp.Order), [same, later])
    const range = DateTimeRange.makeUnsafe({ lower: later })
    assert.isFalse(Range.contains(range, plain))
    assert.isTrue(Range.contains(range, DateTime.setZoneOffset(DateTime.add(plain, { milliseconds: 1 }), 3_600_000)))
  })

  it("infinite dates and instants are bounds of their own", () => {
    const dates = DateRange.makeUnsafe({
      lower: CalendarDate.negativeInfinity,
      upper: CalendarDate.infinity,
      bounds: "[]"
    })
    assert.strictEqual(compare(dates, DateRange.makeUnsafe({})), "rcl")
    assert.isTrue(Equal.equals(Range.upper(dates), Option.some(CalendarDate.infinity)))
    assert.deepStrictEqual(CalendarDate.toParts(CalendarDate.infinity), { year: Infinity, month: NaN, day: NaN })
    assert.isTrue(Timestamp.Order(Timestamp.infinity, Timestamp.fromStringUnsafe("294276-12-31 23:59:59.999999Z")) > 0)
  })
})

describe("intervals", () => {
  it("move an instant unit by unit, zeros left out", () => {
    const options = (input: Interval.Input) => Interval.toShiftOptions(Interval.makeUnsafe(input))
    assert.deepStrictEqual(options({}), {})
    assert.deepStrictEqual(options({ years: 1, weeks: 1, hours: 1, microseconds: 5 }), {
      months: 12,
      days: 7,
      seconds: 3600,
      microseconds: 5
    })
    assert.deepStrictEqual(options({ seconds: -1, milliseconds: -1 }), { seconds: -1, microseconds: -1000 })
    assert.deepStrictEqual(Interval.toShiftOptions(Interval.negativeInfinity), { seconds: -Infinity })
  })

  it.each([
    ["2024-01-31 12:00:00+00", "1 month", "2024-02-29 12:00:00+00"],
    ["2023-01-31 12:00:00+00", "1 month", "2023-02-28 12:00:00+00"],
    ["2024-02-29 12:00:00+00", "1 year", "2025-02-28 12:00:00+00"],
    ["2024-02-29 12:00:00+00", "-4 years", "2020-02-29 12:00:00+00"],
    ["2024-03-31 00:00:00+00", "-1 month", "2024-02-29 00:00:00+00"],
    // Months before days: the 30th of February would have been the 2nd of March.
    ["2024-01-30 00:00:00+00", "1 month 1 day", "2024-03-01 00:00:00+00"],
    ["2024-12-31 23:59:59.999999+00", "00:00:00.000001", "2025-01-01 00:00:00+00"],
    ["0001-01-01 00:00:00+00", "-00:00:00.000001", "0001-12-31 23:59:59.999999+00 BC"],
    ["infinity", "1 day", "infinity"],
    ["2024-01-01 00:00:00+00", "infinity", "infinity"]
  ])("%s + %s", (instant, interval, expected) => {
    const moved = Interval.shift(Timestamp.fromStringUnsafe(instant), Interval.fromStringUnsafe(interval))
    assert.strictEqual(String(Result.getOrThrow(moved)), expected)
  })

  it("in a time zone keep the time of day over a change of the clocks, and refuse what JavaScript cannot say", () => {
    const noon = DateTime.makeZonedUnsafe("2024-03-30T11:00:00Z", { timeZone: "Europe/Berlin" })
    const shift = (input: Interval.Input) =>
      Result.map(Interval.shift(noon, Interval.makeUnsafe(input)), DateTime.formatIso)
    assert.deepStrictEqual(shift({ days: 1 }), Result.succeed("2024-03-31T10:00:00.000Z"))
    assert.deepStrictEqual(shift({ hours: 24 }), Result.succeed("2024-03-31T11:00:00.000Z"))
    for (
      const input of [{ microseconds: 1 }, { years: 1_000_000 }, { days: -2_147_483_648 }, { months: 2_147_483_647 }]
    ) {
      assert.isTrue(Result.isFailure(shift(input)), JSON.stringify(input))
    }
    assert.isTrue(Result.isFailure(Interval.shift(noon, Interval.infinity)))
  })

  it("print for people with the sign of every unit", () => {
    const words = (text: string) => Interval.formatWords(Interval.fromStringUnsafe(text))
    assert.strictEqual(
      words("1 year 2 mons -3 days 04:05:06.789"),
      "1 year 2 months -3 days 4 hours 5 minutes 6.789 seconds"
    )
    assert.strictEqual(words("-01:00:00.5"), "-1 hour -0.5 seconds")
    assert.strictEqual(words("1 mon 1 day 00:00:01"), "1 month 1 day 1 second")
    assert.strictEqual(words("00:00:00"), "0 seconds")
  })

  it("a month is ordered as 30 days, and still is another interval", () => {
    const [month, days] = [Interval.makeUnsafe({ months: 1 }), Interval.makeUnsafe({ days: 30 })]
    assert.strictEqual(DbTypes.compare(month, days), "eq")
    assert.isTrue(Interval.Equivalence(month, days))
    assert.isFalse(Equal.equals(month, days))
    assert.isTrue(Order.isLessThan(Interval.Order)(month, Interval.makeUnsafe({ days: 31 })))
  })

  it("of units that are no integers, or too many, are refused by name", () => {
    for (
      const [input, field] of [[{ days: 1.5 }, "days"], [{ years: NaN }, "years"], [
        { hours: 2 ** 53 },
        "hours"
      ]] as const
    ) {
      const made = Interval.make(input)
      assert.strictEqual(Result.isFailure(made) && made.failure.field, field)
    }
    assert.isTrue(Result.isFailure(Interval.make({ months: 2_147_483_648 })))
    assert.isTrue(Result.isFailure(Interval.make({ microseconds: 1n << 63n })))
    assert.isTrue(Result.isFailure(Interval.negate(Interval.makeUnsafe({ days: -2_147_483_648 }))))
  })
})
