/**
 * From samples to figures: medians over rounds, and ratios that are taken within a round before their median is. A machine
 * that was busy in one round slows both sides of a ratio.
 */
import type { Cell, Sample } from "./measure.ts"

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

export interface Line extends Cell {
  readonly name: string
  readonly callsPerSecond: number
  readonly p50Millis: number
  readonly p99Millis: number
  readonly commitsPerSecond: number
  readonly cpuMicrosPerCall: number
  /** Calls per second by those of the bare loop in the same round. */
  readonly ofBare: number | undefined
}

const isIn = (cell: Cell) => (sample: Cell) =>
  sample.servers === cell.servers && sample.concurrency === cell.concurrency

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

/** A line for each case in each cell, in the order in which they were first measured. */
export const linesOf = (samples: ReadonlyArray<Sample>, cells: ReadonlyArray<Cell>): ReadonlyArray<Line> =>
  cells.flatMap((cell) => {
    const here = samples.filter(isIn(cell))
    return Array.from(new Set(here.map((sample) => sample.name)), (name): Line => {
      const of = here.filter((sample) => sample.name === name)
      const middle = (figure: (sample: Sample) => number) => median(of.map(figure))
      return {
        name,
        ...cell,
        callsPerSecond: middle((sample) => sample.callsPerSecond),
        p50Millis: middle((sample) => sample.p50Millis),
        p99Millis: middle((sample) => sample.p99Millis),
        commitsPerSecond: middle((sample) => sample.commitsPerSecond),
        cpuMicrosPerCall: middle((sample) => sample.cpuMicrosPerCall),
        ofBare: ratio(
          here,
          (sample) => sample.name === name,
          (sample) => sample.name === "bare",
          (sample) => sample.callsPerSecond
        )
      }
    })
  })

export interface Goal {
  readonly text: string
  readonly reached: number
  readonly asked: number
  readonly met: boolean
}

/** What the library was built to reach, as far as the samples tell. A slow machine is no failure: nobody is stopped by it. */
export const goalsOf = (samples: ReadonlyArray<Sample>): ReadonlyArray<Goal> => {
  const sampleOf = (name: string, servers: number, concurrency: number) => (sample: Sample) =>
    sample.name === name && isIn({ servers, concurrency })(sample)
  const rateOf = (name: string, asked: number, servers: number, concurrency: number, what: string) => ({
    text: `${what} at concurrency ${concurrency} on ${servers} ${
      servers === 1 ? "server" : "servers"
    }, by the bare loop's rate: at least`,
    reached: ratio(
      samples,
      sampleOf(name, servers, concurrency),
      sampleOf("bare", servers, concurrency),
      (sample) => sample.callsPerSecond
    ),
    asked,
    isMet: (reached: number) => reached >= asked
  })
  const both = [1, 100]
  const medianOf = (of: (sample: Sample) => boolean) => {
    const values = samples.filter(of).map((sample) => sample.p50Millis)
    return values.length === 0 ? undefined : median(values)
  }
  const goals = [
    ...both.flatMap((servers) => [
      rateOf("holdfast", 0.5, servers, 64, "calls"),
      rateOf("holdfast", 0.3, servers, 256, "calls")
    ]),
    {
      text: "p50 of a call at concurrency 1, by a bare commit of a single row: at most",
      reached: ratio(samples, sampleOf("holdfast", 1, 1), sampleOf("row", 1, 1), (sample) => sample.p50Millis),
      asked: 1.6,
      isMet: (reached: number) => reached <= 1.6
    },
    ...both.flatMap((servers) =>
      [64, 256].map((concurrency) => rateOf("casts", 0.13, servers, concurrency, "casts from another process"))
    ),
    {
      text: "p50 of a call from another process at concurrency 1, in milliseconds: less than",
      reached: medianOf(sampleOf("remote", 1, 1)),
      asked: 5,
      isMet: (reached: number) => reached < 5
    }
  ]
  return goals.flatMap(({ asked, isMet, reached, text }) =>
    reached === undefined ? [] : [{ text, reached, asked, met: isMet(reached) }]
  )
}
