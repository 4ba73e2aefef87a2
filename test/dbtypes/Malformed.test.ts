/**
 * Texts that are no values. Each of them gives an `InvalidText` with the place where it goes wrong, which is marked in it by
 * `‸`: the text is what is left without the mark. A value is never made of what is not one.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Result } from "effect"
import { SqlClient } from "effect/sql"
import {
  CalendarDate,
  DateRange,
  DateTimeRange,
  DbTypeError,
  DecimalRange,
  Inet,
  IntegerRange,
  Interval,
  Timestamp
} from "holdfast/dbtypes"
import * as support from "./support.ts"

interface Subject {
  readonly type: string
  readonly fromString: (text: string) => Result.Result<unknown, DbTypeError.InvalidText>
  readonly malformed: ReadonlyArray<string>
}

/** What is wrong with a range whatever its bounds are; `a` and `b` are two of them, in order. */
const rangeShapes = (a: string, b: string): ReadonlyArray<string> => [
  "‸",
  "   ‸",
  "‸null",
  "‸emty",
  "empty ‸x",
  "empty‸[",
  "empty‸empty",
  `‸${a}`,
  `‸${a},${b}`,
  `‸{${a},${b}}`,
  `‸<${a},${b}>`,
  `‸]${a},${b}[`,
  `‸)${a},${b}(`,
  `‸"[${a},${b})"`,
  `[${a}‸]`,
  `[${a}‸)`,
  `[‸]`,
  `(‸)`,
  `[${a},${b}‸`,
  `[${a},${b} ‸`,
  `[${a},‸`,
  `[${a}‸`,
  "[‸",
  "(‸",
  `[${a},${b}‸,${b})`,
  `[${a},${b}‸,)`,
  "[,‸,]",
  "(,‸,)",
  `[${a},${b})‸)`,
  `[${a},${b}) ‸x`,
  `[${a},${b})‸,[${a},${b})`,
  `[‸x,${b})`,
  `[${a},‸x)`,
  `[‸(${a},${b})`,
  `[${a},‸(${b})`,
  `[ ‸,${b})`,
  `[${a},‸"${b})`,
  `[‸"${a},${b})`,
  `[""‸,${b})`,
  `[${a},${b}\\‸`,
  `[‸'${a}',${b})`,
  `[‸null,${b})`,
  `[${a},‸NULL)`,
  `[‸${b},${a})`,
  `(‸${b},${a}]`,
  `[${a}\\,${b}‸)`,
  `[‸\u0000${a},${b})`,
  `[${a},${b}‸\u0000)`,
  `‸\u00a0[${a},${b})`,
  `[‸\u00a0${a},${b})`,
  `‸［${a},${b}）`
]

const dates = [
  "2024-02-‸30",
  "2023-02-‸29",
  "1900-02-‸29",
  "2024-‸13-01",
  "2024-‸00-01",
  "2024-01-‸00",
  "2024-04-‸31",
  "‸0000-01-01",
  "‸24-01-01",
  "‸024-01-01",
  "2024‸/01/01",
  "2024‸.01.01",
  "2024-‸1-01",
  "2024-01-‸1",
  "‸20240101",
  "2024-01‸",
  "2024‸",
  "‸",
  "‸-2024-01-01",
  "‸+2024-01-01",
  "2024-01-01‸x",
  "2024-01-01‸ CE",
  "2024-01-01‸BC",
  "2024-01-01 BC‸ BC",
  "0001-02-‸29",
  "0002-02-‸29 BC",
  "‸4714-11-23 BC",
  "‸5874898-01-01",
  "‸99999999-01-01",
  "‸today",
  "‸now",
  "‸epoch",
  "‸inf",
  "‸+infinity",
  "‸infinityx",
  "‸January 8, 1999",
  "‸01/08/1999",
  "2024-‸W01-1",
  "2024-‸Jan-01",
  "2024-01-01‸ 00:00",
  "2024-01-01‸T00:00:00Z",
  "2024‸ 01 01",
  "2024-‸ 1-01",
  "2024-‸-01-01",
  "2024-01-‸-1",
  "‸NaN",
  "‸null",
  "‸Infinity BC",
  "2024-01-01‸\u0000",
  "‸２０２４-01-01",
  "2024-01-‸001",
  "2024-‸001-01"
]

