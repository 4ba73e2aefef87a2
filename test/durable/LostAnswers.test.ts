/**
 * The answer to a COMMIT gets lost, or the COMMIT itself: what was sent is applied once, and whoever waits is told.
 *
 * A proxy stands between the node and Postgres and cuts the connection at exactly the moment in question.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive, Journal, JournalLive, journalLive } from "./fixtures/servers.ts"

/** The statements for groups in which servers only change their state, for those that only put messages in line, those that work lines off,
 * and for all others. */
const steps = /commit_step/
const messages = /commit_messages/
const turns = /commit_turns/
const group = /commit_group/

const setUp = Effect.gen(function*() {
  const database = yield* TestPostgres.TestDatabase
  const proxy = yield* CuttableProxy.make(database)
  return { proxy, direct: database.url, url: proxy.through(database.url) }
})

layer(TestPostgres.layer, { excludeTestServices: true })("LostAnswers", (it) => {
  it.effect("a call whose commit was answered into the void is applied once, and its caller is told", () =>
    Effect.gen(function*() {
      const { proxy, url } = yield* setUp
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const counter = yield* node.run(Counter.client())
      yield* counter("answer").call.Add({ by: 1 })
      const caught = yield* proxy.catchAnswer(steps)
      const caller = yield* Effect.forkChild(counter("answer").call.AddAndGet({ by: 1 }))
      yield* caught.arrived
      yield* caught.cut
      assert.strictEqual(yield* Fiber.join(caller), 2)
      assert.strictEqual(yield* counter("answer").call.Get(), 2)
    }))

  it.effect("a call whose commit never reached the server is sent again, and applied once", () =>
    Effect.gen(function*() {
      const { proxy, url } = yield* setUp
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const counter = yield* node.run(Counter.client())
      yield* counter("request").call.Add({ by: 1 })
      const caught = yield* proxy.catchRequest(steps)
      const caller = yield* Effect.forkChild(counter("request").call.AddAndGet({ by: 1 }))
      yield* caught.arrived
      yield* caught.cut
      assert.strictEqual(yield* Fiber.join(caller), 2)
      assert.strictEqual(yield* counter("request").call.Get(), 2)
    }))

  it.effect("a commit that reaches the server after it was given up does nothing any more", () =>
    Effect.gen(function*() {
      const { direct, proxy, url } = yield* setUp
      yield* Nodes.start({ url: direct, servers: CounterLive })
      const node = yield* Nodes.start({ url, servers: JournalLive })
      const journal = yield* node.run(Journal.client())
      const counter = yield* node.run(Counter.client())
      yield* journal("late").call.Write({ entry: "first" })
      yield* journal("late too").call.Write({ entry: "first" })
      yield* counter("late").cast.Add({ by: 1 })
      let sent = 0
      const ways = [
        { sql: steps, send: journal("late").call.Write({ entry: "second" }) },
        {
          sql: steps,
          send: Effect.all([
            journal("late").call.Write({ entry: "third" }),
            journal("late too").call.Write({ entry: "second" })
          ], { concurrency: "unbounded" })
        },
        { sql: messages, send: counter("late").cast.Add({ by: 1 }) },
        { sql: group, send: Effect.suspend(() => counter("late").cast.AddOnce({ id: `late ${++sent}`, by: 1 })) }
      ]
      // It comes when it is decided that it shall not be, before it is sent again and after.
      for (const when of ["before", "after"]) {
        for (const { send, sql } of ways) {
          const first = yield* proxy.catchRequest(sql)
          const again = yield* proxy.catchRequest(sql)
          const sender = yield* Effect.forkChild(send as Effect.Effect<unknown, unknown>)
          yield* first.arrived
          yield* first.cutNode
          yield* again.arrived
          if (when === "before") {
            yield* first.release
            yield* Effect.sleep("100 millis")
          }
          yield* again.release
          yield* Fiber.join(sender)
          yield* first.release
        }
      }
      yield* Effect.sleep("100 millis")
      assert.strictEqual(yield* counter("late").call.Get(), 5)
      assert.deepStrictEqual(
        yield* journal("late").call.Read(),
        ["first", "second", "third", "second", "third"]
      )
      assert.deepStrictEqual(yield* journal("late too").call.Read(), ["first", "second", "second"])
    }))

  it.effect("what was lost on the way is sent again, though the answer that tells so is lost as well", () =>
    Effect.gen(function*() {
      const { direct, proxy, url } = yield* setUp
      yield* Nodes.start({ url: direct, servers: CounterLive })
      const node = yield* Nodes.start({ url, servers: JournalLive })
      const counter = yield* node.run(Counter.client())
      const journal = yield* node.run(Journal.client())
      yield* counter("twice").cast.Add({ by: 1 })
      yield* journal("twice").call.Write({ entry: "first" })
      const ways = [
        { sql: messages, send: counter("twice").cast.Add({ by: 1 }) },
        { sql: group, send: counter("twice").cast.AddOnce({ id: "once", by: 1 }) },
        { sql: steps, send: journal("twice").call.Write({ entry: "second" }) }
      ]
      for (const { send, sql } of ways) {
        const caught = yield* proxy.catchRequest(sql)
        const decided = yield* proxy.catchAnswer(/UPDATE holdfast.lane SET seq/)
        const sender = yield* Effect.forkChild(send)
        yield* caught.arrived
        yield* caught.cut
        yield* decided.arrived
        yield* decided.cut
        yield* Fiber.join(sender)
      }
      assert.strictEqual(yield* counter("twice").call.Get(), 3)
      assert.deepStrictEqual(yield* journal("twice").call.Read(), ["first", "second"])
    }))

  it.effect("messages of a producer whose commit was answered into the void are in line once", () =>
    Effect.gen(function*() {
      const { direct, proxy, url } = yield* setUp
      const holder = yield* Nodes.start({ url: direct, servers: CounterLive })
      const producer = yield* Nodes.start({ url })
      const counter = yield* producer.run(Counter.client())
      yield* counter("producer").cast.Add({ by: 1 })
      const cast = counter("producer").cast
      for (const [n, lose] of [proxy.catchAnswer, proxy.catchRequest].entries()) {
        for (
          const [sql, send] of [[messages, cast.Add({ by: 1 })], [group, cast.AddOnce({ id: `${n}`, by: 1 })]] as const
        ) {
          const caught = yield* lose(sql)
          const sender = yield* Effect.forkChild(send)
          yield* caught.arrived
          yield* caught.cut
          yield* Fiber.join(sender)
        }
      }
      assert.strictEqual(yield* counter("producer").call.Get(), 5)
      assert.strictEqual(yield* (yield* holder.run(Counter.client()))("producer").call.Get(), 5)
    }))

  it.effect("what a holder takes from a line is done once, and its callers elsewhere are told, though the answer is lost", () =>
    Effect.gen(function*() {
      const { direct, proxy, url } = yield* setUp
      const holder = yield* Nodes.start({ url, servers: CounterLive })
      const producer = yield* Nodes.start({ url: direct })
      const held = yield* holder.run(Counter.client())
      const sent = yield* producer.run(Counter.client())
      yield* held("turn").call.Add({ by: 1 })
      for (const [n, lose] of [proxy.catchAnswer, proxy.catchRequest].entries()) {
        const caught = yield* lose(turns)
        const caller = yield* Effect.forkChild(sent("turn").call.AddAndGet({ by: 1 }))
        yield* caught.arrived
        yield* caught.cut
        assert.strictEqual(yield* Nodes.within("5 seconds", Fiber.join(caller)), n + 2)
      }
      assert.strictEqual(yield* held("turn").call.Get(), 3)
    }))

  it.effect("a call behind a lost answer is not answered before what was in line before it", () =>
    Effect.gen(function*() {
      const { direct, proxy, url } = yield* setUp
      const handled = new Set<string>()
      // What it does not hear and has not asked for, it does not know.
      const holder = yield* Nodes.start({
        url,
        servers: journalLive((entry) => handled.add(entry)),
        node: { pollInterval: "1 minute" }
      })
      const producer = yield* Nodes.start({ url: direct })
      const held = yield* holder.run(Journal.client())
      const sent = yield* producer.run(Journal.client())
      yield* held("horizon").call.Write({ entry: "first" })
      yield* held("other").call.Write({ entry: "first" })
      // While the committer is busy with another server, two messages come by the line. One is handled, one is just being
      // handled. A third is acknowledged, of which the holder knows nothing, and only then is the call made.
      const busy = yield* proxy.catchAnswer(steps)
      const other = yield* Effect.forkChild(held("other").call.Write({ entry: "second" }))
      yield* busy.arrived
      yield* sent("horizon").castAll((cast) => [
        cast.Write({ entry: "second" }),
        cast.WriteSlowly({ entry: "third", millis: 300 })
      ])
      yield* Effect.sleep("5 millis").pipe(Effect.repeat({ while: () => !handled.has("third") }))
      yield* proxy.welcome("cut", "holdfast listen")
      yield* proxy.cut("holdfast listen")
      yield* sent("horizon").cast.Write({ entry: "acknowledged" })
      const reader = yield* Effect.forkChild(held("horizon").call.Read())
      yield* Effect.yieldNow
      // And the answer to the first step is lost.
      const lost = yield* proxy.catchAnswer(turns)
      yield* busy.release
      yield* Fiber.join(other)
      yield* lost.arrived
      yield* lost.cut
      assert.deepStrictEqual(yield* Fiber.join(reader), ["first", "second", "third", "acknowledged"])
    }))

  it.effect("a group that was committed is not done again by a node that was declared dead meanwhile", () =>
    Effect.gen(function*() {
      const { proxy, url } = yield* setUp
      const sql = yield* PgClient.PgClient
      const node = yield* Nodes.start({ url, servers: CounterLive, member: { lease: "1 second" } })
      const counter = yield* node.run(Counter.client())
      yield* counter("buried").call.Add({ by: 1 })
      const caught = yield* proxy.catchAnswer(steps)
      const caller = yield* Effect.forkChild(counter("buried").call.AddAndGet({ by: 1 }))
      yield* caught.arrived
      yield* sql`SELECT holdfast.bury_members(ARRAY[${yield* node.id}::bigint])`
      // Its heartbeat tells it that it is dead, while it waits for the answer.
      yield* Effect.sleep("500 millis")
      yield* caught.cut
      assert.strictEqual(yield* Fiber.join(caller), 2)
      assert.strictEqual(yield* counter("buried").call.Get(), 2)
    }))

  it.effect("a lost answer is decided though the server lets nobody in at first", () =>
    Effect.gen(function*() {
      const { proxy, url } = yield* setUp
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const counter = yield* node.run(Counter.client())
      yield* counter("full").call.Add({ by: 1 })
      const caught = yield* proxy.catchAnswer(steps)
      const callers = yield* Effect.forkChild(
        Effect.all([counter("full").call.AddAndGet({ by: 1 }), counter("full 2").call.AddAndGet({ by: 1 })], {
          concurrency: "unbounded"
        })
      )
      yield* caught.arrived
      yield* proxy.welcome({ code: "53300", message: "sorry, too many clients already" }, "holdfast commit")
      yield* caught.cut
      yield* Effect.sleep("300 millis")
      yield* proxy.welcome("accept", "holdfast commit")
      assert.deepStrictEqual(yield* Fiber.join(callers), [2, 1])
      assert.strictEqual(yield* counter("full").call.Get(), 2)
    }))

  it.effect("a node goes on when its server had no room for a connection of it for a while", () =>
    Effect.gen(function*() {
      const { proxy, url } = yield* setUp
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const counter = yield* node.run(Counter.client())
      yield* counter("room").call.Add({ by: 1 })
      yield* proxy.welcome({ code: "53300", message: "sorry, too many clients already" })
      yield* proxy.cut()
      const caller = yield* Effect.forkChild(counter("another").call.AddAndGet({ by: 1 }))
      yield* Effect.sleep("300 millis")
      yield* proxy.welcome("accept")
      assert.strictEqual(yield* Fiber.join(caller), 1)
      assert.strictEqual(yield* counter("room").call.AddAndGet({ by: 1 }), 2)
    }))

  it.effect("sessions and statements that an administrator ends lose nothing and do nothing twice", () =>
    Effect.gen(function*() {
      const { direct } = yield* setUp
      const sql = yield* PgClient.PgClient
      const holder = yield* Nodes.start({ url: direct, servers: CounterLive })
      const producer = yield* Nodes.start({ url: direct })
      const acknowledged = new Map<string, number>()
      let ends = false
      const callers = yield* Effect.forEach(
        Array.from({ length: 12 }),
        (_, n) =>
          Effect.flatMap((n % 2 === 0 ? holder : producer).run(Counter.client()), (counter) =>
            Effect.gen(function*() {
              for (let k = n; !ends; k++) {
                const key = `ended ${k % 3}`
                yield* k % 4 === 0
                  ? counter(key).cast.Add({ by: 1 })
                  : counter(key).call.Add({ by: 1 }, { timeout: "30 seconds" })
                acknowledged.set(key, (acknowledged.get(key) ?? 0) + 1)
              }
            })).pipe(Effect.forkChild)
      )
      let ended = 0
      for (let n = 0; n < 60; n++) {
        const what = sql.literal(n % 2 === 0 ? "pg_terminate_backend" : "pg_cancel_backend")
        const rows = yield* sql`
          SELECT ${what}(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE 'holdfast %' AND pid % 3 = ${n % 3}`
        ended += rows.length
        yield* Effect.sleep("20 millis")
      }
      ends = true
      yield* Effect.forEach(callers, (caller) => Nodes.within("20 seconds", Fiber.join(caller)), { discard: true })
      assert.isAbove(ended, 20)
      const counter = yield* holder.run(Counter.client())
      for (const [key, count] of acknowledged) assert.strictEqual(yield* counter(key).call.Get(), count, key)
    }))
})
