/**
 * However much is ready at once, what is committed at once is bounded by its size: no statement grows beyond what a connection
 * bears. Where one bears less than that, less is sent.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Latch, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer, type DurableStorage } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

/** Keeps a text as long as it is told to. */
class Text extends DurableServer.make("Text", {
  state: Schema.Struct({ text: Schema.String }),
  protocol: [
    Rpc.make("Grow", { payload: { length: Schema.Int } }),
    Rpc.make("Put", { payload: { text: Schema.String } }),
    Rpc.make("Length", { success: Schema.Int })
  ]
}) {}

const TextLive = Text.toLayer({
  init: () => ({ text: "" }),
  handlers: {
    Grow: ({ noReply, payload }) => noReply({ text: "x".repeat(payload.length) }),
    Put: ({ noReply, payload }) => noReply({ text: payload.text }),
    Length: ({ reply, state }) => reply(state.text.length)
  }
})

const sizeOf = (member: DurableStorage.Member): number => {
  if (member._tag === "Check") return 0
  const fragments = member._tag === "Transition" ? member.fragments : []
  const state = member._tag === "Transition" ? member.state ?? "" : ""
  return fragments.reduce((size, { text }) => size + (text?.length ?? 0), state.length) +
    member.outgoing.reduce((size, { message }) => size + message.payload.length, 0)
}

const limit = 16 * 1024 * 1024
const large = 5 * 1024 * 1024

layer(Nodes.layerMemory, { excludeTestServices: true })("GroupSizes", (it) => {
  for (const what of ["states", "messages"] as const) {
    it.effect(`large ${what} that are ready together are committed in groups of no more than 16 Mi and one of them`, () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const groups: Array<ReadonlyArray<number>> = []
        const gate = yield* Latch.make(true)
        const producer = yield* store.start({
          servers: what === "states" ? TextLive : Layer.empty,
          storage: ({ commit }) => ({
            commit: (group) => {
              groups.push(group.map(sizeOf))
              return Effect.andThen(gate.await, commit(group))
            }
          })
        })
        if (what === "messages") yield* store.start({ servers: TextLive })
        const text = yield* producer.run(Text.client())
        const keys = Array.from({ length: 12 }, (_, n) => `${what} ${n}`)
        for (const key of keys) yield* text(key).call.Length()
        // All of it gathers behind a group that is under way.
        yield* gate.close
        const first = yield* Effect.forkChild(text("first").cast.Put({ text: "" }), { startImmediately: true })
        yield* Effect.sleep("5 millis").pipe(Effect.repeat({ until: () => groups.at(-1)?.length === 1, times: 200 }))
        groups.length = 0
        const payload = { text: "x".repeat(large) }
        const sending = yield* Effect.forkChild(
          Effect.forEach(
            keys,
            (key) => what === "states" ? text(key).call.Grow({ length: large }) : text(key).cast.Put(payload),
            { concurrency: "unbounded", discard: true }
          ),
          { startImmediately: true }
        )
        yield* gate.open
        yield* Effect.all([Fiber.join(first), Fiber.join(sending)])
        for (const key of keys) assert.strictEqual(yield* text(key).call.Length(), large)
        const sizes = groups.map((group) => group.reduce((sum, size) => sum + size, 0))
        for (const [index, size] of sizes.entries()) {
          const largest = Math.max(...groups[index] ?? [])
          assert.isAtMost(size, limit + largest, `${groups[index]?.length} members`)
        }
        // And of as many as may be: four of them are more than 16 Mi, three are not.
        assert.strictEqual(sizes.filter((size) => size > large).length, 3)
      }))
  }
})

layer(TestPostgres.layer, { excludeTestServices: true })("GroupSizes, on a connection that bears little", (it) => {
  for (const way of ["here", "by the line"] as const) {
    it.effect(`a group that every connection breaks of is halved until it gets through (${way})`, () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        const node = yield* Nodes.start({
          url: proxy.through(database.url),
          servers: way === "here" ? TextLive : Layer.empty
        })
        if (way === "by the line") yield* Nodes.start({ url: database.url, servers: TextLive })
        const text = yield* node.run(Text.client())
        const keys = Array.from({ length: 16 }, (_, n) => `${way} ${n}`)
        for (const key of keys) yield* text(key).call.Length()
        yield* proxy.breakAbove(50_000)
        const payload = { text: "x".repeat(20_000) }
        yield* Nodes.within(
          "10 seconds",
          Effect.forEach(keys, (key) => text(key).cast.Put(payload), { concurrency: "unbounded", discard: true })
        )
        assert.isAbove(yield* proxy.broken, 2)
        for (const key of keys) assert.strictEqual(yield* text(key).call.Length(), 20_000)
      }))
  }
})
