/**
 * What holds while processes come and go: nothing that was acknowledged is lost or done twice, and everybody's messages keep
 * their order.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Schedule from "effect/Schedule"
import { eventually, failure, holds, same, soon } from "../../cases.ts"
import { define } from "../define.ts"
import { start } from "../nodes.ts"
import { counter, journal, makeWorld } from "../servers.ts"

const now = { startImmediately: true }
const patient = { timeout: "20 seconds" } as const
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n)

export const failover = [
  define(
    "a throwing handler leaves its call queued, fails the process's work on it and loses nothing",
    Effect.gen(function*() {
      const { Journal, live } = yield* journal
      const world = makeWorld()
      world.poison.add("poison")
      const failing = yield* start({ servers: live(world, { defectRetryPolicy: Schedule.spaced("1 minute") }) })
      const producer = yield* start()
      const ref = (yield* producer.run(Journal.client()))("thrown")
      const atHome = (yield* failing.run(Journal.client()))("thrown")
      yield* atHome.call.Write({ entry: "before" })
      const calls = [
        yield* Effect.forkChild(ref.call.WriteAndCount({ entry: "poison" }, patient), now),
        yield* Effect.forkChild(ref.call.WriteAndCount({ entry: "behind" }, patient), now)
      ]
      yield* eventually("its handler is tried", Effect.sync(() => world.attempts.length), (tried) => tried >= 2)
      yield* ref.cast.Write({ entry: "last" })
      yield* soon("the process can leave", failing.close)
      yield* same("what was tried there", world.attempts, ["before", "poison"])
      yield* holds("nobody was answered", calls.every((call) => call.pollUnsafe() === undefined))
      // Another process, whose handler knows better.
      yield* start({ servers: live() })
      const replies = yield* soon("both calls are answered", Effect.forEach(calls, (call) => Fiber.join(call)))
      yield* same("with what came of them", replies, [2, 3])
      yield* same("everything is there", yield* ref.call.Read(), ["before", "poison", "behind", "last"])
    })
  ),

  define(
    "a poison message in one server is set aside and its caller told, while 99 others go on",
    Effect.gen(function*() {
      const { Journal, live } = yield* journal
      const world = makeWorld()
      world.poison.add("poison")
      const node = yield* start({
        servers: live(world, { defectRetryPolicy: Schedule.max([Schedule.spaced("50 millis"), Schedule.recurs(2)]) })
      })
      const refs = yield* node.run(Journal.client())
      const poisoned = yield* Effect.forkChild(
        failure("the poison is set aside", refs("poisoned").call.Write({ entry: "poison" }, patient)),
        now
      )
      const behind = yield* Effect.forkChild(refs("poisoned").call.WriteAndCount({ entry: "behind" }, patient), now)
      const counts = yield* Effect.forEach(
        numbers(99),
        (n) => refs(`other ${n}`).call.WriteAndCount({ entry: "fine" }, patient),
        { concurrency: "unbounded" }
      )
      yield* same("the others", new Set(counts), new Set([1]))
      const error = yield* soon("its caller is told", Fiber.join(poisoned))
      yield* same("what it is told", error._tag === "DurableServerError" ? error.reason._tag : "", "MessageParked")
      yield* same("what is behind it", yield* soon("its turn comes", Fiber.join(behind)), 1)
      yield* same("how often it was tried", world.attempts.filter((entry) => entry === "poison").length, 3)
      yield* same("it left no trace", yield* refs("poisoned").call.Read(), ["behind"])
    })
  ),

  define(
    "duplicate primaryKey across restarts: done once, with the one answer, sent again from anywhere",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const producer = yield* start()
      const ref = (yield* producer.run(Counter.client()))("once")
      // In line twice before anybody runs it.
      const early = yield* Effect.forkChild(ref.call.AddOnce({ id: "early", by: 1 }, patient), now)
      yield* ref.cast.AddOnce({ id: "early", by: 1 })
      for (let life = 0; life < 3; life++) {
        const node = yield* start({ servers: live() })
        const atHome = (yield* node.run(Counter.client()))("once")
        for (const sender of [atHome, ref]) {
          yield* sender.cast.AddOnce({ id: "early", by: 1 })
          yield* same("the one answer", yield* sender.call.AddOnce({ id: "early", by: 1 }), 1)
          yield* same("of another key", yield* sender.call.AddOnce({ id: "late", by: 10 }), 11)
          yield* sender.cast.AddOnce({ id: "late", by: 10 })
        }
        yield* same("what was counted", yield* atHome.call.Get(), 11)
        yield* node.close
      }
      yield* same("who asked first", yield* soon("it is answered", Fiber.join(early)), 1)
    })
  ),

  define(
    "an acknowledged cast from A is seen by a later call from B",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const holder = yield* start({ servers: live() })
      const producer = yield* start()
      const held = (yield* holder.run(Counter.client()))("seen")
      const sent = (yield* producer.run(Counter.client()))("seen")
      yield* held.call.Get()
      let acknowledged = 0
      let done = false
      const casting = Effect.gen(function*() {
        for (let n = 1; n <= 60; n++) {
          yield* (n % 3 === 0 ? sent.priorityCast : sent.cast).Add({ by: 1 })
          acknowledged = n
        }
        done = true
      })
      // Their calls come in directly where the server is held, and must not pass what is in line.
      const calling = Effect.gen(function*() {
        while (!done) {
          const before = acknowledged
          const seen = yield* held.call.Get()
          yield* holds("a call sees what was acknowledged before it", seen >= before, { acknowledged: before, seen })
        }
      })
      yield* Effect.all([casting, calling, calling], { concurrency: "unbounded" })
      yield* same("all of it", yield* held.call.Get(), 60)
    })
  ),

  define(
    "FIFO per sender under fail-over: each message is done once and in its order, while holders are lost and leave",
    Effect.gen(function*() {
      const { Journal, live } = yield* journal
      const senders = yield* Effect.all([start(), start()])
      const entries = (from: number) => numbers(90).map((n) => `${from}: ${n}`)
      const sending = yield* Effect.forEach(senders, (sender, from) =>
        Effect.forkChild(Effect.gen(function*() {
          const ref = (yield* sender.run(Journal.client()))("fifo")
          // Some wait for those before them, most do not.
          for (const group of numbers(15)) {
            const sent = yield* Effect.forEach(entries(from).slice(group * 6, group * 6 + 6), (entry, n) =>
              Effect.forkChild(n === 3 ? ref.call.Write({ entry }, patient) : ref.cast.Write({ entry }), now))
            yield* Effect.forEach(sent, (one) =>
              Fiber.join(one))
          }
        })))
      let holder = yield* start({ servers: live() })
      for (let round = 0; round < 3; round++) {
        const next = yield* start({ servers: live() })
        yield* Effect.sleep("20 millis")
        yield* holder.lose
        // The lost one is still there, and believes that it holds what it held.
        yield* (yield* next.run(Journal.client()))("fifo").call.Read(undefined, patient)
        yield* holder.close
        holder = next
      }
      yield* Effect.forEach(sending, (fiber) => Fiber.join(fiber))
      const [asking] = senders
      const written = yield* (yield* asking.run(Journal.client()))("fifo").call.Read(undefined, patient)
      for (const from of numbers(2)) {
        const own = written.filter((entry) => entry.startsWith(`${from}:`))
        yield* same(`what sender ${from} sent`, own, entries(from))
      }
    })
  ),

  define(
    "what a consumer had in flight while another took over does not commit when it goes on",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const gate = yield* Latch.make(true)
      const atGate = yield* Latch.make()
      const paused = yield* start({
        servers: live(),
        storage: ({ commit }) => ({
          commit: (group) =>
            Effect.andThen(atGate.open, Effect.andThen(gate.await, Effect.suspend(() => commit(group))))
        })
      })
      const ref = (yield* paused.run(Counter.client()))("paused")
      yield* ref.call.Add({ by: 1 })
      yield* gate.close
      yield* atGate.close
      const inFlight = yield* Effect.forkChild(ref.call.AddAndGet({ by: 10 }, patient), now)
      yield* atGate.await
      // Its step is on its way, over the state that it believes in. Others give it up and go on.
      yield* paused.lose
      const next = yield* start({ servers: live() })
      const other = (yield* next.run(Counter.client()))("paused")
      yield* same("what another one finds", yield* other.call.AddAndGet({ by: 100 }, patient), 101)
      yield* gate.open
      // The call is done all the same, once, on the state that there is now.
      yield* same("what its caller is told", yield* soon("it is answered", Fiber.join(inFlight)), 111)
      yield* same("the state", yield* other.call.Get(), 111)
    })
  ),

  define(
    "a consumer that is lost and comes back works on, and so do those that wait for its replies",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const [first, second] = [yield* start({ servers: live() }), yield* start({ servers: live() })]
      const [here, there] = [
        (yield* first.run(Counter.client()))("back"),
        (yield* second.run(Counter.client()))("back")
      ]
      let expected = 0
      for (let round = 0; round < 6; round++) {
        yield* (round % 2 === 0 ? first : second).lose
        for (const ref of [here, there]) {
          yield* same("each increment is there", yield* ref.call.AddAndGet({ by: 1 }, patient), ++expected)
        }
      }
    })
  ),

  define(
    "casts sent as one are put in line together, in their order, or not at all",
    Effect.gen(function*() {
      const { Journal, live } = yield* journal
      const producer = yield* start()
      const ref = (yield* producer.run(Journal.client()))("all")
      const entries = numbers(20).map((n) => `${n}`)
      yield* ref.castAll((cast) => entries.map((entry) => cast.Write({ entry })))
      yield* failure(
        "one that is refused takes all others with it",
        ref.castAll((cast) => [cast.Write({ entry: "not written" }), cast.Text({ characters: 0.5 })])
      )
      yield* start({ servers: live() })
      yield* same("what was written", yield* ref.call.Read(undefined, patient), entries)
    })
  )
]
