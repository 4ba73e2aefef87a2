/**
 * Answers that change nothing write nothing: no new version, no new row, no number of the lane. Only the first message to a
 * server is different: the state that it finds is stored with it.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive, Journal, JournalLive } from "./fixtures/servers.ts"

/** Everything of a server's row that a write would change, `xmin` and `ctid` too, and the lanes. */
const rows = Effect.fnUntraced(function*(key: string) {
  const sql = yield* PgClient.PgClient
  const server = yield* sql`
    SELECT xmin::text, ctid::text, version::int, taken::int, state FROM holdfast.server WHERE key = ${key}`
  const lanes = yield* sql`SELECT id::int, seq::int FROM holdfast.lane ORDER BY id`
  return { server, lanes }
})

layer(TestPostgres.layer, { excludeTestServices: true })("Reads", (it) => {
  it.effect("calls that leave the state as it is write nothing", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const counter = (yield* node.run(Counter.client()))("read")
      yield* counter.call.Add({ by: 3 })
      const before = yield* rows("read")
      for (let n = 0; n < 20; n++) assert.strictEqual(yield* counter.call.Get(), 3)
      yield* Effect.all(Array.from({ length: 50 }, () => counter.call.Get()), { concurrency: "unbounded" })
      // A next state that is the same one, written down.
      assert.strictEqual(yield* counter.call.AddAndGet({ by: 0 }), 3)
      yield* counter.cast.Add({ by: 0 })
      assert.deepStrictEqual(yield* rows("read"), before)
    }))

  it.effect("the first message stores the state it finds, even one that only reads", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const counter = (yield* node.run(Counter.client()))("first")
      assert.strictEqual(yield* counter.call.Get(), 0)
      const first = yield* rows("first")
      assert.strictEqual(first.server[0]?.["state"], "{\"count\":0}")
      assert.strictEqual(yield* counter.call.Get(), 0)
      assert.deepStrictEqual(yield* rows("first"), first)
    }))

  it.effect("a read by the line consumes its message, and leaves the state as it is", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const node = yield* Nodes.start({ url, servers: JournalLive })
      const producer = yield* Nodes.start({ url })
      yield* (yield* node.run(Journal.client()))("by the line").call.Write({ entry: "a" })
      const { server: before } = yield* rows("by the line")
      const journal = (yield* producer.run(Journal.client()))("by the line")
      assert.deepStrictEqual(yield* journal.call.Read(), ["a"])
      const { server: after } = yield* rows("by the line")
      assert.strictEqual(after[0]?.["state"], before[0]?.["state"])
      assert.strictEqual(after[0]?.["taken"], 1)
      // And when it was handed over, nothing is left of it.
      const left = sql<{ readonly left: number }>`
        SELECT ((SELECT count(*) FROM holdfast.message) + (SELECT count(*) FROM holdfast.reply))::int AS left`
      const [last] = yield* Effect.repeat(Effect.delay(left, "5 millis"), {
        until: ([row]) => row?.left === 0,
        times: 400
      })
      assert.strictEqual(last?.left, 0)
    }))
})
