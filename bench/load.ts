/**
 * Putting a single operation under load: a number of callers, each in a fiber of its own, do it one after the other for a while;
 * then it is counted what was answered, and how long each answer took.
 */
import { Effect, Fiber } from "effect"
import type { Figures, Load, Meter, Operation } from "./Case.ts"

/** Latencies of a sample in milliseconds. One array for all samples, so that noting one costs next to nothing. */
const latencies = new Float64Array(1 << 22)

export const quantile = (sorted: Float64Array | ReadonlyArray<number>, q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN

/** Microseconds on a clock that all processes of a machine share. */
export const sharedMicros = (): number => Number(process.hrtime.bigint() / 1000n)

/** Who calls which server: an xorshift generator for each caller, the same in every run. */
export const pickerOf = (caller: number, servers: number) => {
  let seed = Math.imul(caller + 1, 0x9e3779b1) | 1
  return () => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return (seed >>> 0) % servers
  }
}

/** Callers that go on until they are told to stop. A caller that is not done half a minute later never will be. */
export const callersOf = (
  concurrency: number,
  caller: (index: number) => Effect.Effect<void>,
  stop: () => void
): Effect.Effect<Effect.Effect<void>> =>
  Effect.map(
    Effect.forkChild(
      Effect.forEach(Array.from({ length: concurrency }, (_, index) => index), caller, {
        concurrency: "unbounded",
        discard: true
      })
    ),
    (callers) =>
      Effect.suspend(() => {
        stop()
        return Effect.orDie(Effect.timeout(Fiber.join(callers), "30 seconds"))
      })
  )

/**
 * An operation of one call: who calls, on which server, how often that caller has called before. `adds` is how much each of them
 * stores, and how much it counts for: 100 where it appends a hundred events.
 */
export const once = (
  call: (server: number, caller: number, nth: number) => Effect.Effect<unknown>,
  options: { readonly adds?: number; readonly counts?: number } = {}
): Operation =>
  Effect.fnUntraced(function*(load: Load, meter: Meter): Effect.fn.Return<Figures> {
    const adds = options.adds ?? 1
    const counts = options.counts ?? 1
    const state = { running: true, answered: 0, noted: 0 }
    const caller = Effect.fnUntraced(function*(index: number) {
      const pick = pickerOf(index, load.servers)
      for (let nth = 0; state.running; nth++) {
        const started = performance.now()
        yield* call(pick(), index, nth)
        state.answered++
        latencies[state.noted++ % latencies.length] = performance.now() - started
      }
    })
    const finish = yield* callersOf(load.concurrency, caller, () => {
      state.running = false
    })

    yield* Effect.sleep(load.warmMillis)
    yield* meter.begin
    const startedAt = performance.now()
    state.noted = 0
    yield* Effect.sleep(load.sampleMillis)
    // Where callers go round in step, a short while may hold a whole turn of theirs or none: two turns at least, unless it is slow.
    while (state.noted < 2 * load.concurrency && performance.now() - startedAt < 5 * load.sampleMillis) {
      yield* Effect.sleep(20)
    }
    const seconds = (performance.now() - startedAt) / 1000
    const calls = state.noted
    yield* meter.end
    yield* finish

    const sorted = latencies.slice(0, Math.min(calls, latencies.length)).sort()
    return {
      perSecond: calls * counts / seconds,
      p50Millis: quantile(sorted, 0.5),
      p99Millis: quantile(sorted, 0.99),
      measured: calls * counts,
      answered: state.answered * adds
    }
  })