const times = [
  "2024-01-01‸",
  "2024-01-01‸ ",
  "2024-01-01 ‸x",
  "2024-01-01 00:00:00‸",
  "2024-01-01T00:00:00‸",
  "2024-01-01 ‸24:00:00+00",
  "2024-01-01 ‸25:00:00+00",
  "2024-01-01 00:‸60:00+00",
  "2024-01-01 00:00:‸60+00",
  "2024-01-01 ‸0:00:00+00",
  "2024-01-01 00:‸0:00+00",
  "2024-01-01 00:00:‸0+00",
  "2024-01-01 00‸+00",
  "2024-01-01 00:‸+00",
  "2024-01-01 00:00:00.‸+00",
  "2024-01-01 00:00:00‸,5+00",
  "2024-01-01 00:00:00.123456‸7+00",
  "2024-01-01 00:00:00‸+",
  "2024-01-01 00:00:00‸+0",
  "2024-01-01 00:00:00‸+000",
  "2024-01-01 00:00:00‸+16",
  "2024-01-01 00:00:00‸+00:60",
  "2024-01-01 00:00:00‸+00:00:60",
  "2024-01-01 00:00:00‸+000000",
  "2024-01-01 00:00:00+00‸:0000",
  "2024-01-01 00:00:00+0000‸:00",
  "2024-01-01 00:00:00‸ UTC",
  "2024-01-01 00:00:00‸ Europe/Berlin",
  "2024-01-01 00:00:00‸ +00",
  "2024-01-01 00:00:00Z‸Z",
  "2024-01-01 00:00:00+00‸x",
  "2024-01-01 00:00:00‸ BC",
  "2024-01-01 00:00:00+00‸BC",
  "2024-01-01 00:00:00+00 BC‸ BC",
  "2024-01-01 ‸PM 1:00:00+00",
  "2024-01-01 01:00:00‸ PM+00",
  "2024-01-01 ‸ 00:00:00+00",
  "2024-01-01‸_00:00:00+00",
  "2023-02-‸29 00:00:00+00",
  "0001-02-‸29 00:00:00+00",
  "‸0000-01-01 00:00:00+00",
  "2024-‸13-01 00:00:00+00",
  "‸4714-11-23 23:59:59.999999+00 BC",
  "‸4714-11-24 00:00:00+01 BC",
  "‸294277-01-01 00:00:00+00",
  "‸294276-12-31 23:59:59.999999-00:00:01",
  "‸20240101T000000Z",
  "‸now",
  "‸epoch",
  "‸+infinity",
  "‸infinityx",
  "‸00:00:00+00",
  "‸1709208000",
  "2024-01-01 00:00:00+00‸\u0000",
  "2024-01-01 00:00:00.‸-5+00"
]

