/**
 * What is printed when all airports were asked: the ten busiest, the rate, and whether every one of them was right.
 */
import type { Tally } from "./Airport.ts"
import type { Proof } from "./board.ts"
import { count } from "./Screen.ts"
import type { Verdict } from "./verify.ts"

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)).join(
      "  "
    )
  )
}

const busiest = (verdicts: ReadonlyArray<Verdict>): ReadonlyArray<string> =>
  table([
    ["airport", "departures", "arrivals", "average delay", "miles"],
    ...verdicts
      .toSorted((a, b) => b.actual.flights - a.actual.flights || a.code.localeCompare(b.code))
      .slice(0, 10)
      .map(({ actual, code }) => [
        code,
        count(actual.departures),
        count(actual.arrivals),
        `${actual.averageDelay.toFixed(1)} min`,
        count(actual.miles)
      ])
  ])

const tally = ({ arrivals, departures, miles, minutesLate }: Tally): string =>
  `${count(departures)} departures, ${count(arrivals)} arrivals, ${count(minutesLate)} min, ${count(miles)} miles`

/** What the job came to. */
export interface Result {
  readonly added: number
  readonly millis: number
  readonly total: number
  readonly verdicts: ReadonlyArray<Verdict>
  readonly board: Proof
}

/** Whether the event store holds each departure that the airports have counted, and the board has shown them in their order. */
const isBoardRight = ({ board, verdicts }: Result): boolean =>
  board.isComplete && board.stored === verdicts.reduce((sum, { actual }) => sum + actual.departures, 0)

/** How many airports are wrong, and the board as one. */
export const mismatches = (result: Result): number =>
  result.verdicts.filter((verdict) => !verdict.agrees).length + (isBoardRight(result) ? 0 : 1)

/** The lines of the report. */
export const report = (result: Result): ReadonlyArray<string> => {
  const { added, board, millis, total, verdicts } = result
  const wrong = verdicts.filter((verdict) => !verdict.agrees)
  return [
    "",
    ...busiest(verdicts),
    "",
    `the board has shown ${count(board.shown)} departures, of ${count(board.stored)} in the event store` +
    (isBoardRight(result) ? "" : ", and that is wrong"),
    `${count(total)} messages in ${(millis / 1000).toFixed(1)} s, ${count(total * 1000 / Math.max(1, millis))}/s; ` +
    `${count(added)} were new, ${count(total - added)} were known already`,
    ...wrong.flatMap(({ actual, code, expected }) => [
      `${code} is wrong: it counts ${tally(actual)}`,
      `${" ".repeat(code.length)}        it should: ${tally(expected)}`
    ]),
    `verified ${verdicts.length} airports, ${total} messages, ${mismatches(result)} mismatches`
  ]
}
