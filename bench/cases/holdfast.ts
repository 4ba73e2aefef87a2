/**
 * Holdfast through its public face, as a user would write it: a definition, a behaviour, one Layer, and calls on refs. In
 * Postgres, and in memory: the latter stores nothing, and shows what the library costs without a database.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import process from "node:process"
import { type Case, pad } from "../Case.ts"
import { DurableNode, DurableServer } from "../holdfast.ts"
import { once } from "../load.ts"

class Counter extends DurableServer.make("bench/Counter", {
  state: Schema.Struct({ count: Schema.Int, pad: Schema.String }),
  protocol: [
    Rpc.make("Add", { payload: { by: Schema.Int }, success: Schema.Int }),
    Rpc.make("Get", { success: Schema.Int })
  ]
}) {}

const CounterLive = Counter.toLayer({
  init: () => ({ count: 0, pad }),
  handlers: {
    Add: ({ payload, reply, state }) => reply(state.count + payload.by, { ...state, count: state.count + payload.by }),
    Get: ({ reply, state }) => reply(state.count)
  }
})

/** Keys of their own, where several processes share a database. */
const prefix = process.env["HOLDFAST_BENCH_PREFIX"] ?? ""

const open = Effect.fnUntraced(function*(servers: number) {
  const counter = yield* Counter.client()
  const refs = Array.from({ length: servers }, (_, index) => counter(`${prefix}counter-${index}`))
  return {
    operations: {
      call: once((server) => {
        const ref = refs[server]
        return ref === undefined
          ? Effect.die(new Error(`there is no server ${server}`))
          : Effect.orDie(ref.call.Add({ by: 1 }))
      })
    },
    stored: Effect.orDie(Effect.map(
      Effect.forEach(refs, (ref) => ref.call.Get(), { concurrency: "unbounded" }),
      (counts) => counts.reduce((sum, count) => sum + count, 0)
    ))
  }
})

export const holdfast: Case = {
  open: Effect.fnUntraced(function*({ url }, servers) {
    const context = yield* Layer.build(CounterLive.pipe(
      Layer.provideMerge(Layer.orDie(DurableNode.layerPostgres)),
      Layer.provide(Layer.orDie(PgClient.layer({ url })))
    ))
    return yield* Effect.provide(open(servers), context)
  })
}

export const memory: Case = {
  open: Effect.fnUntraced(function*(_, servers) {
    const context = yield* Layer.build(Layer.provideMerge(CounterLive, DurableNode.layerMemory))
    return yield* Effect.provide(open(servers), context)
  })
}
