/**
 * Tables and times for people. What comes from elsewhere (keys, payloads, failures) is shown so that it cannot do anything to
 * a terminal.
 */

/** A text on one line, with what would move a cursor written out. */
export const plain = (text: string): string =>
  text.replaceAll(
    // oxlint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/** The same for a text of several lines. */
export const plainLines = (text: string): ReadonlyArray<string> => text.split("\n").map(plain)

/** The beginning of a text. */
export const brief = (text: string, most: number): string => text.length <= most ? text : `${text.slice(0, most - 1)}…`

type Cell = string | number | undefined

const textOf = (cell: Cell): string =>
  cell === undefined ? "-" : typeof cell === "number" ? cell.toLocaleString("en") : plain(cell)

/** Columns under their names: numbers to the right, all else to the left. */
export const table = (
  columns: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<Cell>>
): ReadonlyArray<string> => {
  const isNumber = columns.map((_, column) => rows.some((row) => typeof row[column] === "number"))
  const texts = [columns, ...rows.map((row) => row.map(textOf))]
  const widths = columns.map((_, column) => texts.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0))
  return texts.map((row) =>
    row.map((text, column) =>
      isNumber[column] === true ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0)
    ).join("  ").trimEnd()
  )
}

/** A span of time, in seconds. */
export const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

/** How much was done each second. */
export const rate = (perSecond: number | undefined): string =>
  perSecond === undefined ? "-" : `${perSecond >= 100 ? Math.round(perSecond) : perSecond.toFixed(1)}/s`
