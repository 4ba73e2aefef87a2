/**
 * Locks: a handler says that it goes on outside of any transition, and the server's messages wait until it is done. The lock is
 * on disk: what it began is brought to its end, by whichever process, and once.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Redacted, Schedule } from "effect"
import type { DurableServerError } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"
import * as Processes from "../support/Processes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { makeWorld, type Refused, Tank, tankLive } from "./fixtures/servers.ts"

const start = { startImmediately: true }

const reasonOf = (error: DurableServerError.DurableServerError | Refused) =>
  error._tag === "DurableServerError" ? error.reason._tag : error.why

for (const [name, storeLayer] of Nodes.stores) {
  layer(storeLayer, { excludeTestServices: true })(`Locks, ${name}`, (it) => {
    for (const where of ["here", "in another process"] as const) {
      it.effect(`a lock by a caller ${where}: the reply comes at its end, the others wait and keep their order`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const holder = yield* store.start({ servers: tankLive(makeWorld()) })
          const caller = where === "here" ? holder : yield* store.start()
          const tank = (yield* caller.run(Tank.client()))(where)
          yield* (yield* holder.run(Tank.client()))(where).call.Look()
          const filling = yield* Effect.forkChild(tank.call.Fill({ what: "a", millis: 600 }), start)
          // Casts are told as soon as they are durable, though their turn has not come.
          yield* Effect.all([tank.cast.Add({ what: "b" }), tank.cast.Add({ what: "c" })])
          assert.isUndefined(filling.pollUnsafe())
          const looking = yield* Effect.forkChild(tank.call.Look(), start)
          yield* Effect.sleep("50 millis")
          assert.isUndefined(filling.pollUnsafe())
          assert.isUndefined(looking.pollUnsafe())
          assert.deepStrictEqual(yield* Nodes.within("4 seconds", Fiber.join(filling)), ["a"])
          assert.deepStrictEqual(yield* Fiber.join(looking), { filling: 0, full: ["a", "b", "c"] })
          yield* holder.close
          if (caller !== holder) yield* caller.close
        }))
    }

    it.effect("a lock by a cast, and one after the other", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: tankLive(makeWorld()) })
        const tank = (yield* node.run(Tank.client()))("cast")
        yield* tank.cast.Fill({ what: "a", millis: 20 })
        yield* tank.cast.Fill({ what: "b", millis: 0 })
        yield* tank.call.FillOnce({ what: "c" })
        assert.deepStrictEqual(yield* tank.call.FillOnce({ what: "c" }), ["a", "b", "c"])
        assert.deepStrictEqual(yield* tank.call.Look(), { filling: 0, full: ["a", "b", "c"] })
        yield* node.close
        // What came of it lasts.
        const next = yield* store.start({ servers: tankLive(makeWorld()) })
        const again = (yield* next.run(Tank.client()))("cast")
        assert.deepStrictEqual(yield* again.call.Look(), { filling: 0, full: ["a", "b", "c"] })
        assert.deepStrictEqual(yield* again.call.FillOnce({ what: "c" }), ["a", "b", "c"])
        yield* next.close
      }))

    it.effect("what fails under a lock is tried again, and at last parked; the server goes on", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const node = yield* store.start({
          servers: tankLive(world, {
            defectRetryPolicy: Schedule.max([Schedule.spaced("5 millis"), Schedule.recurs(2)])
          })
        })
        const tank = (yield* node.run(Tank.client()))("fails")
        world.poison.add("poison")
        const parked = yield* Effect.forkChild(Effect.flip(tank.call.Fill({ what: "poison", millis: 0 })), start)
        const behind = yield* Effect.forkChild(tank.call.Fill({ what: "behind", millis: 0 }), start)
        assert.strictEqual(reasonOf(yield* Fiber.join(parked)), "MessageParked")
        assert.deepStrictEqual(yield* Fiber.join(behind), ["behind"])
        assert.deepStrictEqual(world.attempts.map(({ attempt, what }) => `${what} ${attempt}`), [
          "poison 1",
          "poison 2",
          "poison 3",
          "behind 1"
        ])
        // The state of the lock itself was committed; nothing of what was under it.
        assert.deepStrictEqual(yield* tank.call.Look(), { filling: 1, full: ["behind"] })
        yield* node.close
      }))

    it.effect("a typed failure under a lock is the caller's answer, and ends it", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: tankLive(makeWorld()) })
        const tank = (yield* node.run(Tank.client()))("refused")
        assert.strictEqual(reasonOf(yield* Effect.flip(tank.call.Fill({ what: "refused", millis: 0 }))), "1")
        assert.deepStrictEqual(yield* tank.call.Look(), { filling: 1, full: [] })
        yield* node.close
      }))

    it.effect("a node that closes waits for the end of it, as long as it may; then another one begins it anew", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const producer = yield* store.start()
        const tank = yield* producer.run(Tank.client())
        for (const [millis, attempts] of [[100, 1], [1500, 2]] as const) {
          const world = makeWorld()
          const key = `closes ${millis}`
          const node = yield* store.start({ servers: tankLive(world), node: { drainTimeout: "500 millis" } })
          const filling = yield* Effect.forkChild(tank(key).call.Fill({ what: "a", millis }, { timeout: "20 seconds" }))
          yield* Effect.repeat(Effect.delay(Effect.sync(() => world.attempts.length), "1 millis"), {
            until: (count) => count === 1
          })
          yield* node.close
          const next = yield* store.start({ servers: tankLive(world) })
          assert.deepStrictEqual(yield* Nodes.within("8 seconds", Fiber.join(filling)), ["a"])
          assert.deepStrictEqual(yield* tank(key).call.Look(), { filling: 0, full: ["a"] })
          assert.strictEqual(world.attempts.length, attempts)
          yield* next.close
        }
        yield* producer.close
      }))
  })
}

layer(TestPostgres.layer, { excludeTestServices: true })("Locks", (it) => {
  const leaseMillis = 1000

  it.effect("a holder that is killed while it is locked is followed, and what it began is ended once", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const holder = yield* Processes.start(new URL("fixtures/consumer.ts", import.meta.url), [], {
        HOLDFAST_TEST_URL: Redacted.value(url),
        HOLDFAST_TEST_LEASE: String(leaseMillis)
      })
      yield* holder.line("ready")
      const world = makeWorld()
      const producer = yield* Nodes.start({ url })
      const tank = (yield* producer.run(Tank.client()))("killed")
      const filling = yield* Effect.forkChild(tank.call.Fill({ what: "a", millis: 700 }, { timeout: "20 seconds" }))
      yield* Effect.repeat(
        Effect.delay(sql`SELECT 1 FROM holdfast.server WHERE key = 'killed' AND lock IS NOT NULL`, "5 millis"),
        { until: (rows) => rows.length === 1 }
      )
      yield* tank.cast.Add({ what: "behind" })
      yield* holder.signal("SIGKILL")
      yield* Nodes.start({ url, servers: tankLive(world), member: { lease: leaseMillis } })
      assert.deepStrictEqual(yield* Nodes.within("12 seconds", Fiber.join(filling)), ["a"])
      assert.deepStrictEqual(yield* tank.call.Look(), { filling: 0, full: ["a", "behind"] })
      assert.strictEqual(world.attempts.length, 1)
    }))

  it.effect("a lock with nothing else in line is taken up when its holder has gone", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const world = makeWorld()
      const first = yield* Nodes.start({ url, servers: tankLive(world), node: { drainTimeout: "100 millis" } })
      yield* (yield* first.run(Tank.client()))("alone").cast.Fill({ what: "a", millis: 400 })
      yield* first.close
      yield* Nodes.start({ url, servers: tankLive(world) })
      yield* Nodes.within(
        "4 seconds",
        Effect.repeat(
          Effect.delay(sql`SELECT 1 FROM holdfast.server WHERE key = 'alone' AND state LIKE '%["a"]%'`, "5 millis"),
          { until: (rows) => rows.length === 1 }
        )
      )
      assert.strictEqual(world.attempts.length, 2)
    }))

  it.effect("what a node that was declared dead comes to under its lock does not count", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const world = makeWorld()
      const node = yield* Nodes.start({ url, servers: tankLive(world) })
      const tank = (yield* node.run(Tank.client()))("buried")
      const filling = yield* Effect.forkChild(tank.call.Fill({ what: "a", millis: 200 }, { timeout: "20 seconds" }))
      yield* Effect.repeat(Effect.delay(Effect.sync(() => world.attempts.length), "1 millis"), {
        until: (count) => count === 1
      })
      yield* sql`SELECT holdfast.bury_members(ARRAY[${yield* node.id}::bigint])`
      assert.deepStrictEqual(yield* Nodes.within("12 seconds", Fiber.join(filling)), ["a"])
      assert.deepStrictEqual(yield* tank.call.Look(), { filling: 0, full: ["a"] })
      assert.strictEqual(world.attempts.length, 2)
    }))
})
