/**
 * An instant to the microsecond, as Postgres's `timestamptz` has it: a `DateTime.Utc` that keeps what Effect's own, which
 * counts in milliseconds, cannot.
 *
 * A timestamp _is_ a `DateTime.Utc`: every function of Effect's `DateTime` takes it, and sees its millisecond. What it has
 * beside is `epochMicros`, the range of Postgres (24 November 4714 BC to the end of 294276) and the two infinities. Effect's
 * functions know neither infinity nor the years after 275760, where JavaScript's dates end: there they answer what they
 * answer for an invalid date.
 *
 * @since 0.1.0
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as DateTime from "effect/DateTime"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import * as Order_ from "effect/Order"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type InvalidText, InvalidValue } from "./DbTypeError.ts"
import {
  civilFromDays,
  daysFromCivil,
  firstMicros,
  formatCivil,
  lastMicros,
  microsPerDay,
  pad,
  postgresEpochMicros
} from "./internal/calendar.ts"
import { dayOf, parseEra, parseOffset, parseTimeOfDay, parseYearMonthDay } from "./internal/dateText.ts"
import { instantiate, type SchemaClass, schemaClass, textTransformation, type Value } from "./internal/schemaClass.ts"
import { flaw, orInvalid, type Parsed, trimmed } from "./internal/text.ts"

interface Fields extends DateTime.Utc {
  /** Microseconds since 1970-01-01 00:00 UTC; those of the infinities lie beyond all others. */
  readonly epochMicros: bigint
}

const infinityMicros = (1n << 63n) - 1n + postgresEpochMicros
const negativeInfinityMicros = -(1n << 63n) + postgresEpochMicros

const isFiniteMicros = (micros: bigint): boolean => micros !== infinityMicros && micros !== negativeInfinityMicros

/** Division towards the past. */
const floorDivide = (dividend: bigint, divisor: bigint): bigint => {
  const quotient = dividend / divisor
  return dividend % divisor < 0n ? quotient - 1n : quotient
}

const formatMicros = (micros: bigint): string => {
  if (micros === infinityMicros) return "infinity"
  if (micros === negativeInfinityMicros) return "-infinity"
  const days = floorDivide(micros, microsPerDay)
  const ofDay = micros - days * microsPerDay
  const seconds = Number(ofDay / 1_000_000n)
  const fraction = Number(ofDay % 1_000_000n)
  const civil = civilFromDays(Number(days))
  const time = `${pad(Math.floor(seconds / 3600), 2)}:${pad(Math.floor(seconds / 60) % 60, 2)}:${pad(seconds % 60, 2)}`
  const decimals = fraction === 0 ? "" : `.${pad(fraction, 6).replace(/0+$/, "")}`
  return `${formatCivil(civil)} ${time}${decimals}+00${civil.year > 0 ? "" : " BC"}`
}

/** Reads an instant, and tells the place of what is wrong with it. */
const parseMicros = (text: string): Parsed<bigint> => {
  const { end, start } = trimmed(text)
  const word = text.slice(start, end).toLowerCase()
  if (word === "infinity") return Result.succeed(infinityMicros)
  if (word === "-infinity") return Result.succeed(negativeInfinityMicros)
  return Result.gen(function*() {
    const date = yield* parseYearMonthDay(text, start, end)
    if (date.end >= end || !/[ Tt]/.test(text.charAt(date.end))) return yield* flaw(date.end, "expected a time of day")
    const time = yield* parseTimeOfDay(text, date.end + 1, end)
    const offset = yield* parseOffset(text, time.end, end)
    const isBc = yield* parseEra(text, offset.end, end)
    const days = daysFromCivil(yield* dayOf(date, isBc))
    const micros = BigInt(days) * microsPerDay + time.micros - offset.micros
    return micros < firstMicros || micros > lastMicros
      ? yield* flaw(start, "not within 24 November 4714 BC and the year 294276")
      : micros
  })
}

const plainProto: object = Object.getPrototypeOf(DateTime.makeUnsafe(0))

const fieldsOf = (epochMicros: bigint): Fields =>
  ({
    epochMicros,
    epochMilliseconds: isFiniteMicros(epochMicros)
      ? Number(floorDivide(epochMicros, 1000n))
      : epochMicros > 0n
      ? Infinity
      : -Infinity
  }) as Fields // the rest is what all instances share

/**
 * An instant to the microsecond: a `DateTime.Utc`, equal to another one if it is the same microsecond, and a query parameter
 * of type `timestamptz` where the client has the codecs of `DbTypes`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timestamp extends Fields, Value {
  toString(): string
  toJSON(): string
}

/**
 * The schema of timestamps: it accepts timestamps, and they are text in JSON.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Timestamp: SchemaClass<Timestamp> = schemaClass<Fields>({
  identifier: "holdfast/dbtypes/Timestamp",
  oid: PgTypes.OID.timestamptz,
  fromString: (text) => Result.map(orInvalid(parseMicros(text), "timestamptz", text), fieldsOf),
  format: (self) => formatMicros(self.epochMicros),
  equals: (self, that) => self.epochMicros === that.epochMicros,
  hash: (self) => Hash.number(self.epochMilliseconds),
  proto: {
    ...plainProto,
    [Equal.symbol](this: Timestamp, that: unknown) {
      return DateTime.isDateTime(that) && DateTime.isUtc(that) && this.epochMicros === toEpochMicros(that)
    },
    // That of a plain DateTime.Utc where one could be equal, and another one where none can be.
    [Hash.symbol](this: Timestamp) {
      const millis = Hash.number(this.epochMilliseconds)
      const rest = this.epochMicros % 1000n
      return rest === 0n || !isFinite(this) ? millis : Hash.combine(millis, Number(rest))
    },
    toString(this: Timestamp) {
      return format(this)
    },
    toJSON(this: Timestamp) {
      return format(this)
    }
  },
  // As DateTime.Utc has it: the calendar parts are kept here once they were asked for. Nothing else changes.
  onInstance: (self) => {
    Object.defineProperty(self, "epochMicros", { writable: false })
    Object.defineProperty(self, "epochMilliseconds", { writable: false })
    Object.defineProperty(self, "partsUtc", { value: undefined, enumerable: false, writable: true })
    Object.preventExtensions(self)
  }
})

const ofMicros = (epochMicros: bigint): Timestamp => instantiate(Timestamp, fieldsOf(epochMicros))

/**
 * Whether a value is a timestamp of this module.
 *
 * @since 0.1.0
 * @category guards
 */
