/**
 * A node that ends: what is being handled is finished, others go on at once, whoever still waits here is told, and none of
 * it takes longer than the bound, even where the database has gone away.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Latch, Layer, Option, Result, Scope } from "effect"
import { DurableServerError } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive, Journal, JournalLive, journalLive } from "./fixtures/servers.ts"

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
      const took = yield* Effect.timed(
        other("handed over").call.AddAndGet({ by: 1 }, { timeout: "20 seconds" })
      )
      assert.strictEqual(took[1], 3)
      assert.isBelow(Duration.toMillis(took[0]), 15_000)
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
        "several casts": counter("here").castAll((cast) => [cast.Add({ by: 1 }), cast.Add({ by: 1 })]),
        "several casts to a server not known yet": counter("new too").castAll((cast) => [cast.Add({ by: 1 })])
      }
      const fibers = yield* Effect.forEach(
        Object.entries(waiting),
        ([name, effect]) => Effect.map(Effect.forkChild(Effect.result(effect)), (fiber) => ({ name, fiber }))
      )
      yield* Effect.sleep("100 millis")
      yield* Nodes.within("4 seconds", node.close)
      for (const { fiber, name } of fibers) {
        const result = yield* Effect.timeoutOption(Fiber.join(fiber), "1 second")
        assert.strictEqual(Option.isNone(result) ? "never told" : reasonOf(result.value), "NodeClosed", name)
      }
    }))

  it.effect("nothing goes on behind a node that was closed", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const proxy = yield* CuttableProxy.make(database)
      const node = yield* Nodes.start({
        url: proxy.through(database.url),
        servers: CounterLive,
        member: { lease: "300 millis" },
        node: { drainTimeout: "100 millis" }
      })
      const counter = yield* node.run(Counter.client())
      yield* counter("behind").call.Add({ by: 1 })
      yield* proxy.welcome("cut")
      yield* proxy.cut()
      const caller = yield* Effect.forkChild(Effect.exit(counter("behind").call.Add({ by: 1 })))
      yield* Effect.sleep("50 millis")
      yield* node.close
      yield* Fiber.join(caller)
      yield* proxy.welcome("accept")
      const attempts = yield* proxy.attempts
      yield* Effect.sleep("1200 millis")
      assert.strictEqual(yield* proxy.attempts, attempts)
      const [row] = yield* sql<{ readonly state: string }>`SELECT state FROM holdfast.server WHERE key = 'behind'`
      assert.strictEqual(row?.state, "{\"count\":1}")
    }))

  it.effect("a call made after the end is refused at once", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const counter = yield* node.run(Counter.client())
      yield* node.close
      for (const send of [counter("over").call.Add({ by: 1 }), counter("over").cast.Add({ by: 1 })]) {
        assert.strictEqual(reasonOf(yield* Effect.result(Nodes.within("15 seconds", send))), "NodeClosed")
      }
    }))

  it.effect("a node leaves no session behind", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const counter = yield* node.run(Counter.client())
      yield* counter("session").call.Add({ by: 1 })
      const sessions = sql<{ readonly name: string }>`
        SELECT application_name AS name FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'holdfast %'`
      assert.isAbove((yield* sessions).length, 3)
      yield* node.close
      const left = yield* Effect.repeat(Effect.delay(sessions, "5 millis"), {
        until: (rows) => rows.length === 0,
        times: 200
      })
      assert.deepStrictEqual(left, [])
    }))
})

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`Closing, behind a line: ${name}`, (it) => {
    it.effect("what waits behind a long line is put in line, and does not keep the node from closing", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const began = yield* Latch.make()
        const node = yield* store.start({
          servers: journalLive((entry) => entry === "0" && began.openUnsafe()),
          node: { drainTimeout: "10 seconds" }
        })
        const producer = yield* store.start()
        const here = (yield* node.run(Journal.client()))("behind a line")
        const there = (yield* producer.run(Journal.client()))("behind a line")
        yield* here.call.Write({ entry: "first" })
        yield* there.castAll((cast) => ["0", "1", "2"].map((entry) => cast.WriteSlowly({ entry, millis: 200 })))
        yield* began.await
        const own = yield* Effect.forkChild(here.cast.Write({ entry: "own" }), { startImmediately: true })
        yield* Nodes.within("8 seconds", node.close)
        yield* Fiber.join(own)
        yield* store.start({ servers: JournalLive })
        assert.deepStrictEqual(yield* there.call.Read(), ["first", "0", "1", "2", "own"])
      }))
  })

  layer(StoreLive, { excludeTestServices: true })(`Closing, handlers alone: ${name}`, (it) => {
    it.effect("handlers can be taken out of a node that goes on: its callers go on elsewhere, also under load", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start()
        const handlers = yield* Scope.fork(yield* Effect.scope)
        yield* node.run(Layer.buildWithScope(CounterLive, handlers))
        const counter = yield* node.run(Counter.client())
        let acknowledged = 0
        let stopping = false
        const calling = yield* Effect.forkChild(Effect.all(
          Array.from({ length: 8 }, (_, n) =>
            Effect.gen(function*() {
              while (!stopping) {
                yield* n % 2 === 0
                  ? counter("taken out").call.Add({ by: 1 })
                  : counter("taken out").cast.Add({ by: 1 })
                acknowledged++
                yield* Effect.yieldNow
              }
            })),
          { concurrency: "unbounded" }
        ))
        yield* Effect.sleep("50 millis")
        const other = yield* store.start({ servers: CounterLive })
        yield* Nodes.within("3 seconds", Scope.close(handlers, Exit.void))
        const before = acknowledged
        yield* Effect.sleep("5 millis").pipe(Effect.repeat({ while: () => acknowledged < before + 20 }))
        stopping = true
        yield* Nodes.within("5 seconds", Fiber.join(calling))
        assert.strictEqual(yield* (yield* other.run(Counter.client()))("taken out").call.Get(), acknowledged)
        // And they may come back.
        yield* other.close
        yield* node.run(Layer.buildWithScope(Layer.fresh(CounterLive), yield* Effect.scope))
        assert.strictEqual(yield* counter("taken out").call.Get(), acknowledged)
      }))

    it.effect("servers that cannot be given back when their handlers close are given back as soon as they can", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const gate = yield* Latch.make(true)
        const node = yield* store.start({
          node: { drainTimeout: "100 millis" },
          storage: ({ release }) => ({ release: (servers) => Effect.andThen(gate.await, release(servers)) })
        })
        const handlers = yield* Scope.fork(yield* Effect.scope)
        yield* node.run(Layer.buildWithScope(Layer.fresh(CounterLive), handlers))
        yield* (yield* node.run(Counter.client()))("given back").call.Add({ by: 1 })
        const other = yield* store.start({ servers: CounterLive, node: { pollInterval: "50 millis" } })
        yield* gate.close
        yield* Nodes.within("15 seconds", Scope.close(handlers, Exit.void))
        yield* gate.open
        const counter = (yield* other.run(Counter.client()))("given back")
        assert.strictEqual(yield* Nodes.within("3 seconds", counter.call.AddAndGet({ by: 1 })), 2)
      }))
  })
}

layer(Nodes.layerMemory, { excludeTestServices: true })("Closing, of one kind", (it) => {
  it.effect("while its servers cannot be given back, those of other kinds go on", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const gate = yield* Latch.make(true)
      const node = yield* store.start({
        servers: JournalLive,
        node: { drainTimeout: "100 millis" },
        storage: ({ release }) => ({ release: (servers) => Effect.andThen(gate.await, release(servers)) })
      })
      const handlers = yield* Scope.fork(yield* Effect.scope)
      yield* node.run(Layer.buildWithScope(Layer.fresh(CounterLive), handlers))
      yield* (yield* node.run(Counter.client()))("x").call.Add({ by: 1 })
      const journal = (yield* node.run(Journal.client()))("x")
      yield* journal.call.Write({ entry: "first" })
      yield* gate.close
      yield* Scope.close(handlers, Exit.void)
      const exit = yield* Effect.exit(journal.call.Write({ entry: "second" }, { timeout: "2 seconds" }))
      yield* gate.open
      assert.isTrue(Exit.isSuccess(exit), String(exit))
    }))
})
