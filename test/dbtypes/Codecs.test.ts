/**
 * Values of this room through real columns and back, by the codecs that a client has with `types: DbTypes.registry`.
 */
import { PgClient, PgTypes } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { BigDecimal, Cause, Effect, Equal, Exit, Layer, Schema } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"
import {
  CalendarDate,
  DateRange,
  DateTimeRange,
  DbTypes,
  DecimalRange,
  Inet,
  IntegerRange,
  Interval,
  Timestamp
} from "holdfast/dbtypes"
import * as support from "./support.ts"

interface Subject {
  readonly type: string
  readonly make: (source: support.Source) => Equal.Equal
  readonly fromString: (text: string) => Equal.Equal
}

const subjects: ReadonlyArray<Subject> = [
  { type: "int8range", make: support.integerRange, fromString: IntegerRange.fromStringUnsafe },
  { type: "numrange", make: support.decimalRange, fromString: DecimalRange.fromStringUnsafe },
  { type: "daterange", make: support.dateRange, fromString: DateRange.fromStringUnsafe },
  { type: "tstzrange", make: support.dateTimeRange, fromString: DateTimeRange.fromStringUnsafe },
  { type: "interval", make: support.interval, fromString: Interval.fromStringUnsafe },
  { type: "inet", make: support.inet, fromString: Inet.fromStringUnsafe }
]

const extremes: { readonly [type: string]: ReadonlyArray<string> } = {
  int8range: ["empty", "(,)", "[-9223372036854775808,9223372036854775807)", "(,-9223372036854775808)", "[0,)"],
  numrange: [
    "empty",
    "(,)",
    "[NaN,NaN]",
    "[-Infinity,Infinity]",
    `[-${"9".repeat(100)}.${"1".repeat(100)},${"9".repeat(100)}.${"0".repeat(50)}]`,
    `(0.${"0".repeat(99)}1,1.50]`,
    `[${"1".repeat(131072)},)`,
    `(-0.${"0".repeat(16382)}1,0)`,
    "[0,0.000]"
  ],
  daterange: [
    "empty",
    "(,)",
    "[\"4714-11-24 BC\",5874897-12-31)",
    "[-infinity,infinity]",
    "(-infinity,infinity)",
    "[\"0001-02-28 BC\",0001-03-01)",
    "[9999-12-31,10000-01-02)"
  ],
  tstzrange: [
    "empty",
    "(,)",
    "[\"4714-11-24 00:00:00+00 BC\",\"294276-12-31 23:59:59.999999+00\"]",
    "[-infinity,infinity]",
    "(-infinity,infinity)",
    "[\"0001-12-31 23:59:59.999999+00 BC\",\"0001-01-01 00:00:00+00\")",
    "[\"9999-12-31 23:59:59.999999+00\",\"10000-01-01 00:00:00+00\"]",
    "[\"1969-12-31 23:59:59.999999+00\",\"1970-01-01 00:00:00.000001+00\")"
  ],
  interval: [
    "00:00:00",
    "infinity",
    "-infinity",
    "178956970 years 7 mons 2147483647 days 2562047788:00:54.775806",
    "-178956970 years -8 mons -2147483648 days -2562047788:00:54.775807",
    "-1 years -1 mons +1 day -00:00:00.000001"
  ],
  inet: [
    "0.0.0.0/0",
    "255.255.255.255",
    "10.0.0.1/8",
    "::",
    "::/0",
    "::1",
    "::ffff:1.2.3.4/96",
    "::1.2.3.4",
    "2001:db8::1/32"
  ]
}

