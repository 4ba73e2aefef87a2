/**
 * What handlers of durable servers append to event stores in Postgres is committed with their states: also where answers get
 * lost, where the handler has a transaction of its own, and where somebody else has a stream locked. What is promised of every
 * store stands in the suite.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, References } from "effect"
import { DurableNode } from "holdfast/durable"
import { EventStore, MemoryEventStore, PostgresEventStore } from "holdfast/events"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import * as ledgers from "./fixtures/ledger.ts"
import { Ledger, start, store } from "./fixtures/ledger.ts"
import { through } from "./gateway/support.ts"
import { range } from "./support.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, process.env["HOLDFAST_TEST_LOG"] === undefined ? "None" : "All")

layer(TestPostgres.layer, { excludeTestServices: true })("Outcomes", (it) => {
  for (const way of ["catchAnswer", "catchRequest"] as const) {
    it.effect(`state and events are there once, however the commit gets lost (${way})`, () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const { url } = database
        const proxy = yield* CuttableProxy.make(database)
        const { ledger, numbers } = yield* start(proxy.through(url))
        const own = ledger(`own ${way}`)
        yield* own.call.Book({ n: 0 })
        for (let n = 1; n < 6; n++) {
          const caught = yield* proxy[way](/commit_group/)
          const fibers = yield* Effect.forEach([own, ledger(`beside ${way}`)], (one) =>
            Effect.forkChild(one.call.Book({ n }), { startImmediately: true }))
          yield* caught.arrived
          yield* caught.cut
          yield* Fiber.joinAll(fibers)
        }
        assert.strictEqual(yield* own.call.Booked(), 6)
        assert.deepStrictEqual(yield* numbers(`own ${way}`), range(0, 6))
        assert.deepStrictEqual(yield* numbers(`beside ${way}`), range(1, 6))
      }))
  }

  it.effect("in the handler's own transaction the version is told at once, and all of it is there or none", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const { ledger, numbers, sql } = yield* start(url)
      const own = ledger("own transaction")
      const way = "in a transaction"
      assert.deepStrictEqual(yield* own.call.Book({ n: 0, way }), { booked: 1, version: "0" })
      assert.deepStrictEqual(yield* own.call.Book({ n: 1, way }), { booked: 2, version: "1" })
      assert.deepStrictEqual(
        yield* own.call.Book({ n: 2, way: "in a transaction that dies" }),
        { booked: 3, version: "2" }
      )
      const refused = yield* Effect.flip(own.call.Book({ n: 9, way, expectedVersion: 7 }))
      assert.strictEqual(refused.reason._tag, "MessageParked")
      assert.deepStrictEqual(yield* numbers("own transaction"), range(0, 3))
      const rows = yield* sql<
        { readonly n: number }
      >`SELECT n FROM booking WHERE ledger = ${"own transaction"} ORDER BY n`
      assert.deepStrictEqual(rows.map(({ n }) => n), range(0, 3))
    }))

  it.effect("what is appended before and behind the transaction is given its place with it, in the order of versions", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const { events, ledger } = yield* start(url)
      const own = ledger("round")
      yield* Effect.forEach(range(0, 20), (n) =>
        Effect.all([
          own.call.Book({ n: n * 3 + 1, way: "round a transaction" }),
          events.appendEvents(store, "round", [{ eventType: "Other", data: null }])
        ], { concurrency: 2 }), { concurrency: 4 })
      const recorded = yield* events.getEvents(store, "round", 0, 1000)
      assert.deepStrictEqual(recorded.map(({ eventNumber }) => eventNumber), range(0, 80))
      const positions = recorded.map(({ globalPosition }) => globalPosition)
      assert.deepStrictEqual(positions, [...positions].sort((a, b) => a - b))
      const all = yield* events.getEvents(store, "$all", 0, 10_000)
      assert.deepStrictEqual(all.map(({ globalPosition }) => globalPosition), range(0, all.length))
    }))

  it.effect("a stream that a transaction has locked holds up its own server alone, until it is free", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const { events, ledger, numbers, sql } = yield* start(url)
      yield* events.appendEvents(store, "shared", [{ eventType: "Booked", data: { n: 0 } }])
      const locked = yield* Deferred.make<void>()
      const free = yield* Deferred.make<void>()
      const transaction = yield* sql.withTransaction(
        events.appendEvents(store, "shared", [{ eventType: "Booked", data: { n: 1 } }]).pipe(
          Effect.andThen(Deferred.succeed(locked, undefined)),
          Effect.andThen(Deferred.await(free))
        )
      ).pipe(Effect.forkChild)
      yield* Deferred.await(locked)
      const waiting = yield* Effect.forkChild(ledger("held up").call.Book({ n: 2, stream: "shared" }), {
        startImmediately: true
      })
      const inTransaction = yield* Effect.forkChild(
        ledger("held up too").call.Book({ n: 3, stream: "other", way: "in a transaction" }),
        { startImmediately: true }
      )
      // Long enough to have been tried many times.
      for (let n = 0; n < 100; n++) yield* ledger("not held up").call.Book({ n })
      yield* Fiber.join(inTransaction)
      yield* Effect.sleep("200 millis")
      assert.isUndefined(waiting.pollUnsafe())
      yield* Deferred.succeed(free, undefined)
      yield* Fiber.join(transaction)
      assert.strictEqual((yield* Fiber.join(waiting)).booked, 1)
      assert.deepStrictEqual(yield* numbers("shared"), [0, 1, 2])
      assert.deepStrictEqual(yield* numbers("not held up"), range(0, 100))
    }))

  it.effect("a handler gets its turn on a stream that transactions stand in line for", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const { events, ledger, sql } = yield* start(url)
      const append = events.appendEvents(store, "line", [{ eventType: "Other", data: null }])
      yield* append
      let isOver = false
      let transactions = 0
      // Someone always waits for the lock: whoever only looks whether it is free never finds it so.
      const busy = yield* Effect.forEach(
        range(0, 6),
        () =>
          sql.withTransaction(Effect.andThen(append, Effect.sleep("20 millis"))).pipe(
            Effect.andThen(Effect.sync(() => transactions++)),
            Effect.repeat({ while: () => !isOver })
          ),
        { concurrency: "unbounded", discard: true }
      ).pipe(Effect.forkChild)
      yield* Effect.sleep("10 millis").pipe(Effect.repeat({ while: () => transactions === 0 }))
      for (let n = 0; n < 3; n++) yield* ledger("in line").call.Book({ n, stream: "line" }, { timeout: "30 seconds" })
      isOver = true
      yield* Fiber.join(busy)
      assert.strictEqual(yield* ledger("in line").call.Booked(), 3)
    }), 60_000)

  it.effect("two processes that append to one stream all the time both get on", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const processes = [yield* start(url), yield* start(url)]
      yield* Effect.forEach(processes, ({ ledger }, index) =>
        Effect.forEach(
          range(0, 8),
          (caller) =>
            Effect.forEach(
              range(0, 25),
              (n) => ledger(`process ${index}, ${caller}`).call.Book({ n, stream: "one for all" })
            ),
          { concurrency: "unbounded" }
        ), { concurrency: 2 })
      const [first] = processes
      assert.strictEqual((yield* first?.numbers("one for all") ?? Effect.succeed([])).length, 400)
    }), 60_000)

  it.effect("a store that is not kept where the server is: an error that says so, and nothing is appended", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const node = Layer.provideMerge(DurableNode.layerPostgres, PgClient.layer({ url, maxConnections: 2 }))
      const elsewhere = yield* Layer.build(Layer.fresh(
        Layer.provide(PostgresEventStore.layer, PgClient.layer({ url, maxConnections: 2 }))
      ))
      for (
        const other of [Layer.succeedContext(elsewhere), MemoryEventStore.layer, through(MemoryEventStore.layer)]
      ) {
        const context = yield* Layer.build(Layer.fresh(
          ledgers.LedgerLive.pipe(Layer.provideMerge(node), Layer.provideMerge(other), Layer.provide(quiet))
        ))
        const events = Context.get(context, EventStore.EventStore)
        yield* Effect.ignore(events.createStore(store))
        const ledger = yield* Effect.provide(Ledger.client(), context)
        const error = yield* Effect.flip(ledger("elsewhere").call.Book({ n: 0 }))
        assert.strictEqual(error.reason._tag, "MessageParked")
        assert.include(error.message, "is not kept where the server Ledger")
        assert.strictEqual(yield* events.getVersion(store, "elsewhere"), -1)
      }
    }))
})