const subjects: ReadonlyArray<Subject> = [
  {
    type: "int8range",
    fromString: IntegerRange.fromString,
    malformed: [
      ...rangeShapes("1", "5"),
      "[1‸.5,5)",
      "[1‸e3,5)",
      "[0‸x1,5)",
      "[1‸_0,50)",
      "[-‸-1,5)",
      "[+‸-1,5)",
      "[1‸ 2,5)",
      "[-‸,5)",
      "[1,+‸)",
      "[1,‸9223372036854775808)",
      "[‸-9223372036854775809,5)",
      "[1,‸9223372036854775807]",
      "(‸9223372036854775807,]",
      "[1,‸99999999999999999999999999999999999999)",
      "[‸١,5)",
      "[1‸n,5)",
      "[‸Infinity,)",
      "[1,\"‸x\")",
      "[1,\\‸x)"
    ]
  },
  {
    type: "numrange",
    fromString: DecimalRange.fromString,
    malformed: [
      ...rangeShapes("1", "5"),
      "[1.‸.5,5)",
      "[1.5‸.1,5)",
      "[.‸,5)",
      "[-.‸,5)",
      "[1e‸,5)",
      "[1e+‸,5)",
      "[1e5‸.5,1e9)",
      "[‸e5,)",
      "[1e‸9999999,)",
      "[1‸_000,5000)",
      "[1‸ 000,5000)",
      "[0‸x1,5)",
      "[1‸/2,5)",
      "[1‸%,5)",
      "[‸$1,5)",
      "[-‸-1,5)",
      "[-‸NaN,)",
      "[‸infinit,)",
      "[‸NaN,Infinity)",
      "[‸Infinity,-Infinity)",
      "[‸1e131072,)",
      "[‸1e-16384,)"
    ]
  },
  {
    type: "daterange",
    fromString: DateRange.fromString,
    malformed: [
      ...rangeShapes("2024-01-01", "2024-01-05"),
      ...dates.filter((text) => text !== "‸" && !/[ ,]/.test(text)).map((text) => `[${text},)`),
      "[,‸5874897-12-31]",
      "(‸5874897-12-31,)",
      "[\"0001-02-28‸ CE\",)",
      "[\"‸4714-11-23 BC\",)",
      "[‸infinity,-infinity]"
    ]
  },
  {
    type: "tstzrange",
    fromString: DateTimeRange.fromString,
    malformed: [
      ...rangeShapes("2024-01-01T00:00:00Z", "2024-01-05T00:00:00Z"),
      ...times.filter((text) => !text.includes(",") && !text.endsWith(" ")).map((text) => `["${text}",)`),
      "[2024-01-01‸,)",
      "[‸\"2024-01-02 00:00:00+00\",\"2024-01-01 00:00:00+00\")"
    ]
  },
  { type: "date", fromString: CalendarDate.fromString, malformed: dates },
  { type: "timestamptz", fromString: Timestamp.fromString, malformed: times },
  {
    type: "interval",
    fromString: Interval.fromString,
    malformed: [
      "‸",
      "  ‸",
      "@‸",
      "‸x",
      "‸ago",
      "‸day",
      "1‸",
      "-‸",
      "1 ‸x",
      "1 ‸fortnight",
      "1 day ‸x",
      "1 day 2‸",
      "1 day 2 ‸days",
      "6.‸ mons",
      "6.‸hours",
      "1 day‸, 2 hours",
      "1 day‸-2 hours",
      "-‸ 1 day",
      "-‸-1 day",
      "‸1.5 days",
      "‸0.1 months",
      "‸1.5 years",
      "‸.5 weeks",
      "‸. hours",
      "‸1.0000001 seconds",
      "‸0.0000000001 hours",
      "00:00:00 1 ‸second",
      "1 hour ‸00:00:01",
      "1 minute 1 ‸min",
      "1‸:2",
      "1:‸60:00",
      "1:00:‸60",
      "1‸:00:",
      "1‸:00:00.",
      "1‸:00:00:00",
      "1‸:00.5",
      "1:00:‸00.0000001",
      "1 day ‸ago ago",
      "‸-2147483649 months",
      "‸2147483648 days",
      "‸178956971 years",
      "‸-306783379 weeks",
      "‸2562047789 hours",
      "‸9223372036855 seconds",
      "‸99999999999999999999999 days",
      "2‸-3",
      "1‸e3 days",
      "‸１ day",
      "1 day‸\u0000",
      "P‸",
      "PT‸",
      "P1‸",
      "P‸Y",
      "P1Y1‸Y",
      "P1D1‸M",
      "P1‸H",
      "PT1‸D",
      "PT1S1‸M",
      "P‸1.5D",
      "P1DT‸",
      "P1D‸ T1H",
      "P1DT‸T1H",
      "P‸+1D",
      "P-‸D",
      "P1.‸D",
      "P1Y‸x",
      "-‸P1D",
      "‸p1D",
      "‸P2147483648D",
      "PT‸0.0000001S",
      "P2024‸-01-01",
      "‸infinityx",
      "+‸infinity",
      "-‸inf"
    ]
  },
  {
    type: "inet",
    fromString: Inet.fromString,
    malformed: [
      "‸",
      "‸ 10.0.0.1",
      "10.0.0.1‸ ",
      "10.0.0‸",
      "10.0‸",
      "10‸",
      "10.0.0.‸",
      "10.0.‸.1",
      "‸.0.0.1",
      "10.0.0.1.‸1",
      "‸256.0.0.1",
      "10.‸300.0.1",
      "10.0.0.‸1000",
      "10.0.‸01.1",
      "‸010.0.0.1",
      "10.0.0.‸-1",
      "10.0.0.‸+1",
      "10.0.0.‸x",
      "‸x",
      "‸localhost",
      "0‸x7f.0.0.1",
      "‸2130706433",
      "10.0.0.1/‸",
      "10.0.0.1/‸33",
      "10.0.0.1/‸-1",
      "10.0.0.1/‸+8",
      "10.0.0.1/‸08",
      "10.0.0.1/‸8.5",
      "10.0.0.1/‸x",
      "10.0.0.1/‸8/8",
      "10.0.0.1/‸ 8",
      "10.0.0.1/‸8 ",
      "10.0.0.1/‸255.0.0.0",
      "10.0.0.1/‸999999999999",
      "10.0.0.1‸:80",
      "‸/8",
      "‸[::1]",
      "::1‸%eth0",
      "::1/‸129",
      "::1/‸",
      "::1/‸x",
      "::‸g",
      "1::2‸::3",
      "::1‸::",
      "::‸:1",
      "1:2:3:4:5:6:7‸",
      "1:2:3:4:5:6:7:8:‸9",
      "1:2:3:4:5:6:7:8‸::",
      "‸12345::",
      "::‸12345",
      "::‸256.0.0.1",
      "::‸1.2.3",
      "::‸1.2.3.4.5",
      "::‸1.2.3.4:5",
      "10.0.0.1‸\u0000",
      "‸１0.0.0.1",
      "10.0.0.1‸,10.0.0.2",
      "10‸/8"
    ]
  }
]

const mark = "‸"

