/**
 * `info` tells a server something that is not worth keeping: nobody waits for it, and where it arrives it is handled like any
 * message, its changes on disk like any.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schedule, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"

class Listener extends DurableServer.make("Listener", {
  state: Schema.Struct({ heard: Schema.Array(Schema.String) }),
  protocol: [Rpc.make("Heard", { success: Schema.Array(Schema.String) })],
  info: Schema.Struct({ word: Schema.String })
}) {}

class Deaf extends DurableServer.make("Deaf", {
  state: Schema.Struct({ count: Schema.Int }),
  protocol: [Rpc.make("Count", { success: Schema.Int })],
  info: Schema.String
}) {}

const live = (afterwards: Array<string> = []) =>
  Layer.mergeAll(
    Listener.toLayer({
      init: () => ({ heard: [] }),
      handlers: { Heard: ({ reply, state }) => reply(state.heard) },
      handleInfo: ({ message: { word }, noReply, state, stop }) => {
        const next = { heard: [...state.heard, word] }
        switch (word) {
          case "dies":
            return Effect.die(new Error("cannot bear it"))
          case "stops":
            return stop({ reason: "normal", state: next })
          case "ignores":
            return noReply()
          default:
            return noReply(next).afterCommit(({ heard }) => Effect.sync(() => afterwards.push(heard.join(" "))))
        }
      }
    }, { defectRetryPolicy: Schedule.forever }),
    Deaf.toLayer({ init: () => ({ count: 0 }), handlers: { Count: ({ reply, state }) => reply(state.count) } })
  )

for (const [name, storeLayer] of Nodes.stores) {
  layer(storeLayer, { excludeTestServices: true })(`Info, ${name}`, (it) => {
    for (const where of ["here", "in another process"] as const) {
      it.effect(`what is told ${where} is handled in its order, and kept, and acted upon afterwards`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const afterwards: Array<string> = []
          const holder = yield* store.start({ servers: live(afterwards) })
          const other = where === "here" ? holder : yield* store.start()
          const listener = (yield* other.run(Listener.client()))(where)
          yield* (yield* holder.run(Listener.client()))(where).call.Heard()
          for (const word of ["a", "ignores", "b"]) yield* listener.info({ word })
          assert.deepStrictEqual(yield* listener.call.Heard(), ["a", "b"])
          assert.deepStrictEqual(afterwards, ["a", "a b"])
          yield* holder.close
          const next = yield* store.start({ servers: live() })
          assert.deepStrictEqual(yield* (yield* next.run(Listener.client()))(where).call.Heard(), ["a", "b"])
          yield* next.close
          if (other !== holder) yield* other.close
        }))
    }

    it.effect("what its handler dies of is passed over, once, and the server goes on", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const holder = yield* store.start({ servers: live() })
        const producer = yield* store.start()
        const here = (yield* holder.run(Listener.client()))("dies")
        const there = (yield* producer.run(Listener.client()))("dies")
        for (const listener of [here, there]) {
          yield* listener.info({ word: "dies" })
          yield* listener.info({ word: "lives" })
          yield* Nodes.within("15 seconds", listener.call.Heard())
        }
        assert.deepStrictEqual(yield* here.call.Heard(), ["lives", "lives"])
        yield* holder.close
        yield* producer.close
      }))

    it.effect("one that stops the server leaves its state on disk, and memory empty", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: live() })
        const listener = (yield* node.run(Listener.client()))("stops")
        yield* listener.info({ word: "stops" })
        yield* Nodes.within(
          "4 seconds",
          Effect.repeat(Effect.delay(node.residents, "2 millis"), { until: (n) => n === 0 })
        )
        assert.deepStrictEqual(yield* listener.call.Heard(), ["stops"])
        yield* node.close
      }))

    it.effect("without a handleInfo it is ignored; what the definition does not allow is refused", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: live() })
        const deaf = (yield* node.run(Deaf.client()))("deaf")
        yield* deaf.info("is anybody there?")
        assert.strictEqual(yield* deaf.call.Count(), 0)
        const error = yield* Effect.flip(deaf.info(1 as never))
        assert.strictEqual(error.reason._tag, "InvalidMessage")
        assert.include(error.message, "the payload of info to Deaf was refused")
        yield* node.close
      }))
  })
}
