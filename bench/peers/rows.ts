/**
 * Servers as rows, for peers that have no state of their own: one row each, the state as JSON of 200 bytes beside its count,
 * changed by one prepared statement. Half of each page is kept free, so that updates stay in it (HOT), as for the rows of the
 * others.
 */
import { Effect, Redacted } from "effect"
import pg from "pg"
import { type Database, pad, type State } from "../Case.ts"

export const create = ({ observer }: Database, servers: number) =>
  Effect.orDie(Effect.andThen(
    observer.query(
      "create table if not exists bench_counter (id int primary key, count bigint not null, position bigint not null, state text not null) with (fillfactor = 50)"
    ),
    observer.query(
      "insert into bench_counter select id, 0, 0, '' from generate_series(0, $1::int - 1) id on conflict do nothing",
      [servers]
    )
  ))

const state = JSON.stringify({ count: 100_000, pad } satisfies State)

/** A statement for `pg`, prepared once per connection by its name. */
export const add = (server: number, by = 1) => ({
  name: "add",
  text: "update bench_counter set count = count + $2, state = $3 where id = $1 returning count",
  values: [server, by, state]
})

/** The same, unless the server has been there already: for those who may tell the same thing twice. */
export const addAt = (server: number, position: bigint) => ({
  name: "addAt",
  text: "update bench_counter set count = count + 1, position = $2, state = $3 where id = $1 and position < $2",
  values: [server, position, state]
})

/** The same for many servers at once, which are locked in order, so that two of these never wait for each other. */
export const addAll = (counts: ReadonlyMap<number, number>) => {
  const sorted = Array.from(counts).toSorted(([a], [b]) => a - b)
  return {
    name: "addAll",
    text:
      "with locked as materialized (select id from bench_counter where id = any($1::int[]) order by id for no key update) " +
      "update bench_counter c set count = c.count + x.by, state = $3 " +
      "from unnest($1::int[], $2::int[]) as x(id, by) join locked using (id) where c.id = x.id",
    values: [sorted.map(([id]) => id), sorted.map(([, by]) => by), state]
  }
}

export const total = ({ observer }: Database) =>
  Effect.orDie(Effect.map(
    observer.queryValues("select coalesce(sum(count), 0)::float8 from bench_counter"),
    ([row]) => Number(row?.[0])
  ))

/** A pool of `pg`, as most of the peers use it. */
export const pool = ({ url }: Pick<Database, "url">, max: number) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      new pg.Pool({ connectionString: Redacted.value(url), max })
        .on("error", (error) => console.error(error))
        .on("connect", (client) => client.on("error", (error) => console.error(error)))
    ),
    (pool) => Effect.promise(() => pool.end())
  )
