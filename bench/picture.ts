/**
 * The picture: bars for what readers ask first, as SVG, drawn by hand so that no browser and no library is needed. It has no
 * background; its colours follow the reader's scheme where the viewer tells it, and are readable on both where it does not.
 * Scales are linear and begin at zero: what is a hundred times as much is a hundred times as long.
 */
import type { Cell } from "./catalogue.ts"
import { type Run, whole } from "./report.ts"
import { isIn, type Line } from "./summary.ts"

interface Panel extends Cell {
  readonly work: string
  readonly title: string
  /** What the bars stand for. */
  readonly unit: "per second" | "ms"
}

const panels: ReadonlyArray<Panel> = [
  {
    work: "calls",
    operation: "call",
    servers: 100,
    concurrency: 64,
    unit: "per second",
    title: "Durable calls, 100 servers, 64 callers"
  },
  {
    work: "calls",
    operation: "call",
    servers: 1,
    concurrency: 64,
    unit: "per second",
    title: "Durable calls, one hot server, 64 callers"
  },
  {
    work: "casts",
    operation: "cast",
    servers: 100,
    concurrency: 64,
    unit: "per second",
    title: "Casts until handled elsewhere, 100 servers"
  },
  {
    work: "calls",
    operation: "call",
    servers: 1,
    concurrency: 1,
    unit: "ms",
    title: "A call at a time, p50 (shorter is better)"
  },
  {
    work: "events",
    operation: "append",
    servers: 1,
    concurrency: 64,
    unit: "per second",
    title: "Events appended, distinct streams, 64 callers"
  },
  {
    work: "events",
    operation: "hot",
    servers: 1,
    concurrency: 64,
    unit: "per second",
    title: "Events appended, one stream, 64 callers"
  },
  {
    work: "events",
    operation: "catchUp",
    servers: 1,
    concurrency: 1,
    unit: "per second",
    title: "A subscription that catches up, events"
  },
  {
    work: "events",
    operation: "delivery",
    servers: 1,
    concurrency: 1,
    unit: "ms",
    title: "From append to delivery, p50 (shorter is better)"
  }
]

const floors = new Set(["row", "bare", "pgbench"])

const width = 880
const gap = 32
const column = (width - gap) / 2
const nameWidth = 112
const valueWidth = 74
const rowHeight = 19
const barHeight = 12
const titleHeight = 30

const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

const valueOf = (panel: Panel, line: Line) => panel.unit === "ms" ? line.p50Millis : line.perSecond

const textOf = (panel: Panel, value: number) =>
  panel.unit === "per second" ? `${whole(value)}/s` : value >= 100 ? `${whole(value)} ms` : `${value.toFixed(2)} ms`

const kindOf = (name: string) => name === "holdfast" ? "ours" : floors.has(name) ? "floor" : "peer"

const draw = (panel: Panel, lines: ReadonlyArray<Line>, x: number, y: number): string => {
  const most = Math.max(...lines.map((line) => valueOf(panel, line)))
  const room = column - nameWidth - valueWidth
  const rows = lines.map((line, index) => {
    const value = valueOf(panel, line)
    const top = titleHeight + index * rowHeight
    const length = Math.max(1, value / most * room)
    const kind = kindOf(line.name)
    return [
      `<text class="name ${kind}-name" x="${nameWidth - 8}" y="${top + barHeight - 2}">${escape(line.name)}</text>`,
      `<rect class="${kind}" x="${nameWidth}" y="${top}" width="${length.toFixed(1)}" height="${barHeight}" rx="2"/>`,
      `<text class="value" x="${(nameWidth + length + 6).toFixed(1)}" y="${top + barHeight - 2}">${
        textOf(panel, value)
      }</text>`
    ].join("")
  })
  return `<g transform="translate(${x} ${y})"><text class="title" x="0" y="14">${escape(panel.title)}</text>${
    rows.join("")
  }</g>`
}

const style = `
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #737c86 }
.title { font-weight: 600; font-size: 13px }
.name { text-anchor: end }
.ours-name { font-weight: 600 }
.ours { fill: #0f9d8a }
.peer { fill: #8c7ae6 }
.floor { fill: #9aa4af }
@media (prefers-color-scheme: light) { text { fill: #57606a } .title, .ours-name { fill: #24292f } }
@media (prefers-color-scheme: dark) { text { fill: #9da7b3 } .title, .ours-name { fill: #e6edf3 } .ours { fill: #2dd4bf } }
`

/** The panels that the run has something for, two to a row; the date and the machine below them. */
export const picture = ({ date, facts, rounds, works }: Run): string => {
  const lines = works.flatMap((work) => work.lines)
  const filled = panels.flatMap((panel) => {
    const here = lines.filter((line) =>
      line.work === panel.work && isIn(panel)(line) && Number.isFinite(valueOf(panel, line))
    )
    return here.length === 0 ? [] : [{ panel, lines: here }]
  })
  let y = 8
  const drawn: Array<string> = []
  for (let index = 0; index < filled.length; index += 2) {
    const row = filled.slice(index, index + 2)
    for (const [at, { lines, panel }] of row.entries()) drawn.push(draw(panel, lines, at * (column + gap), y))
    y += titleHeight + Math.max(...row.map(({ lines }) => lines.length)) * rowHeight + 22
  }
  const captions = [
    `${
      date.slice(0, 10)
    }, ${facts.cores} × ${facts.processor.trim()}, PostgreSQL ${facts.postgres} with fsync, Node ${facts.node}`,
    `medians of ${rounds} interleaved rounds, scales from zero; grey: floors without a library`
  ]
  const height = y + 40
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>Holdfast beside what users would pick instead</title>
<style>${style}</style>
${drawn.join("\n")}
${captions.map((caption, line) => `<text x="0" y="${y + 10 + line * 18}">${escape(caption)}</text>`).join("\n")}
</svg>
`
}
