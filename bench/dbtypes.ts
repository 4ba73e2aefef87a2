/**
 * A million comparisons of ranges of integers, beside a million bare comparisons of the same bounds: what the seven answers
 * cost. `npm run bench:dbtypes` in the root; it needs no Postgres, and takes a few seconds.
 */
import { Console, Effect } from "effect"
import { DbTypes, IntegerRange } from "../src/dbtypes/index.ts"
import { median } from "./summary.ts"

const comparisons = 1_000_000
const rounds = 9

interface Bare {
  readonly lower: bigint
  readonly upper: bigint
}

/** An xorshift generator, the same numbers in every run. */
const numbers = () => {
  let seed = 0x9e3779b1 | 0
  return (below: number): bigint => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return BigInt((seed >>> 0) % below)
  }
}

const next = numbers()
// As many as do not fit into the fastest cache, in no order.
const bare: ReadonlyArray<Bare> = Array.from({ length: 4096 }, () => {
  const lower = next(1000)
  return { lower, upper: lower + 1n + next(500) }
})
const ranges = bare.map((bounds) => IntegerRange.makeUnsafe(bounds))
const texts = ranges.map(String)

/** The same seven answers on two pairs of bigints, without empty, exclusive or absent bounds. */
const compareBare = (left: Bare, right: Bare): DbTypes.Operator =>
  left.lower === right.lower && left.upper === right.upper
    ? "eq"
    : left.lower <= right.lower && left.upper >= right.upper
    ? "lcr"
    : left.lower >= right.lower && left.upper <= right.upper
    ? "rcl"
    : left.upper <= right.lower
    ? "lt"
    : left.lower >= right.upper
    ? "gt"
    : left.lower < right.lower
    ? "lto"
    : "gto"

/** Runs so many steps, and tells the milliseconds and how often the answer was "lt", so that nothing is left out. */
const time = (step: (index: number) => DbTypes.Operator | undefined) => {
  let answers = 0
  const started = performance.now()
  for (let index = 0; index < comparisons; index++) if (step(index) === "lt") answers++
  return { millis: performance.now() - started, answers }
}

const cases = [
  {
    name: "bare comparison of two pairs of bigints",
    step: (index: number) => compareBare(bare[index & 4095]!, bare[(index * 31 + 7) & 4095]!)
  },
  {
    name: "DbTypes.compare of two IntegerRanges",
    step: (index: number) => DbTypes.compare(ranges[index & 4095]!, ranges[(index * 31 + 7) & 4095]!)
  },
  {
    name: "DbTypes.compare of an IntegerRange and a bigint",
    step: (index: number) => DbTypes.compare(ranges[index & 4095]!, bare[(index * 31 + 7) & 4095]!.lower)
  },
  {
    name: "IntegerRange.makeUnsafe",
    step: (index: number) => {
      IntegerRange.makeUnsafe(bare[index & 4095]!)
      return undefined
    }
  },
  {
    name: "IntegerRange.fromStringUnsafe",
    step: (index: number) => {
      IntegerRange.fromStringUnsafe(texts[index & 4095]!)
      return undefined
    }
  }
]

const program = Effect.gen(function*() {
  const samples = cases.map(() => [] as Array<number>)
  const answers = cases.map(() => 0)
  for (let round = 0; round <= rounds; round++) {
    for (const [index, one] of cases.entries()) {
      const sample = time(one.step)
      // The first round warms up.
      if (round > 0) samples[index]!.push(sample.millis)
      answers[index] = sample.answers
    }
  }
  const floor = median(samples[0]!)
  yield* Console.log(`a million of each, medians of ${rounds} interleaved rounds`)
  for (const [index, one] of cases.entries()) {
    const millis = median(samples[index]!)
    yield* Console.log(
      `${millis.toFixed(0).padStart(6)} ms  ${(millis / floor).toFixed(1).padStart(6)} × bare  ${one.name}`
    )
  }
  if (answers[0] !== answers[1]) {
    yield* Console.log(`WRONG: the bare comparison answered "lt" ${answers[0]} times, the other one ${answers[1]}`)
    process.exitCode = 1
  }
})

Effect.runFork(program)
