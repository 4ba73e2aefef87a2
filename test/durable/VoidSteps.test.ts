/**
 * A step that becomes void, with a handler that was running behind it: the handler is given up and run again, its message
 * counts once and in its order, and nobody takes that for a failed attempt.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Latch, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

class Hanging extends DurableServer.make("Hanging", {
  state: Schema.Struct({ done: Schema.Array(Schema.String) }),
  protocol: [
    Rpc.make("Do", { payload: { what: Schema.String }, success: Schema.Int }),
    /** Ends only when it is handled for the second time. */
    Rpc.make("Hang", { payload: { what: Schema.String }, success: Schema.Int }),
    Rpc.make("Done", { success: Schema.Array(Schema.String) })
  ]
}) {}

const setUp = () => {
  /** What was handled, and as which attempt. */
  const handled: Array<readonly [what: string, attempt: number]> = []
  const hangs = Latch.makeUnsafe()
  const servers = Hanging.toLayer({
    init: () => ({ done: [] }),
    handlers: {
      Do: ({ attempt, payload, reply, state }) => {
        handled.push([payload.what, attempt])
        return reply(state.done.length + 1, { done: [...state.done, payload.what] })
      },
      Hang: ({ attempt, payload, reply, state }) => {
        const isFirst = handled.every(([what]) => what !== payload.what)
        handled.push([payload.what, attempt])
        return isFirst
          ? Effect.andThen(hangs.open, Effect.never)
          : Effect.succeed(reply(state.done.length + 1, { done: [...state.done, payload.what] }))
      },
      Done: ({ reply, state }) => reply(state.done)
    }
  })
  return { handled, hangs, servers }
}

const start = { startImmediately: true }

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`VoidSteps: ${name}`, (it) => {
    it.effect("a handler behind a step that is refused, since the line has moved, is run again behind that line", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const { handled, hangs, servers } = setUp()
        const gate = yield* Latch.make(true)
        const node = yield* store.start({
          servers,
          storage: ({ commit }) => ({ commit: (group) => Effect.andThen(gate.await, commit(group)) })
        })
        const producer = yield* store.start()
        const hanging = (yield* node.run(Hanging.client()))("refused")
        yield* hanging.call.Do({ what: "first" })
        yield* gate.close
        const second = yield* Effect.forkChild(hanging.call.Do({ what: "second" }), start)
        const third = yield* Effect.forkChild(hanging.call.Hang({ what: "third" }), start)
        yield* hangs.await
        yield* (yield* producer.run(Hanging.client()))("refused").cast.Do({ what: "by the line" })
        yield* gate.open
        assert.deepStrictEqual([yield* Fiber.join(second), yield* Fiber.join(third)], [3, 4])
        assert.deepStrictEqual(yield* hanging.call.Done(), ["first", "by the line", "second", "third"])
        assert.deepStrictEqual(
          handled,
          [["first", 1], ["second", 1], ["third", 1], ["by the line", 1], ["second", 1], ["third", 1]]
        )
      }))
  })
}

layer(TestPostgres.layer, { excludeTestServices: true })("VoidSteps, of a node that was declared dead", (it) => {
  for (const way of ["a call made here", "a cast made here", "a call by the line"] as const) {
    it.effect(`${way} whose handler was running is handled again, once and in its order`, () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.TestDatabase
        const sql = yield* PgClient.PgClient
        const { handled, hangs, servers } = setUp()
        const node = yield* Nodes.start({ url, servers, member: { lease: "500 millis" } })
        const sender = way === "a call by the line" ? yield* Nodes.start({ url }) : node
        const held = (yield* node.run(Hanging.client()))(way)
        const sent = (yield* sender.run(Hanging.client()))(way)
        yield* held.call.Do({ what: "first" })
        const second = yield* Effect.forkChild(
          way === "a cast made here" ? sent.cast.Hang({ what: "second" }) : sent.call.Hang({ what: "second" }),
          start
        )
        yield* hangs.await
        const third = yield* Effect.forkChild(sent.call.Do({ what: "third" }), start)
        yield* sql`SELECT holdfast.bury_members(ARRAY[${yield* node.id}::bigint])`
        yield* Fiber.join(second)
        assert.strictEqual(yield* Fiber.join(third), 3)
        assert.deepStrictEqual(yield* held.call.Done(), ["first", "second", "third"])
        assert.deepStrictEqual(handled, [["first", 1], ["second", 1], ["second", 1], ["third", 1]])
      }))
  }
})
