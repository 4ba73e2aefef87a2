/** The counters that run in another process: those that are called, and those that get casts. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { type Database, pad } from "../Case.ts"
import { DurableNode, DurableServer } from "../holdfast.ts"

export class Counter extends DurableServer.make("bench/Distant", {
  state: Schema.Struct({ count: Schema.Int, pad: Schema.String }),
  protocol: [
    Rpc.make("Add", { payload: { by: Schema.Int }, success: Schema.Int }),
    Rpc.make("Note", { payload: { sentAt: Schema.Int } }),
    Rpc.make("Get", { success: Schema.Int })
  ]
}) {}

/** Runs the counters in this process, until the scope ends. */
export const run = ({ url }: Pick<Database, "url">, handled: (sentAt: number) => void) =>
  Layer.build(
    Counter.toLayer({
      init: () => ({ count: 0, pad }),
      handlers: {
        Add: ({ payload, reply, state }) =>
          reply(state.count + payload.by, { ...state, count: state.count + payload.by }),
        // The action after the commit is for those that are timed: the others are counted here, and then looked up as stored.
        Note: ({ noReply, payload, state }) => {
          const outcome = noReply({ ...state, count: state.count + 1 })
          if (payload.sentAt > 0) return outcome.afterCommit(() => Effect.sync(() => handled(payload.sentAt)))
          handled(0)
          return outcome
        },
        Get: ({ reply, state }) => reply(state.count)
      }
    }).pipe(
      Layer.provideMerge(Layer.orDie(DurableNode.layerPostgres)),
      Layer.provide(Layer.orDie(PgClient.layer({ url })))
    )
  )

/** Refs to them, from a process that has no handlers. */
export const refs = Effect.fnUntraced(function*({ url }: Pick<Database, "url">, servers: number) {
  const context = yield* Layer.build(
    Layer.fresh(Layer.orDie(DurableNode.layerPostgres)).pipe(Layer.provide(Layer.orDie(PgClient.layer({ url }))))
  )
  const counter = yield* Effect.provide(Counter.client(), context)
  return Array.from({ length: servers }, (_, index) => counter(`counter-${index}`))
})

/** The sum of all counts as it stands in the tables, without asking the servers. */
export const stored = ({ observer }: Database) =>
  Effect.orDie(Effect.map(
    observer.queryValues(
      "select coalesce(sum((state::json->>'count')::float8), 0) from holdfast.server where kind = $1",
      [Counter.kind]
    ),
    ([row]) => Number(row?.[0])
  ))

export const urlOfEnvironment = () => Redacted.make(process.env["HOLDFAST_BENCH_URL"] ?? "")
