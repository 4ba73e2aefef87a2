/**
 * Two processes: the servers run in one of their own (`holder.ts`), and what is measured is what another process, which has no
 * handlers, gets done with them. Calls wait for the reply; casts are acknowledged when they are in line, and the holder works
 * them off at the same time, on the same database. How long until they are handled is a work of its own: see `casts.ts`.
 */
import { Effect } from "effect"
import type { Case } from "../Case.ts"
import { start } from "../child.ts"
import { once } from "../load.ts"
import { refs as refsOf } from "./counters.ts"

const open = (mode: "call" | "cast"): Case => ({
  open: Effect.fnUntraced(function*(database, servers) {
    const holder = yield* start<{ readonly _tag: "Close" }, { readonly _tag: "Ready" }>({
      file: new URL("holder.ts", import.meta.url),
      args: [],
      url: database.url,
      close: { _tag: "Close" }
    })
    yield* holder.next
    const refs = yield* refsOf(database, servers)
    return {
      helpers: [{ pid: holder.pid, side: "client" }],
      operations: {
        call: once((server) => {
          const ref = refs[server]
          if (ref === undefined) return Effect.die(new Error(`there is no server ${server}`))
          return Effect.orDie(mode === "call" ? ref.call.Add({ by: 1 }) : Effect.asVoid(ref.cast.Note({ sentAt: 0 })))
        })
      },
      stored: Effect.orDie(Effect.map(
        Effect.forEach(refs, (ref) => ref.call.Get(undefined, { timeout: "2 minutes" }), { concurrency: "unbounded" }),
        (counts) => counts.reduce((sum, count) => sum + count, 0)
      ))
    }
  })
})

export const remote = open("call")
export const accepted = open("cast")
