/**
 * The process whose memory is measured: a node that runs counters, and tells how much heap it took at most, as JSON.
 *
 * - `drain N`: works off what is in the lines already, until N messages are done in all.
 * - `cast N`: sends one message to each of N counters of its own, 1,000 at a time, and runs them all.
 * - `produce N`: sends N messages to one counter that another process would run, 1,000 at a time, without handlers.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { DurableNode } from "../holdfast.ts"
import { Counter, counterLive } from "./counter.ts"

const [what = "drain", amountText = "0", idleText = "60000"] = process.argv.slice(2)
const amount = Number(amountText)

let done = 0
let finished: () => void = () => undefined
const allDone = Effect.callback<void>((resume) => {
  finished = () => resume(Effect.void)
  if (done >= amount) finished()
})

const peak = { heap: 0, total: 0, residents: 0 }
const look = () => {
  const { heapUsed, rss } = process.memoryUsage()
  peak.heap = Math.max(peak.heap, heapUsed)
  peak.total = Math.max(peak.total, rss)
}
const settled = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

const program = Effect.gen(function*() {
  const node = yield* DurableNode.DurableNode
  const counter = yield* Counter.client()
  const atRest = settled()
  const started = performance.now()
  const send = (to: (n: number) => string) =>
    Effect.forEach(Array(amount).keys(), (n) => counter(to(n)).cast.Add({ by: 1 }), {
      concurrency: 1000,
      discard: true
    })
  if (what === "cast") yield* send((n) => `cast ${n}`)
  else if (what === "produce") yield* send(() => "produced")
  else yield* allDone
  const seconds = (performance.now() - started) / 1000
  look()
  const residents = yield* node.residents
  const afterwards = settled()
  // What is under way is committed by then. They leave when they were idle for long enough.
  yield* Effect.sleep("1 second").pipe(
    Effect.andThen(node.residents),
    Effect.repeat({ while: (left) => left > 0 && Number(idleText) <= 10_000 })
  )
  const left = settled()
  process.stdout.write(
    `${JSON.stringify({ seconds, atRest, peak: peak.heap, rss: peak.total, residents, afterwards, left })}\n`
  )
})

const watching = Effect.forever(Effect.andThen(Effect.sync(look), Effect.sleep("10 millis")))

const handlers = counterLive(Number(idleText), () => {
  if (++done === amount) finished()
})

Effect.runFork(
  Effect.scoped(Effect.andThen(Effect.forkScoped(watching), program)).pipe(
    Effect.provide(
      (what === "produce" ? Layer.empty : handlers).pipe(
        Layer.provideMerge(DurableNode.layerPostgres),
        Layer.provide(PgClient.layer({ url: Redacted.make(process.env["HOLDFAST_BENCH_URL"] ?? "") }))
      )
    )
  )
)
