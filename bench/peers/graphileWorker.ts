/**
 * graphile-worker: jobs, each in the named queue of its key, so that those of one key are done one after the other.
 *
 * Sixteen jobs at once did best of 8, 16, 24 and 32, with a pool a little larger, as its documentation recommends. Jobs are completed in
 * batches of those that are done at the same moment (`completeJobBatchDelay: 0`). A local queue, its other recommendation for speed, is
 * not used: it fetches by batches, and a batch may hold but one job of each named queue.
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
              completeJobBatchDelay: 0
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
