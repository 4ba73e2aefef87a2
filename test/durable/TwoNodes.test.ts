/**
 * Two processes and one server: at any time one of them runs it, the other one's messages reach it by the line, and whoever
 * was told that something is done finds it done, from wherever they ask. Nobody is told before the commit.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive } from "./fixtures/servers.ts"

const two = Effect.gen(function*() {
  const { url } = yield* TestPostgres.TestDatabase
  const first = yield* Nodes.start({ url, servers: CounterLive })
  const second = yield* Nodes.start({ url, servers: CounterLive })
  return { first: yield* first.run(Counter.client()), second: yield* second.run(Counter.client()) }
})

layer(TestPostgres.layer, { excludeTestServices: true })("TwoNodes", (it) => {
  it.effect("the second node's messages reach the holder, and both see each other's writes at once", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      yield* first("shared").call.Add({ by: 1 })
      for (let expected = 2; expected < 40; expected += 2) {
        assert.strictEqual(yield* second("shared").call.AddAndGet({ by: 1 }), expected)
        assert.strictEqual(yield* first("shared").call.Get(), expected)
        yield* second("shared").cast.Add({ by: 1 })
        assert.strictEqual(yield* first("shared").call.Get(), expected + 1)
        assert.strictEqual(yield* second("shared").call.Get(), expected + 1)
      }
    }))

  it.effect("a cast acknowledged to one process is seen by every call that another one makes afterwards", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* Nodes.start({ url, servers: CounterLive })
      const producer = yield* Nodes.start({ url })
      const held = yield* holder.run(Counter.client())
      const sent = yield* producer.run(Counter.client())
      yield* held("strict").call.Add({ by: 0 })
      let acknowledged = 0
      let done = false
      let calls = 0
      const casting = Effect.gen(function*() {
        for (let n = 1; n <= 300; n++) {
          yield* sent("strict").cast.Add({ by: 1 })
          acknowledged = n
        }
        done = true
      })
      // Callers where the server is held: their calls come in directly, and must not pass what is in line.
      const calling = Effect.gen(function*() {
        while (!done) {
          const before = acknowledged
          const seen = yield* held("strict").call.Get()
          assert.isAtLeast(seen, before)
          calls++
        }
      })
      yield* Effect.all([casting, calling, calling, calling, calling], { concurrency: "unbounded" })
      assert.strictEqual(yield* held("strict").call.Get(), 300)
      assert.isAbove(calls, 100)
    }))

  it.effect("writes and reads of several callers in two processes are in one order for all", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      // Each caller has read its own last write, and nobody's count ever goes back.
      const caller = (counter: typeof first) =>
        Effect.gen(function*() {
          let last = 0
          for (let n = 0; n < 40; n++) {
            const written = yield* counter("order").call.AddAndGet({ by: 1 })
            assert.isAbove(written, last)
            const read = yield* counter("order").call.Get()
            assert.isAtLeast(read, written)
            last = read
          }
        })
      yield* Effect.all([first, second, first, second].map(caller), { concurrency: "unbounded" })
      assert.strictEqual(yield* first("order").call.Get(), 160)
    }))

  it.effect("direct messages are not starved by others that come by the line", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* Nodes.start({ url, servers: CounterLive })
      const producers = yield* Effect.all([Nodes.start({ url }), Nodes.start({ url })])
      const held = yield* holder.run(Counter.client())
      yield* held("busy").call.Add({ by: 0 })
      const sending = yield* Effect.forEach(producers, (producer) =>
        Effect.flatMap(producer.run(Counter.client()), (counter) =>
          Effect.forkChild(Effect.forEach(
            Array.from({ length: 8 }),
            () =>
              Effect.forever(counter("busy").cast.Add({ by: 1 })),
            { concurrency: "unbounded" }
          ))))
      let slowest = 0
      for (let n = 0; n < 100; n++) {
        const before = performance.now()
        yield* held("busy").call.Add({ by: 1 })
        slowest = Math.max(slowest, performance.now() - before)
      }
      yield* Effect.forEach(sending, Fiber.interrupt)
      assert.isBelow(slowest, 2000)
    }))

  it.effect("nobody is answered before the commit is", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const node = yield* Nodes.start({ url: proxy.through(database.url), servers: CounterLive })
      const producer = yield* Nodes.start({ url: proxy.through(database.url) })
      const counter = yield* node.run(Counter.client())
      const sent = yield* producer.run(Counter.client())
      yield* counter("reply").call.Add({ by: 1 })
      yield* sent("reply").cast.Add({ by: 1 })
      assert.strictEqual(yield* counter("reply").call.Get(), 2)
      const ways = [
        { of: "a call", side: "catchAnswer", sql: /commit_step/, send: counter("reply").call.AddAndGet({ by: 1 }) },
        { of: "a call", side: "catchRequest", sql: /commit_step/, send: counter("reply").call.AddAndGet({ by: 1 }) },
        { of: "a cast", side: "catchAnswer", sql: /commit_step/, send: counter("reply").cast.Add({ by: 1 }) },
        { of: "a cast by the line", side: "catchAnswer", sql: /commit_/, send: sent("reply").cast.Add({ by: 1 }) },
        { of: "a read", side: "catchAnswer", sql: /array_agg\(coalesce\(s.version/, send: counter("reply").call.Get() },
        {
          of: "castAll",
          side: "catchAnswer",
          sql: /commit_/,
          send: sent("reply").castAll((cast) => [cast.Add({ by: 1 })])
        }
      ] as const
      for (const { of, send, side, sql } of ways) {
        const caught = yield* proxy[side](sql)
        const fiber = yield* Effect.forkChild(send as Effect.Effect<unknown, unknown>)
        yield* caught.arrived
        yield* Effect.sleep("100 millis")
        assert.isUndefined(fiber.pollUnsafe(), `${of}, ${side}`)
        yield* caught.release
        yield* Nodes.within("15 seconds", Fiber.join(fiber))
      }
      assert.strictEqual(yield* counter("reply").call.Get(), 7)
    }))

  it.effect("a call by the line is answered after the commit of its effect, not of itself", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const holder = yield* Nodes.start({ url: proxy.through(database.url), servers: CounterLive })
      const producer = yield* Nodes.start({ url: database.url })
      const held = yield* holder.run(Counter.client())
      const sent = yield* producer.run(Counter.client())
      yield* held("effect").call.Add({ by: 1 })
      const caught = yield* proxy.catchRequest(/commit_/)
      const caller = yield* Effect.forkChild(sent("effect").call.AddAndGet({ by: 1 }))
      yield* caught.arrived
      yield* Effect.sleep("100 millis")
      assert.isUndefined(caller.pollUnsafe())
      yield* caught.release
      assert.strictEqual(yield* Fiber.join(caller), 2)
    }))
})
