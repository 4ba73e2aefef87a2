/**
 * Messages for later: there once they are acknowledged, handled once, when they are due and not before, in the order of their
 * times; and taken back only by whoever is told so.
 */
import { assert, layer } from "@effect/vitest"
import { DateTime, Deferred, Duration, Effect, Fiber, Latch, Layer, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { DurableServer, type DurableServerError } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"
import { Counter, CounterLive, Journal, JournalLive } from "./fixtures/servers.ts"
import { inMillis, Planner, plannerLive } from "./fixtures/timers.ts"

const servers = (ran?: (rpc: string) => void) =>
  Layer.mergeAll(CounterLive, JournalLive, plannerLive(ran, { defectRetryPolicy: Schedule.recurs(1) }))

/** Asks until the answer is the right one, and fails where it takes too long to come. */
const until = <A, E>(ask: Effect.Effect<A, E>, isRight: (answer: A) => boolean) =>
  Nodes.within("15 seconds", Effect.repeat(Effect.delay(ask, "10 millis"), { until: isRight }))

const unknown = "1.2.3" as DurableServer.Scheduled

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`Timers: ${name}`, (it) => {
    it.effect("a message for later is handled when it is due, and not before, whoever sent it and whoever is there then", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const producer = yield* store.start()
        const started = performance.now()
        const journal = (yield* producer.run(Journal.client()))("when due")
        yield* journal.castAfter("2000 millis").Write({ entry: "after 2000" })
        yield* journal.castAfter("500 millis").Write({ entry: "after 500" })
        yield* journal.castAt(yield* inMillis(1000)).Write({ entry: "at 1000" })
        yield* journal.cast.Write({ entry: "now" })
        yield* producer.close
        const read = Effect.map(
          (yield* node.run(Journal.client()))("when due").call.Read(),
          (entries) => ({ entries, at: performance.now() - started })
        )
        const early = yield* read
        if (early.at < 500) assert.deepStrictEqual(early.entries, ["now"])
        const { at, entries } = yield* until(read, ({ entries }) => entries.length === 4)
        assert.deepStrictEqual(entries, ["now", "after 500", "at 1000", "after 2000"])
        assert.isAbove(at, 1999)
      }))

    it.effect("what lies in the past is handled at once, by its time, and what has the same time by its order", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const planner = (yield* node.run(Planner.client()))("past")
        const at = (text: string) => DateTime.makeUnsafe(text)
        const journal = (yield* node.run(Journal.client()))("past")
        yield* planner.call.Plan({ entries: [["past", "2"], ["past", "3"]], at: at("2001-01-01T00:00:00Z") })
        yield* until(journal.call.Read(), (entries) => entries.length === 2)
        for (const time of [at("-200000-01-01T00:00:00Z"), new Date(-8.64e15), new Date(0)]) {
          yield* journal.castAt(time).Write({ entry: "long ago" })
        }
        yield* journal.castAfter(0).Write({ entry: "at once" })
        const entries = yield* until(journal.call.Read(), (entries) => entries.length === 6)
        assert.deepStrictEqual(entries.slice(0, 2), ["2", "3"])
      }))

    it.effect(
      "10,000 that are due at once are handled in their order, each once, with two nodes at it",
      () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const first = yield* store.start({ servers: servers() })
          const second = yield* store.start({ servers: servers() })
          const keys = Array.from({ length: 10 }, (_, n) => `many ${n}`)
          const planner = (yield* first.run(Planner.client()))("many")
          const entries = Array.from({ length: 10_000 }, (_, n) => [keys[n % 10] ?? "", `${n}`] as const)
          // Known to the node from now on, so that its handler has nobody to look up.
          const known = yield* first.run(Journal.client())
          yield* Effect.forEach(keys, (key) => known(key).call.Read(undefined, { timeout: "20 seconds" }))
          yield* planner.call.Plan({ entries, at: yield* inMillis(1500) }, { timeout: "20 seconds" })
          const journal = yield* second.run(Journal.client())
          yield* Effect.forEach(keys, (key, n) =>
            Effect.gen(function*() {
              const expected = entries.flatMap(([to, entry]) => to === key ? [entry] : [])
              const read = journal(key).call.Read(undefined, { timeout: "20 seconds" })
              const written = yield* until(read, (written) => written.length >= expected.length)
              assert.deepStrictEqual(written, expected, `journal ${n}`)
            }), { concurrency: "unbounded" })
        }),
      40_000
    )

    it.effect("each is handled exactly once, however many nodes look for it, and while they come and go", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const nodes = [yield* store.start({ servers: servers() }), yield* store.start({ servers: servers() })]
        const producer = yield* store.start()
        const counter = yield* producer.run(Counter.client())
        yield* Effect.forEach(
          Array.from({ length: 600 }, (_, n) => n),
          (n) => counter(`once ${n % 20}`).castAfter((n % 50) * 10).Add({ by: 1 }),
          { concurrency: 50 }
        )
        yield* Effect.sleep("150 millis")
        yield* nodes[0]?.close ?? Effect.void
        yield* store.start({ servers: servers() })
        for (let n = 0; n < 20; n++) {
          yield* until(counter(`once ${n}`).call.Get(), (count) => count >= 30)
        }
        yield* Effect.sleep("100 millis")
        for (let n = 0; n < 20; n++) assert.strictEqual(yield* counter(`once ${n}`).call.Get(), 30)
      }))

    it.effect("a timer of a handler belongs to its step: one that fails has none, one that is made anew has one", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const planner = (yield* node.run(Planner.client()))("fails")
        const journal = yield* node.run(Journal.client())
        const { reason } = yield* Effect.flip(planner.call.SetAndDie({ to: "always fails", always: true }))
        assert.strictEqual(reason._tag, "MessageParked")
        yield* planner.call.SetAndDie({ to: "fails once", always: false })
        yield* until(journal("fails once").call.Read(), (entries) => entries.length > 0)
        yield* Effect.sleep("50 millis")
        assert.deepStrictEqual(yield* journal("fails once").call.Read(), ["by attempt 2"])
        assert.deepStrictEqual(yield* journal("always fails").call.Read(), [])
      }))

    it.effect("a timer of a step that was refused does not exist, and the step made anew has its own", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const gate = yield* Latch.make(true)
        const atGate = yield* Latch.make()
        const ran: Array<string> = []
        const node = yield* store.start({
          servers: servers((rpc) => ran.push(rpc)),
          storage: ({ commit }) => ({
            commit: (group) => Effect.andThen(atGate.open, Effect.andThen(gate.await, commit(group)))
          })
        })
        const producer = yield* store.start()
        const planner = (yield* node.run(Planner.client()))("refused")
        yield* planner.call.Look()
        yield* gate.close
        yield* atGate.close
        const caller = yield* Effect.forkChild(planner.call.Set({ millis: 200 }), { startImmediately: true })
        yield* atGate.await
        // While its step is on the way, the line moves.
        yield* (yield* producer.run(Planner.client()))("refused").cast.Fire({})
        yield* gate.open
        yield* Fiber.join(caller)
        assert.deepStrictEqual(ran.filter((rpc) => rpc === "Set"), ["Set", "Set"])
        yield* until(planner.call.Look(), ({ fired }) => fired === 2)
        yield* Effect.sleep("300 millis")
        assert.strictEqual((yield* planner.call.Look()).fired, 2)
      }))

    it.effect("who is told that a cancel came in time can rely on it; it comes in time once", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const producer = yield* store.start()
        const counter = (yield* producer.run(Counter.client()))("cancelled")
        const soon = yield* counter.castAfter("200 millis").Add({ by: 1 })
        const later = yield* counter.castAfter("1 hour").Add({ by: 10 })
        assert.isTrue(yield* node.run(DurableServer.cancel(soon)))
        assert.isFalse(yield* producer.run(DurableServer.cancel(soon)))
        const both = yield* Effect.all(Array.from({ length: 10 }, () => producer.run(DurableServer.cancel(later))), {
          concurrency: "unbounded"
        })
        assert.strictEqual(both.filter(Boolean).length, 1)
        assert.isFalse(yield* node.run(DurableServer.cancel(unknown)))
        const done = yield* counter.castAfter(0).Add({ by: 100 })
        yield* until(counter.call.Get(), (count) => count === 100)
        assert.isFalse(yield* producer.run(DurableServer.cancel(done)))
        yield* Effect.sleep("300 millis")
        assert.strictEqual(yield* counter.call.Get(), 100)
      }))

    it.effect("of a timer and those who cancel it at that very moment, from several nodes, exactly one wins", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const other = yield* store.start()
        const counter = yield* other.run(Counter.client())
        const wins = yield* Effect.forEach(
          Array.from({ length: 300 }, (_, n) => n),
          Effect.fnUntraced(function*(n) {
            const timer = yield* counter(`race ${n}`).castAfter(n % 30).Add({ by: 1 })
            yield* Effect.sleep(n % 30)
            const cancelled = yield* Effect.all(
              [node.run(DurableServer.cancel(timer)), other.run(DurableServer.cancel(timer))],
              { concurrency: "unbounded" }
            )
            return cancelled.filter(Boolean).length
          }),
          { concurrency: 30 }
        )
        yield* Effect.sleep("200 millis")
        for (const [n, won] of wins.entries()) {
          assert.strictEqual(won + (yield* counter(`race ${n}`).call.Get()), 1, `timer ${n}`)
        }
      }))

    it.effect("a handler's cancel and the state that says so are committed together", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const planner = (yield* node.run(Planner.client()))("together")
        yield* planner.call.Set({ millis: 400 })
        // Made anew after a failure, and asked twice: the second time there is nothing to cancel.
        assert.isTrue(yield* planner.call.Unset({ twice: true, thenDies: true }))
        assert.deepStrictEqual((yield* planner.call.Look()).cancelled, [true, false])
        assert.isFalse(yield* planner.call.Unset({ twice: false, thenDies: false }))
        yield* planner.call.Set({ millis: 10_000 })
        for (let n = 0; n < 5; n++) yield* planner.call.Reset({ millis: n === 4 ? 300 : 10_000 })
        yield* until(planner.call.Look(), ({ fired }) => fired === 1)
        yield* Effect.sleep("200 millis")
        const { cancelled, fired } = yield* planner.call.Look()
        assert.deepStrictEqual([fired, cancelled], [1, [true, false, false, true, true, true, true, true]])
        assert.isTrue(yield* planner.call.SetAndUnset({ millis: 0 }))
        yield* Effect.sleep("100 millis")
        assert.strictEqual((yield* planner.call.Look()).fired, 1)
      }))

    it.effect("timers that are set and cancelled by many messages of one step are each counted once", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const planner = (yield* node.run(Planner.client()))("in one step")
        yield* Effect.all(Array.from({ length: 200 }, () => planner.call.Reset({ millis: 150 })), {
          concurrency: "unbounded"
        })
        yield* until(planner.call.Look(), ({ fired }) => fired > 0)
        yield* Effect.sleep("200 millis")
        const { cancelled, fired } = yield* planner.call.Look()
        // Each that was not told to be cancelled has fired.
        assert.strictEqual(fired, cancelled.filter((inTime) => !inTime).length)
      }))

    it.effect("a handler that would cancel what has become due meanwhile is run again, and told so", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const gate = yield* Latch.make(true)
        const atGate = yield* Latch.make()
        const ran: Array<string> = []
        const node = yield* store.start({
          servers: servers((rpc) => ran.push(rpc)),
          storage: ({ commit }) => ({
            commit: (group) => Effect.andThen(atGate.open, Effect.andThen(gate.await, commit(group)))
          })
        })
        const planner = (yield* node.run(Planner.client()))("too late")
        yield* planner.call.Set({ millis: 200 })
        yield* gate.close
        yield* atGate.close
        const caller = yield* Effect.forkChild(planner.call.Unset({ twice: false, thenDies: false }), {
          startImmediately: true
        })
        yield* atGate.await
        yield* Effect.sleep("400 millis")
        yield* gate.open
        assert.isFalse(yield* Fiber.join(caller))
        assert.isAtLeast(ran.filter((rpc) => rpc === "Unset").length, 2)
        assert.deepInclude(yield* planner.call.Look(), { fired: 1, cancelled: [false] })
      }))

    it.effect("a message with a primary key is one message, scheduled or not", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const producer = yield* store.start()
        for (const [way, sender] of [["held", node], ["by the line", producer]] as const) {
          const counter = yield* sender.run(Counter.client())
          const twice = counter(`twice ${way}`)
          yield* twice.castAfter("150 millis").AddOnce({ id: "a", by: 1 })
          yield* twice.castAfter(0).AddOnce({ id: "a", by: 10 })
          yield* until(twice.call.Get(), (count) => count > 0)
          const known = yield* twice.castAfter("1 hour").AddOnce({ id: "a", by: 100 })
          assert.isFalse(yield* sender.run(DurableServer.cancel(known)))
          yield* twice.cast.AddOnce({ id: "a", by: 100 })
          // Sent now, it is executed now; the one for later is the same.
          const now = counter(`now ${way}`)
          yield* now.castAfter("150 millis").AddOnce({ id: "a", by: 1 })
          yield* now.cast.AddOnce({ id: "a", by: 10 })
          assert.strictEqual(yield* now.call.AddOnce({ id: "a", by: 100 }), 10)
          // Cancelled, its key is free.
          const free = counter(`free ${way}`)
          const timer = yield* free.castAfter("150 millis").AddOnce({ id: "a", by: 1 })
          assert.isTrue(yield* sender.run(DurableServer.cancel(timer)))
          yield* free.castAfter("50 millis").AddOnce({ id: "a", by: 10 })
          yield* until(free.call.Get(), (count) => count > 0)
          yield* Effect.sleep("250 millis")
          assert.deepStrictEqual(
            [yield* twice.call.Get(), yield* now.call.Get(), yield* free.call.Get()],
            [1, 10, 10]
          )
        }
      }))

    it.effect("the timers of a server end with its life, and their keys are free for the next one", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const counter = yield* node.run(Counter.client())
        const timer = yield* counter("killed").castAfter("100 millis").Add({ by: 1 })
        yield* counter("killed").castAfter("100 millis").AddOnce({ id: "a", by: 10 })
        yield* counter("another").castAfter("100 millis").Add({ by: 1 })
        yield* counter("killed").kill("it is time")
        assert.isFalse(yield* node.run(DurableServer.cancel(timer)))
        yield* counter("killed").castAfter("150 millis").AddOnce({ id: "a", by: 100 })
        yield* until(counter("killed").call.Get(), (count) => count > 0)
        assert.strictEqual(yield* counter("killed").call.Get(), 100)
        assert.strictEqual(yield* counter("another").call.Get(), 1)
      }))

    it.effect("a duration or a time that is none is named, and nothing is sent", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: servers() })
        const counter = yield* node.run(Counter.client())
        const wrong: Record<string, Effect.Effect<unknown, DurableServerError.DurableServerError>> = {
          "duration, negative": counter("a").castAfter("-1 second").Add({ by: 1 }),
          "duration, endless": counter("a").castAfter("Infinity").Add({ by: 1 }),
          "duration, no number": counter("a").castAfter(Number.NaN).Add({ by: 1 }),
          "duration, no duration": counter("a").castAfter("soon" as never).Add({ by: 1 }),
          "duration, too long": counter("a").castAfter("1000001 days").Add({ by: 1 }),
          "time, no time": counter("a").castAt(new Date(Number.NaN)).Add({ by: 1 }),
          "time, nothing": counter("a").castAt(undefined as never).Add({ by: 1 }),
          "payload, by": counter("a").castAfter(1).Add({ by: 0.5 }),
          "key, empty": counter("").castAfter(1).Add({ by: 1 }),
          "primaryKey, NUL": counter("a").castAfter(1).AddOnce({ id: "\0", by: 1 })
        }
        for (const [what, effect] of Object.entries(wrong)) {
          const { reason } = yield* Effect.flip(Effect.asVoid(effect))
          if (reason._tag !== "InvalidMessage") return assert.fail(`${what}: ${reason._tag}`)
          assert.strictEqual(reason.field, what.split(",")[0], what)
          assert.isAbove(reason.issue.length, 10, what)
        }
        const far = yield* counter("a").castAfter("1000000 days").Add({ by: 1 })
        const farther = yield* counter("a").castAt(new Date(8.64e15)).Add({ by: 1 })
        assert.isTrue(yield* node.run(DurableServer.cancel(far)))
        assert.isTrue(yield* node.run(DurableServer.cancel(farther)))
      }))

    it.effect("a node that closes tells those who wait for it", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const arrived = yield* Deferred.make<void>()
        const node = yield* store.start({
          node: { drainTimeout: "100 millis" },
          storage: () => ({ commit: () => Effect.andThen(Deferred.succeed(arrived, undefined), Effect.never) })
        })
        const counter = yield* node.run(Counter.client())
        const waiting = yield* Effect.forkChild(Effect.flip(counter("closed").castAfter("1 hour").Add({ by: 1 })))
        yield* Deferred.await(arrived)
        yield* node.close
        assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "NodeClosed")
        const after = yield* Effect.flip(counter("closed").castAfter("1 hour").Add({ by: 1 }))
        assert.strictEqual(after.reason._tag, "NodeClosed")
      }))
  })
}

