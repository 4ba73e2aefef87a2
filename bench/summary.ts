/**
 * From samples to figures: medians over rounds, and ratios that are taken within a round before their median is. A machine that
 * was busy in one round slows both sides of a ratio.
 */
import type { Cell } from "./catalogue.ts"
import type { Sample } from "./measure.ts"

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

export interface Line extends Cell {
  readonly work: string
  readonly name: string
  readonly perSecond: number
  readonly p50Millis: number
  readonly p99Millis: number
  readonly commitsPerSecond: number
  readonly clientMicros: number
  readonly serverMicros: number | undefined
  /** Holdfast's rate by this one's, in the same round. */
  readonly holdfast: number | undefined
}

export const isIn = (cell: Cell) => (sample: Cell) =>
  sample.operation === cell.operation && sample.servers === cell.servers && sample.concurrency === cell.concurrency

/** The median, over all rounds that have both, of one sample's figure by another's. */
export const ratio = (
  samples: ReadonlyArray<Sample>,
  of: (sample: Sample) => boolean,
  by: (sample: Sample) => boolean,
  figure: (sample: Sample) => number
): number | undefined => {
  const ratios = samples.filter(of).flatMap((one) => {
    const other = samples.find((sample) => sample.round === one.round && by(sample))
    return other === undefined ? [] : [figure(one) / figure(other)]
  })
  return ratios.length === 0 ? undefined : median(ratios)
}

/** Holdfast by the best of some, by the medians of their figures; and who that is. */
export const ratioToBest = (
  samples: ReadonlyArray<Sample>,
  cell: Cell,
  among: ReadonlyArray<string>,
  figure: (sample: Sample) => number,
  best: "highest" | "lowest"
): { readonly ratio: number; readonly best: string } | undefined => {
  const here = samples.filter(isIn(cell))
  const standing = among.flatMap((name) => {
    const values = here.filter((sample) => sample.name === name).map(figure)
    return values.length === 0 ? [] : [{ name, value: median(values) }]
  }).toSorted((a, b) => best === "highest" ? b.value - a.value : a.value - b.value)
  const first = standing[0]
  if (first === undefined) return undefined
  const reached = ratio(here, ({ name }) => name === "holdfast", ({ name }) => name === first.name, figure)
  return reached === undefined ? undefined : { ratio: reached, best: first.name }
}

/** A line for each case in each cell, in the order in which they were first measured. */
export const linesOf = (samples: ReadonlyArray<Sample>, cells: ReadonlyArray<Cell>): ReadonlyArray<Line> =>
  cells.flatMap((cell) => {
    const here = samples.filter(isIn(cell))
    return Array.from(new Set(here.map((sample) => sample.name)), (name): Line => {
      const of = here.filter((sample) => sample.name === name)
      const middle = (figure: (sample: Sample) => number) => median(of.map(figure))
      return {
        work: of[0]?.work ?? "",
        name,
        ...cell,
        perSecond: middle((sample) => sample.perSecond),
        p50Millis: middle((sample) => sample.p50Millis),
        p99Millis: middle((sample) => sample.p99Millis),
        commitsPerSecond: middle((sample) => sample.commitsPerSecond),
        clientMicros: middle((sample) => sample.clientMicros),
        serverMicros: of.some((sample) => sample.serverMicros === undefined)
          ? undefined
          : middle((sample) => sample.serverMicros ?? Number.NaN),
        holdfast: name === "holdfast" ? undefined : ratio(
          here,
          (sample) => sample.name === "holdfast",
          (sample) => sample.name === name,
          (sample) => sample.perSecond
        )
      }
    })
  })
