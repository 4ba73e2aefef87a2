/**
 * What all event stores are asked to do, so that they do the same: which caller appends to which stream, what an event holds, how
 * many there are to read. Callers never share a stream unless they are told to share one: nobody is to lose a race here.
 */
import { Effect, type Scope } from "effect"
import type { Figures, Load, Meter } from "../Case.ts"
import { quantile } from "../load.ts"

/** 200 bytes as JSON. */
export const data = { flight: "AS 123", from: "SEA", to: "LAX", delay: 4, pad: "x".repeat(138) }
export const eventType = "Departed"

/** A thousand streams in all, each with one writer, who goes round. */
export const streamOf = (load: { readonly streams: number }, caller: number, nth: number): number =>
  caller + (nth % Math.max(1, Math.floor(load.streams / 64))) * 64

export const distinctStreams = 1024
export const readLength = 1000

/** Events that are there before a subscription begins. */
export const catchUpEvents = Number(process.env["HOLDFAST_BENCH_CATCH_UP"] ?? 20_000)

/** How fast a subscription comes to the end of what is there, measured from its first to its last event's handling. */
export const catchUpOf = (run: (total: number) => Effect.Effect<void>) =>
  Effect.fnUntraced(function*(_: Load, meter: Meter): Effect.fn.Return<Figures> {
    yield* meter.begin
    const started = performance.now()
    yield* run(catchUpEvents)
    const seconds = (performance.now() - started) / 1000
    yield* meter.end
    return {
      perSecond: catchUpEvents / seconds,
      p50Millis: Number.NaN,
      p99Millis: Number.NaN,
      measured: catchUpEvents,
      answered: 0
    }
  })

/** A subscriber that is ready: `append` makes an event for it, `arrived` is the time at which the next one got to it. */
export interface Listening {
  readonly append: Effect.Effect<unknown>
  readonly arrived: Effect.Effect<number>
  /** How many events were appended to get there. */
  readonly answered: number
}

/** From an append to its delivery, one after the other. The subscriber is there only while this is measured. */
export const deliveryOf = (listen: Effect.Effect<Listening, never, Scope.Scope>) =>
  Effect.fnUntraced(function*(load: Load, meter: Meter) {
    const { answered, append, arrived } = yield* listen
    const once = Effect.gen(function*() {
      const started = performance.now()
      yield* append
      return (yield* arrived) - started
    })
    yield* once
    const latencies: Array<number> = []
    yield* meter.begin
    const startedAt = performance.now()
    // At least one, where it takes longer than there is time.
    do {
      latencies.push(yield* once)
      // Not in step with anybody's polls.
      yield* Effect.sleep(1 + latencies.length % 7)
    } while (performance.now() - startedAt < load.sampleMillis)
    const seconds = (performance.now() - startedAt) / 1000
    yield* meter.end
    latencies.sort((a, b) => a - b)
    return {
      perSecond: latencies.length / seconds,
      p50Millis: quantile(latencies, 0.5),
      p99Millis: quantile(latencies, 0.99),
      measured: latencies.length,
      answered: answered + latencies.length + 1
    } satisfies Figures
  }, Effect.scoped)
