/**
 * Postgres is stopped as if its machine had failed, and started again, while callers go on: none of them is told of a
 * failure, and every increment that was acknowledged is there, once.
 *
 * On a server of its own, with `fsync=on`.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as EmbeddedPostgres from "../../src/testing/EmbeddedPostgres.ts"
import * as Nodes from "../support/Nodes.ts"
import { Counter, CounterLive } from "./fixtures/servers.ts"

layer(EmbeddedPostgres.layer(), { excludeTestServices: true, timeout: 60_000 })("PostgresRestart", (it) => {
  it.effect(
    "every acknowledged increment is there exactly once after Postgres was stopped and started",
    () =>
      Effect.gen(function*() {
        const postgres = yield* EmbeddedPostgres.EmbeddedPostgres
        const holder = yield* Nodes.start({ url: postgres.url, servers: CounterLive, member: { lease: "1 second" } })
        const producer = yield* Nodes.start({ url: postgres.url, member: { lease: "1 second" } })
        const acknowledged = new Map<string, number>()
        let stopping = false
        const calling = yield* Effect.forEach(Array.from({ length: 64 }), (_, index) =>
          Effect.flatMap((index % 2 === 0 ? holder : producer).run(Counter.client()), (counter) =>
            Effect.gen(function*() {
              for (let n = 0; !stopping; n++) {
                const key = `restart ${(index + n) % 5}`
                yield* n % 3 === 0
                  ? counter(key).cast.Add({ by: 1 })
                  : counter(key).call.Add({ by: 1 }, { timeout: "30 seconds" })
                acknowledged.set(key, (acknowledged.get(key) ?? 0) + 1)
              }
            })).pipe(Effect.forkChild))
        const total = () =>
          Array.from(acknowledged.values()).reduce((sum, count) =>
            sum + count, 0)
        for (let round = 0; round < 2; round++) {
          yield* Effect.sleep("500 millis")
          const before = total()
          yield* postgres.stop("immediate")
          const stopped = total()
          yield* Effect.sleep("200 millis")
          assert.isAtMost(total(), stopped + 64)
          yield* postgres.start
          yield* Effect.sleep("5 millis").pipe(Effect.repeat({ while: () => total() <= stopped + 100 }))
          assert.isAbove(before, 0)
        }
        stopping = true
        yield* Effect.forEach(calling, (fiber) => Nodes.within("30 seconds", Fiber.join(fiber)), { discard: true })
        const counter = yield* producer.run(Counter.client())
        for (const [key, count] of acknowledged) assert.strictEqual(yield* counter(key).call.Get(), count, key)
      }),
    60_000
  )

  it.effect(
    "a node that is closed while Postgres is gone ends within the bound, and one that is started says so",
    () =>
      Effect.gen(function*() {
        const postgres = yield* EmbeddedPostgres.EmbeddedPostgres
        const node = yield* Nodes.start({
          url: postgres.url,
          servers: CounterLive,
          member: { lease: "1 second" },
          node: { drainTimeout: "500 millis" }
        })
        const counter = yield* node.run(Counter.client())
        yield* counter("closed").call.Add({ by: 1 })
        yield* postgres.stop("immediate")
        const caller = yield* Effect.forkChild(Effect.flip(counter("closed").call.Add({ by: 1 })))
        yield* Effect.sleep("100 millis")
        yield* Nodes.within("4 seconds", node.close)
        const error = yield* Nodes.within("15 seconds", Fiber.join(caller))
        assert.strictEqual(error.reason._tag, "NodeClosed")
        const failed = yield* Nodes.within(
          "10 seconds",
          Effect.flip(Nodes.start({ url: postgres.url, servers: CounterLive }))
        )
        assert.strictEqual(failed._tag, "ConnectionFailed")
        yield* postgres.start
        const next = yield* Nodes.start({ url: postgres.url, servers: CounterLive, member: { lease: "1 second" } })
        const again = yield* next.run(Counter.client())
        const count = yield* again("closed").call.Get(undefined, { timeout: "10 seconds" })
        assert.include([1, 2], count)
      }),
    60_000
  )
})
