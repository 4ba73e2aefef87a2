/**
 * Postgres is the oracle for intervals: their order, sum, negation and notations, and where they move an instant.
 */
import { assert, layer } from "@effect/vitest"
import { DateTime, Effect, Equal, Result } from "effect"
import { SqlClient } from "effect/sql"
import { DbTypes, Interval, Timestamp } from "holdfast/dbtypes"
import * as support from "./support.ts"

const textOr = (result: Result.Result<unknown, unknown>): string | null =>
  Result.isSuccess(result) ? String(result.success) : null

layer(support.Oracle, { excludeTestServices: true, timeout: "60 seconds" })("intervals", (it) => {
  it.effect("every operation on two intervals answers as the server does", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const serverHas = yield* support.serverHas
      const { because, source } = support.random()
      const interval = (source: support.Source): Interval.Interval => {
        for (;;) {
          const value = support.interval(source)
          if (serverHas(value)) return value
        }
      }
      const { lefts, rights } = support.pairs(source, interval, support.many)
      const rows = yield* sql<{
        readonly a: Interval.Interval
        readonly text: string
        readonly iso: string
        readonly eq: boolean
        readonly less: boolean
        readonly greater: boolean
        readonly sum: Interval.Interval | null
        readonly negated: Interval.Interval | null
      }>`SELECT a, a::text AS text, iso(a) AS iso, a = b AS eq, a < b AS less, a > b AS greater, try_add(a, b) AS sum,
           try_negate(a) AS negated
         FROM unnest(${lefts}, ${rights}) WITH ORDINALITY AS t(a, b, n) ORDER BY n`
      assert.lengthOf(rows, support.many)
      for (const [index, row] of rows.entries()) {
        const [a, b] = [lefts[index]!, rights[index]!]
        const what = `${a} and ${b}; ${because}`
        assert.isTrue(Equal.equals(a, row.a), what)
        assert.strictEqual(Interval.format(a), row.text, what)
        assert.strictEqual(Interval.formatIso(a), row.iso, what)
        assert.isTrue(Equal.equals(Interval.fromStringUnsafe(row.text), a), what)
        assert.isTrue(Equal.equals(Interval.fromStringUnsafe(row.iso), a), what)
        assert.strictEqual(Interval.Order(a, b), row.less ? -1 : row.greater ? 1 : 0, what)
        assert.strictEqual(Interval.Equivalence(a, b), row.eq, what)
        assert.strictEqual(DbTypes.compare(a, b), row.eq ? "eq" : row.less ? "lt" : "gt", what)
        // Two finite ones may add up to what is infinite, and so refused, by a server that has infinite ones.
        if (serverHas(row.sum)) {
          assert.isTrue(Equal.equals(Result.getOrElse(Interval.add(a, b), () => null), row.sum), what)
        }
        assert.isTrue(Equal.equals(Result.getOrElse(Interval.negate(a), () => null), row.negated), what)
      }
    }))

  it.effect("an instant moves where the server moves it", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const serverHas = yield* support.serverHas
      const { because, source } = support.random()
      const small = () =>
        Interval.makeUnsafe({
          months: source.int(-30, 30),
          days: source.int(-40, 40),
          microseconds: BigInt(source.int(-100_000, 100_000)) * 1_000_001n
        })
      const intervals = Array.from({ length: support.many }, () =>
        source.chance(0.7) ? small() : support.interval(source)).filter(serverHas)
      const instants = intervals.map(() =>
        source.chance(0.7)
          // The last days of months of leap years and others, on both sides of year 1.
          ? Timestamp.fromStringUnsafe(
            `${source.pick(["0001", "0004", "1900", "2000", "2023", "2024"])}-${
              source.pick(["01-31", "02-28", "03-31", "04-30", "12-31", "01-01"])
            } 23:59:59.999999+00${source.pick(["", "", " BC"])}`
          )
          : support.timestamp(source)
      )
      const rows = yield* sql<{ readonly moved: string | null }>`
        SELECT try_shift(t, i)::text AS moved
        FROM unnest(${instants.map(String)}::timestamptz[], ${intervals}) WITH ORDINALITY AS t(t, i, n) ORDER BY n`
      let refused = 0
      for (const [index, { moved }] of rows.entries()) {
        const [instant, interval] = [instants[index]!, intervals[index]!]
        assert.strictEqual(textOr(Interval.shift(instant, interval)), moved, `${instant} + ${interval}; ${because}`)
        if (moved === null) {
          refused++
        }
      }
      assert.isAbove(refused, 20, because)
      assert.isBelow(refused, support.many / 2, because)
    }))

  it.effect("an instant in a time zone moves on the clock of that zone, as in a session of that zone", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { because, source } = support.random()
      const intervals = Array.from({ length: support.many }, () =>
        Interval.makeUnsafe({
          months: source.int(-14, 14),
          days: source.int(-40, 40),
          seconds: source.int(-100_000, 100_000)
        }))
      // Away from the hours that a change of the clocks skips or repeats, of which every system makes its own.
      const instants = intervals.map(() =>
        DateTime.makeUnsafe(
          Date.UTC(source.int(1990, 2030), source.int(0, 11), source.int(1, 31), 12, source.int(0, 59))
        )
      )
      yield* sql.unsafe(
        `CREATE FUNCTION shift_in_new_york(t timestamptz, i interval) RETURNS timestamptz LANGUAGE plpgsql
        SET timezone = 'America/New_York' AS $$ BEGIN RETURN t + i; END $$`
      )
      const rows = yield* sql<{ readonly moved: Date }>`
        SELECT shift_in_new_york(t, i) AS moved
        FROM unnest(${instants.map(DateTime.formatIso)}::timestamptz[], ${intervals}) WITH ORDINALITY AS t(t, i, n)
        ORDER BY n`
      for (const [index, { moved }] of rows.entries()) {
        const [instant, interval] = [instants[index]!, intervals[index]!]
        const zoned = DateTime.setZone(instant, DateTime.zoneMakeNamedUnsafe("America/New_York"))
        assert.strictEqual(
          DateTime.formatIso(Result.getOrThrow(Interval.shift(zoned, interval))),
          moved.toISOString(),
          `${DateTime.formatIso(instant)} + ${interval}; ${because}`
        )
      }
    }))

  it.effect("what is read from words and ISO 8601 is what the server reads", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { because, source } = support.random()
      const amount = (fraction: boolean) =>
        `${source.pick(["", "", "-", "+"])}${source.int(0, 99)}${
          fraction && source.chance(0.3) ? `.${source.pick(["5", "25", "000"])}` : ""
        }`
      const words = () => {
        const units = [
          ["y", "year", "years", "yr"],
          ["mon", "month", "months", "mons"],
          ["w", "week", "weeks"],
          ["d", "day", "days"]
        ].filter(() => source.chance(0.5)).map((names) =>
          `${amount(false)}${source.pick([" ", ""])}${source.pick(names)}`
        )
        const clock = source.chance(0.5)
          ? [
            `${source.pick(["", "-", "+"])}${source.int(0, 30)}:${source.int(10, 59)}${
              source.pick(["", ":07", ":07.250001"])
            }`
          ]
          : [["h", "hour", "hrs"], ["m", "min", "minutes"], ["s", "sec", "seconds"]].filter(() => source.chance(0.5))
            .map((names) => `${amount(true)} ${source.pick(names)}`)
        return `${source.pick(["", "", "@ "])}${[...units, ...clock].join(" ")}${source.pick(["", "", " ago"])}`
      }
      const iso = () => {
        const part = (letters: string, fraction: boolean) =>
          Array.from(letters).filter(() => source.chance(0.5)).map((letter) => `${amount(fraction)}${letter}`).join("")
        const time = part("HMS", true)
        return `P${part("YMWD", false)}${time === "" ? "" : `T${time}`}`
      }
      const texts = Array.from({ length: support.many }, () => source.chance(0.5) ? words() : iso())
      const rows = yield* sql<{ readonly text: string | null }>`
        SELECT try_text(t, 'interval') AS text FROM unnest(${texts}::text[]) WITH ORDINALITY AS t(t, n) ORDER BY n`
      let read = 0
      for (const [index, { text }] of rows.entries()) {
        const ours = textOr(Interval.fromString(texts[index]!))
        // What is refused here may be more than the server refuses, but what is read is the same.
        if (ours !== null) {
          assert.strictEqual(ours, text, `${texts[index]}; ${because}`)
          read++
        }
      }
      assert.isAbove(read, support.many / 2, because)
    }))
})
