/**
 * The binary form of the types of this room, for the client's registry of codecs.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as BigDecimal from "effect/BigDecimal"
import * as IpInterface from "effect/net/IpInterface"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import * as CalendarDate from "../CalendarDate.ts"
import { DateRange } from "../DateRange.ts"
import { DateTimeRange } from "../DateTimeRange.ts"
import { DecimalRange } from "../DecimalRange.ts"
import * as Inet from "../Inet.ts"
import { IntegerRange } from "../IntegerRange.ts"
import * as Interval from "../Interval.ts"
import * as Timestamp from "../Timestamp.ts"
import { pad, postgresEpochDays, postgresEpochMicros } from "./calendar.ts"
import { type Decimal, format as formatDecimal } from "./decimal.ts"
import { type Bound, boundOf, canonical, type Fields, isRange, type Range, subtypeOf, unbounded } from "./range.ts"
import { instantiate, type SchemaClass } from "./schemaClass.ts"

type Coded<A> = Result.Result<A, PgTypes.CodecError>

/** The binary form of one type of bounds. */
interface BoundCodec<A> {
  readonly encode: (value: A) => Coded<Uint8Array>
  readonly decode: (bytes: Uint8Array) => Coded<A>
}

const fail = (message: string) => Result.fail(new PgTypes.CodecError({ message }))

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const sized = (bytes: Uint8Array, size: number, name: string): Coded<DataView> =>
  bytes.length === size ? Result.succeed(view(bytes)) : fail(`Expected ${size} bytes for ${name}, got ${bytes.length}`)

const int64Bytes = (value: bigint): Coded<Uint8Array> => {
  const bytes = new Uint8Array(8)
  view(bytes).setBigInt64(0, value)
  return Result.succeed(bytes)
}

const int8: BoundCodec<bigint> = {
  encode: int64Bytes,
  decode: (bytes) => Result.map(sized(bytes, 8, "int8"), (data) => data.getBigInt64(0))
}

const int4: BoundCodec<bigint> = {
  encode: (value) => {
    if (BigInt.asIntN(32, value) !== value) return fail(`${value} does not fit into int4`)
    const bytes = new Uint8Array(4)
    view(bytes).setInt32(0, Number(value))
    return Result.succeed(bytes)
  },
  decode: (bytes) => Result.map(sized(bytes, 4, "int4"), (data) => BigInt(data.getInt32(0)))
}

/** Reads digits to base 10,000; the client's own codec, which makes text, ends at 32,767 of them. */
const decodeNumeric = (bytes: Uint8Array): Coded<Decimal> => {
  if (bytes.length < 8) return fail("Truncated numeric")
  const data = view(bytes)
  const count = data.getUint16(0)
  const weight = data.getInt16(2)
  const sign = data.getUint16(4)
  const scale = data.getUint16(6)
  if (sign === 0xc000) return Result.succeed("NaN")
  if (sign === 0xd000) return Result.succeed("Infinity")
  if (sign === 0xf000) return Result.succeed("-Infinity")
  if (sign !== 0 && sign !== 0x4000) return fail(`Invalid sign of a numeric: ${sign}`)
  if (bytes.length !== 8 + count * 2) return fail(`Expected ${8 + count * 2} bytes for numeric, got ${bytes.length}`)
  let text = "0"
  for (let index = 0; index < count; index++) {
    const digit = data.getUint16(8 + index * 2)
    if (digit > 9999) return fail(`Invalid digit of a numeric: ${digit}`)
    text += pad(digit, 4)
  }
  // So many digits are behind the point; those beyond the scale are zeros.
  const behind = (count - 1 - weight) * 4
  const unscaled = BigInt(text)
  const value = behind > scale ? unscaled / 10n ** BigInt(behind - scale) : unscaled * 10n ** BigInt(scale - behind)
  return Result.succeed(BigDecimal.make(sign === 0 ? value : -value, scale))
}

const numeric: BoundCodec<Decimal> = {
  encode: (value) => PgTypes.encode(formatDecimal(value), PgTypes.OID.numeric),
  decode: decodeNumeric
}

const infiniteDay = 2_147_483_647

const date: BoundCodec<CalendarDate.CalendarDate> = {
  encode: ({ epochDays }) => {
    const bytes = new Uint8Array(4)
    const days = epochDays === Infinity
      ? infiniteDay
      : epochDays === -Infinity
      ? -infiniteDay - 1
      : epochDays - postgresEpochDays
    view(bytes).setInt32(0, days)
    return Result.succeed(bytes)
  },
  decode: (bytes) =>
    Result.flatMap(sized(bytes, 4, "date"), (data) => {
      const days = data.getInt32(0)
      if (days === infiniteDay) return Result.succeed(CalendarDate.infinity)
      if (days === -infiniteDay - 1) return Result.succeed(CalendarDate.negativeInfinity)
      return Result.mapError(
        CalendarDate.fromEpochDays(days + postgresEpochDays),
        ({ message }) => new PgTypes.CodecError({ message })
      )
    })
}

const timestamp: BoundCodec<Timestamp.Timestamp> = {
  encode: ({ epochMicros }) => int64Bytes(epochMicros - postgresEpochMicros),
  decode: (bytes) =>
    Result.flatMap(sized(bytes, 8, "timestamp"), (data) =>
      Result.mapError(
        Timestamp.fromEpochMicros(data.getBigInt64(0) + postgresEpochMicros),
        ({ message }) => new PgTypes.CodecError({ message })
      ))
}

const Flag = { empty: 0x01, lowerInclusive: 0x02, upperInclusive: 0x04, lowerUnbounded: 0x08, upperUnbounded: 0x10 }