layer(Nodes.layerMemory)("Timers, by the clock", (it) => {
  it.effect("a timer goes off at its millisecond", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: servers() })
      const counter = (yield* node.run(Counter.client()))("clock")
      yield* counter.castAfter("1 hour").Add({ by: 1 })
      yield* counter.castAt(yield* inMillis(7_200_000)).Add({ by: 10 })
      yield* TestClock.adjust(3_599_999)
      assert.strictEqual(yield* counter.call.Get(), 0)
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* counter.call.Get(), 1)
      yield* TestClock.adjust(3_599_999)
      assert.strictEqual(yield* counter.call.Get(), 1)
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* counter.call.Get(), 11)
    }))

  it.effect("it can be cancelled until its last millisecond", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: servers() })
      const counter = (yield* node.run(Counter.client()))("last millisecond")
      const [first, second] = [
        yield* counter.castAfter("1 hour").Add({ by: 1 }),
        yield* counter.castAfter("1 hour").Add({ by: 10 })
      ]
      yield* TestClock.adjust(3_599_999)
      assert.isTrue(yield* node.run(DurableServer.cancel(first)))
      yield* TestClock.adjust(1)
      assert.isFalse(yield* node.run(DurableServer.cancel(second)))
      assert.strictEqual(yield* counter.call.Get(), 10)
    }))

  it.effect("the delay of a handler's timer counts from when the handler made it", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: servers() })
      const planner = (yield* node.run(Planner.client()))("dawdles")
      const setting = yield* Effect.forkChild(planner.call.SetAndDawdle({ millis: 60_000, dawdle: 4000 }), {
        startImmediately: true
      })
      yield* TestClock.adjust(4000)
      yield* Fiber.join(setting)
      yield* TestClock.adjust(55_999)
      assert.strictEqual((yield* planner.call.Look()).fired, 0)
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* planner.call.Look()).fired, 1)
    }))

  it.effect("timers of a year and of a millisecond, on several nodes", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: servers() })
      const other = yield* store.start({ servers: servers() })
      const journal = (yield* node.run(Journal.client()))("year")
      for (
        const [entry, sender] of [["30 days", node], ["1 hour", other], ["1 milli", node], ["2 days", other]] as const
      ) {
        yield* (yield* sender.run(Journal.client()))("year").castAfter(entry).Write({ entry })
      }
      yield* TestClock.adjust(Duration.days(31))
      assert.deepStrictEqual(yield* journal.call.Read(), ["1 milli", "1 hour", "2 days", "30 days"])
    }))
})
