/**
 * `kill` ends the life of a server: state, line, lock and recorded answers are gone, whoever waits is told, and the next message
 * begins anew.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule } from "effect"
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
  type Refused,
  Tank,
  tankLive
} from "./fixtures/servers.ts"

const start = { startImmediately: true }

const reasonOf = (error: { readonly _tag: string }) =>
  error._tag === "DurableServerError" ? (error as DurableServerError.DurableServerError).reason._tag : error._tag

for (const [name, storeLayer] of Nodes.stores) {
  layer(storeLayer, { excludeTestServices: true })(`Kill, ${name}`, (it) => {
    for (const where of ["here", "in another process"] as const) {
      it.effect(`killed, started again: fresh state; killed from ${where}`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const holder = yield* store.start({ servers: CounterLive })
          const other = where === "here" ? holder : yield* store.start()
          const counter = (yield* other.run(Counter.client()))(where)
          assert.strictEqual(yield* counter.call.AddAndGet({ by: 5 }), 5)
          assert.strictEqual(yield* counter.call.AddOnce({ id: "once", by: 1 }), 6)
          yield* counter.kill("no longer needed")
          assert.strictEqual(yield* counter.call.Get(), 0)
          assert.strictEqual(yield* counter.call.AddAndGet({ by: 2 }), 2)
          // The answers of the life that ended are not those of this one.
          assert.strictEqual(yield* counter.call.AddOnce({ id: "once", by: 1 }), 3)
          yield* counter.kill("again")
          yield* counter.cast.Add({ by: 1 })
          assert.strictEqual(yield* counter.call.Get(), 1)
          yield* holder.close
          // What it left, another holder finds.
          const next = yield* store.start({ servers: CounterLive })
          assert.strictEqual(yield* (yield* next.run(Counter.client()))(where).call.Get(), 1)
          yield* next.close
          if (other !== holder) yield* other.close
        }))

      it.effect(`who waits is told: in the line, in the mailbox, behind a lock, for the lock; killed from ${where}`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const world = makeWorld()
          const holder = yield* store.start({ servers: tankLive(world) })
          const other = yield* store.start()
          const killer = where === "here" ? holder : other
          const key = `waits ${where}`
          const here = (yield* holder.run(Tank.client()))(key)
          const there = (yield* other.run(Tank.client()))(key)
          yield* here.cast.Add({ what: "before" })
          const fibers: Array<Fiber.Fiber<unknown, DurableServerError.DurableServerError | Refused>> = []
          fibers.push(yield* Effect.forkChild(here.call.Fill({ what: "slowly", millis: 20_000 }), start))
          yield* Effect.repeat(Effect.delay(Effect.sync(() => world.attempts.length), "1 millis"), {
            until: (count) => count === 1
          })
          fibers.push(yield* Effect.forkChild(here.call.Look(), start))
          fibers.push(yield* Effect.forkChild(there.call.Look(), start))
          // Behind the others, whichever way those went: what is on its way into the line would come to the next life.
          yield* there.cast.Add({ what: "gone" })
          yield* here.cast.Add({ what: "gone too" })
          yield* Nodes.within(
            "4 seconds",
            (yield* killer.run(Tank.client()))(key).kill(`enough; of ${"ü".repeat(100)}`)
          )
          for (const fiber of fibers) {
            const error = yield* Nodes.within("4 seconds", Effect.flip(Fiber.join(fiber)))
            assert.strictEqual(reasonOf(error), "ServerKilled")
            assert.include(error.message, "was killed: enough; of üü")
          }
          assert.deepStrictEqual(yield* here.call.Look(), { filling: 0, full: [] })
          yield* there.call.Add({ what: "after" })
          assert.deepStrictEqual(yield* there.call.Look(), { filling: 0, full: ["after"] })
          assert.strictEqual(world.attempts.length, 1)
          yield* holder.close
          yield* other.close
        }))
    }

    it.effect("a handler that runs is broken off, and nothing of it is done", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: JournalLive })
        const journal = (yield* node.run(Journal.client()))("runs")
        yield* journal.call.Write({ entry: "before" })
        const writing = yield* Effect.forkChild(journal.call.WriteSlowly({ entry: "never", millis: 20_000 }), start)
        yield* Effect.sleep("20 millis")
        yield* journal.kill("now")
        assert.strictEqual(reasonOf(yield* Effect.flip(Fiber.join(writing))), "ServerKilled")
        assert.deepStrictEqual(yield* journal.call.Read(), [])
        yield* node.close
      }))

    it.effect("a server that nobody runs, with messages in line; and one that never was", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const producer = yield* store.start()
        const counter = yield* producer.run(Counter.client())
        yield* counter("unattended").cast.Add({ by: 7 })
        const waiting = yield* Effect.forkChild(counter("unattended").call.Get(), start)
        yield* Effect.sleep("50 millis")
        yield* counter("unattended").kill("nobody came")
        assert.strictEqual(reasonOf(yield* Nodes.within("4 seconds", Effect.flip(Fiber.join(waiting)))), "ServerKilled")
        yield* counter("never was").kill("to be sure")
        const node = yield* store.start({ servers: CounterLive })
        assert.strictEqual(yield* counter("unattended").call.Get(), 0)
        assert.strictEqual(yield* counter("never was").call.Get(), 0)
        yield* node.close
        yield* producer.close
      }))

    it.effect("a message that fails and is waited for is gone with it", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const node = yield* store.start({
          servers: fragileLive(world, { defectRetryPolicy: Schedule.spaced("30 seconds") })
        })
        const fragile = (yield* node.run(Fragile.client()))("fails")
        world.poison.add("a")
        const failing = yield* Effect.forkChild(fragile.call.Do({ what: "a" }), start)
        yield* Effect.repeat(Effect.delay(Effect.sync(() => world.attempts.length), "1 millis"), {
          until: (count) => count === 1
        })
        // What is on its way into the line while it is killed comes to the next life, and fails there.
        yield* Effect.repeat(Effect.delay(fragile.kill("it fails"), "20 millis"), {
          until: () => failing.pollUnsafe() !== undefined
        })
        assert.strictEqual(reasonOf(yield* Nodes.within("4 seconds", Effect.flip(Fiber.join(failing)))), "ServerKilled")
        assert.deepStrictEqual(yield* fragile.call.Done(), [])
        yield* node.close
      }))

    it.effect("messages sent while it is killed again and again are done in some life, or told that theirs has ended", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const holder = yield* store.start({ servers: CounterLive })
        const producer = yield* store.start()
        const clients = [yield* holder.run(Counter.client()), yield* producer.run(Counter.client())]
        let done = 0
        let killed = 0
        let running = true
        const callers = yield* Effect.forEach([0, 1, 2, 3], (caller) =>
          Effect.forkChild(
            Effect.gen(function*() {
              while (running) {
                const exit = yield* Effect.exit(
                  clients[caller % 2]!("often").call.AddAndGet({ by: 1 }, { timeout: "20 seconds" })
                )
                if (Exit.isSuccess(exit)) done++
                else {
                  assert.include(String(exit.cause), "was killed")
                  killed++
                }
              }
            }),
            start
          ))
        for (let round = 0; round < 30; round++) {
          yield* clients[round % 2]!("often").kill(`round ${round}`)
          yield* Effect.sleep("3 millis")
        }
        running = false
        yield* Nodes.within("20 seconds", Effect.forEach(callers, Fiber.join))
        assert.isAbove(done, 0)
        const count = yield* clients[0]!("often").call.Get()
        assert.isAtMost(count, done)
        yield* clients[0]!("often").kill("for good")
        assert.strictEqual(yield* clients[1]!("often").call.AddAndGet({ by: 1 }), 1)
        yield* holder.close
        yield* producer.close
      }))

    it.effect("what is for later goes with it, and its key is free again", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: CounterLive })
        const counter = (yield* node.run(Counter.client()))("later")
        yield* counter.castAfter("200 millis").Add({ by: 100 })
        yield* counter.castAfter("1 hour").AddOnce({ id: "later", by: 1000 })
        yield* counter.kill("before it is due")
        yield* counter.castAfter("200 millis").AddOnce({ id: "later", by: 1 })
        yield* Nodes.within(
          "10 seconds",
          Effect.repeat(Effect.delay(counter.call.Get(), "10 millis"), { until: (count) => count > 0 })
        )
        assert.strictEqual(yield* counter.call.Get(), 1)
        yield* node.close
      }))

    it.effect("a key that is none, and a reason that is too long, are refused by name", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start()
        const counter = yield* node.run(Counter.client())
        const empty = yield* Effect.flip(counter("").kill("x"))
        const long = yield* Effect.flip(counter("a").kill("x".repeat(257)))
        assert.deepStrictEqual(
          [empty.reason, long.reason].map((reason) => reason._tag === "InvalidMessage" && reason.field),
          [
            "key",
            "reason"
          ]
        )
        assert.include(long.message, "256")
        yield* node.close
      }))
  })
}

layer(TestPostgres.layer, { excludeTestServices: true })("Kill, faults", (it) => {
  for (const side of ["catchRequest", "catchAnswer"] as const) {
    it.effect(`a kill whose connection is cut (${side}) is done once`, () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        const holder = yield* Nodes.start({ url: database.url, servers: CounterLive })
        const killer = yield* Nodes.start({ url: proxy.through(database.url) })
        const counter = (yield* holder.run(Counter.client()))(side)
        yield* counter.call.Add({ by: 5 })
        const caught = yield* proxy[side](/kill_server/)
        const killing = yield* Effect.forkChild((yield* killer.run(Counter.client()))(side).kill("once"), start)
        yield* caught.arrived
        if (side === "catchAnswer") assert.strictEqual(yield* counter.call.AddAndGet({ by: 1 }), 1)
        yield* caught.cut
        yield* Nodes.within("10 seconds", Fiber.join(killing))
        assert.strictEqual(yield* counter.call.Get(), side === "catchAnswer" ? 1 : 0)
        yield* killer.close
        yield* holder.close
      }))
  }

  it.effect("nothing of it is left in the tables but its name", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const world = makeWorld()
      const node = yield* Nodes.start({
        url: database.url,
        servers: fragileLive(world, { defectRetryPolicy: Schedule.recurs(0) })
      })
      const producer = yield* Nodes.start({ url: database.url })
      const fragile = (yield* producer.run(Fragile.client()))("tables")
      world.poison.add("a")
      yield* Effect.flip(fragile.call.Do({ what: "a" }))
      yield* fragile.call.DoOnce({ what: "b" })
      yield* node.close
      yield* fragile.cast.DoOnce({ what: "c" })
      const left = sql<{ readonly table: string }>`
        SELECT 'message' AS table FROM holdfast.message UNION ALL SELECT 'outcome' FROM holdfast.outcome
        UNION ALL SELECT 'parked' FROM holdfast.parked UNION ALL
        SELECT 'state' FROM holdfast.server
        WHERE kind = 'Fragile' AND (state IS NOT NULL OR lock IS NOT NULL OR holder IS NOT NULL)`
      assert.deepStrictEqual(
        new Set((yield* left).map(({ table }) => table)),
        new Set(["message", "outcome", "parked", "state"])
      )
      yield* fragile.kill("all of it")
      assert.deepStrictEqual(yield* left, [])
      yield* producer.close
    }))
})
