import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableNode, DurableServer } from "holdfast/durable"

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

const TestLive = CounterLive.pipe(Layer.provideMerge(DurableNode.layerMemory))

layer(TestLive)("DurableServer", (it) => {
  it.effect("a call sees every cast acknowledged before it", () =>
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      yield* Effect.forEach([4, 0, 9], (by) => counter("a").cast.Add({ by }))
      assert.strictEqual(yield* counter("a").call.Get(), 13)
    }))

  it.effect("concurrent calls each apply once", () =>
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      yield* Effect.forEach(Array.from({ length: 1000 }), () => counter("b").call.Add({ by: 1 }), {
        concurrency: "unbounded"
      })
      assert.strictEqual(yield* counter("b").call.Get(), 1000)
    }))

  it.effect("a primary key makes a message execute once", () =>
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      assert.strictEqual(yield* counter("c").call.AddOnce({ id: "x", by: 5 }), 5)
      assert.strictEqual(yield* counter("c").call.AddOnce({ id: "x", by: 5 }), 5)
      assert.strictEqual(yield* counter("c").call.Get(), 5)
    }))

  it.effect("interrupting a caller leaves nothing behind", () =>
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      const fiber = yield* Effect.forkChild(counter("d").call.Get())
      yield* Fiber.interrupt(fiber)
    }))
})
