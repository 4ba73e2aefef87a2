/**
 * Database types: Postgres's ranges, intervals, dates, timestamps and network addresses as values.
 *
 * @since 0.1.0
 */
export * as CalendarDate from "./CalendarDate.ts"
export * as DateRange from "./DateRange.ts"
export * as DateTimeRange from "./DateTimeRange.ts"
export * as DbTypeError from "./DbTypeError.ts"
export * as DbTypes from "./DbTypes.ts"
export * as DecimalRange from "./DecimalRange.ts"
export * as Inet from "./Inet.ts"
export * as IntegerRange from "./IntegerRange.ts"
export * as Interval from "./Interval.ts"
export * as Range from "./Range.ts"
export * as Timestamp from "./Timestamp.ts"
