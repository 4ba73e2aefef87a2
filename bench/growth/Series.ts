/**
 * How cost grows: an operation, measured again and again while something else becomes larger. Each size is measured in rounds
 * that alternate with rounds on a store where that something stays as small as it can be; the ratio of the two medians is what
 * counts.
 */
import { Effect, type Scope } from "effect"
import type { EmbeddedPostgres } from "../holdfast.ts"
import { median } from "../summary.ts"

export interface Point {
  readonly size: number
  /** Median of the rounds' medians, in milliseconds. */
  readonly p50Millis: number
  /** The same where it is small. */
  readonly smallMillis: number
  /** Median of the rounds' ratios. */
  readonly ratio: number
  /** How many each second of all processes, where that is what is measured. */
  readonly perSecond?: number
}

export interface Pace {
  readonly rounds: number
  readonly roundMillis: number
  /** Sizes beyond that are left out. */
  readonly most: number
}

export interface Series {
  readonly name: string
  /** What is measured, in a line. */
  readonly title: string
  /** What its sizes count. */
  readonly unit: string
  readonly points: (
    pace: Pace,
    onProgress: (text: string) => void
  ) => Effect.Effect<ReadonlyArray<Point>, unknown, Scope.Scope | EmbeddedPostgres.EmbeddedPostgres>
}

export const tens = (from: number, to: number, most: number): ReadonlyArray<number> => {
  const sizes: Array<number> = []
  for (let size = from; size <= Math.min(to, most); size *= 10) sizes.push(size)
  return sizes
}

/** The median of what an operation takes, one after the other, for a while. */
const latency = <E, R>(operation: Effect.Effect<unknown, E, R>, millis: number) =>
  Effect.gen(function*() {
    const taken: Array<number> = []
    const ends = performance.now() + millis
    do {
      const started = performance.now()
      yield* operation
      taken.push(performance.now() - started)
    } while (performance.now() < ends)
    return median(taken)
  })

/** An operation where there is much, beside the same where there is little, in turn. The first round warms up. */
export const compare = Effect.fnUntraced(
  function*<E, R>(
    size: number,
    grown: Effect.Effect<unknown, E, R>,
    small: Effect.Effect<unknown, E, R>,
    { roundMillis, rounds }: Pace
  ) {
    const pairs: Array<readonly [number, number]> = []
    for (let round = 0; round <= rounds; round++) {
      const sides = round % 2 === 0 ? [grown, small] as const : [small, grown] as const
      const first = yield* latency(sides[0], roundMillis)
      const second = yield* latency(sides[1], roundMillis)
      if (round > 0) pairs.push(round % 2 === 0 ? [first, second] : [second, first])
    }
    return {
      size,
      p50Millis: median(pairs.map(([one]) => one)),
      smallMillis: median(pairs.map(([, other]) => other)),
      ratio: median(pairs.map(([one, other]) => one / other))
    } satisfies Point
  }
)
