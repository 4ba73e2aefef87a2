/**
 * The floor for latency: one caller, one row, one UPDATE, one commit, over the same driver as everything else. Nothing that is
 * durable in this database can answer sooner.
 */
import { PgConnection } from "@effect/sql-pg"
import { Effect } from "effect"
import { type Case, pad, type State } from "../Case.ts"
import { once } from "../load.ts"

const update = "update bench_row set version = version + 1, state = $2 where id = $1"

export const row: Case = {
  open: Effect.fnUntraced(function*({ observer, url }) {
    yield* observer.query(
      "create table bench_row (id bigint primary key, version bigint not null, state text not null) with (fillfactor = 50)"
    )
    yield* observer.query("insert into bench_row values (1, 0, '')")
    const connection = yield* PgConnection.make({ url })
    let count = 0
    const call = Effect.suspend(() => {
      const state: State = { count: ++count, pad }
      return connection.query(update, [1n, JSON.stringify(state)])
    })
    return {
      operations: { call: once(() => Effect.orDie(call)) },
      stored: Effect.orDie(Effect.map(
        observer.queryValues("select (nullif(state, '')::json->>'count')::float8 from bench_row"),
        ([row]) => Number(row?.[0])
      ))
    }
  }, Effect.orDie)
}
