/**
 * A node that ends: what is being handled is finished, others go on at once, whoever still waits here is told, and none of
 * it takes longer than the bound, even where the database has gone away.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Option, Result } from "effect"
import { DurableServerError } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive, Journal, JournalLive } from "./fixtures/servers.ts"

const reasonOf = <A, E>(result: Result.Result<A, E>): string =>
  Result.isFailure(result) && result.failure instanceof DurableServerError.DurableServerError
    ? result.failure.reason._tag
    : "no failure"

layer(TestPostgres.layer, { excludeTestServices: true })("Closing", (it) => {
  it.effect("what is being handled is finished, and its caller is answered", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const node = yield* Nodes.start({ url, servers: JournalLive })
      const journal = yield* node.run(Journal.client())
      yield* journal("drained").call.Write({ entry: "first" })
      const caller = yield* Effect.forkChild(journal("drained").call.WriteSlowly({ entry: "second", millis: 300 }))
      yield* Effect.sleep("100 millis")
      yield* node.close
      assert.strictEqual(yield* Fiber.join(caller), 2)
      const next = yield* Nodes.start({ url, servers: JournalLive })
      assert.deepStrictEqual(yield* (yield* next.run(Journal.client()))("drained").call.Read(), ["first", "second"])
    }))

  it.effect("others go on at once, well before the lease would have ended", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const first = yield* Nodes.start({ url, servers: CounterLive, member: { lease: "30 seconds" } })
      const second = yield* Nodes.start({ url, servers: CounterLive, member: { lease: "30 seconds" } })
      const counter = yield* first.run(Counter.client())
      const other = yield* second.run(Counter.client())
      yield* counter("handed over").call.Add({ by: 1 })
      assert.strictEqual(yield* other("handed over").call.AddAndGet({ by: 1 }), 2)
      yield* first.close
      const took = yield* Effect.timed(other("handed over").call.AddAndGet({ by: 1 }))
      assert.strictEqual(took[1], 3)
      assert.isBelow(Duration.toMillis(took[0]), 2000)
    }))

  it.effect("a message that waits for an end is told, whatever way it was on", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const node = yield* Nodes.start({
        url: proxy.through(database.url),
        servers: CounterLive,
        member: { lease: "1 second" },
        node: { drainTimeout: "500 millis" }
      })
      const counter = yield* node.run(Counter.client())
      const journal = yield* node.run(Journal.client())
      yield* counter("here").call.Add({ by: 1 })
      yield* journal("elsewhere").cast.Write({ entry: "first" })
      yield* proxy.welcome("cut")
      yield* proxy.cut()
      const waiting = {
        "a call of a server held here": counter("here").call.Add({ by: 1 }),
        "a cast to a server held here": counter("here").cast.Add({ by: 1 }),
        "a call of a server not known yet": counter("new").call.Add({ by: 1 }),
        "a call of a server held elsewhere": Effect.asVoid(journal("elsewhere").call.Read()),
        "a cast to a server held elsewhere": journal("elsewhere").cast.Write({ entry: "second" }),
        "several casts": counter("here").castAll((cast) => [cast.Add({ by: 1 }), cast.Add({ by: 1 })])
      }
      const fibers = yield* Effect.forEach(
        Object.entries(waiting),
        ([name, effect]) => Effect.map(Effect.forkChild(Effect.result(effect)), (fiber) => ({ name, fiber }))
      )
      yield* Effect.sleep("100 millis")
      const [took] = yield* Effect.timed(Nodes.within("10 seconds", node.close))
      const attempts = yield* proxy.attempts
      yield* Effect.sleep("1500 millis")
      console.log(took, attempts, yield* proxy.attempts)
      for (const { fiber, name } of fibers) {
        const result = yield* Effect.timeoutOption(Fiber.join(fiber), "1 second")
        assert.strictEqual(Option.isNone(result) ? "never told" : reasonOf(result.value), "NodeClosed", name)
      }
    }))

  it.effect("handlers can be taken out of a node that goes on: their servers go on elsewhere", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { url } = yield* TestPostgres.TestDatabase
      void sql
      void url
    }))
})
