/**
 * What durable servers take of memory: 100,000 servers with one message each, sent here or found in line, and 1,000,000 messages
 * in the lines of one and of a thousand servers, each in a process of its own that ends where its heap would exceed
 * 400 MB. `npm run bench:memory` in the root.
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Result } from "effect"
import process from "node:process"
import * as Database from "../database.ts"
import { DurableNode } from "../holdfast.ts"
import { fill, type Job, type Measured, run } from "./run.ts"

/** A part of it all, for a smoke run, and how many megabytes of heap a process may take. */
const scale = Number(process.argv[2] ?? 1)
const megabytes = Number(process.argv[3] ?? 400)

const inMegabytes = (measured: Measured): string =>
  Object.entries(measured).map(([name, value]) =>
    name === "seconds" || name === "residents"
      ? `${name} ${Math.round(value * 10) / 10}`
      : `${name} ${Math.round(value / 1024 / 1024)} MB`
  ).join(", ")

const program = Effect.gen(function*() {
  const database = yield* Database.make()
  yield* Effect.scoped(
    Layer.build(DurableNode.layerPostgres.pipe(Layer.provide(PgClient.layer({ url: database.url }))))
  )
  const count = (n: number) => Math.round(n * scale)
  const many = count(100_000)
  const long = count(1_000_000)
  const idleMillis = 60_000
  const cases: ReadonlyArray<{ readonly name: string; readonly job: Job; readonly fill?: readonly [number, number] }> =
    [
      { name: "servers with one message each, sent here", job: { what: "cast", amount: many, idleMillis } },
      {
        name: "servers with one message each, in line",
        job: { what: "drain", amount: many, idleMillis },
        fill: [many, 1]
      },
      { name: "messages in the line of one server", job: { what: "drain", amount: long, idleMillis }, fill: [1, long] },
      {
        name: "messages in the lines of 1,000 servers",
        job: { what: "drain", amount: long, idleMillis },
        fill: [1000, long / 1000]
      },
      { name: "messages sent to another process", job: { what: "produce", amount: long, idleMillis } },
      {
        name: "servers that leave when they are idle for 2 s",
        job: { what: "drain", amount: many, idleMillis: 2000 },
        fill: [many, 1]
      }
    ]
  for (const { fill: [servers, each] = [0, 0], job, name } of cases) {
    if (servers > 0) yield* fill(database.observer, name, servers, each)
    yield* Console.log(`${job.amount.toLocaleString("en-US")} ${name}`)
    const measured = yield* Effect.result(run(database.url, job, megabytes))
    yield* Console.log(`  ${Result.isSuccess(measured) ? inMegabytes(measured.success) : measured.failure.message}`)
    if (Result.isFailure(measured)) process.exitCode = 1
    yield* database.observer.query("TRUNCATE holdfast.message, holdfast.inbox, holdfast.server")
  }
})

Effect.runFork(Effect.scoped(program).pipe(Effect.provide(Database.layer)))
