/**
 * Casts: one process sends, another (`receiver.ts`) handles. What is measured is the time until everything that was sent is
 * handled, and stored as such; and, for one cast at a time, how long it takes from being sent until its effect is committed.
 */
import { Effect } from "effect"
import type { Case, CastCase, Figures, Load, Meter } from "./Case.ts"
import { start } from "./child.ts"
import { callersOf, pickerOf, quantile, sharedMicros } from "./load.ts"

/** What the receiver tells: how many it has handled since it started, and how long those took that say when they were sent. */
export interface Handled {
  readonly handled: number
  readonly tookMicros: ReadonlyArray<number>
  readonly helpers?: Effect.Success<ReturnType<Case["open"]>>["helpers"]
}

/** How long nothing may happen while there is something to handle, in milliseconds: what is left then is lost. */
const patience = 20_000

export const sessionOf = (name: string, cast: CastCase): Case => ({
  open: Effect.fnUntraced(function*(database, servers) {
    yield* cast.prepare(database, servers)
    const receiver = yield* start<{ readonly _tag: "Close" }, Handled>({
      file: new URL("receiver.ts", import.meta.url),
      args: [name, String(servers)],
      url: database.url,
      close: { _tag: "Close" }
    })
    const { helpers = [] } = yield* receiver.next
    const send = yield* cast.send(database, servers)

    let handled = 0
    let sent = 0
    /** Sent and never handled, as far as anybody could wait: the count at the end tells of it. */
    let lost = 0
    const took: Array<number> = []
    const hear = Effect.flatMap(receiver.next, (heard) =>
      Effect.sync(() => {
        handled = heard.handled
        for (const micros of heard.tookMicros) took.push(micros / 1000)
      }))
    /** Until the receiver says that it has handled everything that was sent. */
    const drained = Effect.whileLoop({
      while: () => handled < sent - lost,
      body: () => hear,
      step: () => {}
    }).pipe(Effect.timeoutOption(patience))
    /** Until that is stored; when the last of it was. */
    const settled = Effect.gen(function*() {
      let stored = yield* cast.stored(database)
      let at = performance.now()
      while (stored < sent - lost) {
        // What the receiver says spares the database to be asked all the time.
        yield* handled < sent - lost ? Effect.timeoutOption(hear, "100 millis") : Effect.sleep("2 millis")
        const now = handled < sent - lost && performance.now() - at < 100 ? stored : yield* cast.stored(database)
        if (now > stored) {
          stored = now
          at = performance.now()
        } else if (performance.now() - at > patience) lost += sent - lost - stored
      }
      return at
    })

    /** As many as the callers can send in that time. How long each took to be acknowledged, in milliseconds. */
    const burst = Effect.fnUntraced(function*(load: Load, millis: number) {
      const acknowledged: Array<number> = []
      const state = { running: true }
      const finish = yield* callersOf(
        load.concurrency,
        Effect.fnUntraced(function*(index) {
          const pick = pickerOf(index, load.servers)
          while (state.running) {
            const started = performance.now()
            yield* send(pick(), 0)
            sent++
            acknowledged.push(performance.now() - started)
          }
        }),
        () => {
          state.running = false
        }
      )
      yield* Effect.sleep(millis)
      yield* finish
      return acknowledged
    })

    return {
      helpers: [{ pid: receiver.pid, side: "client" }, ...helpers],
      stored: cast.stored(database),
      operations: {
        cast: Effect.fnUntraced(function*(load: Load, meter: Meter): Effect.fn.Return<Figures> {
          const before = sent
          if (load.warmMillis > 0) {
            yield* burst(load, load.warmMillis)
            yield* settled
          }
          const warm = sent
          yield* meter.begin
          const startedAt = performance.now()
          const acknowledged = yield* burst(load, load.sampleMillis)
          const lostBefore = lost
          const seconds = ((yield* settled) - startedAt) / 1000
          yield* meter.end
          const done = sent - warm - (lost - lostBefore)
          acknowledged.sort((a, b) => a - b)
          return {
            perSecond: done / seconds,
            p50Millis: quantile(acknowledged, 0.5),
            p99Millis: quantile(acknowledged, 0.99),
            measured: done,
            answered: sent - before
          }
        }),
        handled: Effect.fnUntraced(function*(load: Load, meter: Meter): Effect.fn.Return<Figures> {
          const pick = pickerOf(0, load.servers)
          const before = sent
          yield* meter.begin
          const startedAt = performance.now()
          took.length = 0
          // At least one, where it takes longer than there is time.
          do {
            yield* send(pick(), sharedMicros())
            sent++
            yield* drained
          } while (performance.now() - startedAt < load.sampleMillis)
          const seconds = (performance.now() - startedAt) / 1000
          yield* settled
          yield* meter.end
          const sorted = took.toSorted((a, b) => a - b)
          return {
            perSecond: (sent - before) / seconds,
            p50Millis: quantile(sorted, 0.5),
            p99Millis: quantile(sorted, 0.99),
            measured: sent - before,
            answered: sent - before
          }
        })
      }
    }
  })
})
