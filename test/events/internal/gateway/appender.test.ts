/**
 * The appends of a client at one worker: whoever waits for one is told, also where the connection is closed under it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { make } from "../../../../src/events/internal/gateway/appender.ts"
import { wired } from "../../gateway/support.ts"

describe("the appends of a client at one worker", () => {
  for (const count of [1, 2]) {
    it.effect(`${count} under way when the connection is closed: each is told that it was broken off`, () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        let sent = 0
        const append = yield* Scope.provide(
          make({
            one: () => Effect.suspend(() => (sent++, Effect.never)),
            several: () => Stream.fromEffect(Effect.suspend(() => (sent++, Effect.never)))
          }, 1000),
          scope
        )
        const fibers = yield* Effect.forEach(
          Array.from({ length: count }, (_, n) => wired(`${n}`)),
          (one) => Effect.forkChild(append("flights", one))
        )
        for (let n = 0; n < 20 && sent === 0; n++) yield* Effect.yieldNow
        assert.strictEqual(sent, 1)
        yield* Scope.close(scope, Exit.void)
        for (let n = 0; n < 20; n++) yield* Effect.yieldNow
        for (const fiber of fibers) {
          const exit = fiber.pollUnsafe()
          assert.isTrue(exit !== undefined && Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        }
        yield* Effect.forEach(fibers, Fiber.interrupt)
      }))
  }
})
