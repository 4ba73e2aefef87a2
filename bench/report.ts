/**
 * What a run prints: the machine, for each work a table and how the goals stand, what was chosen for each case and what it
 * promises; and the same as JSON, with every single sample.
 */
import type { Entry } from "./catalogue.ts"
import type { Facts } from "./database.ts"
import { type Grown, printGrowth } from "./growth/growth.ts"
import type { Sample, Verified } from "./measure.ts"
import type { Line } from "./summary.ts"
import type { Goal, Work } from "./works.ts"

export interface WorkRun {
  readonly work: Work
  readonly cases: ReadonlyArray<Entry>
  readonly lines: ReadonlyArray<Line>
  readonly goals: ReadonlyArray<Goal>
  readonly verified: ReadonlyArray<Verified>
  readonly samples: ReadonlyArray<Sample>
}

export interface Run {
  readonly date: string
  readonly facts: Facts
  readonly versions: Readonly<Record<string, string>>
  readonly rounds: number
  readonly sampleMillis: number
  readonly works: ReadonlyArray<WorkRun>
  readonly growth: ReadonlyArray<Grown>
}

export const whole = (value: number) => Math.round(value).toLocaleString("en-US")
const fixed = (digits: number) => (value: number) => Number.isNaN(value) ? "" : value.toFixed(digits)
/** Three digits that say something, for ratios of any size. */
export const times = (value: number) =>
  !Number.isFinite(value) ? "–" : value >= 100 ? whole(value) : value >= 10 ? value.toFixed(1) : value.toFixed(2)

const columns: ReadonlyArray<readonly [string, (line: Line) => string]> = [
  ["case", (line) => line.name],
  ["servers", (line) => whole(line.servers)],
  ["callers", (line) => whole(line.concurrency)],
  ["per second", (line) => whole(line.perSecond)],
  ["p50 ms", (line) => fixed(3)(line.p50Millis)],
  ["p99 ms", (line) => fixed(3)(line.p99Millis)],
  ["commits/s", (line) => whole(line.commitsPerSecond)],
  ["client µs", (line) => fixed(1)(line.clientMicros)],
  ["server µs", (line) => line.serverMicros === undefined ? "" : fixed(1)(line.serverMicros)],
  ["holdfast is", (line) => line.holdfast === undefined ? "" : `${times(line.holdfast)} ×`]
]

const table = (work: Work, lines: ReadonlyArray<Line>): string => {
  const cells = [columns.map(([title]) => title), ...lines.map((line) => columns.map(([, of]) => of(line)))]
  const widths = columns.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  const print = (row: ReadonlyArray<string>) =>
    row.map((text, column) => column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0)).join(
      "  "
    )
  return cells.flatMap((row, index) => {
    const line = lines[index - 1]
    const before = lines[index - 2]
    if (line === undefined) return [print(row)]
    const newOperation = line.operation !== before?.operation
    const newCell = newOperation || before.servers !== line.servers || before.concurrency !== line.concurrency
    return [
      ...newCell ? [widths.map((width) => "─".repeat(width)).join("  ")] : [],
      ...newOperation && Object.keys(work.operations).length > 1
        ? [work.operations[line.operation] ?? line.operation]
        : [],
      print(row)
    ]
  }).join("\n")
}

export const goalText = ({ asked, best, met, reached, text }: Goal): string =>
  `${met ? "reached" : "missed"}: ${text} ${asked}: ${times(reached)}${best === undefined ? "" : ` (by ${best})`}`

const printWork = ({ cases, goals, lines, verified, work }: WorkRun): string =>
  [
    work.title,
    "",
    table(work, lines),
    "",
    ...goals.map(goalText),
    ...verified.map(({ answered, excused, megabytes, missing, name }) =>
      missing === 0
        ? `verified: ${name}, ${whole(answered)} answered, as many stored; ${
          whole(megabytes)
        } MB of memory beside Postgres`
        : `${excused ? "missed" : "WRONG"}: ${name} answered ${whole(answered)} and stored ${whole(answered - missing)}`
    ),
    "",
    ...cases.flatMap(({ name, promises, settings, title }) => [
      `${name}: ${title}`,
      ...settings === "" ? [] : [`  chosen: ${settings}`],
      `  promises: ${promises}`
    ])
  ].join("\n")

export const machineOf = (facts: Facts) =>
  `${facts.cores} × ${facts.processor}, ${facts.system}; Node ${facts.node}, effect ${facts.effect}, @effect/sql-pg ${facts.sqlPg}`

/** A word of warning where others were using the machine when the run began. */
export const busyness = ({ cores, load }: Facts): string | undefined =>
  load <= cores ?
    undefined :
    `The machine was busy with other work when this began (load ${load.toFixed(1)} on ${cores} cores): ` +
    "rates are low, and ratios are rough"

export const postgresOf = (facts: Facts) =>
  `PostgreSQL ${facts.postgres}: ${
    Object.entries(facts.settings).map(([name, value]) => `${name}=${value}`).join(", ")
  }`

export const print = ({ facts, growth, rounds, sampleMillis, versions, works }: Run): string =>
  [
    machineOf(facts),
    postgresOf(facts),
    ...[busyness(facts) ?? []].flat(),
    ...Object.keys(versions).length === 0
      ? []
      : [Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ")],
    `medians of ${rounds} interleaved rounds of ${sampleMillis} ms; ratios are taken within a round. Commits are transactions that ` +
    "wrote, by their ids; client and server are processor time for each operation, of the processes that run user code and of those that store.",
    ...works.flatMap((work) => ["", printWork(work)]),
    ...growth.length === 0 ? [] : ["", printGrowth(growth)]
  ].join("\n")

/** Everything, or without the single samples where it is to be kept. */
export const toJson = ({ works, ...run }: Run, withSamples = true): string =>
  JSON.stringify(
    {
      ...run,
      works: works.map(({ cases, samples, work, ...rest }) => ({
        work: work.name,
        title: work.title,
        cases: cases.map(({ name, promises, settings, title }) => ({ name, title, settings, promises })),
        ...rest,
        ...withSamples ? { samples } : {}
      }))
    },
    null,
    2
  )
