/**
 * The yardstick: a group-commit loop written by hand over the driver, with no library round it. The servers live in memory; a
 * call changes the state there and waits. One statement at a time carries everything that is ready, of all servers, as arrays,
 * each row fenced by its version; while it is in flight the next group forms by itself.
 *
 * It is as fast as it could be made: the callers are resumed before the next group is taken, so that what they send next is in
 * it; a state is encoded once per group, not per call; and nothing else is done. What it leaves out is what a library is for:
 * schemas, typed errors, ownership by one of several processes, messages from elsewhere, and an answer to what became of a group
 * whose connection was lost.
 */
import { PgConnection } from "@effect/sql-pg"
import { Effect, Exit } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Case, pad, type State } from "../Case.ts"
import { once } from "../load.ts"

const commit = `
update bench_server s set version = s.version + 1, state = x.state
from unnest($1::bigint[], $2::bigint[], $3::text[]) as x(id, version, state)
where s.id = x.id and s.version = x.version`

type Resume = (answer: Exit.Exit<number, SqlError>) => void

interface Waiting {
  readonly resume: Resume
  readonly count: number
}

interface Resident {
  readonly id: bigint
  version: bigint
  count: number
  waiting: Array<Waiting>
}

export const bareLoop: Case = {
  open: Effect.fnUntraced(function*({ observer, url }, servers) {
    yield* observer.query(
      "create table bench_server (id bigint primary key, version bigint not null, state text not null) with (fillfactor = 50)"
    )
    yield* observer.query("insert into bench_server select id, 0, '' from generate_series(1, $1::int) id", [servers])
    yield* observer.query("analyze bench_server")
    const connection = yield* PgConnection.make({ url })
    const residents = Array.from(
      { length: servers },
      (_, index): Resident => ({ id: BigInt(index + 1), version: 0n, count: 0, waiting: [] })
    )

    let ready: Array<Resident> = []
    let wake: (() => void) | undefined
    let broken: Exit.Exit<never, SqlError> | undefined

    const somethingReady = Effect.callback<void>((resume) => {
      wake = () => resume(Effect.void)
    })

    const settle = (waiting: ReadonlyArray<ReadonlyArray<Waiting>>) => {
      for (const callers of waiting) {
        for (const { count, resume } of callers) resume(broken ?? Exit.succeed(count))
      }
    }

    const committer = Effect.gen(function*() {
      while (broken === undefined) {
        if (ready.length === 0) yield* somethingReady
        const group = ready
        ready = []
        const waiting = group.map((resident) => resident.waiting)
        const parameters = [
          group.map((resident) => resident.id),
          group.map((resident) => resident.version),
          group.map(({ count }) => JSON.stringify({ count, pad } satisfies State))
        ]
        for (const resident of group) resident.waiting = []
        const result = yield* Effect.exit(connection.query(commit, parameters))
        if (Exit.isFailure(result)) broken = Exit.failCause(result.cause)
        else if (result.value.rowCount !== group.length) {
          broken = Exit.die(new Error("a row was changed by somebody else"))
        }
        for (const resident of group) resident.version++
        settle(waiting)
      }
      settle(ready.map((resident) => resident.waiting))
    })
    yield* Effect.forkScoped(committer)

    const call = (server: number) =>
      Effect.callback<number, SqlError>((resume) => {
        const resident = residents[server]
        if (resident === undefined || broken !== undefined) {
          resume(broken ?? Effect.die(new Error(`there is no server ${server}`)))
          return
        }
        if (resident.waiting.push({ resume, count: ++resident.count }) > 1) return
        ready.push(resident)
        const waiter = wake
        wake = undefined
        waiter?.()
      })
    return {
      operations: { call: once((server) => Effect.orDie(call(server))) },
      stored: Effect.orDie(Effect.map(
        observer.queryValues("select coalesce(sum((nullif(state, '')::json->>'count')::float8), 0) from bench_server"),
        ([row]) => Number(row?.[0])
      ))
    }
  }, Effect.orDie)
}
