/**
 * What the README shows of a run: the picture, the goals as they stand, and a table. It lies between two marks, and is written by
 * `npm run bench -- --readme` alone: nobody types a figure.
 */
import { Effect, FileSystem } from "effect"
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Cell } from "./catalogue.ts"
import { busyness, goalText, machineOf, type Run, times, whole } from "./report.ts"
import { isIn, type Line } from "./summary.ts"

const begin = "<!-- bench: written by npm run bench -- --readme -->"
const end = "<!-- bench: end -->"

const fileOf = (path: string) => fileURLToPath(new URL(path, import.meta.url))

interface Row extends Cell {
  readonly work: string
  readonly title: string
  readonly figure: (line: Line) => string
}

const perSecond = (line: Line) => `${whole(line.perSecond)}/s`
const p50 = (line: Line) => line.p50Millis >= 100 ? `${whole(line.p50Millis)} ms` : `${line.p50Millis.toFixed(2)} ms`

const rows: ReadonlyArray<Row> = [
  {
    work: "calls",
    operation: "call",
    servers: 100,
    concurrency: 64,
    title: "calls, 100 servers, 64 callers",
    figure: perSecond
  },
  {
    work: "calls",
    operation: "call",
    servers: 1,
    concurrency: 64,
    title: "calls, one hot server, 64 callers",
    figure: perSecond
  },
  { work: "calls", operation: "call", servers: 1, concurrency: 1, title: "a call at a time, p50", figure: p50 },
  {
    work: "casts",
    operation: "cast",
    servers: 100,
    concurrency: 64,
    title: "casts until handled, 100 servers",
    figure: perSecond
  },
  {
    work: "casts",
    operation: "cast",
    servers: 1,
    concurrency: 64,
    title: "casts until handled, one server",
    figure: perSecond
  },
  {
    work: "casts",
    operation: "handled",
    servers: 1,
    concurrency: 1,
    title: "a cast at a time until handled, p50",
    figure: p50
  },
  {
    work: "events",
    operation: "append",
    servers: 1,
    concurrency: 64,
    title: "append one, distinct streams",
    figure: perSecond
  },
  { work: "events", operation: "hot", servers: 1, concurrency: 64, title: "append one, one stream", figure: perSecond },
  {
    work: "events",
    operation: "hundred",
    servers: 1,
    concurrency: 16,
    title: "append a hundred, events",
    figure: perSecond
  },
  {
    work: "events",
    operation: "read",
    servers: 1,
    concurrency: 1,
    title: "read a stream of 1,000, events",
    figure: perSecond
  },
  {
    work: "events",
    operation: "catchUp",
    servers: 1,
    concurrency: 1,
    title: "subscription catching up, events",
    figure: perSecond
  },
  { work: "events", operation: "delivery", servers: 1, concurrency: 1, title: "append to delivery, p50", figure: p50 }
]

/** A table of a work, a column for each of its cases. */
const table = (run: Run, name: string): ReadonlyArray<string> => {
  const work = run.works.find(({ work }) => work.name === name)
  if (work === undefined) return []
  const here = rows.filter((row) => row.work === name && work.lines.some(isIn(row)))
  if (here.length === 0) return []
  const cases = work.cases.map((entry) => entry.name)
  return [
    `| ${name} | ${cases.join(" | ")} |`,
    `| --- | ${cases.map(() => "---:").join(" | ")} |`,
    ...here.map((row) => {
      const figures = cases.map((name) => {
        const line = work.lines.find((line) => line.name === name && isIn(row)(line))
        return line === undefined || line.perSecond === 0 ? "" : row.figure(line)
      })
      return `| ${row.title} | ${figures.join(" | ")} |`
    }),
    ""
  ]
}

