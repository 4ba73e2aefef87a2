import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Deadlines } from "../../../src/durable/internal/deadlines.ts"

/** Deadlines by the test's clock, and how many fibers have watched them so far. */
const make = Effect.gen(function*() {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const scope = yield* Effect.scope
  const watched = { fibers: 0 }
  const deadlines = new Deadlines(yield* Clock.Clock, (effect) => {
    watched.fibers++
    Fiber.runIn(run(effect), scope)
  })
  return { deadlines, watched }
})

describe("Deadlines", () => {
  it.effect("deadlines of one length stand in one queue, which one fiber watches", () =>
    Effect.gen(function*() {
      const { deadlines, watched } = yield* make
      const expired: Array<number> = []
      const waiting = Array.from({ length: 100 }, (_, n) => deadlines.add(50, () => expired.push(n)))
      for (const one of waiting.slice(0, 98)) one.cancel()
      yield* TestClock.adjust(49)
      assert.deepStrictEqual(expired, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(expired, [98, 99])
      assert.strictEqual(watched.fibers, 1)
    }))

  it.effect("a queue that nobody stands in is forgotten, and made anew when it is needed", () =>
    Effect.gen(function*() {
      const { deadlines } = yield* make
      const add = () => deadlines.add(50, () => undefined)
      const first = add()
      const { queue } = first
      first.cancel()
      // For a while it is still there: a busy node needs it again at once.
      yield* TestClock.adjust(49)
      const second = add()
      assert.strictEqual(second.queue, queue)
      second.cancel()
      yield* TestClock.adjust(100)
      let expired = false
      const third = deadlines.add(50, () => {
        expired = true
      })
      assert.notStrictEqual(third.queue, queue)
      yield* TestClock.adjust(50)
      assert.isTrue(expired)
    }))
})
