/**
 * graphile-worker: jobs, each in the named queue of its key, so that those of one key are done one after the other.
 *
 * Sixteen jobs at once did best of 8, 16 and 32 on two cores, with a pool a little larger, as its documentation recommends. Its
 * two ways to batch are for jobs without named queues, and were slower here: where completions wait to be batched
 * (`completeJobBatchDelay`), so does the next job of the same queue; a local queue fetches by batches, which may hold but one job
 * of each named queue. Even without them a worker looks for its next job while the completion of the last is still on its way,
 * finds its queue taken, and sleeps until it is told of another job or polls: so it polls every 50 ms here instead of every two
 * seconds, or a busy queue would do a few jobs a second.
 */
import { Effect, Redacted } from "effect"
import { Logger, makeWorkerUtils, run } from "graphile-worker"
import { type CastCase, type Database, pad } from "../Case.ts"
import { add, create, pool, total } from "./rows.ts"

interface Note {
  readonly server: number
  readonly sentAt: number
  readonly pad: string
}

const quiet = new Logger(() => () => {})

const utils = (database: Database, connections: number) =>
  Effect.gen(function*() {
    const pgPool = yield* pool(database, connections)
    return yield* Effect.acquireRelease(
      Effect.promise(() => makeWorkerUtils({ pgPool, logger: quiet })),
      (utils) => Effect.promise(async () => void await utils.release())
    )
  })

export const casts: CastCase = {
  prepare: (database, servers) =>
    Effect.scoped(Effect.gen(function*() {
      yield* create(database, servers)
      const one = yield* utils(database, 2)
      yield* Effect.promise(() => one.migrate())
    })),
  receive: Effect.fnUntraced(function*({ url }, _, handled) {
    yield* Effect.acquireRelease(
      Effect.promise(() =>
        run({
          preset: {
            worker: {
              connectionString: Redacted.value(url),
              concurrentJobs: 16,
              maxPoolSize: 20,
              pollInterval: 50
            }
          },
          logger: quiet,
          noHandleSignals: true,
          taskList: {
            add: async (payload, { withPgClient }) => {
              const note = payload as Note
              await withPgClient((client) => client.query(add(note.server)))
              handled(note.sentAt)
            }
          }
        })
      ),
      (runner) => Effect.promise(() => runner.stop())
    )
  }),
  send: Effect.fnUntraced(function*(database) {
    const one = yield* utils(database, 32)
    return (server, sentAt) =>
      Effect.promise(() =>
        one.addJob("add", { server, sentAt, pad } satisfies Note, { queueName: `counter-${server}` })
      )
  }),
  stored: total
}