export const isTimestamp = (u: unknown): u is Timestamp => DateTime.isDateTime(u) && "epochMicros" in u

/**
 * A timestamp by the number of microseconds since 1970-01-01 00:00 UTC.
 *
 * **Example** (Microseconds are kept)
 *
 * ```ts
 * import { DateTime, Result } from "effect"
 * import { Timestamp } from "holdfast/dbtypes"
 *
 * const instant = Result.getOrThrow(Timestamp.fromEpochMicros(1_700_000_000_123_456n))
 * console.log(String(instant)) // 2023-11-14 22:13:20.123456+00
 * console.log(DateTime.formatIso(instant)) // 2023-11-14T22:13:20.123Z
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromEpochMicros = (epochMicros: bigint): Result.Result<Timestamp, InvalidValue> =>
  (epochMicros >= firstMicros && epochMicros <= lastMicros) || !isFiniteMicros(epochMicros)
    ? Result.succeed(ofMicros(epochMicros))
    : Result.fail(
      new InvalidValue({
        typeName: "timestamptz",
        field: "epochMicros",
        problem: `is not within 24 November 4714 BC and the year 294276: ${epochMicros}`
      })
    )

/**
 * The timestamp of a `DateTime`; one in a time zone gives its instant.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromDateTime = (dateTime: DateTime.DateTime): Result.Result<Timestamp, InvalidValue> => {
  if (isTimestamp(dateTime)) return Result.succeed(dateTime)
  const millis = dateTime.epochMilliseconds
  if (millis === Infinity) return Result.succeed(infinity)
  if (millis === -Infinity) return Result.succeed(negativeInfinity)
  return Number.isNaN(millis)
    ? Result.fail(new InvalidValue({ typeName: "timestamptz", field: "epochMilliseconds", problem: "is not a number" }))
    : fromEpochMicros(toEpochMicros(dateTime))
}

/**
 * `infinity`: later than every other instant, and a value of its own: a range up to it is bounded.
 *
 * @since 0.1.0
 * @category constants
 */
export const infinity: Timestamp = ofMicros(infinityMicros)

/**
 * `-infinity`: earlier than every other instant.
 *
 * @since 0.1.0
 * @category constants
 */
export const negativeInfinity: Timestamp = ofMicros(negativeInfinityMicros)

/**
 * Whether a timestamp is an instant, and not one of the two infinities.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFinite = (self: Timestamp): boolean => isFiniteMicros(self.epochMicros)

/**
 * Microseconds since 1970-01-01 00:00 UTC, of a timestamp or of any other `DateTime`.
 *
 * @since 0.1.0
 * @category getters
 */
export const toEpochMicros = (self: DateTime.DateTime): bigint => {
  if (isTimestamp(self)) return self.epochMicros
  if (self.epochMilliseconds === Infinity) return infinityMicros
  if (self.epochMilliseconds === -Infinity) return negativeInfinityMicros
  const whole = Math.floor(self.epochMilliseconds)
  return BigInt(whole) * 1000n + BigInt(Math.round((self.epochMilliseconds - whole) * 1000))
}

/**
 * Instants in the order of time, between the two infinities: timestamps, and any other `DateTime` among them.
 *
 * @since 0.1.0
 * @category instances
 */
export const Order: Order_.Order<DateTime.DateTime> = Order_.make((self, that) => {
  const [left, right] = [toEpochMicros(self), toEpochMicros(that)]
  return left < right ? -1 : left > right ? 1 : 0
})

/**
 * Reads an instant as Postgres writes it, `2024-02-29 12:30:00.123456+00`, or as ISO 8601 does, `2024-02-29T12:30:00Z`. An
 * offset from UTC must be there: without one the text means another instant in every time zone.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromString = (text: string): Result.Result<Timestamp, InvalidText> =>
  Result.map(orInvalid(parseMicros(text), "timestamptz", text), ofMicros)

/**
 * Reads an instant that is known to be one. Throws `InvalidText` where {@link fromString} fails.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromStringUnsafe = (text: string): Timestamp => Result.getOrThrow(fromString(text))

/**
 * Writes an instant as Postgres does in a session whose time zone is UTC: `2024-02-29 12:30:00.123456+00`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const format = (self: Timestamp): string => formatMicros(self.epochMicros)

/**
 * A schema of timestamps whose encoded side is text.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TimestampFromString: Schema.Codec<Timestamp, string> = Schema.String.pipe(
  Schema.decodeTo(Timestamp, textTransformation(fromString, format))
)