const rangeCodec = <A>(schema: SchemaClass<Range<A>>, bound: BoundCodec<A>): PgTypes.Codec<Range<A>> => {
  const { typeName } = subtypeOf(schema.prototype)

  const encode = (value: Range<A>): Coded<Uint8Array> =>
    Result.gen(function*() {
      if (!isRange(value) || subtypeOf(value) !== subtypeOf<unknown>(schema.prototype)) {
        return yield* fail(`Expected a range of the type of ${typeName}`)
      }
      if (value.isEmpty) return Uint8Array.of(Flag.empty)
      const { lowerBound, upperBound } = value
      const pieces: Array<Uint8Array> = []
      for (const { _tag, ...rest } of [lowerBound, upperBound]) {
        if (!("value" in rest)) continue
        const bytes = yield* bound.encode(rest.value)
        const length = new Uint8Array(4)
        view(length).setInt32(0, bytes.length)
        pieces.push(length, bytes)
      }
      const flags = (lowerBound._tag === "Inclusive" ? Flag.lowerInclusive : 0) |
        (upperBound._tag === "Inclusive" ? Flag.upperInclusive : 0) |
        (lowerBound._tag === "Unbounded" ? Flag.lowerUnbounded : 0) |
        (upperBound._tag === "Unbounded" ? Flag.upperUnbounded : 0)
      const out = new Uint8Array(1 + pieces.reduce((size, piece) => size + piece.length, 0))
      out[0] = flags
      let at = 1
      for (const piece of pieces) {
        out.set(piece, at)
        at += piece.length
      }
      return out
    })

  const decode = (bytes: Uint8Array): Coded<Range<A>> =>
    Result.gen(function*() {
      const flags = bytes[0]
      if (flags === undefined) return yield* fail(`Truncated ${typeName}`)
      const data = view(bytes)
      let at = 1
      const readBound = (isUnbounded: boolean, isInclusive: boolean): Coded<Bound<A>> => {
        if (isUnbounded) return Result.succeed(unbounded)
        const size = at + 4 <= bytes.length ? data.getInt32(at) : -1
        const start = at + 4
        if (size < 0 || start + size > bytes.length) return fail(`Truncated ${typeName}`)
        at = start + size
        return Result.map(bound.decode(bytes.subarray(start, at)), (value) => boundOf(value, isInclusive))
      }
      let fields: Fields<A> = { isEmpty: true, lowerBound: unbounded, upperBound: unbounded }
      if ((flags & Flag.empty) === 0) {
        const lower = yield* readBound((flags & Flag.lowerUnbounded) !== 0, (flags & Flag.lowerInclusive) !== 0)
        const upper = yield* readBound((flags & Flag.upperUnbounded) !== 0, (flags & Flag.upperInclusive) !== 0)
        fields = yield* Result.mapError(
          canonical(subtypeOf(schema.prototype), lower, upper),
          ({ field, problem }) =>
            new PgTypes.CodecError({ message: `Invalid ${typeName}: the ${field} bound ${problem}` })
        )
      }
      return at === bytes.length ? instantiate(schema, fields) : yield* fail(`${typeName} has trailing bytes`)
    })

  return { encode, decode }
}

const intervalCodec: PgTypes.Codec<Interval.Interval> = {
  encode: (value) => PgTypes.encode(value, PgTypes.OID.interval),
  decode: (bytes) =>
    Result.map(sized(bytes, 16, "interval"), (data) =>
      instantiate(Interval.Interval, {
        months: data.getInt32(12),
        days: data.getInt32(8),
        microseconds: data.getBigInt64(0)
      }))
}

const inetCodec = (oid: number): PgTypes.Codec<Inet.Inet | string> => ({
  // Text is taken as the client's own codec takes it.
  encode: (value) => PgTypes.encode(Inet.isInet(value) ? IpInterface.format(value.ipInterface) : value, oid),
  decode: (bytes) => {
    const [family, prefixLength = 0, , size] = bytes
    const address = bytes.slice(4)
    if (family === 2 && size === 4 && address.length === 4) {
      return inetOf(NetAddress.ipv4FromBytesUnsafe(address), prefixLength)
    }
    return family === 3 && size === 16 && address.length === 16
      ? inetOf(NetAddress.ipv6FromBytesUnsafe(address), prefixLength)
      : fail("Invalid inet")
  }
})

const inetOf = (address: NetAddress.IpAddress, prefixLength: number): Coded<Inet.Inet> =>
  Result.mapError(Inet.make(address, prefixLength), ({ message }) => new PgTypes.CodecError({ message }))

/** Reads as the client does by itself, and writes timestamps to the microsecond. */
const timestamptzCodec: PgTypes.Codec<unknown> = {
  encode: (value) =>
    Timestamp.isTimestamp(value) ? timestamp.encode(value) : PgTypes.encode(value, PgTypes.OID.timestamptz),
  decode: (bytes) => PgTypes.decode(bytes, PgTypes.OID.timestamptz, 1)
}

export const codecs = {
  int4range: rangeCodec(IntegerRange, int4),
  int8range: rangeCodec(IntegerRange, int8),
  numrange: rangeCodec(DecimalRange, numeric),
  daterange: rangeCodec(DateRange, date),
  tsrange: rangeCodec(DateTimeRange, timestamp),
  tstzrange: rangeCodec(DateTimeRange, timestamp),
  interval: intervalCodec,
  inet: inetCodec(PgTypes.OID.inet),
  cidr: inetCodec(PgTypes.OID.cidr),
  timestamptz: timestamptzCodec
}
