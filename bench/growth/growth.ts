/** All series of growth, how they are measured one after the other, and how they are printed. */
import { Effect } from "effect"
import { processes } from "./processes.ts"
import type { Pace, Point, Series } from "./Series.ts"
import { servers } from "./servers.ts"
import { states } from "./states.ts"
import { streams } from "./streams.ts"

export const series: ReadonlyArray<Series> = [...servers, ...states, ...streams, processes]

export interface Grown {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly points: ReadonlyArray<Point>
}

export const measureGrowth = (pace: Pace, onProgress: (text: string) => void) =>
  Effect.forEach(series, ({ name, points, title, unit }) =>
    Effect.map(
      Effect.scoped(Effect.orDie(points(pace, (size) => onProgress(`growth: ${name}, ${size} ${unit}`)))),
      (points): Grown => ({ name, title, unit, points })
    ))

export const printGrowth = (grown: ReadonlyArray<Grown>): string =>
  [
    "How cost grows: p50 of one at a time, beside the same where it is small; the ratio is taken within each round",
    ...grown.flatMap(({ points, title, unit }) => [
      "",
      title,
      ...points.map(({ p50Millis, perSecond, ratio, size, smallMillis }) =>
        `${size.toLocaleString("en-US").padStart(11)} ${unit.padEnd(9)}  p50 ${
          p50Millis.toFixed(3).padStart(8)
        } ms  small ${smallMillis.toFixed(3).padStart(8)} ms  ratio ${ratio.toFixed(2)}${
          perSecond === undefined ? "" : `  ${Math.round(perSecond).toLocaleString("en-US")}/s`
        }`
      )
    ])
  ].join("\n")
