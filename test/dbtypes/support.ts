/**
 * What the tests of this room share: random values that are the same for the same seed, and a database that tells what
 * Postgres makes of them. Set `HOLDFAST_SEED` to the seed that a failure printed to see it again.
 */
import { PgClient } from "@effect/sql-pg"
import { BigDecimal, Effect, Layer, type Redacted, Result } from "effect"
import { NetAddress } from "effect/net"
import { SqlClient } from "effect/sql"
import {
  CalendarDate,
  DateRange,
  DateTimeRange,
  DbTypes,
  DecimalRange,
  Inet,
  IntegerRange,
  Interval,
  type Range,
  Timestamp
} from "holdfast/dbtypes"
import { randomInt } from "node:crypto"
import * as TestPostgres from "../support/TestPostgres.ts"

/** A source of random numbers that starts at a seed. */
export class Source {
  readonly seed: number
  private state: number

  constructor(seed: number) {
    this.seed = seed
    this.state = seed | 0
  }

  /** From 0 to 1 without 1 (mulberry32). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** An integer from `low` to `high`, both among them. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  bigint(low: bigint, high: bigint): bigint {
    const random = (BigInt(this.int(0, 0xffffffff)) << 64n) | (BigInt(this.int(0, 0xffffffff)) << 32n) |
      BigInt(this.int(0, 0xffffffff))
    return low + random % (high - low + 1n)
  }

  pick<A>(items: ReadonlyArray<A>): A {
    return items[this.int(0, items.length - 1)]!
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }
}

/** A new source, and what to add to the message of each assertion. */
export const random = (): { readonly source: Source; readonly because: string } => {
  const seed = process.env["HOLDFAST_SEED"] === undefined ? randomInt(2 ** 31) : Number(process.env["HOLDFAST_SEED"])
  return { source: new Source(seed), because: `HOLDFAST_SEED=${seed}` }
}

const maxInt64 = (1n << 63n) - 1n

export const integer = (source: Source): bigint =>
  source.chance(0.7)
    ? BigInt(source.int(-6, 6))
    : source.chance(0.5)
    ? source.pick([-maxInt64 - 1n, -maxInt64, maxInt64 - 1n, maxInt64, 0n, 2_147_483_647n, 2_147_483_648n])
    : source.bigint(-maxInt64 - 1n, maxInt64)

const digits = (source: Source, count: number): string =>
  Array.from({ length: count }, () => String(source.int(0, 9))).join("")

export const decimal = (source: Source): DecimalRange.Decimal =>
  source.chance(0.1)
    ? source.pick(["NaN", "Infinity", "-Infinity"] as const)
    : source.chance(0.7)
    ? BigDecimal.make(BigInt(source.int(-12, 12)) * 10n ** BigInt(source.int(0, 3)), source.int(0, 4))
    : BigDecimal.fromStringUnsafe(
      `${source.pick(["", "-"])}${digits(source, source.int(1, 100))}.${digits(source, source.int(0, 100))}`
    )

const firstDay = -2_440_588
const lastDay = 2_145_042_905

export const date = (source: Source): CalendarDate.CalendarDate =>
  Result.getOrThrow(CalendarDate.fromEpochDays(
    source.chance(0.1)
      ? source.pick([Infinity, -Infinity])
      : source.chance(0.6)
      ? 19_782 + source.int(-5, 5)
      : source.chance(0.4)
      ? source.pick([
        firstDay,
        firstDay + 1,
        lastDay - 1,
        lastDay,
        -719_528,
        -719_529,
        -719_163,
        -719_162,
        2_932_896,
        0
      ])
      : source.int(firstDay, lastDay)
  ))

const firstMicros = -210_866_803_200_000_000n
const lastMicros = 9_224_318_015_999_999_999n

export const timestamp = (source: Source): Timestamp.Timestamp =>
  source.chance(0.1)
    ? source.pick([Timestamp.infinity, Timestamp.negativeInfinity])
    : Result.getOrThrow(Timestamp.fromEpochMicros(
      source.chance(0.6)
        ? 1_709_208_000_000_000n + BigInt(source.int(-5, 5))
        : source.chance(0.4)
        ? source.pick([firstMicros, firstMicros + 1n, lastMicros, lastMicros - 1n, 0n, -1n, -62_135_596_800_000_001n])
        : source.bigint(firstMicros, lastMicros)
    ))

const bounds = ["[)", "[]", "(]", "()"] as const

const range = <A, R>(
  source: Source,
  value: (source: Source) => A,
  make: (input: Range.Input<A>) => Result.Result<R, unknown>,
  empty: R
): R => {
  if (source.chance(0.07)) return empty
  // Bounds in the wrong order, and such as have no canonical form, are refused: try others.
  for (;;) {
    const made = make({
      lower: source.chance(0.15) ? null : value(source),
      upper: source.chance(0.15) ? null : value(source),
      bounds: source.pick(bounds)
    })
    if (Result.isSuccess(made)) return made.success
  }
}

export const integerRange = (source: Source) => range(source, integer, IntegerRange.make, IntegerRange.empty)
export const decimalRange = (source: Source) => range(source, decimal, DecimalRange.make, DecimalRange.empty)
export const dateRange = (source: Source) => range(source, date, DateRange.make, DateRange.empty)
export const dateTimeRange = (source: Source) =>
  range<Timestamp.Timestamp, DateTimeRange.DateTimeRange>(source, timestamp, DateTimeRange.make, DateTimeRange.empty)

export const interval = (source: Source): Interval.Interval => {
  if (source.chance(0.05)) return source.pick([Interval.infinity, Interval.negativeInfinity])
  const int32 = () =>
    source.chance(0.5)
      ? source.int(-30, 30)
      : source.chance(0.2)
      ? source.pick([2_147_483_647, -2_147_483_648])
      : source.chance(0.5)
      ? 0
      : source.int(-2_147_483_648, 2_147_483_647)
  const microseconds = source.chance(0.5)
    ? BigInt(source.int(-3, 3)) * 86_400_000_000n + BigInt(source.int(-1, 1))
    : source.chance(0.2)
    ? source.pick([maxInt64, -maxInt64 - 1n])
    : source.chance(0.3)
    ? 0n
    : source.bigint(-maxInt64 - 1n, maxInt64)
  return Interval.makeUnsafe({ months: int32(), days: int32(), microseconds })
}

export const inet = (source: Source): Inet.Inet => {
  const octet = () => source.pick([0, 0, 0, 1, 10, 127, 128, 192, 255, source.int(0, 255)])
  const isIpv4 = source.chance(0.5)
  const bytes = Uint8Array.from({ length: isIpv4 ? 4 : 16 }, octet)
  if (!isIpv4 && source.chance(0.6)) {
    const zeros = source.int(0, 14)
    bytes.fill(0, zeros, zeros + source.int(2, 16 - zeros))
    if (source.chance(0.2)) bytes.fill(0, 0, source.pick([10, 12, 14])).fill(255, 10, source.pick([10, 12]))
  }
  const address = isIpv4 ? NetAddress.ipv4FromBytesUnsafe(bytes) : NetAddress.ipv6FromBytesUnsafe(bytes)
  return Inet.makeUnsafe(address, source.chance(0.3) ? undefined : source.int(0, isIpv4 ? 32 : 128))
}

/** So many values, and the same number of others. */
export const pairs = <A>(source: Source, make: (source: Source) => A, count: number) => {
  const lefts = Array.from({ length: count }, () => make(source))
  // Some pairs are of one value: by chance there would be few.
  const rights = lefts.map((left) => source.chance(0.1) ? left : make(source))
  return { lefts, rights }
}

/** How many pairs each property looks at. */
export const many = 2500

const functions = [
  `CREATE FUNCTION try_union(a anyrange, b anyrange) RETURNS anyrange LANGUAGE plpgsql AS
    $$ BEGIN RETURN a + b; EXCEPTION WHEN data_exception THEN RETURN NULL; END $$`,
  `CREATE FUNCTION try_difference(a anyrange, b anyrange) RETURNS anyrange LANGUAGE plpgsql AS
    $$ BEGIN RETURN a - b; EXCEPTION WHEN data_exception THEN RETURN NULL; END $$`,
  `CREATE FUNCTION try_add(a interval, b interval) RETURNS interval LANGUAGE plpgsql AS
    $$ BEGIN RETURN a + b; EXCEPTION WHEN data_exception THEN RETURN NULL; END $$`,
  `CREATE FUNCTION try_negate(a interval) RETURNS interval LANGUAGE plpgsql AS
    $$ BEGIN RETURN -a; EXCEPTION WHEN data_exception THEN RETURN NULL; END $$`,
  `CREATE FUNCTION try_shift(t timestamptz, i interval) RETURNS timestamptz LANGUAGE plpgsql AS
    $$ BEGIN RETURN t + i; EXCEPTION WHEN data_exception THEN RETURN NULL; END $$`,
  `CREATE FUNCTION iso(i interval) RETURNS text LANGUAGE plpgsql SET intervalstyle = 'iso_8601' AS
    $$ BEGIN RETURN i::text; END $$`,
  `CREATE FUNCTION try_text(value text, type text) RETURNS text LANGUAGE plpgsql AS
    $$ DECLARE result text; BEGIN
      EXECUTE format('SELECT %L::%s::text', value, type) INTO result; RETURN result;
    EXCEPTION WHEN others THEN RETURN NULL; END $$`
]

/** The database, with functions that answer NULL where an operation fails, and a client that knows the types. */
export const Oracle: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient> = Layer.unwrap(
  Effect.gen(function*() {
    const { database, url } = yield* TestPostgres.TestDatabase
    const setUp = Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`ALTER DATABASE ${sql(database)} SET timezone = 'UTC'`
      yield* Effect.forEach(functions, (text) => sql.unsafe(text))
    })
    yield* Effect.provide(setUp, Layer.fresh(PgClient.layer({ url, maxConnections: 1 })))
    return PgClient.layer({ url, types: DbTypes.registry })
  })
).pipe(Layer.provide(TestPostgres.layerDatabase), Layer.orDie, Layer.fresh)

/**
 * The first major version of Postgres that has a value. What is not named here is in every version from 15 on.
 *
 * An older server holds an infinite interval as the longest finite one: it comes back, and sorts, as it should, but is neither
 * printed nor read, nor reckoned with, as infinite.
 */
const firstVersionWith = (value: unknown): number => Interval.isInterval(value) && !Interval.isFinite(value) ? 17 : 15

/** Whether the suite's server has a value, or is too old for it. */
export const serverHas = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<{ version: number }>`SELECT current_setting('server_version_num')::int / 10000 AS version`
  const version = row?.version ?? 0
  return (value: unknown): boolean => version >= firstVersionWith(value)
})

/** Where the suite's server listens, for tests that make clients of their own. */
export const databaseUrl = (): Redacted.Redacted => TestPostgres.server().url
