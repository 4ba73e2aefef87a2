/**
 * Two processes: the servers run in one of their own (`holder.ts`), and what is measured is what another process, which has no
 * handlers, gets done with them. Calls wait for the reply; casts are acknowledged when they are in line, and the holder works them off
 * at the same time, on the same database.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Case, Database } from "../Case.ts"
import { DurableNode } from "../holdfast.ts"
import { Called, Cast } from "./afar.ts"

/** The other process, until the run ends. */
const startHolder = ({ url }: Database, kind: string) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof spawn>>((resume) => {
      const child = spawn(process.execPath, [fileURLToPath(new URL("holder.ts", import.meta.url)), kind], {
        env: { ...process.env, HOLDFAST_BENCH_URL: Redacted.value(url) },
        stdio: ["ignore", "pipe", "inherit"]
      })
      child.stdout.once("data", () => resume(Effect.succeed(child)))
      child.once("close", () => resume(Effect.die(new Error("the other process ended before it was ready"))))
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

const open = Effect.fnUntraced(function*(
  database: Database,
  servers: number,
  definition: typeof Called | typeof Cast,
  mode: "call" | "cast"
) {
  yield* startHolder(database, definition.kind)
  const context = yield* Layer.build(
    Layer.fresh(Layer.orDie(DurableNode.layerPostgres).pipe(Layer.provide(PgClient.layer({ url: database.url }))))
  )
  const counter = yield* Effect.provide(definition.client(), context)
  const refs = Array.from({ length: servers }, (_, index) => counter(`counter-${index}`))
  return {
    call: (server: number) => {
      const ref = refs[server]
      if (ref === undefined) return Effect.die(new Error(`there is no server ${server}`))
      return mode === "call" ? ref.call.Add({ by: 1 }) : Effect.as(ref.cast.Add({ by: 1 }), 0)
    },
    total: Effect.map(
      Effect.forEach(refs, (ref) => ref.call.Get(undefined, { timeout: "2 minutes" }), { concurrency: "unbounded" }),
      (counts) => counts.reduce((sum, count) => sum + count, 0)
    )
  }
})

export const remote: Case = {
  name: "remote",
  title: "holdfast calls of servers that run in another process",
  byDefault: false,
  maxConcurrency: Number.MAX_SAFE_INTEGER,
  open: (database, servers) => open(database, servers, Called, "call")
}

export const casts: Case = {
  name: "casts",
  title: "holdfast casts to servers that run in another process",
  byDefault: false,
  maxConcurrency: Number.MAX_SAFE_INTEGER,
  open: (database, servers) => open(database, servers, Cast, "cast")
}
