/**
 * What a handler sends to other servers is part of its transition: it goes out with the commit of the handler's state, once,
 * or not at all.
 */
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Latch, Layer, Schedule, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive, Journal, JournalLive } from "./fixtures/servers.ts"

/** Leaves it to the background to send what it sends, and does not wait for that. */
class Careless extends DurableServer.make("Careless", {
  state: Schema.Struct({}),
  protocol: [
    Rpc.make("Send", { payload: { to: Schema.String } }),
    Rpc.make("SendAll", { payload: { to: Schema.String } })
  ]
}) {}

const carelessLive = (sent: (exit: Exit.Exit<void, unknown>) => void) =>
  Careless.toLayer(
    Effect.map(Counter.client(), (counter) => {
      const inBackground = (send: Effect.Effect<void, unknown>) =>
        Effect.forkDetach(Effect.map(Effect.exit(send), sent), { startImmediately: true })
      return Careless.of({
        init: () => ({}),
        handlers: {
          Send: ({ noReply, payload }) => Effect.as(inBackground(counter(payload.to).cast.Add({ by: 2 })), noReply()),
          SendAll: ({ noReply, payload }) =>
            Effect.as(
              inBackground(counter(payload.to).castAll((cast) => [cast.Add({ by: 1 }), cast.Add({ by: 1 })])),
              noReply()
            )
        }
      })
    })
  )

/** Sends what it is told to send, to counters and journals, and to itself. */
class Sender extends DurableServer.make("Sender", {
  state: Schema.Struct({ sent: Schema.Int }),
  protocol: [
    Rpc.make("Send", { payload: { to: Schema.Array(Schema.String), end: Schema.optionalKey(Schema.String) } }),
    Rpc.make("SendAll", { payload: { to: Schema.String, entries: Schema.Array(Schema.String) } }),
    Rpc.make("SendOnce", { payload: { to: Schema.String, id: Schema.String } }),
    Rpc.make("SendToItself", { payload: { times: Schema.Int } }),
    Rpc.make("Ask", { payload: { whom: Schema.String }, success: Schema.Int }),
    Rpc.make("AskItself", { success: Schema.Int }),
    Rpc.make("Sent", { success: Schema.Int })
  ]
}) {}

interface Times {
  handled: number
}

const senderLive = (times: Times) =>
  Sender.toLayer(
    Effect.gen(function*() {
      const counter = yield* Counter.client()
      const journal = yield* Journal.client()
      const self = yield* Sender.client()
      return Sender.of({
        init: () => ({ sent: 0 }),
        handlers: {
          Send: Effect.fnUntraced(function*({ attempt, noReply, payload, state }) {
            times.handled++
            for (const key of payload.to) yield* counter(key).cast.Add({ by: 1 })
            if (payload.end === "die" || (payload.end === "die once" && attempt === 1)) {
              return yield* Effect.die(new Error("after sending"))
            }
            return noReply({ sent: state.sent + payload.to.length })
          }),
          SendAll: Effect.fnUntraced(function*({ noReply, payload, state }) {
            yield* journal(payload.to).castAll((cast) => payload.entries.map((entry) => cast.Write({ entry })))
            return noReply({ sent: state.sent + payload.entries.length })
          }),
          SendOnce: Effect.fnUntraced(function*({ noReply, payload, state }) {
            yield* counter(payload.to).cast.AddOnce({ id: payload.id, by: 1 })
            return noReply({ sent: state.sent + 1 })
          }),
          SendToItself: Effect.fnUntraced(function*({ key, noReply, payload, state }) {
            if (payload.times > 0) yield* self(key).cast.SendToItself({ times: payload.times - 1 })
            return noReply({ sent: state.sent + 1 })
          }),
          Ask: Effect.fnUntraced(function*({ payload, reply }) {
            return reply(yield* counter(payload.whom).call.Get())
          }),
          AskItself: Effect.fnUntraced(function*({ key, reply }) {
            return reply(yield* self(key).call.Sent())
          }),
          Sent: ({ reply, state }) => reply(state.sent)
        }
      })
    }),
    { defectRetryPolicy: Schedule.recurs(1) }
  )

