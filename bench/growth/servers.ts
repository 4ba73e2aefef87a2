/**
 * What a call costs as other things of durable servers grow: the number of servers at rest, the line of another server, and the
 * server's own line, which a call with priority and a cast meet while a lock holds it.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { pad } from "../Case.ts"
import * as Database from "../database.ts"
import { DurableNode, DurableServer } from "../holdfast.ts"
import { compare, type Series, tens } from "./Series.ts"

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

/** A node on a database of its own. */
const open = Effect.gen(function*() {
  const database = yield* Database.make()
  const context = yield* Layer.build(
    Layer.fresh(CounterLive.pipe(Layer.provideMerge(DurableNode.layerPostgres))).pipe(
      Layer.provide(PgClient.layer({ url: database.url }))
    )
  )
  const counter = yield* Effect.provide(Counter.client(), context)
  return { counter, query: database.observer.query }
})

type Side = Effect.Success<typeof open>

const atRest = "bench/growth/AtRest"

/** Servers at rest, until there are so many. */
const rest = ({ query }: Side, size: number) =>
  query(
    `INSERT INTO holdfast.server (kind, key, state)
     SELECT '${atRest}', 'at rest ' || n, '{"count":1}'
     FROM generate_series((SELECT count(*) + 1 FROM holdfast.server WHERE kind = '${atRest}'), $1::bigint) n`,
    [size]
  )

/** A line that grows until it is so long. */
const lineUp = ({ query }: Side, kind: string, key: string, size: number) =>
  Effect.gen(function*() {
    yield* query("INSERT INTO holdfast.server (kind, key) VALUES ($1, $2) ON CONFLICT DO NOTHING", [kind, key])
    yield* query(
      `WITH s AS (SELECT id FROM holdfast.server WHERE kind = $1 AND key = $2),
       b AS (SELECT coalesce((SELECT pushed FROM holdfast.inbox WHERE id = (SELECT id FROM s)), 0) AS pushed),
       p AS (INSERT INTO holdfast.inbox (id, pushed) SELECT id, $3 FROM s ON CONFLICT (id) DO UPDATE SET pushed = greatest(inbox.pushed, $3))
       INSERT INTO holdfast.message (server_id, seq, mode, rpc, payload, member, call)
       SELECT s.id, n, 'cast', 'Add', '{"by":1}', 0, 0 FROM s, b, generate_series(b.pushed + 1, $3::bigint) n`,
      [kind, key, BigInt(size)]
    )
  })

/** A side where something grows and one where it does not, measured at each size. */
const growing = (
  sizes: ReadonlyArray<number>,
  grow: (side: Side, size: number) => Effect.Effect<unknown, unknown>,
  operation: (side: Side) => Effect.Effect<unknown, unknown>,
  prepare: (side: Side) => Effect.Effect<unknown, unknown> = () => Effect.void
): Series["points"] =>
  Effect.fnUntraced(function*(pace, onProgress) {
    const [grown, small] = [yield* open, yield* open]
    yield* prepare(grown)
    yield* prepare(small)
    return yield* Effect.forEach(sizes.filter((size) => size <= pace.most), (size) => {
      onProgress(size.toLocaleString("en-US"))
      return Effect.andThen(grow(grown, size), compare(size, operation(grown), operation(small), pace))
    })
  })

const millions = tens(100, 1_000_000, Number.MAX_SAFE_INTEGER)
const call = ({ counter }: Side) => counter("called").call.Add({ by: 1 })
const shut = ({ counter }: Side) => counter("shut").cast.Shut()

export const servers: ReadonlyArray<Series> = [
  {
    name: "at rest",
    title: "a call, by the number of servers at rest",
    unit: "servers",
    points: growing(millions, rest, call)
  },
  {
    name: "another's line",
    title: "a call, by the messages in the line of another server",
    unit: "messages",
    points: growing(
      millions,
      (side, size) => lineUp(side, atRest, "at rest 1", size),
      call,
      (side) => rest(side, 1)
    )
  },
  {
    name: "priority",
    title: "a call with priority, by the messages in its own server's line",
    unit: "messages",
    points: growing(
      millions,
      (side, size) => lineUp(side, Counter.kind, "shut", size),
      ({ counter }) => counter("shut").priorityCall.Add({ by: 1 }),
      shut
    )
  },
  {
    name: "own line",
    title: "a cast, by the messages in its server's line",
    unit: "messages",
    points: growing(
      millions,
      (side, size) => lineUp(side, Counter.kind, "shut", size),
      ({ counter }) => counter("shut").cast.Add({ by: 1 }),
      shut
    )
  }
]
