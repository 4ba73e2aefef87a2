/**
 * What a call costs as other things grow: the number of servers at rest, the line of another server, and the server's own line. Each
 * size is measured in rounds that alternate with rounds on a store that stays empty; the ratio of the two medians is what counts.
 * `npm run bench:growth` in the root; `npm run bench:growth -- 100000` stops at that size.
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import process from "node:process"
import { type Database as Store, pad } from "./Case.ts"
import * as Database from "./database.ts"
import { DurableNode, DurableServer } from "./holdfast.ts"
import { median } from "./summary.ts"

const most = Number(process.argv[2] ?? 1_000_000)
const sizes = [100, 1000, 10_000, 100_000, 1_000_000].filter((size) => size <= most)
const rounds = 7
const roundMillis = 300

/** Counts, and locks itself for good when it is told to: what is sent then stays in line, unless it has priority. */
class Counter extends DurableServer.make("bench/growth/Counter", {
  state: Schema.Struct({ count: Schema.Int, pad: Schema.String }),
  protocol: [Rpc.make("Add", { payload: { by: Schema.Int }, success: Schema.Int }), Rpc.make("Shut")]
}) {}

const CounterLive = Counter.toLayer({
  init: () => ({ count: 0, pad }),
  handlers: {
    Add: ({ payload, reply, state }) => reply(state.count + payload.by, { ...state, count: state.count + payload.by }),
    Shut: ({ lock }) => lock()
  },
  handleLocked: { Shut: () => Effect.never }
})

const open = Effect.fnUntraced(function*(database: Store) {
  const context = yield* Layer.build(
    Layer.fresh(CounterLive.pipe(Layer.provideMerge(DurableNode.layerPostgres))).pipe(
      Layer.provide(PgClient.layer({ url: database.url }))
    )
  )
  const counter = yield* Effect.provide(Counter.client(), context)
  return { counter, query: database.observer.query }
})

type Side = Effect.Success<ReturnType<typeof open>>

/** Servers at rest, until there are so many. */
const rest = ({ query }: Side, size: number) =>
  query(
    `INSERT INTO holdfast.server (kind, key, state)
     SELECT 'bench/growth/AtRest', 'at rest ' || n, '{"count":1}'
     FROM generate_series((SELECT count(*) + 1 FROM holdfast.server WHERE kind = 'bench/growth/AtRest'), $1::bigint) n`,
    [size]
  )

/** A line that grows until it is so long. */
const lineUp = ({ query }: Side, kind: string, key: string, size: number) =>
  Effect.gen(function*() {
    yield* query("INSERT INTO holdfast.server (kind, key) VALUES ($1, $2) ON CONFLICT DO NOTHING", [kind, key])
    yield* query(
      `WITH s AS (SELECT id FROM holdfast.server WHERE kind = $1 AND key = $2),
       b AS (SELECT coalesce((SELECT pushed FROM holdfast.inbox WHERE id = (SELECT id FROM s)), 0) AS pushed),
       p AS (INSERT INTO holdfast.inbox (id, pushed) SELECT id, $3 FROM s ON CONFLICT (id) DO UPDATE SET pushed = $3)
       INSERT INTO holdfast.message (server_id, seq, mode, rpc, payload, member, call)
       SELECT s.id, n, 'cast', 'Add', '{"by":1}', 0, 0 FROM s, b, generate_series(b.pushed + 1, $3::bigint) n`,
      [kind, key, BigInt(size)]
    )
  })

/** The median of what an operation takes, one after the other, for a while. */
const latency = <E>(operation: Effect.Effect<unknown, E>) =>
  Effect.gen(function*() {
    const taken: Array<number> = []
    const ends = performance.now() + roundMillis
    while (performance.now() < ends) {
      const started = performance.now()
      yield* operation
      taken.push(performance.now() - started)
    }
    return median(taken)
  })

const compare = Effect.fnUntraced(
  function*<E>(name: string, size: number, grown: Effect.Effect<unknown, E>, empty: Effect.Effect<unknown, E>) {
    const pairs: Array<readonly [number, number]> = []
    for (let round = 0; round <= rounds; round++) {
      const sides = round % 2 === 0 ? [grown, empty] as const : [empty, grown] as const
      const first = yield* latency(sides[0])
      const second = yield* latency(sides[1])
      // The first round warms up.
      if (round > 0) pairs.push(round % 2 === 0 ? [first, second] : [second, first])
    }
    const [with_, without] = [0, 1].map((side) => median(pairs.map((pair) => pair[side] ?? Number.NaN)))
    yield* Console.log(
      `${name.padEnd(44)} ${size.toLocaleString("en-US").padStart(9)}  p50 ${with_?.toFixed(3)} ms, empty ${
        without?.toFixed(3)
      } ms, ` +
        `ratio ${median(pairs.map(([one, other]) => one / other)).toFixed(2)}`
    )
  }
)

const program = Effect.gen(function*() {
  const [grown, empty] = [yield* open(yield* Database.make()), yield* open(yield* Database.make())]
  const call = (side: Side) => side.counter("called").call.Add({ by: 1 })
  for (const size of sizes) {
    yield* rest(grown, size)
    yield* compare("a call, servers at rest", size, call(grown), call(empty))
  }
  const other = sizes.filter((size) => size >= 100_000)
  for (const size of other) {
    yield* lineUp(grown, "bench/growth/AtRest", "at rest 1", size)
    yield* compare("a call, messages in the line of another", size, call(grown), call(empty))
  }
  // Its own line: under a lock, so that it stays.
  for (const side of [grown, empty]) yield* side.counter("shut").cast.Shut()
  const priority = (side: Side) => side.counter("shut").priorityCall.Add({ by: 1 })
  const cast = (side: Side) => side.counter("shut").cast.Add({ by: 1 })
  for (const size of sizes) {
    yield* lineUp(grown, Counter.kind, "shut", size)
    yield* compare("a call with priority, messages in its line", size, priority(grown), priority(empty))
    yield* compare("a cast, messages in its line", size, cast(grown), cast(empty))
  }
})

Effect.runFork(Effect.scoped(program).pipe(Effect.provide(Database.layer)))