const servers = (times: Times = { handled: 0 }) => Layer.mergeAll(senderLive(times), CounterLive, JournalLive)

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`OutgoingCasts: ${name}`, (it) => {
    it.effect("what a handler sends is there once its caller is answered", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const sender = (yield* node.run(Sender.client()))("sends")
        const counter = yield* node.run(Counter.client())
        yield* sender.call.Send({ to: ["sends a", "sends b", "sends a"] })
        assert.strictEqual(yield* counter("sends a").call.Get(), 2)
        assert.strictEqual(yield* counter("sends b").call.Get(), 1)
        assert.strictEqual(yield* sender.call.Sent(), 3)
      }))

    it.effect("of a handler that fails after sending nothing goes out, and when it gets well, once", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const sender = (yield* node.run(Sender.client()))("fails")
        const counter = yield* node.run(Counter.client())
        const error = yield* Effect.flip(sender.call.Send({ to: ["fails a"], end: "die" }))
        assert.strictEqual(error.reason._tag, "MessageParked")
        assert.strictEqual(yield* counter("fails a").call.Get(), 0)
        yield* sender.call.Send({ to: ["fails b"], end: "die once" })
        assert.strictEqual(yield* counter("fails b").call.Get(), 1)
        assert.strictEqual(yield* sender.call.Sent(), 1)
      }))

    it.effect("castAll inside a handler goes out whole, in order, with the rest", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const sender = (yield* node.run(Sender.client()))("all")
        const journal = (yield* node.run(Journal.client()))("all")
        yield* sender.call.SendAll({ to: "all", entries: ["a", "b", "c"] })
        yield* sender.call.SendAll({ to: "all", entries: ["d"] })
        assert.deepStrictEqual(yield* journal.call.Read(), ["a", "b", "c", "d"])
      }))

    it.effect("a message with a primary key is handled once, however many handlers send it", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const sender = yield* node.run(Sender.client())
        const counter = (yield* node.run(Counter.client()))("once")
        yield* Effect.all(
          Array.from({ length: 20 }, (_, n) => sender(`once ${n % 4}`).call.SendOnce({ to: "once", id: "a" })),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(yield* counter.call.AddOnce({ id: "a", by: 1 }), 1)
        assert.strictEqual(yield* counter.call.Get(), 1)
      }))

    it.effect("a server may send to itself", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const sender = (yield* node.run(Sender.client()))("itself")
        yield* sender.call.SendToItself({ times: 5 })
        const sent = yield* Effect.repeat(sender.call.Sent(), { until: (sent) => sent === 6, times: 1000 })
        assert.strictEqual(sent, 6)
      }))

    it.effect("a handler may call another server, and dies of calling itself instead of waiting for ever", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const sender = (yield* node.run(Sender.client()))("asks")
        const counter = (yield* node.run(Counter.client()))("asked")
        yield* counter.call.Add({ by: 3 })
        assert.strictEqual(yield* sender.call.Ask({ whom: "asked" }), 3)
        const error = yield* Nodes.within("3 seconds", Effect.flip(sender.call.AskItself()))
        assert.strictEqual(error.reason._tag, "MessageParked")
        assert.include(error.message, "calls itself")
      }))

    for (const way of ["Send", "SendAll"] as const) {
      it.effect(`what a handler's background fiber sends when the handler has ended goes out by itself (${way})`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const told = yield* Deferred.make<Exit.Exit<void, unknown>>()
          const gate = yield* Latch.make()
          // The handler is over by the time it is known where that goes.
          const node = yield* store.start({
            servers: Layer.merge(carelessLive((exit) => Deferred.doneUnsafe(told, Effect.succeed(exit))), CounterLive),
            storage: ({ locate }) => ({ locate: (servers) => Effect.andThen(gate.await, locate(servers)) })
          })
          const careless = (yield* node.run(Careless.client()))(`background ${way}`)
          const key = `sent in the background by ${way}`
          yield* careless.call[way]({ to: key })
          yield* gate.open
          assert.isTrue(Exit.isSuccess(yield* Deferred.await(told)))
          assert.strictEqual(yield* (yield* node.run(Counter.client()))(key).call.Get(), 2)
        }))
    }

    it.effect("servers that send to each other in one process and from two all arrive", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const first = yield* store.start({ servers: servers() })
        const second = yield* store.start({ servers: servers() })
        const keys = Array.from({ length: 10 }, (_, n) => `web ${n}`)
        yield* Effect.forEach(
          [first, second, first, second],
          (node) =>
            Effect.flatMap(node.run(Sender.client()), (sender) =>
              Effect.forEach(keys, (key) => sender(key).call.Send({ to: keys }), { concurrency: "unbounded" })),
          { concurrency: "unbounded" }
        )
        const counter = yield* second.run(Counter.client())
        for (const key of keys) {
          assert.strictEqual(yield* counter(key).call.Get(), 40)
        }
      }))
  })
}

layer(TestPostgres.layer, { excludeTestServices: true })("OutgoingCasts, refused and run again", (it) => {
  it.effect("a step that was refused and is made anew sends once", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const times = { handled: 0 }
      const node = yield* Nodes.start({ url: proxy.through(database.url), servers: servers(times) })
      const producer = yield* Nodes.start({ url: database.url })
      const sender = (yield* node.run(Sender.client()))("anew")
      const counter = yield* node.run(Counter.client())
      yield* sender.call.Send({ to: [] })
      times.handled = 0
      const caught = yield* proxy.catchRequest(/commit_/)
      const caller = yield* Effect.forkChild(sender.call.Send({ to: ["anew"] }))
      yield* caught.arrived
      // While its step is on the way, the line moves: the step is refused, and made after what is in line.
      yield* (yield* producer.run(Sender.client()))("anew").cast.Send({ to: ["anew", "anew"] })
      yield* caught.release
      yield* Fiber.join(caller)
      assert.strictEqual(times.handled, 3)
      assert.strictEqual(yield* sender.call.Sent(), 3)
      assert.strictEqual(yield* counter("anew").call.Get(), 3)
    }))
})
