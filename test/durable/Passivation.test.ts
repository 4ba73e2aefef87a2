/**
 * A server that nobody used for a while leaves memory and is nobody's; the next message wakes it, with the state it had, in
 * this process or in another.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive, Journal, JournalLive } from "./fixtures/servers.ts"

layer(Nodes.layerMemory)("Passivation, by the clock", (it) => {
  it.effect("a server leaves memory when it was idle for long enough, and not before", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: CounterLive })
      const counter = yield* node.run(Counter.client())
      yield* counter("idle").call.Add({ by: 1 })
      yield* TestClock.adjust("50 seconds")
      yield* counter("used").call.Add({ by: 1 })
      assert.strictEqual(yield* node.residents, 2)
      // A quarter of the time is how exact it is.
      yield* TestClock.adjust("25 seconds")
      assert.strictEqual(yield* node.residents, 1)
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual(yield* node.residents, 0)
      assert.strictEqual(yield* counter("idle").call.AddAndGet({ by: 1 }), 2)
    }))

  it.effect("a server that is at work does not leave, however long that takes", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: JournalLive })
      const journal = (yield* node.run(Journal.client()))("at work")
      const slow = yield* Effect.forkChild(
        journal.call.WriteSlowly({ entry: "slow", millis: 200_000 }, { timeout: "Infinity" }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("199 seconds")
      assert.strictEqual(yield* node.residents, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(slow), 1)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* node.residents, 0)
    }))

  it.effect("a server that messages come to by the line alone stays as well", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: CounterLive })
      const producer = yield* store.start()
      const counter = (yield* producer.run(Counter.client()))("by the line")
      for (let n = 0; n < 12; n++) {
        yield* counter.call.Add({ by: 1 })
        yield* TestClock.adjust("20 seconds")
        assert.strictEqual(yield* node.residents, 1, `after ${n + 1} messages`)
      }
    }))

  it.effect("a thousand servers with a message each are not there any more when all is quiet", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: CounterLive })
      const producer = yield* store.start()
      const counter = yield* producer.run(Counter.client())
      yield* Effect.forEach(Array.from({ length: 1000 }), (_, n) => counter(`many ${n}`).cast.Add({ by: 1 }), {
        concurrency: "unbounded"
      })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* node.residents, 1000)
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual([yield* node.residents, yield* producer.residents], [0, 0])
      assert.strictEqual(yield* counter("many 999").call.Get(), 1)
    }))
})

const quickly = Counter.toLayer({
  init: () => ({ count: 0 }),
  handlers: {
    Add: ({ noReply, payload, state }) => noReply({ count: state.count + payload.by }),
    AddAndGet: ({ payload, reply, state }) => reply(state.count + payload.by, { count: state.count + payload.by }),
    AddOnce: ({ payload, reply, state }) => reply(state.count + payload.by, { count: state.count + payload.by }),
    Get: ({ reply, state }) => reply(state.count)
  }
}, { maxIdleTime: "700 millis" })

const holderOf = Effect.fnUntraced(function*(key: string) {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<{ readonly holder: number | null }>`
    SELECT holder::float8 AS holder FROM holdfast.server WHERE key = ${key}`
  return row?.holder
})

layer(TestPostgres.layer, { excludeTestServices: true })("Passivation, in rows", (it) => {
  it.effect("a server that has left is nobody's, and wakes where the next message is sent", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const options = { url, servers: quickly, node: { clientIdleTime: "700 millis" as const } }
      const first = yield* Nodes.start(options)
      const second = yield* Nodes.start(options)
      yield* (yield* first.run(Counter.client()))("asleep").call.Add({ by: 1 })
      assert.strictEqual(yield* holderOf("asleep"), yield* first.id)
      const asleep = Effect.repeat(Effect.delay(holderOf("asleep"), "10 millis"), {
        until: (holder) => holder === null,
        times: 1000
      })
      assert.isNull(yield* asleep)
      assert.strictEqual(yield* first.residents, 0)
      assert.strictEqual(yield* (yield* second.run(Counter.client()))("asleep").call.AddAndGet({ by: 1 }), 2)
      assert.strictEqual(yield* holderOf("asleep"), yield* second.id)
      assert.isNull(yield* asleep)
      // A producer's message wakes it in one of the two.
      const producer = yield* Nodes.start({ url })
      assert.strictEqual(yield* (yield* producer.run(Counter.client()))("asleep").call.AddAndGet({ by: 1 }), 3)
    }))

  it.effect("messages that come while it falls asleep are not lost", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const servers = Counter.toLayer({
        init: () => ({ count: 0 }),
        handlers: {
          Add: ({ noReply, payload, state }) => noReply({ count: state.count + payload.by }),
          AddAndGet: ({ payload, reply, state }) =>
            reply(state.count + payload.by, { count: state.count + payload.by }),
          AddOnce: ({ reply, state }) => reply(state.count),
          Get: ({ reply, state }) => reply(state.count)
        }
      }, { maxIdleTime: "2 millis" })
      const options = { url, servers, node: { clientIdleTime: "2 millis" as const } }
      const nodes = [yield* Nodes.start(options), yield* Nodes.start(options), yield* Nodes.start({ url })]
      yield* Effect.forEach(nodes, (node, from) =>
        Effect.flatMap(node.run(Counter.client()), (counter) =>
          Effect.gen(function*() {
            for (let n = 0; n < 60; n++) {
              yield* n % 2 === 0 ? counter("dozing").call.Add({ by: 1 }) : counter("dozing").cast.Add({ by: 1 })
              yield* Effect.sleep((n * 7 + from * 3) % 11)
            }
          })), { concurrency: "unbounded" })
      const counter = yield* nodes[0]?.run(Counter.client()) ?? Effect.die("no node")
      assert.strictEqual(yield* counter("dozing").call.Get(), 180)
    }))
})
