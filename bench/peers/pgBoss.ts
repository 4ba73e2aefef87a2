/**
 * pg-boss: a queue of jobs.
 *
 * Its standard policy does not keep the jobs of one key in order or apart, as ours does; the policy that does (`key_strict_fifo`)
 * gives a worker but one job of a key at a time, and a hot key then waits for a poll between any two: a few a second. So it is
 * measured with less to do than the others. Workers are told of new jobs (`useListenNotify` and `notify`) and go on fetching
 * without a pause while a fetch comes back full. A batch is handled in one transaction with its completion (`transactional`),
 * which gives it one commit for up to 200 jobs, and one effect for each. Two workers did as well as one, four and eight.
 */
import { Effect, Redacted } from "effect"
import { type Job, PgBoss } from "pg-boss"
import { type CastCase, type Database, pad } from "../Case.ts"
import { addAll, create, total } from "./rows.ts"

const queue = "counters"

interface Note {
  readonly server: number
  readonly sentAt: number
  readonly pad: string
}

const boss = (
  { url }: Database,
  options: { readonly max: number; readonly migrate: boolean; readonly supervise: boolean; readonly listen: boolean }
) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const boss = new PgBoss({
        connectionString: Redacted.value(url),
        max: options.max,
        migrate: options.migrate,
        supervise: options.supervise,
        schedule: false,
        useListenNotify: options.listen
      })
      boss.on("error", (error) => console.error(error))
      await boss.start()
      return boss
    }),
    (boss) => Effect.promise(() => boss.stop({ graceful: false }))
  )

export const casts: CastCase = {
  prepare: (database, servers) =>
    Effect.scoped(Effect.gen(function*() {
      yield* create(database, servers)
      const instance = yield* boss(database, { max: 2, migrate: true, supervise: false, listen: false })
      yield* Effect.promise(() => instance.createQueue(queue, { notify: true }))
    })),
  receive: Effect.fnUntraced(function*(database, _, handled) {
    const instance = yield* boss(database, { max: 24, migrate: false, supervise: true, listen: true })
    yield* Effect.promise(() =>
      instance.work(
        queue,
        {
          localConcurrency: 2,
          batchSize: 200,
          burstWhenBatchFull: true,
          pollingIntervalSeconds: 0.5,
          transactional: true
        } as const,
        async (jobs: Array<Job<Note>>, transaction) => {
          const counts = new Map<number, number>()
          for (const { data } of jobs) counts.set(data.server, (counts.get(data.server) ?? 0) + 1)
          const { text, values } = addAll(counts)
          await transaction.executeSql(text, values)
          for (const { data } of jobs) handled(data.sentAt)
        }
      )
    )
  }),
  send: Effect.fnUntraced(function*(database) {
    const instance = yield* boss(database, { max: 32, migrate: false, supervise: false, listen: false })
    return (server, sentAt) => Effect.promise(() => instance.send(queue, { server, sentAt, pad } satisfies Note))
  }),
  stored: total
}