describe("malformed text", () => {
  for (const { fromString, malformed, type } of subjects) {
    it(`${type}: more than 50 kinds of it are refused, each at its place`, () => {
      const wrong: Array<string> = []
      assert.isAtLeast(new Set(malformed).size, 50)
      for (const marked of malformed) {
        const place = marked.indexOf(mark)
        assert.isAtLeast(place, 0, marked)
        const text = marked.replace(mark, "")
        const parsed = fromString(text)
        if (Result.isSuccess(parsed)) {
          wrong.push(`${JSON.stringify(text)} was read as ${String(parsed.success)}`)
          continue
        }
        const error = parsed.failure
        assert.instanceOf(error, DbTypeError.InvalidText)
        assert.strictEqual(error.text, text)
        assert.strictEqual(error.typeName, type)
        assert.isNotEmpty(error.problem)
        if (error.position !== place) {
          wrong.push(`${JSON.stringify(marked)} was refused at ${error.position}, not ${place}: ${error.problem}`)
        }
      }
      assert.deepStrictEqual(wrong, [])
    })
  }
})

const examples: { readonly [type: string]: (source: support.Source) => string } = {
  int8range: (source) => String(support.integerRange(source)),
  numrange: (source) => String(support.decimalRange(source)),
  daterange: (source) => String(support.dateRange(source)),
  tstzrange: (source) => String(support.dateTimeRange(source)),
  date: (source) => String(support.date(source)),
  timestamptz: (source) => String(support.timestamp(source)),
  interval: (source) => String(support.interval(source)),
  inet: (source) => String(support.inet(source))
}

const mutate = (source: support.Source, text: string): string => {
  const at = source.int(0, text.length)
  const character = source.pick(Array.from("0123456789 ,.:-+/()[]\"\\eTZBCPYMDHS"))
  return source.pick([
    text.slice(0, at) + character + text.slice(at),
    text.slice(0, at) + text.slice(at + 1),
    text.slice(0, at) + character + text.slice(at + 1),
    text.slice(0, at) + text.slice(at, at + 3) + text.slice(at)
  ])
}

layer(support.Oracle, { excludeTestServices: true, timeout: "60 seconds" })("texts that are nearly values", (it) => {
  for (const { fromString, type } of subjects) {
    it.effect(`${type}: what is read is what the server reads`, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const serverHas = yield* support.serverHas
        const { because, source } = support.random()
        const texts = Array.from({ length: support.many }, () => {
          const once = mutate(source, examples[type]!(source))
          return source.chance(0.5) ? once : mutate(source, once)
        })
        const rows = yield* sql<{ text: string | null }>`SELECT try_text(t, ${type === "inet" ? "inet" : type}) AS text
          FROM unnest(${texts}::text[]) WITH ORDINALITY AS t(t, n) ORDER BY n`
        let read = 0
        for (const [index, { text }] of rows.entries()) {
          const parsed = fromString(texts[index]!)
          if (Result.isFailure(parsed)) {
            assert.isAtMost(parsed.failure.position, texts[index]!.length, because)
            continue
          }
          // The lowest number of microseconds, which the server prints and does not read.
          if (texts[index]!.includes("2562047788:00:54.775808")) continue
          read++
          const ours = String(parsed.success)
          // A cast of inet to text shows every prefix.
          const shown = type === "inet" && !ours.includes("/") ? `${ours}/${ours.includes(":") ? 128 : 32}` : ours
          assert.strictEqual(
            serverHas(parsed.success) ? shown : null,
            text,
            `${JSON.stringify(texts[index])}; ${because}`
          )
        }
        assert.isAbove(read, 50, because)
        assert.isBelow(read, support.many - 200, because)
      }))
  }

  it.effect("timestamptz: every form of an offset from UTC that is read is one that the server reads, and as the server does", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const pieces = ["", "0", "05", "15", "16", "59", "60", ":", ":0", ":30", ":60"]
      const texts = pieces.flatMap((one) =>
        pieces.flatMap((two) => pieces.map((three) => `2024-02-29 12:00:00.5-${one}${two}${three}`))
      )
      const rows = yield* sql<{ text: string | null }>`SELECT try_text(t, 'timestamptz') AS text
        FROM unnest(${texts}::text[]) WITH ORDINALITY AS t(t, n) ORDER BY n`
      const read = new Set<string>()
      for (const [index, { text }] of rows.entries()) {
        const parsed = Timestamp.fromString(texts[index]!)
        if (Result.isFailure(parsed)) continue
        assert.strictEqual(String(parsed.success), text, texts[index])
        read.add(texts[index]!.slice("2024-02-29 12:00:00.5".length))
      }
      for (const offset of ["-05", "-0559", "-05:30", "-1559", "-15:30:30"]) {
        assert.isTrue(read.has(offset), offset)
      }
      assert.isFalse(read.has("-155959") || read.has("-05:3005") || read.has("-0505:30"))
    }))
})
