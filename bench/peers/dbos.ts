/**
 * DBOS: a workflow with one step that changes a row.
 *
 * The step is `DBOS.runStep` round one autocommitted statement, the cheapest it has; the data sources on npm, which would record
 * the step in the row's transaction, do not fit this version of the SDK. Pools of 20 connections did best of 10, 20 and 32 on two
 * cores; logging is at `error`, tracing is off as it is by default. Calls run the workflow in the process of the caller, without
 * a queue. Casts go through a queue that is partitioned by key with one workflow at a time in each partition, which is what makes
 * them serial per key as ours are; it is polled every 10 ms instead of every second, which did better than 50; eight dispatches
 * at once instead of three did not.
 */
import { DBOS, DBOSClient } from "@dbos-inc/dbos-sdk"
import { Effect, Redacted } from "effect"
import type { Pool } from "pg"
import type { Case, CastCase, Database } from "../Case.ts"
import { once } from "../load.ts"
import { add, create, pool, total } from "./rows.ts"

const poolSize = 20
const queue = "counters"

/** What the workflow works with: it is registered once, by name, before DBOS is launched. */
const here: { rows: Pool | undefined; handled: (sentAt: number) => void } = { rows: undefined, handled: () => {} }

const addStep = async (server: number): Promise<number> => {
  if (here.rows === undefined) throw new Error("there is no pool")
  const { rows: [row] } = await here.rows.query<{ readonly count: string }>(add(server))
  return Number(row?.count)
}

const addOne = DBOS.registerWorkflow(
  async (server: number, sentAt: number) => {
    const count = await DBOS.runStep(() => addStep(server), { name: "add" })
    here.handled(sentAt)
    return count
  },
  { name: "addOne" }
)

const launch = Effect.fnUntraced(function*(database: Database) {
  here.rows = yield* pool(database, poolSize)
  yield* Effect.acquireRelease(
    Effect.promise(async () => {
      DBOS.setConfig({
        name: "holdfast-bench",
        systemDatabaseUrl: Redacted.value(database.url),
        systemDatabasePoolSize: poolSize,
        applicationVersion: "1",
        logLevel: "error"
      })
      await DBOS.launch()
    }),
    () => Effect.promise(() => DBOS.shutdown())
  )
})

export const calls: Case = {
  open: Effect.fnUntraced(function*(database, servers) {
    yield* create(database, servers)
    yield* launch(database)
    return {
      operations: { call: once((server) => Effect.promise(() => addOne(server, 0))) },
      stored: total(database)
    }
  })
}

export const casts: CastCase = {
  prepare: create,
  receive: Effect.fnUntraced(function*(database, _, handled) {
    here.handled = handled
    yield* launch(database)
    yield* Effect.promise(() => DBOS.registerQueue(queue, { partitionConcurrency: 1, minPollingIntervalMs: 10 }))
  }),
  send: Effect.fnUntraced(function*({ url }) {
    const client = yield* Effect.acquireRelease(
      Effect.promise(() =>
        DBOSClient.create({
          systemDatabaseUrl: Redacted.value(url),
          systemDatabasePoolSize: poolSize,
          applicationName: "holdfast-bench"
        })
      ),
      (client) => Effect.promise(() => client.destroy())
    )
    return (server, sentAt) =>
      Effect.promise(() =>
        client.enqueue<typeof addOne>(
          { queueName: queue, workflowName: "addOne", queuePartitionKey: String(server), appVersion: "1" },
          server,
          sentAt
        )
      )
  }),
  stored: total
}