/** Processor time and memory of a durable call, for those that share a cell. */
const spent = (run: Run): ReadonlyArray<string> => {
  const work = run.works.find(({ work }) => work.name === "calls")
  const lines = work?.lines.filter(isIn({ operation: "call", servers: 100, concurrency: 64 })) ?? []
  if (work === undefined || lines.length === 0) return []
  return [
    "| a call, 100 servers, 64 callers | " + lines.map(({ name }) => name).join(" | ") + " |",
    `| --- | ${lines.map(() => "---:").join(" | ")} |`,
    `| processor time of client processes, µs | ${lines.map((line) => times(line.clientMicros)).join(" | ")} |`,
    `| processor time of servers, µs | ${
      lines.map((line) => line.serverMicros === undefined ? "" : times(line.serverMicros)).join(" | ")
    } |`,
    `| memory beside Postgres, MB | ${
      lines.map(({ name }) => whole(work.verified.find((one) => one.name === name)?.megabytes ?? 0)).join(" | ")
    } |`,
    ""
  ]
}

/** How cost grows: each size's p50 by that where it is small. */
const growthTable = ({ growth }: Run): ReadonlyArray<string> => {
  const sizes = Array.from(new Set(growth.flatMap(({ points }) => points.map(({ size }) => size)))).toSorted((a, b) =>
    a - b
  )
  const large = sizes.filter((size) => size >= 100)
  const processes = growth.find(({ name }) => name === "processes")
  return [
    "How our cost grows, as a multiple of what it is where that is small (100 bytes or events, no servers or messages):",
    "",
    `| p50 by | ${large.map(whole).join(" | ")} |`,
    `| --- | ${large.map(() => "---:").join(" | ")} |`,
    ...growth.filter((one) => one !== processes).map(({ points, title }) =>
      `| ${title} | ${
        large.map((size) => points.find((point) => point.size === size)?.ratio.toFixed(2) ?? "").join(" | ")
      } |`
    ),
    "",
    ...processes === undefined ? [] : [
      `${processes.title}: ${
        processes.points.map(({ perSecond, ratio, size }) =>
          `${size}: ${whole(perSecond ?? 0)}/s (${ratio.toFixed(2)})`
        ).join(", ")
      }.`,
      ""
    ]
  ]
}

export const section = (run: Run): string =>
  [
    "![Holdfast beside what users would pick instead: bars](bench/results.svg)",
    "",
    `Measured on ${run.date.slice(0, 10)}: ${
      machineOf(run.facts)
    }, PostgreSQL ${run.facts.postgres} with default durability; ` +
    `${
      Object.entries(run.versions).filter(([name]) => name !== "effect").map(([name, version]) => `${name} ${version}`)
        .join(", ")
    }. ` +
    `Medians of ${run.rounds} interleaved rounds of ${run.sampleMillis} ms.`,
    ...[busyness(run.facts) ?? []].flat().map((text) => `**${text}.**`),
    "",
    ...["calls", "casts", "events"].flatMap((name) => table(run, name)),
    ...spent(run),
    ...run.works.flatMap(({ goals }) => goals.map((goal) => `- ${goalText(goal)}`)),
    "",
    ...run.growth.length === 0 ? [] : growthTable(run),
    ...run.works.flatMap(({ verified }) => verified).every(({ missing }) => missing === 0)
      ? ["Every case had stored as much as it had answered."]
      : ["**Not every case had stored as much as it had answered:** see `bench/results.json`."]
  ].join("\n")

/** Renews what lies between the marks of the README, the picture and the figures beside it. */
export const writeSection = Effect.fnUntraced(function*(text: string, svg: string, json: string) {
  const files = yield* FileSystem.FileSystem
  yield* files.writeFileString(fileOf("results.svg"), svg)
  yield* files.writeFileString(fileOf("results.json"), `${json}\n`)
  const readme = yield* files.readFileString(fileOf("../README.md"))
  const from = readme.indexOf(begin)
  const to = readme.indexOf(end)
  if (from < 0 || to < from) return yield* Effect.die(new Error("the README has no place for the figures"))
  yield* files.writeFileString(
    fileOf("../README.md"),
    `${readme.slice(0, from)}${begin}\n\n${text}\n\n${readme.slice(to)}`
  )
  // Tables are laid out as the rest of the page is.
  spawnSync("dprint", ["fmt", "README.md"], { cwd: fileOf(".."), stdio: "ignore" })
})
