/**
 * Replies that come later: a handler keeps who asked, a later message answers. The answer belongs to the transition of that
 * later message, and gets to the caller wherever it waits.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"

class Shut extends Schema.TaggedError<Shut>()("Shut", { why: Schema.String }) {}

const Pass = Rpc.make("Pass", { payload: { who: Schema.String }, success: Schema.String, error: Shut })
const PassOnce = Rpc.make("PassOnce", {
  payload: { who: Schema.String },
  primaryKey: ({ who }) => who,
  success: Schema.String
})

class Gate extends DurableServer.make("Gate", {
  state: Schema.Struct({
    waiting: Schema.Array(DurableServer.From(Pass)),
    once: Schema.Array(DurableServer.From(PassOnce)),
    passes: Schema.Int
  }),
  protocol: [
    Pass,
    PassOnce,
    Rpc.make("Open", { payload: { word: Schema.String } }),
    Rpc.make("OpenAndDie", { payload: { word: Schema.String } }),
    Rpc.make("Close", { payload: { why: Schema.String } }),
    Rpc.make("Waiting", { success: Schema.Int }),
    Rpc.make("Passes", { success: Schema.Int })
  ]
}) {}

const GateLive = Gate.toLayer({
  init: () => ({ waiting: [], once: [], passes: 0 }),
  handlers: {
    Pass: ({ from, replyLater, state }) => replyLater({ ...state, waiting: [...state.waiting, from] }),
    PassOnce: ({ from, replyLater, state }) =>
      replyLater({ ...state, once: [...state.once, from], passes: state.passes + 1 }),
    Open: Effect.fnUntraced(function*({ noReply, payload, state }) {
      for (const from of state.waiting) yield* DurableServer.replyTo(from, payload.word)
      for (const from of state.once) yield* DurableServer.replyTo(from, payload.word)
      return noReply({ ...state, waiting: [], once: [] })
    }),
    OpenAndDie: Effect.fnUntraced(function*({ attempt, noReply, payload, state }) {
      for (const from of state.waiting) yield* DurableServer.replyTo(from, `${payload.word} ${attempt}`)
      if (attempt === 1) return yield* Effect.die(new Error("after answering"))
      return noReply({ ...state, waiting: [] })
    }),
    Close: Effect.fnUntraced(function*({ noReply, payload, state }) {
      for (const from of state.waiting) yield* DurableServer.failTo(from, new Shut({ why: payload.why }))
      return noReply({ ...state, waiting: [] })
    }),
    Waiting: ({ reply, state }) => reply(state.waiting.length + state.once.length),
    Passes: ({ reply, state }) => reply(state.passes)
  }
})

const start = { startImmediately: true }

for (const [name, storeLayer] of Nodes.stores) {
  layer(storeLayer, { excludeTestServices: true })(`LateReplies, ${name}`, (it) => {
    for (const where of ["here", "in another process"] as const) {
      it.effect(`callers ${where} are answered by a later message, each exactly once`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const holder = yield* store.start({ servers: GateLive })
          const caller = where === "here" ? holder : yield* store.start()
          const held = (yield* holder.run(Gate.client()))(where)
          const gate = (yield* caller.run(Gate.client()))(where)
          assert.strictEqual(yield* held.call.Waiting(), 0)
          const waiting = yield* Effect.forEach(["a", "b", "c"], (who) =>
            Effect.forkChild(gate.call.Pass({ who }), start))
          yield* Effect.repeat(held.call.Waiting(), {
            until: (count) =>
              count === 3
          })
          for (const one of waiting) assert.isUndefined(one.pollUnsafe())
          yield* gate.cast.Open({ word: "open" })
          for (const one of waiting) {
            assert.strictEqual(yield* Nodes.within("15 seconds", Fiber.join(one)), "open")
          }
          assert.strictEqual(yield* held.call.Waiting(), 0)
          const refused = yield* Effect.forkChild(Effect.flip(gate.call.Pass({ who: "d" })), start)
          yield* Effect.repeat(held.call.Waiting(), { until: (count) => count === 1 })
          yield* held.call.Close({ why: "night" })
          assert.deepStrictEqual(yield* Nodes.within("15 seconds", Fiber.join(refused)), new Shut({ why: "night" }))
          yield* holder.close
          if (caller !== holder) yield* caller.close
        }))
    }

    it.effect("who waits is kept in the state: another process answers after the first one has gone", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const caller = yield* store.start()
        const first = yield* store.start({ servers: GateLive })
        const gate = (yield* caller.run(Gate.client()))("moved")
        const waiting = yield* Effect.forkChild(gate.call.Pass({ who: "a" }, { timeout: "20 seconds" }), start)
        yield* Effect.repeat(gate.call.Waiting(), { until: (count) => count === 1 })
        yield* first.close
        const second = yield* store.start({ servers: GateLive })
        assert.strictEqual(yield* gate.call.Waiting(), 1)
        yield* gate.call.Open({ word: "from the second" })
        assert.strictEqual(yield* Nodes.within("15 seconds", Fiber.join(waiting)), "from the second")
        yield* second.close
        yield* caller.close
      }))

    it.effect("an answer belongs to its transition: an attempt that fails has told nobody anything", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: GateLive })
        const gate = (yield* node.run(Gate.client()))("dies")
        const waiting = yield* Effect.forkChild(gate.call.Pass({ who: "a" }), start)
        yield* Effect.repeat(gate.call.Waiting(), { until: (count) => count === 1 })
        yield* gate.call.OpenAndDie({ word: "attempt" })
        assert.strictEqual(yield* Fiber.join(waiting), "attempt 2")
        yield* node.close
      }))

    it.effect("a late answer is recorded under the key of its message, for repeats of it", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: GateLive })
        const gate = (yield* node.run(Gate.client()))("once")
        const waiting = yield* Effect.forkChild(gate.call.PassOnce({ who: "a" }), start)
        yield* gate.cast.PassOnce({ who: "b" })
        yield* Effect.repeat(gate.call.Waiting(), { until: (count) => count === 2 })
        yield* gate.call.Open({ word: "open" })
        assert.strictEqual(yield* Fiber.join(waiting), "open")
        assert.strictEqual(yield* gate.call.PassOnce({ who: "a" }), "open")
        assert.strictEqual(yield* gate.call.PassOnce({ who: "b" }), "open")
        assert.strictEqual(yield* gate.call.Passes(), 2)
        // As long as there is no answer, a repeat is a message of its own; the first answer is the one that is kept.
        const both = yield* Effect.forEach([1, 2], () => Effect.forkChild(gate.call.PassOnce({ who: "c" }), start))
        yield* Effect.repeat(gate.call.Waiting(), { until: (count) => count === 2 })
        yield* gate.call.Open({ word: "open again" })
        for (const one of both) assert.strictEqual(yield* Fiber.join(one), "open again")
        assert.strictEqual(yield* gate.call.PassOnce({ who: "c" }), "open again")
        yield* node.close
      }))

    it.effect("a caller that has gone is passed over, and one whose node closes is told", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: GateLive })
        const gate = (yield* node.run(Gate.client()))("gone")
        const timedOut = yield* Effect.flip(gate.call.Pass({ who: "a" }, { timeout: "1 second" }))
        assert.strictEqual(timedOut._tag === "DurableServerError" ? timedOut.reason._tag : "", "CallTimeout")
        const left = yield* Effect.forkChild(Effect.exit(gate.call.Pass({ who: "b" })), start)
        yield* Effect.repeat(gate.call.Waiting(), { until: (count) => count === 2 })
        yield* node.close
        const exit = yield* Fiber.join(left)
        assert.isTrue(Exit.isFailure(exit))
        const again = yield* store.start({ servers: GateLive })
        const gateAgain = (yield* again.run(Gate.client()))("gone")
        yield* gateAgain.call.Open({ word: "nobody hears it" })
        assert.strictEqual(yield* gateAgain.call.Waiting(), 0)
        yield* again.close
      }))
  })
}
