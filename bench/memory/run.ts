/**
 * How a measurement of memory is prepared and run: lines are filled by SQL, and a process of its own, with as much heap as it may
 * take, works them off.
 */
import type { PgConnection } from "@effect/sql-pg"
import { Data, Effect, Redacted } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Counter } from "./counter.ts"

/** Puts messages in the lines of so many servers, as many to each. */
export const fill = Effect.fnUntraced(function*(
  { query }: Pick<PgConnection.PgConnection, "query">,
  name: string,
  servers: number,
  each: number
) {
  yield* query(
    `INSERT INTO holdfast.server (kind, key) SELECT $1, $2 || ' ' || n FROM generate_series(1, $3::int) n`,
    [Counter.kind, name, servers]
  )
  yield* query(
    `INSERT INTO holdfast.inbox (id, pushed) SELECT id, $3::bigint FROM holdfast.server WHERE kind = $1 AND key LIKE $2 || ' %'`,
    [Counter.kind, name, each]
  )
  yield* query(
    `INSERT INTO holdfast.message (server_id, seq, mode, rpc, payload, member, call)
     SELECT s.id, n, 'cast', 'Add', '{"by":1}', 0, 0
     FROM holdfast.server s CROSS JOIN generate_series(1, $3::bigint) n WHERE s.kind = $1 AND s.key LIKE $2 || ' %'`,
    [Counter.kind, name, each]
  )
})

/** What a process tells of itself: bytes of heap but for `rss`, and seconds. */
export interface Measured {
  readonly seconds: number
  readonly atRest: number
  readonly peak: number
  readonly rss: number
  readonly residents: number
  readonly afterwards: number
  readonly left: number
}

export interface Job {
  readonly what: "drain" | "cast" | "produce"
  readonly amount: number
  readonly idleMillis: number
}

/** The process needed more than it might have, or failed. */
export class Ended extends Data.TaggedError("Ended")<{ readonly message: string }> {}

/** Runs a job in a process that ends when its heap would need more than so many megabytes. */
export const run = (url: Redacted.Redacted, { amount, idleMillis, what }: Job, megabytes: number) =>
  Effect.callback<Measured, Ended>((resume) => {
    const child = spawn(
      process.execPath,
      [
        `--max-old-space-size=${megabytes}`,
        "--expose-gc",
        "--conditions=holdfast-source",
        fileURLToPath(new URL("node.ts", import.meta.url)),
        what,
        String(amount),
        String(idleMillis)
      ],
      { env: { ...process.env, HOLDFAST_BENCH_URL: Redacted.value(url) }, stdio: ["ignore", "pipe", "pipe"] }
    )
    let output = ""
    let errors = ""
    child.stdout.on("data", (text) => output += text)
    child.stderr.on("data", (text) => errors += text)
    child.once("close", (code, signal) => {
      // What comes before it is the log.
      const last = output.trimEnd().split("\n").at(-1) ?? ""
      resume(
        last.startsWith("{")
          ? Effect.succeed(JSON.parse(last) as Measured)
          : Effect.fail(new Ended({ message: `ended with ${signal ?? code}: ${output}${errors.slice(0, 1500)}` }))
      )
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })
