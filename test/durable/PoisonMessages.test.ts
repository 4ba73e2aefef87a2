/**
 * A message whose handler fails: it is tried again as the policy says, in its turn, and at last set aside with its error.
 * The server waits for it meanwhile, other servers do not, and whoever waits for its answer is told.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Schedule, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { TestClock } from "effect/testing"
import { DurableServer, type DurableServerError } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Fragile, fragileLive, makeWorld, type World } from "./fixtures/servers.ts"

const attemptsAt = (world: World, what: string) => world.attempts.filter((attempt) => attempt.what === what)

const reasonOf = (error: DurableServerError.DurableServerError | { readonly _tag: "Refused" }) =>
  error._tag === "DurableServerError" ? error.reason._tag : error._tag

layer(Nodes.layerMemory)("PoisonMessages, by the clock", (it) => {
  const policy = Schedule.max([Schedule.exponential("1 second"), Schedule.recurs(3)])

  for (const mode of ["call", "cast"] as const) {
    it.effect(`a ${mode} is tried again when the policy says so, and then parked`, () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const node = yield* store.start({ servers: fragileLive(world, { defectRetryPolicy: policy }) })
        const fragile = (yield* node.run(Fragile.client()))(`policy ${mode}`)
        world.poison.add("poison")
        const began = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        const sent = mode === "call"
          ? fragile.call.Do({ what: "poison" }, { timeout: "1 hour" })
          : fragile.cast.Do({ what: "poison" })
        const sender = yield* Effect.forkChild(Effect.result(sent), { startImmediately: true })
        const behind = yield* Effect.forkChild(fragile.call.Do({ what: "behind" }, { timeout: "1 hour" }), {
          startImmediately: true
        })
        // One, two and four seconds after the attempt before.
        for (
          const [seconds, attempts] of [[0, 1], [0.999, 1], [0.001, 2], [1.999, 2], [0.001, 3], [3.999, 3]] as const
        ) {
          yield* TestClock.adjust(seconds * 1000)
          assert.strictEqual(attemptsAt(world, "poison").length, attempts, `after ${seconds} more seconds`)
        }
        assert.isUndefined(behind.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(
          attemptsAt(world, "poison").map(({ at, attempt }) => [attempt, at - began]),
          [[1, 0], [2, 1000], [3, 3000], [4, 7000]]
        )
        assert.strictEqual(new Set(attemptsAt(world, "poison").map(({ id }) => id)).size, 1)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(attemptsAt(world, "poison").length, 4)
        // What is behind it goes on, over a state that it never touched.
        assert.strictEqual(yield* Fiber.join(behind), 1)
        assert.deepStrictEqual(yield* fragile.call.Done(), ["behind"])
        const result = yield* Fiber.join(sender)
        if (mode === "cast") return assert.strictEqual(result._tag, "Success")
        if (result._tag !== "Failure") return assert.fail("it was answered")
        const { reason } = result.failure
        if (reason._tag !== "MessageParked") return assert.fail(reason._tag)
        assert.deepInclude({ ...reason }, { kind: "Fragile", key: "policy call", rpc: "Do", attempts: 4 })
        assert.include(reason.failure, "poisoned by poison")
        assert.strictEqual(reason.messageId, attemptsAt(world, "poison")[0]?.id)
      }))
  }

  it.effect("a message that gets well is handled in its turn, and nobody hears of its attempts", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const world = makeWorld()
      const node = yield* store.start({ servers: fragileLive(world, { defectRetryPolicy: policy }) })
      const fragile = (yield* node.run(Fragile.client()))("well again")
      world.poison.add("ill")
      const ill = yield* Effect.forkChild(fragile.call.Do({ what: "ill" }), { startImmediately: true })
      const behind = yield* Effect.forkChild(fragile.call.Do({ what: "behind" }), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      world.poison.clear()
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([yield* Fiber.join(ill), yield* Fiber.join(behind)], [1, 2])
    }))

  it.effect("other servers go on while one waits", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const world = makeWorld()
      const node = yield* store.start({ servers: fragileLive(world, { defectRetryPolicy: policy }) })
      const fragile = yield* node.run(Fragile.client())
      world.poison.add("poison")
      yield* fragile("waits").cast.Do({ what: "poison" })
      for (let n = 0; n < 99; n++) assert.strictEqual(yield* fragile(`goes on ${n}`).call.Do({ what: "fine" }), 1)
      assert.strictEqual(attemptsAt(world, "poison").length, 1)
    }))
})

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`PoisonMessages: ${name}`, (it) => {
    const quickly = { defectRetryPolicy: Schedule.recurs(2) }

    it.effect("a typed failure is the caller's answer: the message is consumed, the state stays", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const node = yield* store.start({ servers: fragileLive(world, quickly) })
        const producer = yield* store.start()
        for (const [way, sender] of [["here", node], ["by the line", producer]] as const) {
          const fragile = (yield* sender.run(Fragile.client()))(`refused ${way}`)
          yield* fragile.call.Do({ what: "first" })
          const error = yield* Effect.flip(fragile.call.Refuse({ why: way }))
          assert.strictEqual(error._tag, "Refused")
          assert.strictEqual(error.message, way)
          yield* fragile.cast.Refuse({ why: `${way}, and nobody hears` })
          assert.deepStrictEqual(yield* fragile.call.Done(), ["first"])
          for (const why of [way, `${way}, and nobody hears`]) {
            assert.deepStrictEqual(attemptsAt(world, why).map(({ attempt }) => attempt), [1])
          }
        }
      }))

    for (
      const how of [
        "throws",
        "is interrupted",
        "answers nonsense",
        "replies what is not declared",
        "gives a state that does not encode"
      ]
    ) {
      it.effect(`a handler that ${how} has failed, and takes nothing else down`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const world = makeWorld()
          const node = yield* store.start({ servers: fragileLive(world, quickly) })
          const producer = yield* store.start()
          for (const [way, sender] of [["here", node], ["by the line", producer]] as const) {
            // What never leaves this process is not encoded.
            if (way === "here" && how === "replies what is not declared") continue
            const fragile = (yield* sender.run(Fragile.client()))(`${how}, ${way}`)
            world.attempts.length = 0
            // All of them in one step, so that the one has to be told from the others.
            const [before, broken, after] = yield* Effect.all([
              fragile.call.Do({ what: "before" }),
              Effect.flip(fragile.call.Break({ how })),
              fragile.call.Do({ what: "after" })
            ], { concurrency: "unbounded" })
            assert.strictEqual(reasonOf(broken), "MessageParked")
            assert.deepStrictEqual([before, after], [1, 2])
            assert.deepStrictEqual(yield* fragile.call.Done(), ["before", "after"])
          }
        }))
    }

    it.effect("an init that fails is a failed attempt at the message, and leaves no state", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const node = yield* store.start({ servers: fragileLive(world, quickly) })
        const fragile = yield* node.run(Fragile.client())
        const error = yield* Effect.flip(fragile("no init").call.Do({ what: "first" }))
        assert.strictEqual(reasonOf(error), "MessageParked")
        assert.strictEqual(yield* fragile("another").call.Do({ what: "first" }), 1)
      }))

    it.effect("a message that this process has no handler for is tried and parked, not lost", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        yield* store.start({ servers: fragileLive(world, quickly) })
        const producer = yield* store.start()
        class Newer extends DurableServer.make("Fragile", {
          state: Schema.Struct({ done: Schema.Array(Schema.String) }),
          protocol: [
            Rpc.make("New", { success: Schema.Int }),
            Rpc.make("Do", { payload: { what: Schema.Int }, success: Schema.Int }),
            Rpc.make("Done", { success: Schema.Array(Schema.String) })
          ]
        }) {}
        const newer = (yield* producer.run(Newer.client()))("newer")
        const unknown = yield* Effect.flip(newer.call.New())
        assert.strictEqual(reasonOf(unknown), "MessageParked")
        assert.include(unknown.message, "New")
        const undecodable = yield* Effect.flip(newer.call.Do({ what: 1 }))
        assert.strictEqual(reasonOf(undecodable), "MessageParked")
        assert.include(undecodable.message, "what")
        assert.deepStrictEqual(yield* newer.call.Done(), [])
      }))

    it.effect("a message that waits for its next attempt is there for the next holder", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const first = yield* store.start({
          servers: fragileLive(world, { defectRetryPolicy: Schedule.spaced("1 minute") })
        })
        const producer = yield* store.start()
        const fragile = (yield* producer.run(Fragile.client()))("handed over")
        yield* (yield* first.run(Fragile.client()))("handed over").call.Do({ what: "first" })
        world.poison.add("poison")
        const caller = yield* Effect.forkChild(fragile.call.Do({ what: "poison" }))
        const local = yield* Effect.forkChild(
          Effect.exit((yield* first.run(Fragile.client()))("handed over").cast.Do({ what: "poison" }))
        )
        yield* Effect.sleep("5 millis").pipe(Effect.repeat({ while: () => attemptsAt(world, "poison").length === 0 }))
        yield* Fiber.join(local)
        // It does not wait for a minute to be over.
        yield* Nodes.within("3 seconds", first.close)
        world.poison.clear()
        yield* store.start({ servers: fragileLive(world, quickly) })
        assert.isAbove(yield* Fiber.join(caller), 1)
        assert.deepStrictEqual(yield* fragile.call.Done(), ["first", "poison", "poison"])
      }))
  })
}

layer(TestPostgres.layer, { excludeTestServices: true })("PoisonMessages, in rows", (it) => {
  it.effect("a parked message lies in holdfast.parked with its error, and out of the line", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { url } = yield* TestPostgres.TestDatabase
      const world = makeWorld()
      const node = yield* Nodes.start({
        url,
        servers: fragileLive(world, { defectRetryPolicy: Schedule.recurs(2) })
      })
      const producer = yield* Nodes.start({ url })
      world.poison.add("here").add("there")
      yield* Effect.flip((yield* node.run(Fragile.client()))("rows").call.Do({ what: "here" }))
      yield* Effect.flip((yield* producer.run(Fragile.client()))("rows").call.DoOnce({ what: "there" }))
      const rows = yield* sql`
        SELECT s.kind, s.key AS server, p.mode, p.rpc, p.payload, p.key, p.attempts,
          p.failure LIKE '%poisoned by ' || (p.payload::json->>'what') || '%' AS tells
        FROM holdfast.parked p JOIN holdfast.server s ON s.id = p.server_id ORDER BY p.id`
      assert.deepStrictEqual(
        rows,
        [
          {
            kind: "Fragile",
            server: "rows",
            mode: "call",
            rpc: "Do",
            payload: "{\"what\":\"here\"}",
            key: null,
            attempts: 3,
            tells: true
          },
          {
            kind: "Fragile",
            server: "rows",
            mode: "call",
            rpc: "DoOnce",
            payload: "{\"what\":\"there\"}",
            key: "DoOnce/there",
            attempts: 3,
            tells: true
          }
        ]
      )
      const [left] = yield* sql<{ readonly left: number }>`SELECT count(*)::int AS left FROM holdfast.message`
      assert.strictEqual(left?.left, 0)
    }))

  it.effect("a cast whose handler fails is acknowledged only once it is in line", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const sql = yield* PgClient.PgClient
      const world = makeWorld()
      const node = yield* Nodes.start({
        url: proxy.through(database.url),
        servers: fragileLive(world, { defectRetryPolicy: Schedule.spaced("1 minute") })
      })
      const fragile = (yield* node.run(Fragile.client()))("acknowledged")
      yield* fragile.call.Do({ what: "first" })
      world.poison.add("poison")
      const caught = yield* proxy.catchRequest(/commit_/)
      const sender = yield* Effect.forkChild(fragile.cast.Do({ what: "poison" }))
      yield* caught.arrived
      yield* Effect.sleep("100 millis")
      assert.strictEqual(attemptsAt(world, "poison").length, 1)
      assert.isUndefined(sender.pollUnsafe())
      yield* caught.release
      yield* Fiber.join(sender)
      const rows = yield* sql`
        SELECT m.rpc, m.payload FROM holdfast.message m JOIN holdfast.server s ON s.id = m.server_id
        WHERE s.key = 'acknowledged'`
      assert.deepStrictEqual(rows, [{ rpc: "Do", payload: "{\"what\":\"poison\"}" }])
    }))
})
