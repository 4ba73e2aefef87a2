/**
 * Messages with a primary key: however often one is sent, by calls or casts, at once or later, from one process or from two,
 * it is done once, and every caller has the one answer.
 */
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Latch, Schedule } from "effect"
import { TestClock } from "effect/testing"
import * as Nodes from "../support/Nodes.ts"
import { Counter, CounterLive, Fragile, fragileLive, makeWorld } from "./fixtures/servers.ts"

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`PrimaryKeys: ${name}`, (it) => {
    it.effect("a repeated call has the recorded answer, a repeated cast does nothing", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: CounterLive })
        const counter = (yield* node.run(Counter.client()))("repeated")
        assert.strictEqual(yield* counter.call.AddOnce({ id: "a", by: 5 }), 5)
        yield* counter.call.Add({ by: 1 })
        assert.strictEqual(yield* counter.call.AddOnce({ id: "a", by: 5 }), 5)
        yield* counter.cast.AddOnce({ id: "a", by: 5 })
        yield* counter.castAll((cast) => [cast.AddOnce({ id: "a", by: 5 }), cast.AddOnce({ id: "b", by: 2 })])
        yield* counter.cast.AddOnce({ id: "b", by: 2 })
        assert.strictEqual(yield* counter.call.AddOnce({ id: "b", by: 2 }), 8)
        assert.strictEqual(yield* counter.call.Get(), 8)
      }))

    it.effect("the same key to another server is another message", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: CounterLive })
        const counter = yield* node.run(Counter.client())
        assert.strictEqual(yield* counter("one").call.AddOnce({ id: "a", by: 1 }), 1)
        assert.strictEqual(yield* counter("another").call.AddOnce({ id: "a", by: 2 }), 2)
      }))

    it.effect("concurrent repeats in one process and from another are one", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const holder = yield* store.start({ servers: CounterLive })
        const producer = yield* store.start()
        const here = (yield* holder.run(Counter.client()))("concurrent")
        const there = (yield* producer.run(Counter.client()))("concurrent")
        for (let round = 1; round <= 5; round++) {
          const id = `${round}`
          const answers = yield* Effect.all(
            Array.from({ length: 60 }, (_, n) =>
              n % 5 === 0
                ? Effect.as(here.cast.AddOnce({ id, by: 1 }), round)
                : n % 5 === 1
                ? Effect.as(there.cast.AddOnce({ id, by: 1 }), round)
                : (n % 2 === 0 ? here : there).call.AddOnce({ id, by: 1 })),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(new Set(answers), new Set([round]))
        }
        assert.strictEqual(yield* here.call.Get(), 5)
      }))

    it.effect("repeats after the holder has gone and another one has come have the recorded answer", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const first = yield* store.start({ servers: CounterLive })
        yield* (yield* first.run(Counter.client()))("restarted").call.AddOnce({ id: "a", by: 5 })
        yield* first.close
        const second = yield* store.start({ servers: CounterLive })
        const counter = (yield* second.run(Counter.client()))("restarted")
        assert.strictEqual(yield* counter.call.Get(), 5)
        yield* counter.call.Add({ by: 1 })
        assert.strictEqual(yield* counter.call.AddOnce({ id: "a", by: 5 }), 5)
        yield* counter.cast.AddOnce({ id: "a", by: 5 })
        assert.strictEqual(yield* counter.call.Get(), 6)
      }))

    it.effect("repeats while the first is in line are answered with it", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const producer = yield* store.start()
        const another = yield* store.start()
        const sent = (yield* producer.run(Counter.client()))("in line")
        const alsoSent = (yield* another.run(Counter.client()))("in line")
        // Nobody runs this server yet.
        const callers = yield* Effect.forEach(
          [sent, sent, alsoSent, alsoSent],
          (counter) => Effect.forkChild(counter.call.AddOnce({ id: "a", by: 5 }), { startImmediately: true })
        )
        yield* sent.cast.AddOnce({ id: "a", by: 5 })
        yield* alsoSent.castAll((cast) => [cast.AddOnce({ id: "a", by: 5 }), cast.Add({ by: 1 })])
        const holder = yield* store.start({ servers: CounterLive })
        for (const caller of callers) assert.strictEqual(yield* Fiber.join(caller), 5)
        assert.strictEqual(yield* (yield* holder.run(Counter.client()))("in line").call.Get(), 6)
      }))

    it.effect("a typed failure is an answer too", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const node = yield* store.start({ servers: fragileLive(world) })
        const fragile = (yield* node.run(Fragile.client()))("failing")
        const first = yield* Effect.flip(fragile.call.DoOnce({ what: "refused" }))
        yield* fragile.call.Do({ what: "something" })
        const second = yield* Effect.flip(fragile.call.DoOnce({ what: "refused" }))
        assert.deepStrictEqual([first._tag, second._tag], ["Refused", "Refused"])
        // It says how much was done when it was given.
        assert.deepStrictEqual(second, first)
      }))

    for (const way of ["where it is held", "by the line"] as const) {
      it.effect(`a cast with the key of a message that was parked is a message of its own, ${way}`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const world = makeWorld()
          const node = yield* store.start({
            servers: fragileLive(world, { defectRetryPolicy: Schedule.recurs(0) })
          })
          const sender = way === "by the line" ? yield* store.start() : node
          const fragile = (yield* sender.run(Fragile.client()))(`cast after parked ${way}`)
          world.poison.add("poison")
          yield* Effect.flip(fragile.call.DoOnce({ what: "poison" }))
          yield* fragile.cast.DoOnce({ what: "poison" })
          // The second one was parked like the first.
          yield* fragile.call.Done()
          world.poison.clear()
          yield* fragile.cast.DoOnce({ what: "poison" })
          yield* fragile.cast.DoOnce({ what: "poison" })
          assert.deepStrictEqual(yield* fragile.call.Done(), ["poison"])
        }))

      it.effect(`a repeat of a message that was parked is tried again, ${way}`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const world = makeWorld()
          const node = yield* store.start({
            servers: fragileLive(world, { defectRetryPolicy: Schedule.recurs(1) })
          })
          const sender = way === "by the line" ? yield* store.start() : node
          const fragile = (yield* sender.run(Fragile.client()))(`parked ${way}`)
          world.poison.add("poison")
          const error = yield* Effect.flip(fragile.call.DoOnce({ what: "poison" }))
          assert.strictEqual(error._tag === "DurableServerError" ? error.reason._tag : error._tag, "MessageParked")
          assert.strictEqual(world.attempts.length, 2)
          world.poison.clear()
          assert.strictEqual(yield* fragile.call.DoOnce({ what: "poison" }), 1)
          assert.strictEqual(yield* fragile.call.DoOnce({ what: "poison" }), 1)
          assert.deepStrictEqual(yield* fragile.call.Done(), ["poison"])
        }))
    }

    /** A step with a message and its repeat, held at its commit, which will be refused since the line moves meanwhile. */
    const inVoidStep = Effect.fnUntraced(function*(key: string) {
      const store = yield* Nodes.Store
      const gate = yield* Latch.make(true)
      const atGate = yield* Latch.make()
      const node = yield* store.start({
        servers: CounterLive,
        storage: ({ commit }) => ({
          commit: (group) => Effect.andThen(atGate.open, Effect.andThen(gate.await, commit(group)))
        })
      })
      const producer = yield* store.start()
      const counter = (yield* node.run(Counter.client()))(key)
      yield* counter.call.Add({ by: 1 })
      yield* gate.close
      yield* atGate.close
      const start = { startImmediately: true }
      const first = yield* Effect.forkChild(counter.call.AddOnce({ id: "a", by: 1 }), start)
      const second = yield* Effect.forkChild(counter.call.AddOnce({ id: "a", by: 1 }), start)
      yield* atGate.await
      yield* (yield* producer.run(Counter.client()))(key).cast.Add({ by: 10 })
      return { counter, first, gate, second }
    })

    it.effect("repeats in a step that becomes void have the answer of the one that counts", () =>
      Effect.gen(function*() {
        const { counter, first, gate, second } = yield* inVoidStep("void")
        yield* gate.open
        assert.deepStrictEqual([yield* Fiber.join(first), yield* Fiber.join(second)], [12, 12])
        assert.strictEqual(yield* counter.call.Get(), 12)
      }))

    it.effect("a repeat in a step that becomes void is done where the first one is taken back", () =>
      Effect.gen(function*() {
        const { counter, first, gate, second } = yield* inVoidStep("taken back")
        yield* Fiber.interrupt(first)
        yield* gate.open
        const answer = yield* Fiber.join(second)
        assert.deepStrictEqual([answer, yield* counter.call.Get()], [12, 12])
      }))
  })
}

layer(Nodes.layerMemory)("PrimaryKeys, by the clock", (it) => {
  it.effect("an answer is kept for the retention, and the message done again after it", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: CounterLive, node: { outcomeRetention: "7 days" } })
      const counter = (yield* node.run(Counter.client()))("retention")
      assert.strictEqual(yield* counter.call.AddOnce({ id: "a", by: 5 }), 5)
      yield* TestClock.adjust(Duration.subtract(Duration.days(7), Duration.millis(1)))
      assert.strictEqual(yield* counter.call.AddOnce({ id: "a", by: 5 }), 5)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* counter.call.AddOnce({ id: "a", by: 5 }), 10)
    }))
})
