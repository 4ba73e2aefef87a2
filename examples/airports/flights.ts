/**
 * The input: a JSON file with an array of flights, by default the 20,000 of `vega-datasets`. What is wrong with a file is
 * said with its row and field.
 */
import { Effect, FileSystem, Schema, SchemaIssue } from "effect"
import { createHash } from "node:crypto"
import { fileURLToPath } from "node:url"

const Code = Schema.String.check(Schema.isPattern(/^[A-Z0-9]{3,4}$/, { expected: "an airport's code, such as SEA" }))

const Row = Schema.Struct({
  date: Schema.String.check(
    Schema.isPattern(/^\d{4}\/\d\d\/\d\d \d\d:\d\d$/, { expected: "a time, such as 2001/01/31 18:05" })
  ),
  /** In minutes; negative when the flight was early. */
  delay: Schema.Int,
  /** In miles. */
  distance: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  origin: Code,
  destination: Code
})

/** A flight, and the name that tells it from all others in whatever run. */
export interface Flight extends Schema.Schema.Type<typeof Row> {
  readonly id: string
}

/** The flights of a file, with a fingerprint of it. */
export interface Flights {
  readonly file: string
  readonly fingerprint: string
  readonly flights: ReadonlyArray<Flight>
}

/** A file that holds no flights, or is no file of flights. */
export class FlightsUnreadable extends Schema.TaggedError<FlightsUnreadable>()("FlightsUnreadable", {
  file: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.file}: ${this.problem}`
  }
}

/** The flights that come with `vega-datasets`. */
export const defaultFile = fileURLToPath(
  new URL("../data/flights-20k.json", import.meta.resolve("vega-datasets"))
)

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Array(Row)))

const issues = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => issue._tag === "MissingKey" ? "is missing" : SchemaIssue.defaultLeafHook(issue)
})

const describe = (issue: SchemaIssue.Issue): string => {
  const [first] = issues(issue).issues
  const [row, field] = (first?.path ?? []).map(String)
  const problem = first?.message ?? "is not as expected"
  return row === undefined ? problem : `row ${Number(row) + 1}${field === undefined ? "" : `, ${field}`}: ${problem}`
}

/** A flight's name is what is known of it, and a number where the file has several that agree in everything. */
const name = (rows: ReadonlyArray<typeof Row.Type>): ReadonlyArray<Flight> => {
  const seen = new Map<string, number>()
  return rows.map((row) => {
    const what = `${row.date} ${row.origin}-${row.destination} ${row.delay}/${row.distance}`
    const nth = (seen.get(what) ?? 0) + 1
    seen.set(what, nth)
    return { ...row, id: nth === 1 ? what : `${what} #${nth}` }
  })
}

/** Reads a file of flights. */
export const read = Effect.fn("flights.read")(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const unreadable = (problem: string) => new FlightsUnreadable({ file, problem })
  const text = yield* Effect.mapError(
    fs.readFileString(file),
    (error) => unreadable(`cannot be read: ${error.reason._tag}`)
  )
  const rows = yield* Effect.mapError(decode(text), ({ issue }) => unreadable(describe(issue)))
  if (rows.length === 0) return yield* unreadable("holds no flights")
  const fingerprint = createHash("sha256").update(text).digest("hex")
  return { file, fingerprint, flights: name(rows) } satisfies Flights
})
