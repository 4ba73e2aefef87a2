/**
 * What the compiler must refuse of database types, and on which line.
 */
import { BigDecimal, DateTime } from "effect"
import { CalendarDate, DateRange, DateTimeRange, DbTypes, DecimalRange, IntegerRange, Range } from "holdfast/dbtypes"

const integers = IntegerRange.makeUnsafe({ lower: 1n, upper: 2n })
const decimals = DecimalRange.makeUnsafe({ lower: BigDecimal.fromBigInt(1n) })
const date = CalendarDate.makeUnsafe({ year: 2024, month: 2, day: 29 })
const dates = DateRange.makeUnsafe({ lower: date })
const instant = DateTime.makeUnsafe(0)
const instants = DateTimeRange.makeUnsafe({ lower: instant })

export const accepted: ReadonlyArray<DbTypes.Operator | boolean | DbTypes.BoundsOrder> = [
  DbTypes.compare(integers, integers),
  DbTypes.compare(integers, 1n),
  DbTypes.compare(1n, integers),
  DbTypes.compare(1n, 2n),
  DbTypes.compare(instants, instant),
  DbTypes.compare(instant, instants),
  DbTypes.compare(decimals, "NaN"),
  DbTypes.compare(dates, date),
  DbTypes.testCompare(integers, integers, "gto"),
  DbTypes.testCompare(instants, instant, "lcr"),
  DbTypes.boundsCompare(integers, integers),
  DbTypes.boundsCompare(integers, 1n),
  Range.contains(instants, instant),
  Range.contains(instant)(instants),
  Range.contains(1n)(integers),
  Range.overlaps(integers)(integers),
  Range.overlaps(dates, dates)
]

export const refused = [
  // @ts-expect-error: two types of ranges
  () => DbTypes.compare(integers, decimals),
  // @ts-expect-error: two types of ranges
  () => Range.overlaps(integers, decimals),
  // @ts-expect-error: two types of ranges
  () => Range.union(dates, instants),
  // @ts-expect-error: an instant is no date
  () => DbTypes.compare(dates, instant),
  // @ts-expect-error: an integer is a bigint
  () => DbTypes.compare(integers, 1),
  // @ts-expect-error: an integer is a bigint
  () => Range.contains(integers, 1),
  // @ts-expect-error: an integer is a bigint
  () => Range.contains(1)(integers),
  // @ts-expect-error: two types of ranges
  () => Range.overlaps(integers)(decimals),
  // @ts-expect-error: two types of scalars
  () => DbTypes.compare(1n, date),
  // @ts-expect-error: a range never equals a scalar
  () => DbTypes.testCompare(integers, 1n, "eq"),
  // @ts-expect-error: a scalar contains nothing
  () => DbTypes.testCompare(1n, integers, "lcr"),
  // @ts-expect-error: scalars do not overlap
  () => DbTypes.testCompare(1n, 2n, "gto"),
  // @ts-expect-error: bounds are of the range's own type
  () => IntegerRange.make({ lower: 1 }),
  // @ts-expect-error: there are four kinds of bounds
  () => IntegerRange.make({ lower: 1n, bounds: "[[" }),
  // @ts-expect-error: a range is made by its constructors
  () => new IntegerRange.IntegerRange({ isEmpty: true }),
  // @ts-expect-error: a value does not change
  () => (integers.isEmpty = true)
]
