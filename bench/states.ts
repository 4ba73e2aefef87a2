/**
 * What a call costs by the size of its server's state, stored as a whole and field by field: time, CPU of this process, WAL, and
 * how large the tables have become in the end. One server, one caller; each call changes one small field, or one item of a
 * list that makes up the rest. `npm run bench:states` in the root takes about a minute and a half; `npm run bench:states -- 60`
 * gives each line a minute, which is what it takes to see tables grow.
 *
 * `HOLDFAST_DATABASE_URL` names a server to use instead of one with default durability of its own. Write-ahead log is counted by
 * position, and so has the page images in it that come after a checkpoint, and what others write there.
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import process from "node:process"
import * as Database from "./database.ts"
import { DurableNode, DurableServer } from "./holdfast.ts"
import { median } from "./summary.ts"

const Item = Schema.Struct({ id: Schema.String, title: Schema.String, done: Schema.Boolean, rank: Schema.Int })
const State = Schema.Struct({ count: Schema.Int, items: Schema.Array(Item) })

const protocol = [
  Rpc.make("Fill", { payload: { bytes: Schema.Int } }),
  Rpc.make("Count", { success: Schema.Int }),
  Rpc.make("Item", { success: Schema.Int }),
  Rpc.make("Get", { success: Schema.Int })
]

class Whole extends DurableServer.make("bench/Whole", { state: State, protocol }) {}
class Incremental extends DurableServer.make("bench/Incremental", {
  state: State,
  protocol,
  persistence: "incremental"
}) {}

/** Titles that do not compress to nothing: an xorshift generator, the same in every run. */
const titles = () => {
  let seed = 0x9e3779b1 | 0
  return () => {
    let title = ""
    while (title.length < 90) {
      seed ^= seed << 13
      seed ^= seed >>> 17
      seed ^= seed << 5
      title += (seed >>> 0).toString(36)
    }
    return title
  }
}

const filled = (bytes: number): typeof State.Type => {
  const title = titles()
  const items = Array.from({ length: Math.floor(bytes / 150) }, (_, rank) => ({
    id: `item-${rank}`,
    title: title(),
    done: false,
    rank
  }))
  return { count: 0, items }
}

const behaviour = Whole.of({
  init: () => ({ count: 0, items: [] }),
  handlers: {
    Fill: ({ noReply, payload }) => noReply(filled(payload.bytes)),
    Count: ({ reply, state }) => reply(state.count + 1, { ...state, count: state.count + 1 }),
    Item: ({ reply, state }) => {
      const count = state.count + 1
      const at = (count * 7919) % Math.max(1, state.items.length)
      const item = state.items[at]
      return reply(count, {
        count,
        items: item === undefined
          ? state.items
          : state.items.with(at, { ...item, done: !item.done, rank: item.rank + 1 })
      })
    },
    Get: ({ reply, state }) => reply(state.count)
  }
})

const seconds = Number(process.argv[2] ?? 4)

const columns = ["state", "stored", "changes", "calls/s", "p50 ms", "CPU µs/call", "WAL B/call", "tables MB"] as const
const widths = [9, 12, 8, 9, 9, 12, 11, 10]
const line = (cells: ReadonlyArray<string>) =>
  Console.log(
    cells.map((cell, column) => column < 3 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))
      .join("  ")
  )

const program = Effect.gen(function*() {
  const database = yield* Database.make()
  const facts = yield* Database.facts(database)
  yield* Console.log(
    `${facts.cores} × ${facts.processor}; Node ${facts.node}; PostgreSQL ${facts.postgres}; ${seconds} s each\n`
  )
  const observed = (sql: string) => Effect.map(database.observer.queryValues(sql), ([row]) => Number(row?.[0]))
  const walPosition = observed("select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8")
  const tables = observed(
    "select (pg_total_relation_size('holdfast.server') + pg_total_relation_size('holdfast.fragment'))::float8"
  )
  const context = yield* Layer.build(
    Layer.mergeAll(Whole.toLayer(behaviour), Incremental.toLayer(behaviour as never)).pipe(
      Layer.provideMerge(Layer.orDie(DurableNode.layerPostgres)),
      Layer.provide(PgClient.layer({ url: database.url }))
    )
  )
  const whole = yield* Effect.provide(Whole.client(), context)
  const incremental = yield* Effect.provide(Incremental.client(), context)
  yield* line(columns)
  for (const bytes of [100, 3_000, 10_000, 100_000, 1_000_000]) {
    for (const stored of ["whole", "incremental"] as const) {
      for (const changes of ["field", "item"] as const) {
        const ref = (stored === "whole" ? whole : incremental as unknown as typeof whole)(`${bytes} ${changes}`)
        const call = changes === "field" ? ref.call.Count() : ref.call.Item()
        yield* ref.call.Fill({ bytes })
        for (let n = 0; n < 20; n++) yield* call
        yield* database.observer.query("vacuum full holdfast.server, holdfast.fragment")
        yield* database.observer.query("checkpoint")
        const latencies: Array<number> = []
        const wal = yield* walPosition
        const cpu = process.cpuUsage()
        const started = performance.now()
        while (performance.now() - started < seconds * 1000) {
          const before = performance.now()
          yield* call
          latencies.push(performance.now() - before)
        }
        const used = process.cpuUsage(cpu)
        const took = (performance.now() - started) / 1000
        const calls = latencies.length
        yield* line([
          bytes.toLocaleString("en-US"),
          stored,
          changes,
          (calls / took).toFixed(0),
          median(latencies).toFixed(3),
          ((used.user + used.system) / calls).toFixed(0),
          (((yield* walPosition) - wal) / calls).toFixed(0),
          ((yield* tables) / 1024 / 1024).toFixed(2)
        ])
        if ((yield* ref.call.Get()) !== calls + 20) return yield* Effect.die(new Error("a call was lost"))
      }
    }
  }
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Database.layer)))
