/**
 * Hints make things fast, and nothing depends on one arriving: where none does, a slow poll finds everything.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Counter, CounterLive } from "../durable/fixtures/servers.ts"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

layer(TestPostgres.layer, { excludeTestServices: true })("LostHints", (it) => {
  it.effect("a call by the line is answered though nobody can listen", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const url = proxy.through(database.url)
      const holder = yield* Nodes.start({ url, servers: CounterLive, node: { pollInterval: "100 millis" } })
      const producer = yield* Nodes.start({ url, node: { pollInterval: "100 millis" } })
      yield* proxy.welcome("cut", "holdfast listen")
      yield* proxy.cut("holdfast listen")
      const sent = yield* producer.run(Counter.client())
      for (let n = 1; n <= 3; n++) {
        assert.strictEqual(yield* sent("deaf").call.AddAndGet({ by: 1 }, { timeout: "20 seconds" }), n)
      }
      assert.strictEqual(yield* (yield* holder.run(Counter.client()))("deaf").call.Get(), 3)
    }))

  it.effect("what was said while a member was deaf is made up for when it hears again", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const proxy = yield* CuttableProxy.make(database)
      // It would not find out by itself for an hour.
      const holder = yield* Nodes.start({
        url: proxy.through(database.url),
        servers: CounterLive,
        node: { pollInterval: "1 hour" }
      })
      const producer = yield* Nodes.start({ url: database.url })
      const counter = yield* holder.run(Counter.client())
      yield* counter("again").call.Add({ by: 1 })
      yield* proxy.welcome("cut", "holdfast listen")
      yield* proxy.cut("holdfast listen")
      yield* (yield* producer.run(Counter.client()))("again").cast.Add({ by: 1 })
      yield* Effect.sleep("200 millis")
      const left = sql<{ readonly left: number }>`SELECT count(*)::int AS left FROM holdfast.message`
      assert.deepStrictEqual(yield* left, [{ left: 1 }])
      yield* proxy.welcome("accept", "holdfast listen")
      const [row] = yield* Effect.repeat(Effect.delay(left, "10 millis"), {
        until: ([row]) => row?.left === 0,
        times: 300
      })
      assert.strictEqual(row?.left, 0)
    }))

  it.effect("with hints, a call by the line takes less time than any poll", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      yield* Nodes.start({ url, servers: CounterLive, node: { pollInterval: "1 hour" } })
      const producer = yield* Nodes.start({ url, node: { pollInterval: "1 hour" } })
      const counter = yield* producer.run(Counter.client())
      yield* Effect.sleep("200 millis")
      for (let n = 1; n <= 30; n++) {
        assert.strictEqual(yield* Nodes.within("3 seconds", counter("quick").call.AddAndGet({ by: 1 })), n)
      }
    }))
})
