/**
 * The process that handles casts, until it is told to close. It tells how many it has handled at most every two milliseconds, so
 * that telling costs next to nothing, and at once where a message says when it was sent.
 */
import { PgConnection } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import process from "node:process"
import type { CastCase } from "./Case.ts"
import type { Handled } from "./casts.ts"
import { entryOf } from "./catalogue.ts"
import { runUntilTold } from "./ending.ts"
import { sharedMicros } from "./load.ts"

const [name = "", servers = "1"] = process.argv.slice(2)

let handled = 0
let took: Array<number> = []
let telling: ReturnType<typeof setTimeout> | undefined

const tell = () => {
  telling = undefined
  process.send?.({ handled, tookMicros: took } satisfies Handled)
  took = []
}

const onHandled = (sentAt: number) => {
  handled++
  if (sentAt > 0) {
    took.push(sharedMicros() - sentAt)
    clearTimeout(telling)
    tell()
  } else telling ??= setTimeout(tell, 2)
}

const program = Effect.gen(function*() {
  const url = Redacted.make(process.env["HOLDFAST_BENCH_URL"] ?? "")
  const database = { url, observer: yield* PgConnection.make({ url }) }
  const cast = (yield* Effect.promise(entryOf("casts", name).load)) as CastCase
  const receiving = yield* cast.receive(database, Number(servers), onHandled)
  process.send?.({ handled: 0, tookMicros: [], helpers: receiving?.helpers ?? [] } satisfies Handled)
  return yield* Effect.never
})

runUntilTold(`casts ${name}`, program)
