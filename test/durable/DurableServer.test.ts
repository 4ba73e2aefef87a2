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

/** Its operations are called as things are called that objects have anyway, or that the machinery might want for itself. */
class Named extends DurableServer.make("Named", {
  state: Schema.Struct({ heard: Schema.Array(Schema.String) }),
  protocol: [
    Rpc.make("ref", { success: Schema.String }),
    Rpc.make("constructor", { success: Schema.String }),
    Rpc.make("prototype", { success: Schema.String }),
    Rpc.make("toString", { success: Schema.String }),
    Rpc.make("heard", { success: Schema.Array(Schema.String) })
  ]
}) {}

const NamedLive = Named.toLayer({
  init: () => ({ heard: [] }),
  handlers: {
    ref: ({ reply, state }) => reply("ref", { heard: [...state.heard, "ref"] }),
    constructor: ({ reply, state }) => reply("constructor", { heard: [...state.heard, "constructor"] }),
    prototype: ({ reply, state }) => reply("prototype", { heard: [...state.heard, "prototype"] }),
    toString: ({ reply, state }) => reply("toString", { heard: [...state.heard, "toString"] }),
    heard: ({ reply, state }) => reply(state.heard)
  }
})

const TestLive = Layer.merge(CounterLive, NamedLive).pipe(Layer.provideMerge(DurableNode.layerMemory))

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

  it.effect("an operation may have any name", () =>
    Effect.gen(function*() {
      const named = (yield* Named.client())("named")
      const names = ["ref", "constructor", "prototype", "toString"] as const
      for (const name of names) {
        assert.strictEqual(yield* named.call[name](), name)
        yield* named.cast[name]()
        yield* named.castAll((cast) => [cast[name]()])
      }
      assert.deepStrictEqual(yield* named.call.heard(), names.flatMap((name) => [name, name, name]))
    }))

  it.effect("interrupting a caller leaves nothing behind", () =>
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      const fiber = yield* Effect.forkChild(counter("d").call.Get())
      yield* Fiber.interrupt(fiber)
    }))
})
