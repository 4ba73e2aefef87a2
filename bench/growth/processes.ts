/**
 * How many calls all processes together do, by how many of them there are: each runs a hundred servers of its own, with 64
 * callers, on one database. They share the machine's cores with Postgres, so on a small machine there is little to win.
 */
import { Effect } from "effect"
import { start } from "../child.ts"
import * as Database from "../database.ts"
import type { Reply, Request } from "../protocol.ts"
import { median } from "../summary.ts"
import type { Series } from "./Series.ts"

const servers = 100
const concurrency = 64

const points: Series["points"] = Effect.fnUntraced(function*(pace, onProgress) {
  const database = yield* Database.make()
  const counts = [1, 2, 4].filter((count) => count <= pace.most)
  const children = yield* Effect.forEach(
    Array.from({ length: Math.max(...counts) }, (_, index) => index),
    Effect.fnUntraced(function*(index) {
      const child = yield* start<Request, Reply>({
        file: new URL("../subject.ts", import.meta.url),
        args: ["calls", "holdfast", String(servers)],
        url: database.url,
        env: { HOLDFAST_BENCH_PREFIX: `process-${index}-` },
        close: { _tag: "Close" } satisfies Request
      })
      yield* child.next
      return child
    })
  )
  /** All of the first few at once: calls each second together, and the slowest one's median. */
  const together = (count: number) =>
    Effect.map(
      Effect.forEach(
        children.slice(0, count),
        (child) =>
          child.ask({
            _tag: "Sample",
            operation: "call",
            load: { servers, concurrency, warmMillis: pace.roundMillis, sampleMillis: pace.roundMillis * 3 }
          }),
        { concurrency: "unbounded" }
      ),
      (replies) => {
        const measured = replies.flatMap((reply) => reply._tag === "Measured" ? [reply.measured] : [])
        return {
          perSecond: measured.reduce((sum, one) => sum + one.perSecond, 0),
          p50: Math.max(...measured.map((one) => one.p50Millis))
        }
      }
    )
  return yield* Effect.forEach(
    counts,
    Effect.fnUntraced(function*(size) {
      onProgress(String(size))
      const rounds: Array<
        { readonly many: { perSecond: number; p50: number }; readonly one: typeof rounds[0]["many"] }
      > = []
      for (let round = 0; round <= Math.min(3, pace.rounds); round++) {
        const [many, one] = [yield* together(size), yield* together(1)]
        if (round > 0) rounds.push({ many, one })
      }
      return {
        size,
        p50Millis: median(rounds.map(({ many }) => many.p50)),
        smallMillis: median(rounds.map(({ one }) => one.p50)),
        ratio: median(rounds.map(({ many, one }) => many.perSecond / one.perSecond)),
        perSecond: median(rounds.map(({ many }) => many.perSecond))
      }
    })
  )
})

export const processes: Series = {
  name: "processes",
  title:
    "calls of all processes together, each with 100 servers of its own and 64 callers; the ratio is that of their rates",
  unit: "processes",
  points
}
