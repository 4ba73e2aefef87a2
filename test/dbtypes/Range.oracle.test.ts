/**
 * Postgres is the oracle: what the functions of `Range` and `DbTypes` answer for random pairs of ranges is what the server
 * answers for the same pairs, which it is told as text.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Equal, Hash, Option, Result } from "effect"
import { SqlClient } from "effect/sql"
import { DateRange, DateTimeRange, DbTypes, DecimalRange, IntegerRange, Range } from "holdfast/dbtypes"
import * as support from "./support.ts"

interface Subject {
  readonly type: string
  readonly subtype: string
  readonly make: (source: support.Source) => Range.Range<unknown>
  readonly scalar: (source: support.Source) => unknown
  readonly formatScalar: (scalar: unknown) => string
  readonly fromString: (text: string) => Result.Result<Range.Range<unknown>, unknown>
  readonly isDiscrete: boolean
}

const formatDecimal = (scalar: unknown): string => {
  const text = String(DecimalRange.makeUnsafe({ lower: scalar as DecimalRange.Decimal }))
  return text.slice(1, text.indexOf(","))
}

const subjects: ReadonlyArray<Subject> = [
  {
    type: "int8range",
    subtype: "int8",
    make: support.integerRange,
    scalar: support.integer,
    formatScalar: String,
    fromString: IntegerRange.fromString,
    isDiscrete: true
  },
  {
    type: "numrange",
    subtype: "numeric",
    make: support.decimalRange,
    scalar: support.decimal,
    formatScalar: formatDecimal,
    fromString: DecimalRange.fromString,
    isDiscrete: false
  },
  {
    type: "daterange",
    subtype: "date",
    make: support.dateRange,
    scalar: support.date,
    formatScalar: String,
    fromString: DateRange.fromString,
    isDiscrete: true
  },
  {
    type: "tstzrange",
    subtype: "timestamptz",
    make: support.dateTimeRange,
    scalar: support.timestamp,
    formatScalar: String,
    fromString: DateTimeRange.fromString,
    isDiscrete: false
  }
]

interface Row {
  readonly text: string
  readonly eq: boolean
  readonly contains: boolean
  readonly contained: boolean
  readonly before: boolean
  readonly after: boolean
  readonly overlaps: boolean
  readonly adjacent: boolean
  readonly notRightOf: boolean
  readonly less: boolean
  readonly greater: boolean
  readonly union: Range.Range<unknown> | null
  readonly intersection: Range.Range<unknown>
  readonly difference: Range.Range<unknown> | null
  readonly merged: Range.Range<unknown>
  readonly unionText: string | null
  readonly intersectionText: string
  readonly differenceText: string | null
  readonly isempty: boolean
  readonly lower: string | null
  readonly upper: string | null
  readonly lowerInc: boolean
  readonly upperInc: boolean
  readonly lowerInf: boolean
  readonly upperInf: boolean
  readonly lowers: number
  readonly uppers: number
}

const operatorOf = (row: Row): DbTypes.Operator =>
  row.eq
    ? "eq"
    : row.contains
    ? "lcr"
    : row.contained
    ? "rcl"
    : row.before
    ? "lt"
    : row.after
    ? "gt"
    : row.notRightOf
    ? "lto"
    : "gto"

const query = (type: string) =>
  `WITH pairs AS (
     SELECT a::${type} AS a, b::${type} AS b, n FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t(a, b, n)
   ), bounds AS MATERIALIZED (
     SELECT *, try_union(a, b) AS ab, try_difference(a, b) AS d,
       ${type}(lower(a), NULL, CASE WHEN lower_inc(a) THEN '[)' ELSE '()' END) AS la,
       ${type}(lower(b), NULL, CASE WHEN lower_inc(b) THEN '[)' ELSE '()' END) AS lb,
       ${type}(NULL, upper(a), CASE WHEN upper_inc(a) THEN '(]' ELSE '()' END) AS ua,
       ${type}(NULL, upper(b), CASE WHEN upper_inc(b) THEN '(]' ELSE '()' END) AS ub
     FROM pairs
   )
   SELECT a::text AS text, a = b AS eq, a @> b AS contains, a <@ b AS contained, a << b AS before, a >> b AS after,
     a && b AS overlaps, a -|- b AS adjacent, a &< b AS "notRightOf", a < b AS less, a > b AS greater,
     ab AS union, a * b AS intersection, d AS difference, range_merge(a, b) AS merged,
     ab::text AS "unionText", (a * b)::text AS "intersectionText", d::text AS "differenceText",
     isempty(a) AS isempty, lower(a)::text AS lower, upper(a)::text AS upper,
     lower_inc(a) AS "lowerInc", upper_inc(a) AS "upperInc", lower_inf(a) AS "lowerInf", upper_inf(a) AS "upperInf",
     CASE WHEN la < lb THEN -1 WHEN la > lb THEN 1 ELSE 0 END AS lowers,
     CASE WHEN ua < ub THEN -1 WHEN ua > ub THEN 1 ELSE 0 END AS uppers
   FROM bounds ORDER BY n`

const signs = { [-1]: "lt", [0]: "eq", [1]: "gt" } as const

const boundText = (subject: Subject, bound: Range.Bound<unknown>): string | null =>
  bound._tag === "Unbounded" ? null : subject.formatScalar(bound.value)

layer(support.Oracle, { excludeTestServices: true, timeout: "60 seconds" })("ranges", (it) => {
  for (const subject of subjects) {
    const { make, type } = subject

    it.effect(`${type}: every operation on two ranges answers as the server does`, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const { because, source } = support.random()
        const { lefts, rights } = support.pairs(source, make, support.many)
        const rows = yield* sql.unsafe<Row>(query(type), [lefts.map(String), rights.map(String)])
        assert.lengthOf(rows, support.many)
        const seen = new Set<string>()
        for (const [index, row] of rows.entries()) {
          const [a, b] = [lefts[index]!, rights[index]!]
          const what = (operation: string) => `${operation} of ${a} and ${b}; ${because}`
          const is = (operation: string, actual: unknown, expected: unknown) => {
            // The message is made where there is something to say.
            if (actual !== expected) assert.strictEqual(actual, expected, what(operation))
          }
          is("text", row.text, String(a))
          is("=", Equal.equals(a, b), row.eq)
          if (row.eq) is("hash", Hash.hash(a), Hash.hash(b))
          is("@>", Range.containsRange(a, b), row.contains)
          is("<@", Range.containsRange(b, a), row.contained)
          is("<<", Range.isBefore(a, b), row.before)
          is(">>", Range.isAfter(a, b), row.after)
          is("&&", Range.overlaps(a, b), row.overlaps)
          is("-|-", Range.adjacent(a, b), row.adjacent)
          is("order", Range.Order(a, b), row.less ? -1 : row.greater ? 1 : 0)
          const union = Result.getOrElse(Range.union(a, b), () => null)
          is("+", String(union), String(row.unionText))
          is("+ read", Equal.equals(union, row.union), true)
          is("*", String(Range.intersect(a, b)), row.intersectionText)
          is("* read", Equal.equals(Range.intersect(a, b), row.intersection), true)
          const difference = Result.getOrElse(Range.difference(a, b), () => null)
          is("-", String(difference), String(row.differenceText))
          is("- read", Equal.equals(difference, row.difference), true)
          is("range_merge", String(Range.merge(a, b)), String(row.merged))
          is("isempty", Range.isEmpty(a), row.isempty)
          is("lower", boundText(subject, a.lowerBound), row.lower)
          is("upper", boundText(subject, a.upperBound), row.upper)
          is("lower_inc", a.lowerBound._tag === "Inclusive", row.lowerInc)
          is("upper_inc", a.upperBound._tag === "Inclusive", row.upperInc)
          is("lower_inf", !a.isEmpty && a.lowerBound._tag === "Unbounded", row.lowerInf)
          is("upper_inf", !a.isEmpty && a.upperBound._tag === "Unbounded", row.upperInf)
          const operator = operatorOf(row)
          seen.add(operator)
          is("compare", DbTypes.compare(a, b), operator)
          is("testCompare", DbTypes.testCompare(a, b, operator), true)
          if (!a.isEmpty && !b.isEmpty) {
            assert.deepStrictEqual(
              DbTypes.boundsCompare(a, b),
              { lower: signs[row.lowers as -1 | 0 | 1], upper: signs[row.uppers as -1 | 0 | 1] },
              what("bounds")
            )
          }
        }
        // The generator reaches every answer, or some of the above was tested by nothing.
        assert.deepStrictEqual(Array.from(seen).sort(), ["eq", "gt", "gto", "lcr", "lt", "lto", "rcl"], because)
      }))

    it.effect(`${type}: a range and a scalar compare as on the server`, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const { because, source } = support.random()
        const ranges = Array.from({ length: support.many }, () => make(source))
        const scalars = ranges.map(() => subject.scalar(source))
        // A scalar is before or behind a range if the range of it alone is, in the way that has no canonical form to miss.
        const rows = yield* sql.unsafe<{
          readonly contains: boolean
          readonly below: boolean | null
          readonly above: boolean | null
          readonly less: boolean
          readonly equal: boolean
        }>(
          `SELECT a @> x AS contains, less, equal,
             x < lower(a) OR (x = lower(a) AND NOT lower_inc(a)) AS below,
             x > upper(a) OR (x = upper(a) AND NOT upper_inc(a)) AS above
           FROM (
             SELECT a::${type} AS a, x::${subject.subtype} AS x, n,
               x::${subject.subtype} < y::${subject.subtype} AS less, x::${subject.subtype} = y::${subject.subtype} AS equal
             FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS t(a, x, y, n)
           ) t ORDER BY n`,
          [ranges.map(String), scalars.map(subject.formatScalar), scalars.toReversed().map(subject.formatScalar)]
        )
        const compare = DbTypes.compare as (left: unknown, right: unknown) => DbTypes.Operator
        for (const [index, row] of rows.entries()) {
          const [a, x, y] = [ranges[index]!, scalars[index], scalars.at(-1 - index)]
          const what = `${a} and ${subject.formatScalar(x)}; ${because}`
          assert.strictEqual(Range.contains(a, x), row.contains, what)
          const isEmptyOrBehind = a.isEmpty || row.above === true
          assert.strictEqual(compare(a, x), row.contains ? "lcr" : isEmptyOrBehind ? "lt" : "gt", what)
          assert.strictEqual(compare(x, a), row.contains ? "rcl" : isEmptyOrBehind ? "gt" : "lt", what)
          if (!a.isEmpty && !row.contains) assert.isTrue(row.below === true || row.above === true, what)
          assert.strictEqual(
            compare(x, y),
            row.equal ? "eq" : row.less ? "lt" : "gt",
            `${subject.formatScalar(x)} and ${subject.formatScalar(y)}; ${because}`
          )
        }
      }))

    it.effect(`${type}: every mix of bounds is made canonical as on the server`, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const { because, source } = support.random()
        const texts = Array.from({ length: support.many }, () => {
          const side = () => {
            if (source.chance(0.1)) return ""
            const text = subject.formatScalar(subject.scalar(source))
            return source.chance(0.3) || /[\s,]/.test(text) ? `"${text}"` : text
          }
          const space = () => source.chance(0.05) ? " " : ""
          return `${space()}${source.pick(["[", "("])}${side()},${side()}${source.pick(["]", ")"])}${space()}`
        })
        const rows = yield* sql<{ readonly text: string | null }>`
          SELECT try_text(t, ${type}) AS text FROM unnest(${texts}::text[]) WITH ORDINALITY AS t(t, n) ORDER BY n`
        let refused = 0
        for (const [index, { text }] of rows.entries()) {
          const parsed = subject.fromString(texts[index]!)
          const ours = Result.isSuccess(parsed) ? String(parsed.success) : null
          assert.strictEqual(ours, text, `${texts[index]}; ${because}`)
          if (text === null) refused++
        }
        assert.isAbove(refused, 100, because)
        assert.isBelow(refused, support.many - 500, because)
      }))

    if (subject.isDiscrete) {
      it.effect(`${type}: lower and upper are the first and the last value`, () =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const { because, source } = support.random()
          const ranges = Array.from({ length: support.many }, () => make(source))
          // An infinite date has no date before it, and the first value there is has no value before it.
          const rows = yield* sql.unsafe<{ readonly lower: string | null; readonly upper: string | null }>(
            `SELECT lower(a)::text AS lower,
               CASE WHEN upper_inc(a) OR upper(a)::text LIKE '%infinity' THEN upper(a)
                 WHEN upper(a)::text IN ('-9223372036854775808', '4714-11-24 BC') THEN NULL
                 ELSE upper(a) - 1 END::text AS upper
             FROM unnest($1::text[]) WITH ORDINALITY AS t(t, n), LATERAL (SELECT t::${type} AS a) r ORDER BY n`,
            [ranges.map(String)]
          )
          for (const [index, row] of rows.entries()) {
            const range = ranges[index]!
            const text = (bound: Option.Option<unknown>) => Option.getOrNull(Option.map(bound, String))
            assert.deepStrictEqual(
              { lower: text(Range.lower(range)), upper: text(Range.upper(range)) },
              { lower: row.lower, upper: row.upper },
              `${range}; ${because}`
            )
          }
        }))
    }
  }
})
