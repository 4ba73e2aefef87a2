/**
 * The proof: what every airport says of itself, against a plain sum over the file.
 */
import { Effect } from "effect"
import { Airport, Tally } from "./Airport.ts"
import type { Flight } from "./flights.ts"

/** An airport, what it should have counted, and what it did count. */
export interface Verdict {
  readonly code: string
  readonly expected: Tally
  readonly actual: Tally
  readonly agrees: boolean
}

/** What the airports should have counted, added up in one place and without any of the machinery. */
export const expectedOf = (flights: ReadonlyArray<Flight>): ReadonlyMap<string, Tally> => {
  const sums = new Map<string, { departures: number; arrivals: number; minutesLate: number; miles: number }>()
  const at = (code: string) => {
    const sum = sums.get(code) ?? { departures: 0, arrivals: 0, minutesLate: 0, miles: 0 }
    sums.set(code, sum)
    return sum
  }
  for (const { delay, destination, distance, origin } of flights) {
    at(origin).departures += 1
    at(destination).arrivals += 1
    for (const sum of [at(origin), at(destination)]) {
      sum.minutesLate += delay
      sum.miles += distance
    }
  }
  return new Map(Array.from(sums, ([code, sum]) => [code, new Tally(sum)]))
}

/**
 * Asks every airport. It need not wait for the lines to be empty: a call sees everything that was acknowledged before it.
 */
export const verify = Effect.fn("verify")(function*(expected: ReadonlyMap<string, Tally>) {
  const airport = yield* Airport.client()
  return yield* Effect.forEach(
    expected,
    ([code, expected]) =>
      Effect.map(airport(code).call.Current(undefined, { timeout: "1 minute" }), (actual): Verdict => ({
        code,
        expected,
        actual,
        agrees: actual.departures === expected.departures && actual.arrivals === expected.arrivals &&
          actual.minutesLate === expected.minutesLate && actual.miles === expected.miles
      })),
    { concurrency: "unbounded" }
  )
})
