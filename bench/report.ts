/**
 * What a run prints: the machine, a table, how the goals stand; and the same as JSON, with every single sample.
 */
import type { Facts } from "./database.ts"
import type { Plan, Sample } from "./measure.ts"
import type { Goal, Line } from "./summary.ts"

export interface Run {
  readonly date: string
  readonly facts: Facts
  readonly plan: Plan
  readonly lines: ReadonlyArray<Line>
  readonly goals: ReadonlyArray<Goal>
  readonly verified: ReadonlyArray<{ readonly name: string; readonly answered: number; readonly missing: number }>
  readonly samples: ReadonlyArray<Sample>
}

const whole = (value: number) => Math.round(value).toLocaleString("en-US")
const fixed = (digits: number) => (value: number) => value.toFixed(digits)

const columns: ReadonlyArray<readonly [string, (line: Line) => string]> = [
  ["case", (line) => line.name],
  ["servers", (line) => whole(line.servers)],
  ["concurrency", (line) => whole(line.concurrency)],
  ["calls/s", (line) => whole(line.callsPerSecond)],
  ["p50 ms", (line) => fixed(3)(line.p50Millis)],
  ["p99 ms", (line) => fixed(3)(line.p99Millis)],
  ["commits/s", (line) => whole(line.commitsPerSecond)],
  ["calls/commit", (line) => line.commitsPerSecond < 5 ? "" : fixed(1)(line.callsPerSecond / line.commitsPerSecond)],
  ["CPU µs/call", (line) => fixed(1)(line.cpuMicrosPerCall)],
  ["of bare", (line) => line.ofBare === undefined ? "" : fixed(2)(line.ofBare)]
]

const table = (lines: ReadonlyArray<Line>): string => {
  const cells = [columns.map(([title]) => title), ...lines.map((line) => columns.map(([, of]) => of(line)))]
  const widths = columns.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  const print = (row: ReadonlyArray<string>) =>
    row.map((text, column) => column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0)).join(
      "  "
    )
  return cells.flatMap((row, index) => {
    const line = lines[index - 1]
    const before = lines[index - 2]
    const newCell = line !== undefined &&
      (before === undefined || before.servers !== line.servers || before.concurrency !== line.concurrency)
    return newCell ? [widths.map((width) => "─".repeat(width)).join("  "), print(row)] : [print(row)]
  }).join("\n")
}

export const print = ({ facts, goals, lines, plan, verified }: Run): string =>
  [
    `${facts.cores} × ${facts.processor}, ${facts.system}; Node ${facts.node}, effect ${facts.effect}, ` +
    `@effect/sql-pg ${facts.sqlPg}`,
    `PostgreSQL ${facts.postgres}: ` +
    Object.entries(facts.settings).map(([name, value]) => `${name}=${value}`).join(", "),
    `medians of ${plan.rounds} interleaved rounds of ${plan.sampleMillis} ms; ratios are taken within a round. Commits are ` +
    "transactions that wrote, by their ids; CPU is this process's own, user and system.",
    "",
    ...plan.cases.map((one) => `${one.name}: ${one.title}`),
    "",
    table(lines),
    "",
    ...goals.map(({ asked, met, reached, text }) =>
      `${met ? "reached" : "missed"}: ${text} ${asked}: ${reached.toFixed(2)}`
    ),
    ...verified.map(({ answered, missing, name }) =>
      missing === 0
        ? `verified: ${name}, ${whole(answered)} calls answered, as many stored`
        : `WRONG: ${name} answered ${whole(answered)} calls and stored ${whole(answered - missing)}`
    )
  ].join("\n")

export const toJson = ({ plan, ...run }: Run): string =>
  JSON.stringify({ ...run, plan: { ...plan, cases: plan.cases.map(({ name, title }) => ({ name, title })) } }, null, 2)
