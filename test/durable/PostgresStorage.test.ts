import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableNode, DurableServer } from "holdfast/durable"
import * as TestPostgres from "../support/TestPostgres.ts"

class Counter extends DurableServer.make("Counter", {
  state: Schema.Struct({ count: Schema.Int }),
  protocol: [
    Rpc.make("Add", { payload: { by: Schema.Int } }),
    Rpc.make("AddOnce", {
      payload: { id: Schema.String, by: Schema.Int },
      primaryKey: ({ id }) => id,
      success: Schema.Int
    }),
    Rpc.make("Get", { success: Schema.Int })
  ]
}) {}

const CounterLive = Counter.toLayer({
  init: () => ({ count: 0 }),
  handlers: {
    Add: ({ noReply, payload, state }) => noReply({ count: state.count + payload.by }),
    AddOnce: ({ payload, reply, state }) => reply(state.count + payload.by, { count: state.count + payload.by }),
    Get: ({ reply, state }) => reply(state.count)
  }
})

const TestLive = CounterLive.pipe(Layer.provideMerge(DurableNode.layerPostgres), Layer.provideMerge(TestPostgres.layer))

layer(TestLive, { excludeTestServices: true })("on Postgres", (it) => {
  it.effect("a call sees every cast acknowledged before it", () =>
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      yield* Effect.forEach([4, 0, 9], (by) => counter("a").cast.Add({ by }))
      assert.strictEqual(yield* counter("a").call.Get(), 13)
    }))

  it.effect("concurrent calls each apply once", () =>
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      yield* Effect.forEach(Array.from({ length: 1000 }), (_, i) => counter(`b${i % 7}`).call.Add({ by: 1 }), {
        concurrency: "unbounded"
      })
      let sum = 0
      for (let i = 0; i < 7; i++) sum += yield* counter(`b${i}`).call.Get()
      assert.strictEqual(sum, 1000)
    }))

  it.effect("a primary key makes a message execute once", () =>
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      assert.strictEqual(yield* counter("c").call.AddOnce({ id: "x", by: 5 }), 5)
      assert.strictEqual(yield* counter("c").call.AddOnce({ id: "x", by: 5 }), 5)
      assert.strictEqual(yield* counter("c").call.Get(), 5)
    }))

  it.effect("castAll goes through the line", () =>
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      yield* counter("d").castAll((cast) => [cast.Add({ by: 1 }), cast.Add({ by: 2 })])
      assert.strictEqual(yield* counter("d").call.Get(), 3)
    }))
})
