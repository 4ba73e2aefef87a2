/**
 * Postgres's own load generator, in C, on the smallest transaction that changes a row: how many single-row commits this server
 * and this disk take, however good the client. Where there is no `pgbench`, this case is left out: it comes with the client tools
 * of Postgres.
 */
import { Effect, Redacted } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Case, type Figures, type Load, type Meter, pad } from "../Case.ts"

const run = (url: URL, args: ReadonlyArray<string>) =>
  Effect.callback<string>((resume) => {
    const child = spawn("pgbench", args, {
      env: {
        ...process.env,
        PGHOST: url.hostname,
        PGPORT: url.port,
        PGUSER: decodeURIComponent(url.username),
        PGPASSWORD: decodeURIComponent(url.password),
        PGDATABASE: decodeURIComponent(url.pathname.slice(1))
      }
    })
    let output = ""
    child.stdout.on("data", (text) => output += String(text))
    child.stderr.on("data", (text) => output += String(text))
    child.on("error", (error) => resume(Effect.die(error)))
    child.on("close", (code) => resume(code === 0 ? Effect.succeed(output) : Effect.die(new Error(output))))
    return Effect.sync(() => child.kill())
  })

const numberIn = (output: string, pattern: RegExp) => Number(pattern.exec(output)?.[1])

export const pgbench: Case = {
  open: Effect.fnUntraced(function*({ observer, url }, servers) {
    yield* observer.query(
      "create table bench_pgbench (id bigint primary key, count bigint not null, state text not null) with (fillfactor = 50)"
    )
    yield* observer.query("insert into bench_pgbench select id, 0, '' from generate_series(1, $1::int) id", [servers])
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-pgbench-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    )
    const rates = new Map<string, number>()
    const script = join(folder, "update.sql")
    writeFileSync(
      script,
      "\\set id random(1, :servers)\n" +
        `update bench_pgbench set count = count + 1, state = '{"count":100000,"pad":"${pad}"}' where id = :id returning count;\n`
    )
    return {
      operations: {
        call: Effect.fnUntraced(function*(load: Load, meter: Meter): Effect.fn.Return<Figures> {
          // Its own clock knows whole seconds and runs while it connects, so it is given a number of transactions: as many as
          // the last time there were as many callers say.
          const key = `${load.servers} ${load.concurrency}`
          const each = Math.max(20, Math.round((rates.get(key) ?? 0) * load.sampleMillis / 1000 / load.concurrency))
          const log = join(folder, `log-${crypto.randomUUID()}`)
          yield* meter.begin
          const output = yield* run(new URL(Redacted.value(url)), [
            "--no-vacuum",
            "--protocol=prepared",
            `--file=${script}`,
            `--client=${load.concurrency}`,
            `--jobs=${Math.min(2, load.concurrency)}`,
            `--define=servers=${load.servers}`,
            "--log",
            `--log-prefix=${log}`,
            `--transactions=${each}`
          ])
          yield* meter.end
          const transactions = numberIn(output, /number of transactions actually processed: (\d+)/)
          const latencies = yield* Effect.promise(() => latenciesIn(folder, log))
          const perSecond = numberIn(output, /tps = ([\d.]+)/)
          rates.set(key, perSecond)
          return {
            perSecond,
            p50Millis: latencies[Math.floor(latencies.length * 0.5)] ?? Number.NaN,
            p99Millis: latencies[Math.floor(latencies.length * 0.99)] ?? Number.NaN,
            measured: transactions,
            answered: transactions
          }
        })
      },
      stored: Effect.orDie(Effect.map(
        observer.queryValues("select sum(count)::float8 from bench_pgbench"),
        ([row]) => Number(row?.[0])
      ))
    }
  }, Effect.orDie)
}

/** What its log says of each transaction: client, number, and microseconds. */
const latenciesIn = async (folder: string, prefix: string): Promise<ReadonlyArray<number>> => {
  const { readdir, readFile, rm } = await import("node:fs/promises")
  const millis: Array<number> = []
  for (const name of await readdir(folder)) {
    const file = join(folder, name)
    if (!file.startsWith(prefix)) continue
    for (const line of (await readFile(file, "utf8")).split("\n")) {
      const micros = Number(line.split(" ")[2])
      if (Number.isFinite(micros) && micros > 0) millis.push(micros / 1000)
    }
    await rm(file)
  }
  return millis.toSorted((a, b) => a - b)
}
