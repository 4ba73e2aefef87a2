/**
 * What durable servers take of memory: 100,000 servers with one message each, sent here or found in line, and 1,000,000 messages
 * in the lines of one and of a thousand servers, each in a process of its own that ends where its heap would exceed
 * 400 MB. `npm run bench:memory` in the root.
 */
import { PgClient } from "@effect/sql-pg"
import type { PgConnection } from "@effect/sql-pg"
import { Console, Effect, Layer, Redacted } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Database from "../database.ts"
import { DurableNode } from "../holdfast.ts"
import { Counter } from "./counter.ts"

const scale = Number(process.argv[2] ?? 1)
const megabytes = Number(process.argv[3] ?? 400)

/** Puts messages in the lines of so many servers, as many to each. */
const fill = Effect.fnUntraced(function*(
  observer: PgConnection.PgConnection,
  name: string,
  servers: number,
  each: number
) {
  yield* observer.query(
    `INSERT INTO holdfast.server (kind, key) SELECT $1, $2 || ' ' || n FROM generate_series(1, $3::int) n`,
    [Counter.kind, name, servers]
  )
  yield* observer.query(
    `INSERT INTO holdfast.inbox (id, pushed) SELECT id, $3::bigint FROM holdfast.server WHERE kind = $1 AND key LIKE $2 || ' %'`,
    [Counter.kind, name, each]
  )
  yield* observer.query(
    `INSERT INTO holdfast.message (server_id, seq, mode, rpc, payload, member, call)
     SELECT s.id, n, 'cast', 'Add', '{"by":1}', 0, 0
     FROM holdfast.server s CROSS JOIN generate_series(1, $3::bigint) n WHERE s.kind = $1 AND s.key LIKE $2 || ' %'`,
    [Counter.kind, name, each]
  )
  yield* observer.query("ANALYZE holdfast.server, holdfast.inbox, holdfast.message")
})

const run = (url: Redacted.Redacted, args: ReadonlyArray<string>) =>
  Effect.callback<string>((resume) => {
    const child = spawn(
      process.execPath,
      [
        `--max-old-space-size=${megabytes}`,
        "--expose-gc",
        ...process.execArgv,
        fileURLToPath(new URL("node.ts", import.meta.url)),
        ...args
      ],
      { env: { ...process.env, HOLDFAST_BENCH_URL: Redacted.value(url) }, stdio: ["ignore", "pipe", "pipe"] }
    )
    let output = ""
    let errors = ""
    child.stdout.on("data", (text) => output += text)
    child.stderr.on("data", (text) => errors += text)
    child.once("close", (code, signal) =>
      resume(Effect.succeed(output === "" ? `ended with ${signal ?? code}: ${errors.slice(0, 1500)}` : output)))
    return Effect.sync(() =>
      child.kill("SIGKILL")
    )
  })

const inMegabytes = (text: string): string =>
  text.startsWith("{")
    ? Object.entries(JSON.parse(text) as Record<string, number>).map(([name, value]) =>
      ["seconds", "residents"].includes(name)
        ? `${name} ${Math.round(value * 10) / 10}`
        : `${name} ${Math.round(value / 1024 / 1024)} MB`
    ).join(", ")
    : text

const program = Effect.gen(function*() {
  const database = yield* Database.make()
  yield* Effect.scoped(
    Layer.build(DurableNode.layerPostgres.pipe(Layer.provide(PgClient.layer({ url: database.url }))))
  )
  const count = (n: number) => Math.round(n * scale)
  const cases = [
    { name: "servers with one message each, sent here", args: ["cast", count(100_000), 60_000] },
    {
      name: "servers with one message each, in line",
      args: ["drain", count(100_000), 60_000],
      fill: [count(100_000), 1]
    },
    {
      name: "messages in the line of one server",
      args: ["drain", count(1_000_000), 60_000],
      fill: [1, count(1_000_000)]
    },
    {
      name: "messages in the lines of 1,000 servers",
      args: ["drain", count(1_000_000), 60_000],
      fill: [1000, count(1000)]
    },
    { name: "messages sent to another process", args: ["produce", count(1_000_000), 60_000] }
  ] as const
  for (const one of cases) {
    if ("fill" in one) yield* fill(database.observer, one.name, one.fill[0], one.fill[1])
    yield* Console.log(`${one.args[1].toLocaleString("en-US")} ${one.name}`)
    yield* Console.log(`  ${inMegabytes(yield* run(database.url, one.args.map(String)))}`)
    yield* database.observer.query("TRUNCATE holdfast.message, holdfast.inbox, holdfast.server")
  }
})

Effect.runFork(Effect.scoped(program).pipe(Effect.provide(Database.layer)))
