/**
 * A call waits as long as it was told to and not longer. What it asked for may still be done; the reply is then dropped, and
 * neither a timeout nor an interruption leaves anything behind.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Schedule } from "effect"
import { TestClock } from "effect/testing"
import type { DurableServerError } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import {
  Counter,
  CounterLive,
  Fragile,
  fragileLive,
  Journal,
  JournalLive,
  makeWorld,
  Tank,
  tankLive
} from "./fixtures/servers.ts"

layer(Nodes.layerMemory)("CallTimeouts, by the clock", (it) => {
  it.effect("a call that nobody answers ends after 5 seconds, not before, and says what it was about", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const producer = yield* store.start()
      const counter = yield* producer.run(Counter.client())
      const caller = yield* Effect.forkChild(Effect.flip(counter("nobody").call.Get()), { startImmediately: true })
      yield* TestClock.adjust(4999)
      assert.isUndefined(caller.pollUnsafe())
      yield* TestClock.adjust(1)
      const { reason } = yield* Fiber.join(caller)
      if (reason._tag !== "CallTimeout") return assert.fail(reason._tag)
      assert.deepInclude({ ...reason }, { kind: "Counter", key: "nobody", rpc: "Get", timeoutMillis: 5000 })
    }))

  it.effect("a call that is not answered says what it waited for, as far as this process knows", () =>
    Effect.gen(function*() {
      const world = makeWorld()
      world.poison.add("never")
      const store = yield* Nodes.Store
      const holder = yield* store.start({
        servers: Layer.mergeAll(
          JournalLive,
          tankLive(world),
          fragileLive(world, { defectRetryPolicy: Schedule.spaced("1 minute") })
        )
      })
      const producer = yield* store.start()
      const journal = yield* holder.run(Journal.client())
      const tank = yield* holder.run(Tank.client())
      const fragile = yield* holder.run(Fragile.client())
      const fromElsewhere = yield* producer.run(Journal.client())
      const counter = yield* producer.run(Counter.client())
      const options = { timeout: "1 second" } as const
      const long = { timeout: "1 hour" } as const
      yield* Effect.forkChild(journal("why").call.WriteSlowly({ entry: "slow", millis: 600_000 }, long))
      yield* Effect.forkChild(tank("why").call.Fill({ what: "slow", millis: 600_000 }, long))
      yield* Effect.forkChild(fragile("why").call.Do({ what: "never" }, long))
      yield* TestClock.adjust(100)
      const holderId = yield* holder.id
      for (
        const [call, detail] of [
          [journal("why").call.Read(undefined, options), "its handler is at \"WriteSlowly\""],
          [tank("why").call.Look(undefined, options), "it is locked by \"Fill\""],
          [
            fragile("why").call.Done(undefined, options),
            "an attempt at \"Do\" has failed, and is to be followed by another one"
          ],
          [fromElsewhere("why").call.Read(undefined, options), `node ${holderId} ran it when it was looked up`],
          [counter("why").call.Get(undefined, options), "no process ran it when it was looked up"]
        ] as const
      ) {
        const asked: Effect.Effect<unknown, DurableServerError.DurableServerError> = call
        const caller = yield* Effect.forkChild(Effect.flip(asked), { startImmediately: true })
        yield* TestClock.adjust(1000)
        const error = yield* Fiber.join(caller)
        assert.strictEqual(error.reason._tag === "CallTimeout" ? error.reason.detail : error.reason._tag, detail)
        assert.include(error.message, detail)
      }
      // What was begun is let end.
      yield* TestClock.adjust("20 minutes")
    }))

  it.effect("each call has its own time, whatever others wait for", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const producer = yield* store.start({ node: { callTimeout: "2 seconds" } })
      const counter = yield* producer.run(Counter.client())
      const ended: Array<string> = []
      const wait = (name: string, timeout?: `${number} seconds` | "Infinity") =>
        Effect.forkChild(
          Effect.ensuring(
            Effect.exit(counter("own").call.Get(undefined, timeout === undefined ? {} : { timeout })),
            Effect.sync(() => ended.push(name))
          ),
          { startImmediately: true }
        )
      yield* wait("ten", "10 seconds")
      yield* wait("one", "1 seconds")
      yield* wait("default")
      const endless = yield* wait("endless", "Infinity")
      yield* TestClock.adjust(500)
      yield* wait("one, later", "1 seconds")
      for (
        const [millis, expected] of [
          [499, []],
          [1, ["one"]],
          [499, ["one"]],
          [1, ["one", "one, later"]],
          [500, ["one", "one, later", "default"]],
          [7999, ["one", "one, later", "default"]],
          [1, ["one", "one, later", "default", "ten"]]
        ] as const
      ) {
        yield* TestClock.adjust(millis)
        assert.deepStrictEqual(ended, [...expected])
      }
      yield* TestClock.adjust("10 minutes")
      assert.isUndefined(endless.pollUnsafe())
      yield* Fiber.interrupt(endless)
    }))

  it.effect("a timeout that is none is a defect of the call that runs with it, and names the field", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: CounterLive })
      const counter = (yield* node.run(Counter.client()))("no timeout")
      for (const timeout of [0, -1, Number.NaN]) {
        const exit = yield* Effect.exit(counter.call.AddAndGet({ by: 1 }, { timeout }))
        if (Exit.isSuccess(exit)) return assert.fail(`${timeout} is a timeout`)
        assert.isTrue(Cause.hasDies(exit.cause))
        assert.include(Cause.pretty(exit.cause), "timeout")
      }
      assert.strictEqual(yield* counter.call.Get(), 0)
    }))

  it.effect("a call that was given up may still be done, and its reply goes nowhere", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const producer = yield* store.start()
      const counter = yield* producer.run(Counter.client())
      const caller = yield* Effect.forkChild(Effect.flip(counter("given up").call.AddAndGet({ by: 1 })), {
        startImmediately: true
      })
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(caller)
      const holder = yield* store.start({ servers: CounterLive })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* (yield* holder.run(Counter.client()))("given up").call.Get(), 1)
      // What comes next has its own answer.
      assert.strictEqual(yield* counter("given up").call.AddAndGet({ by: 1 }), 2)
    }))

  it.effect("a call whose handler is slow where it is held ends in time, and what waits behind it goes on", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: JournalLive })
      const journal = (yield* node.run(Journal.client()))("slow")
      const slow = yield* Effect.forkChild(
        Effect.flip(journal.call.WriteSlowly({ entry: "slow", millis: 8000 })),
        { startImmediately: true }
      )
      const behind = yield* Effect.forkChild(journal.call.Write({ entry: "behind" }, { timeout: "10 seconds" }), {
        startImmediately: true
      })
      yield* TestClock.adjust(5000)
      assert.strictEqual((yield* Fiber.join(slow)).reason._tag, "CallTimeout")
      yield* TestClock.adjust(3000)
      yield* Fiber.join(behind)
      assert.deepStrictEqual(yield* journal.call.Read(), ["slow", "behind"])
    }))

  it.effect("neither a timeout nor an interruption leaves anything in memory", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: JournalLive })
      const producer = yield* store.start()
      for (const sender of [node, producer]) {
        const journal = (yield* sender.run(Journal.client()))(sender === node ? "held" : "elsewhere")
        const callers = yield* Effect.forEach(
          Array.from({ length: 20 }),
          (_, n) =>
            Effect.forkChild(Effect.exit(journal.call.WriteSlowly({ entry: `${n}`, millis: 100 })), {
              startImmediately: true
            })
        )
        yield* TestClock.adjust(50)
        for (const caller of callers.slice(0, 10)) yield* Fiber.interrupt(caller)
        yield* TestClock.adjust("5 seconds")
        for (const caller of callers) yield* Fiber.await(caller)
        assert.strictEqual(yield* sender.residents, 1)
      }
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual([yield* node.residents, yield* producer.residents], [0, 0])
    }))

  it.effect("a caller that is interrupted before its message is anywhere takes it back", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const node = yield* store.start({ servers: JournalLive })
      const journal = (yield* node.run(Journal.client()))("taken back")
      const slow = yield* Effect.forkChild(journal.call.WriteSlowly({ entry: "slow", millis: 1000 }), {
        startImmediately: true
      })
      const behind = yield* Effect.forkChild(journal.call.Write({ entry: "behind" }), { startImmediately: true })
      yield* TestClock.adjust(100)
      yield* Fiber.interrupt(behind)
      yield* TestClock.adjust(900)
      assert.strictEqual(yield* Fiber.join(slow), 1)
      assert.deepStrictEqual(yield* journal.call.Read(), ["slow"])
    }))
})

layer(TestPostgres.layer, { excludeTestServices: true })("CallTimeouts, in rows", (it) => {
  it.effect("the reply to a call that was given up does not stay", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const holder = yield* Nodes.start({ url, servers: JournalLive })
      yield* (yield* holder.run(Journal.client()))("rows").call.Write({ entry: "first" })
      const producer = yield* Nodes.start({ url })
      const journal = (yield* producer.run(Journal.client()))("rows")
      const error = yield* Effect.flip(journal.call.WriteSlowly({ entry: "slow", millis: 300 }, { timeout: 150 }))
      assert.strictEqual(error.reason._tag, "CallTimeout")
      const interrupted = yield* Effect.forkChild(journal.call.WriteSlowly({ entry: "interrupted", millis: 10 }))
      yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(interrupted)
      assert.deepStrictEqual(yield* journal.call.Read(), ["first", "slow", "interrupted"])
      const left = sql<{ readonly left: number }>`SELECT count(*)::int AS left FROM holdfast.reply`
      const [row] = yield* Effect.repeat(Effect.delay(left, "10 millis"), {
        until: ([row]) => row?.left === 0,
        times: 2000
      })
      assert.strictEqual(row?.left, 0)
    }))

  it.effect(
    "the reply to a call that was given up does not stay while a later call is waited for",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.TestDatabase
        const sql = yield* PgClient.PgClient
        const holder = yield* Nodes.start({ url, servers: JournalLive })
        const held = yield* holder.run(Journal.client())
        for (const key of ["given up", "waited for"]) yield* held(key).call.Write({ entry: "first" })
        const producer = yield* Nodes.start({ url })
        const journal = yield* producer.run(Journal.client())
        const member = yield* producer.id
        const givenUp = yield* Effect.forkChild(journal("given up").call.WriteSlowly({ entry: "slow", millis: 1000 }))
        yield* Effect.sleep("200 millis")
        yield* Effect.forkChild(journal("waited for").call.WriteSlowly({ entry: "slow", millis: 60_000 }))
        yield* Effect.sleep("200 millis")
        yield* Fiber.interrupt(givenUp)
        // It is answered, and then the answer is gone, though there is another to come.
        assert.deepStrictEqual(yield* held("given up").call.Read(), ["first", "slow"])
        const left = sql<{ readonly left: number }>`
        SELECT count(*)::int AS left FROM holdfast.reply WHERE member = ${member}::bigint`
        const [row] = yield* Effect.repeat(Effect.delay(left, "10 millis"), {
          until: ([row]) => row?.left === 0,
          times: 1000
        })
        assert.strictEqual(row?.left, 0)
      }),
    40_000
  )

  it.effect("a call that the database keeps waiting says so", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const node = yield* Nodes.start({ url: proxy.through(database.url), servers: CounterLive })
      const counter = yield* node.run(Counter.client())
      yield* counter("gone").call.Add({ by: 1 })
      yield* proxy.welcome("cut")
      yield* proxy.cut()
      const { reason } = yield* Effect.flip(counter("gone").call.Add({ by: 1 }, { timeout: "300 millis" }))
      if (reason._tag !== "CallTimeout") return assert.fail(reason._tag)
      assert.include(reason.detail ?? "", "database")
      assert.include(reason.message, "300 ms")
      yield* proxy.welcome("accept")
    }))
})
