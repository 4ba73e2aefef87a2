/**
 * Cases for storages that follow Effect's `Clock`: they run under `TestClock`, and move it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as DurableServer from "../../../durable/DurableServer.ts"
import { failure, holds, same } from "../cases.ts"
import { defineTimeless } from "./define.ts"
import { start } from "./nodes.ts"
import { counter, journal } from "./servers.ts"

const hour = 3_600_000
const now = { startImmediately: true }

export const clock = [
  defineTimeless(
    "a message for later is handled at its millisecond, and not before",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const node = yield* start({ servers: live() })
      const ref = (yield* node.run(Counter.client()))("due")
      yield* ref.castAfter(hour).Add({ by: 1 })
      yield* ref.castAt(new Date((yield* Clock.currentTimeMillis) + 2 * hour)).Add({ by: 10 })
      const seen: Array<number> = []
      for (const millis of [hour - 1, 1, hour - 1, 1]) {
        yield* TestClock.adjust(millis)
        seen.push(yield* ref.call.Get())
      }
      yield* same("what is counted around its time", seen, [0, 1, 1, 11])
    })
  ),

  defineTimeless(
    "a message for later can be taken back until its last millisecond",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const node = yield* start({ servers: live() })
      const ref = (yield* node.run(Counter.client()))("cancelled")
      const [first, second] = [
        yield* ref.castAfter(hour).Add({ by: 1 }),
        yield* ref.castAfter(hour).Add({ by: 10 })
      ]
      yield* TestClock.adjust(hour - 1)
      yield* same("before", yield* node.run(DurableServer.cancel(first)), true)
      yield* TestClock.adjust(1)
      yield* same("at it", yield* node.run(DurableServer.cancel(second)), false)
      yield* same("what is counted", yield* ref.call.Get(), 10)
    })
  ),

  defineTimeless(
    "a clock that jumps a year ahead: everything that is due is done once, by its times",
    Effect.gen(function*() {
      const { Journal, live } = yield* journal
      const [node, other] = [yield* start({ servers: live() }), yield* start({ servers: live() })]
      const ref = (yield* node.run(Journal.client()))("year")
      const there = (yield* other.run(Journal.client()))("year")
      yield* ref.call.Write({ entry: "now" })
      yield* ref.castAfter("30 days").Write({ entry: "30 days" })
      yield* there.castAfter("1 hour").Write({ entry: "1 hour" })
      yield* ref.castAfter("1 millis").Write({ entry: "1 milli" })
      yield* there.castAfter("400 days").Write({ entry: "400 days" })
      yield* TestClock.adjust("365 days")
      yield* same("a year later", yield* there.call.Read(), ["now", "1 milli", "1 hour", "30 days"])
      yield* TestClock.adjust("365 days")
      yield* same("two years later", yield* ref.call.Read(), ["now", "1 milli", "1 hour", "30 days", "400 days"])
    })
  ),

  defineTimeless(
    "a clock that jumps back: nothing is lost and nothing is done twice, and what is due waits for its time",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const node = yield* start({ servers: live() })
      const producer = yield* start()
      const ref = (yield* producer.run(Counter.client()))("back")
      const began = yield* Clock.currentTimeMillis
      yield* ref.castAfter(hour).Add({ by: 1 })
      yield* TestClock.adjust(hour)
      yield* same("it is due", yield* ref.call.AddOnce({ id: "once", by: 10 }), 11)
      yield* ref.castAfter(hour).Add({ by: 100 })
      yield* TestClock.setTime(began)
      yield* same("an answer is still kept", yield* ref.call.AddOnce({ id: "once", by: 10 }), 11)
      yield* ref.cast.Add({ by: 1000 })
      yield* same("what comes now is done now", yield* ref.call.Get(), 1011)
      yield* node.close
      const next = yield* start({ servers: live() })
      const atHome = (yield* next.run(Counter.client()))("back")
      yield* same("elsewhere, too", yield* atHome.call.Get(), 1011)
      yield* TestClock.setTime(began + 2 * hour - 1)
      yield* same("before it is due", yield* atHome.call.Get(), 1011)
      yield* TestClock.setTime(began + 2 * hour)
      yield* TestClock.adjust(1)
      yield* same("when it is", yield* atHome.call.Get(), 1111)
    })
  ),

  defineTimeless(
    "a call that nobody answers ends at its time, not before, also where the clock jumps far beyond it",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const producer = yield* start()
      const ref = (yield* producer.run(Counter.client()))("nobody")
      const waiting = yield* Effect.forkChild(
        failure("it ends", ref.call.AddAndGet({ by: 1 }, { timeout: "1 minute" })),
        now
      )
      yield* TestClock.adjust(59_999)
      yield* holds("it waits until then", waiting.pollUnsafe() === undefined)
      yield* TestClock.adjust("30 days")
      const error = yield* Fiber.join(waiting)
      yield* same("what it is told", error.reason._tag, "CallTimeout")
      // The message was not withdrawn.
      yield* start({ servers: live() })
      yield* same("what comes of it", yield* ref.call.AddAndGet({ by: 10 }), 11)
    })
  ),

  defineTimeless(
    "an answer is kept under its primary key until the last millisecond of its retention",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const node = yield* start({ servers: live(), node: { outcomeRetention: "7 days" } })
      const ref = (yield* node.run(Counter.client()))("kept")
      yield* same("at first", yield* ref.call.AddOnce({ id: "once", by: 5 }), 5)
      yield* TestClock.adjust(7 * 24 * hour - 1)
      yield* same("at the end", yield* ref.call.AddOnce({ id: "once", by: 5 }), 5)
      yield* same("what was counted", yield* ref.call.Get(), 5)
    })
  )
]