layer(support.Oracle, { excludeTestServices: true, timeout: "60 seconds" })("codecs", (it) => {
  for (const { fromString, make, type } of subjects) {
    it.effect(`${type}: values, NULLs and arrays come back as they went into a column`, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const serverHas = yield* support.serverHas
        const { because, source } = support.random()
        const values = [
          ...extremes[type]!.map(fromString),
          ...Array.from({ length: support.many }, () => make(source))
        ].filter(serverHas)
        yield* sql.unsafe(`CREATE TABLE t_${type} (n int PRIMARY KEY, v ${type}, vs ${type}[])`)
        const numbers = values.map((_, index) => index)
        yield* sql`INSERT INTO ${sql(`t_${type}`)} (n, v, vs)
          SELECT n, v, ARRAY[v, NULL, v] FROM unnest(${numbers}, ${values}) AS t(n, v)`
        yield* sql`INSERT INTO ${sql(`t_${type}`)} VALUES (-1, NULL, '{}'), (-2, ${values[0]}, ${[values[0], null]}),
          (-3, ${values.at(-1)}, NULL)`
        const rows = yield* sql<{ n: number; v: unknown; vs: ReadonlyArray<unknown> | null; text: string }>`
          SELECT n, v, vs, format('%s', v) AS text FROM ${sql(`t_${type}`)} ORDER BY n`
        const [third, second, first, ...rest] = rows
        assert.deepStrictEqual([first?.v, first?.vs], [null, []])
        assert.isTrue(Equal.equals(second?.v, values[0]) && Equal.equals(second?.vs?.[0], values[0]), because)
        assert.strictEqual(second?.vs?.[1], null)
        assert.isTrue(Equal.equals(third?.v, values.at(-1)) && third?.vs === null, because)
        for (const [index, row] of rest.entries()) {
          const value = values[index]!
          // Printed once, and the message made where there is something to say: some of them have 130,000 digits.
          const text = String(value)
          const is = Equal.equals(row.v, value) && String(row.v) === text &&
            Equal.equals(row.vs, [value, null, value]) &&
            // Not the binary form alone: what the server prints is read as the same value.
            Equal.equals(fromString(row.text), value)
          if (!is) assert.fail(`${text} came back as ${String(row.v)}, printed ${row.text}; ${because}`)
        }
      }))
  }

  it.effect("the extremes print as the server prints them", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const serverHas = yield* support.serverHas
      for (const { fromString, type } of subjects) {
        for (const text of extremes[type]!.filter((text) => serverHas(fromString(text)))) {
          const [row] = yield* sql.unsafe<{ text: string }>(`SELECT format('%s', $1::text::${type}) AS text`, [text])
          assert.strictEqual(String(fromString(text)), row?.text, text.slice(0, 200))
        }
      }
    }))

  it.effect("infinite intervals come back and sort as such, also where the server takes them for finite ones", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const serverHas = yield* support.serverHas
      const [least, greatest] = ["-178956970 years -8 mons", "178956970 years 7 mons"]
      const values = [
        Interval.negativeInfinity,
        Interval.fromStringUnsafe(`${least} -2147483648 days -2562047788:00:54.775807`),
        Interval.fromStringUnsafe(`${greatest} 2147483647 days 2562047788:00:54.775806`),
        Interval.infinity
      ]
      const rows = yield* sql<{ v: Interval.Interval; text: string }>`
        SELECT v, v::text AS text FROM unnest(${values}) AS t(v) ORDER BY v`
      assert.isTrue(Equal.equals(rows.map(({ v }) => v), values))
      assert.deepStrictEqual(
        [rows[0]?.text, rows[3]?.text],
        serverHas(Interval.infinity) ? ["-infinity", "infinity"] : [
          `${least} -2147483648 days -2562047788:00:54.775808`,
          `${greatest} 2147483647 days 2562047788:00:54.775807`
        ]
      )
    }))

  it.effect("int4range, tsrange and cidr are read as well, and written where they are asked for", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE others (i int4range, ts tsrange, c cidr, is_ int4range[], tss tsrange[], cs cidr[])`
      const integers = IntegerRange.fromStringUnsafe("[-2147483648,2147483647)")
      const instants = DateTimeRange.fromStringUnsafe("[2024-02-29T12:00:00.000001Z,infinity]")
      const network = Inet.fromStringUnsafe("10.1.0.0/16")
      const [i, ts, c] = [DbTypes.int4range(integers), DbTypes.tsrange(instants), DbTypes.cidr(network)]
      yield* sql`INSERT INTO others VALUES (${i}, ${ts}, ${c}, ${[i, DbTypes.int4range(null)]}, ${[ts]}, ${[c]})`
      const [row] = yield* sql<{ [name: string]: unknown }>`SELECT *, ts::text AS text FROM others`
      assert.isTrue(Equal.equals(row?.["i"], integers))
      assert.isTrue(Equal.equals(row?.["ts"], instants))
      assert.isTrue(Equal.equals(row?.["c"], network))
      assert.isTrue(Equal.equals(row?.["is_"], [integers, null]))
      assert.isTrue(Equal.equals(row?.["tss"], [instants]))
      assert.isTrue(Equal.equals(row?.["cs"], [network]))
      assert.strictEqual(row?.["text"], "[\"2024-02-29 12:00:00.000001\",infinity]")
    }))

  it.effect("what a type cannot hold is refused before it is sent", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      for (
        const parameter of [
          DbTypes.int4range(IntegerRange.fromStringUnsafe("[0,2147483648)")),
          DbTypes.cidr(Inet.fromStringUnsafe("10.1.2.3/16")),
          DbTypes.tsrange(IntegerRange.empty as never),
          DbTypes.int4range(DateTimeRange.empty as never),
          DbTypes.int4range("[1,2)" as never)
        ]
      ) {
        const exit = yield* Effect.exit(sql`SELECT ${parameter} AS value`)
        assert.isTrue(
          Exit.isFailure(exit) && Cause.findErrorOption(exit.cause)._tag === "Some",
          String(parameter.value)
        )
      }
      // And the connection goes on.
      assert.lengthOf(yield* sql`SELECT 1`, 1)
    }))

  it.effect("dates and timestamps are parameters too", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { because, source } = support.random()
      const dates = Array.from({ length: 500 }, () => support.date(source))
      const instants = dates.map(() => support.timestamp(source))
      const rows = yield* sql<{ d: string; t: string }>`SELECT d::text AS d, t::text AS t
        FROM unnest(${dates}, ${instants}) WITH ORDINALITY AS t(d, t, n) ORDER BY n`
      for (const [index, { d, t }] of rows.entries()) {
        assert.strictEqual(String(dates[index]), d, because)
        assert.strictEqual(String(instants[index]), t, because)
      }
      const [row] = yield* sql<{ inRange: boolean; inDays: boolean }>`SELECT
        tstzrange('2024-01-01 00:00:00+00', NULL) @> ${
        Timestamp.fromStringUnsafe("2024-01-01 00:00:00+00")
      } AS "inRange",
        daterange('2024-01-01', NULL) @> ${CalendarDate.fromStringUnsafe("2023-12-31")} AS "inDays"`
      assert.deepStrictEqual(row, { inRange: true, inDays: false })
    }))

  it.effect("what else the client reads and writes stays as it was", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const instant = new Date("2024-02-29T12:00:00.123Z")
      const [row] = yield* sql<{ [name: string]: unknown }>`SELECT ${instant} AS t, '2024-02-29'::date AS d,
        ${PgTypes.inet("10.0.0.1/8")} AS address, ${PgTypes.interval({ months: 1, days: 2, microseconds: 3n })} AS i`
      assert.deepStrictEqual(row?.["t"], instant)
      assert.strictEqual(row?.["d"], "2024-02-29")
      assert.isTrue(Equal.equals(row?.["address"], Inet.fromStringUnsafe("10.0.0.1/8")))
      assert.isTrue(Equal.equals(row?.["i"], Interval.makeUnsafe({ months: 1, days: 2, microseconds: 3 })))
    }))

  it.effect("rows decode by a schema of these types", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const find = SqlSchema.findAll({
        Request: Schema.Struct({ price: DecimalRange.DecimalRange }),
        Result: Schema.Struct({ price: DecimalRange.DecimalRange, stay: DateRange.DateRange }),
        execute: ({ price }) => sql`SELECT ${price} AS price, daterange('2024-02-28', '2024-03-01') AS stay`
      })
      const price = DecimalRange.makeUnsafe({ lower: BigDecimal.fromStringUnsafe("9.50"), upper: null })
      const rows = yield* find({ price })
      assert.isTrue(Equal.equals(rows, [{ price, stay: DateRange.fromStringUnsafe("[2024-02-28,2024-02-29]") }]))
    }))

  it.effect("a client without the codecs takes what its own can write, and refuses the rest", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql<{ [name: string]: string }>`SELECT host(${Inet.fromStringUnsafe("::1/64")}) AS inet,
        ${Interval.makeUnsafe({ months: 1, days: -2 })}::text AS interval,
        ${CalendarDate.makeUnsafe({ year: -43, month: 3, day: 15 })}::text AS date`
      assert.deepStrictEqual(row, { inet: "::1", interval: "1 mon -2 days", date: "0044-03-15 BC" })
      for (const value of [IntegerRange.empty, Timestamp.infinity]) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(sql`SELECT ${value} AS value`)))
      }
    }).pipe(Effect.provide(Layer.fresh(PgClient.layer({ url: support.databaseUrl(), maxConnections: 1 })))))

  it.effect("a registry of one's own takes the codecs too", () =>
    Effect.gen(function*() {
      const types = PgTypes.makeRegistry()
      DbTypes.register(types)
      const rows = yield* Effect.flatMap(SqlClient.SqlClient, (sql) =>
        sql<{ r: unknown }>`SELECT ${IntegerRange.empty} AS r`)
        .pipe(Effect.provide(Layer.fresh(PgClient.layer({ url: support.databaseUrl(), types, maxConnections: 1 }))))
      assert.isTrue(Equal.equals(rows[0]?.r, IntegerRange.empty))
    }))
})
