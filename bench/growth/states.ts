/**
 * What a call costs by the size of its server's state, which changes one small field of it, stored as a whole and field by field.
 * What it takes of write-ahead log and of the disk is measured by `npm run bench:states`.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import * as Database from "../database.ts"
import { DurableNode, DurableServer } from "../holdfast.ts"
import { compare, type Series, tens } from "./Series.ts"

const options = {
  state: Schema.Struct({ count: Schema.Int, text: Schema.String }),
  protocol: [
    Rpc.make("Fill", { payload: { text: Schema.String } }),
    Rpc.make("Add", { success: Schema.Int })
  ]
} as const

class Whole extends DurableServer.make("bench/growth/Whole", options) {}
class Incremental extends DurableServer.make("bench/growth/Incremental", { ...options, persistence: "incremental" }) {}

const live = (definition: typeof Whole | typeof Incremental) =>
  definition.toLayer({
    init: () => ({ count: 0, text: "" }),
    handlers: {
      Fill: ({ noReply, payload, state }) => noReply({ ...state, text: payload.text }),
      Add: ({ reply, state }) => reply(state.count + 1, { ...state, count: state.count + 1 })
    }
  })

/** Text that does not compress to nothing: an xorshift generator, the same in every run. */
const textOf = (length: number) => {
  let seed = 0x9e3779b1 | 0
  const parts: Array<string> = []
  for (let made = 0; made < length; made += 6) {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    parts.push((seed >>> 0).toString(36).padStart(7, "0").slice(0, 6))
  }
  return parts.join("").slice(0, length)
}

const points = (definition: typeof Whole | typeof Incremental): Series["points"] =>
  Effect.fnUntraced(function*(pace, onProgress) {
    const { url } = yield* Database.make()
    const context = yield* Layer.build(
      Layer.fresh(live(definition).pipe(Layer.provideMerge(DurableNode.layerPostgres))).pipe(
        Layer.provide(PgClient.layer({ url }))
      )
    )
    const server = yield* Effect.provide(definition.client(), context)
    return yield* Effect.forEach(
      tens(100, 1_000_000, pace.most),
      Effect.fnUntraced(function*(size) {
        onProgress(size.toLocaleString("en-US"))
        yield* server(`${size}`).call.Fill({ text: textOf(size) })
        yield* server("small").call.Fill({ text: textOf(100) })
        return yield* compare(size, server(`${size}`).call.Add(), server("small").call.Add(), pace)
      })
    )
  })

export const states: ReadonlyArray<Series> = [
  {
    name: "state, whole",
    title: "a call that changes a small field, by the size of the state, stored as a whole",
    unit: "bytes",
    points: points(Whole)
  },
  {
    name: "state, incremental",
    title: "a call that changes a small field, by the size of the state, stored field by field",
    unit: "bytes",
    points: points(Incremental)
  }
]
