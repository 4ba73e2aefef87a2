/** How often words are said that come faster than they may be said. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as pacing from "../../../src/events/internal/pacing.ts"

/** What is said, and when. */
const set = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const said: Array<readonly [millis: number, words: string]> = []
  const say = yield* pacing.make({ periodMillis: 10, burst: 2 }, (words) => {
    said.push([clock.currentTimeMillisUnsafe(), [...words].join(" ")])
  })
  yield* TestClock.adjust("1 second")
  return { said, say }
})

/** One word in each millisecond. */
const everyMillisecond = (say: (word: string) => void, count: number, word: (n: number) => string) =>
  Effect.forEach(
    Array.from({ length: count }, (_, n) => n),
    (n) => Effect.andThen(Effect.sync(() => say(word(n))), TestClock.adjust("1 millis")),
    { discard: true }
  )

describe("pacing", () => {
  it.effect("what comes slowly is said at once, each for itself", () =>
    Effect.gen(function*() {
      const { said, say } = yield* set
      for (const word of ["a", "b", "c", "d", "e", "f"]) {
        say(word)
        yield* TestClock.adjust("10 millis")
      }
      assert.deepStrictEqual(said, [[1000, "a"], [1010, "b"], [1020, "c"], [1030, "d"], [1040, "e"], [1050, "f"]])
    }))

  it.effect("what comes faster is said together, in the long run once in a period, and nothing is left out", () =>
    Effect.gen(function*() {
      const { said, say } = yield* set
      yield* everyMillisecond(say, 1000, String)
      yield* TestClock.adjust("10 millis")
      assert.deepStrictEqual(
        said.flatMap(([, words]) => words.split(" ")).map(Number),
        Array.from({ length: 1000 }, (_, n) => n)
      )
      assert.isAtMost(said.length, 104)
      assert.isAtLeast(said.length, 100)
      // The first did not have to wait.
      assert.deepStrictEqual(said.slice(0, 2), [[1000, "0"], [1001, "1"]])
    }))

  it.effect("the same is said once for all the times it came", () =>
    Effect.gen(function*() {
      const { said, say } = yield* set
      yield* everyMillisecond(say, 100, () => "same")
      yield* TestClock.adjust("10 millis")
      assert.isTrue(said.every(([, words]) => words === "same"))
      assert.isAtMost(said.length, 14)
    }))

  it.effect("what is left at the end is said then", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { said, say } = yield* Scope.provide(set, scope)
      yield* everyMillisecond(say, 8, String)
      assert.isBelow(said.length, 8)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(said.flatMap(([, words]) => words.split(" ")), ["0", "1", "2", "3", "4", "5", "6", "7"])
    }))
})
