/**
 * What becomes of a server when the process that runs it is killed, stopped for longer than its lease, or ends as it should:
 * another one goes on, with everything that was acknowledged, and what the first had under way is done once or not at all.
 *
 * The holders here are processes of their own, with short leases; the test itself is the process that goes on.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Redacted } from "effect"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as Processes from "../support/Processes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive, Journal, JournalLive } from "./fixtures/servers.ts"

const leaseMillis = 1000
const servers = Layer.mergeAll(CounterLive, JournalLive)

const startConsumer = (url: Redacted.Redacted, key?: string) =>
  Processes.start(new URL("fixtures/consumer.ts", import.meta.url), key === undefined ? [] : [key], {
    HOLDFAST_TEST_URL: Redacted.value(url),
    HOLDFAST_TEST_LEASE: String(leaseMillis)
  })

const startSuccessor = (url: Redacted.Redacted) => Nodes.start({ url, servers, member: { lease: leaseMillis } })

const holderOf = Effect.fnUntraced(function*(key: string) {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<{ readonly holder: number }>`
    SELECT holder::float8 AS holder FROM holdfast.server WHERE key = ${key}`
  return row?.holder
})

const numberAfter = (line: string) => Number(line.split(" ")[1])

layer(TestPostgres.layer, { excludeTestServices: true })("TakeOver", (it) => {
  it.effect("a holder that is killed is followed within its lease, and nothing acknowledged is lost", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* startConsumer(url)
      const id = numberAfter(yield* holder.line("ready"))
      const producer = yield* Nodes.start({ url })
      const counter = yield* producer.run(Counter.client())
      yield* counter("killed").call.Add({ by: 1 }, { timeout: "20 seconds" })
      assert.strictEqual(yield* holderOf("killed"), id)
      const successor = yield* startSuccessor(url)
      const sending = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: 16 }),
          () => Effect.repeat(counter("killed").call.Add({ by: 1 }, { timeout: "20 seconds" }), { times: 29 }),
          { concurrency: "unbounded" }
        )
      )
      yield* Effect.sleep("30 millis")
      yield* holder.signal("SIGKILL")
      const [took] = yield* Effect.timed(Fiber.join(sending))
      // With the time that a busy machine takes for all that.
      assert.isBelow(Duration.toMillis(took), 3 * leaseMillis + 15_000)
      assert.strictEqual(yield* holderOf("killed"), yield* successor.id)
      assert.strictEqual(yield* counter("killed").call.Get(), 481)
    }))

  it.effect("a holder that was stopped past its lease commits nothing of what it had under way, and works on", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const holder = yield* startConsumer(proxy.through(database.url), "stopped")
      yield* holder.line("working")
      const successor = yield* startSuccessor(database.url)
      const counter = yield* successor.run(Counter.client())
      const caught = yield* proxy.catchRequest({ sql: /holdfast.commit_/, application: "holdfast commit" })
      yield* caught.arrived
      yield* holder.signal("SIGSTOP")
      // It is there when the call comes, and then it is not.
      const before = yield* counter("stopped").call.AddAndGet({ by: 1 }, { timeout: "10 seconds" })
      assert.strictEqual(yield* holderOf("stopped"), yield* successor.id)
      yield* caught.release
      yield* Effect.sleep("200 millis")
      assert.strictEqual(yield* counter("stopped").call.Get(), before)
      yield* holder.signal("SIGCONT")
      yield* holder.line("back")
      yield* counter("stopped").call.Add({ by: 1 })
      yield* Effect.sleep("300 millis")
      yield* holder.say("stop")
      const acknowledged = numberAfter(yield* holder.line("acknowledged"))
      assert.strictEqual(yield* holder.line("failed"), "failed 0")
      assert.strictEqual(yield* counter("stopped").call.Get(), acknowledged + 2)
      assert.isAbove(acknowledged, before)
    }))

  it.effect("what a stopped holder had committed already is acknowledged when it goes on, and not done again", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const holder = yield* startConsumer(proxy.through(database.url), "committed")
      yield* holder.line("working")
      const successor = yield* startSuccessor(database.url)
      const counter = yield* successor.run(Counter.client())
      const caught = yield* proxy.catchAnswer({ sql: /holdfast.commit_/, application: "holdfast commit" })
      yield* caught.arrived
      yield* holder.signal("SIGSTOP")
      yield* counter("committed").call.AddAndGet({ by: 1 }, { timeout: "10 seconds" })
      yield* caught.cut
      yield* holder.signal("SIGCONT")
      yield* holder.line("back")
      yield* Effect.sleep("300 millis")
      yield* holder.say("stop")
      const acknowledged = numberAfter(yield* holder.line("acknowledged"))
      assert.strictEqual(yield* holder.line("failed"), "failed 0")
      assert.strictEqual(yield* counter("committed").call.Get(), acknowledged + 1)
    }))

  it.effect("a holder that ends as it should finishes what it handles, and others go on at once", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* startConsumer(url)
      yield* holder.line("ready")
      const producer = yield* Nodes.start({ url })
      const counter = yield* producer.run(Counter.client())
      const journal = yield* producer.run(Journal.client())
      yield* counter("ended").call.Add({ by: 1 }, { timeout: "20 seconds" })
      yield* journal("ended").call.Write({ entry: "first" }, { timeout: "20 seconds" })
      const successor = yield* Nodes.start({ url, servers, member: { lease: "1 minute" } })
      const slow = yield* Effect.forkChild(journal("ended").call.WriteSlowly({ entry: "second", millis: 500 }))
      yield* Effect.sleep("150 millis")
      const behind = yield* Effect.forkChild(journal("ended").call.Write({ entry: "third" }))
      yield* holder.signal("SIGTERM")
      const [took, count] = yield* Effect.timed(
        counter("ended").call.AddAndGet({ by: 1 }, { timeout: "20 seconds" })
      )
      assert.strictEqual(count, 2)
      // Its successor would look for members that are overdue every 20 seconds.
      assert.isBelow(Duration.toMillis(took), 15_000)
      assert.strictEqual(yield* Fiber.join(slow), 2)
      yield* Fiber.join(behind)
      assert.include([0, 130, 143, "SIGTERM"], yield* holder.ended)
      assert.deepStrictEqual(yield* journal("ended").call.Read(), ["first", "second", "third"])
      assert.strictEqual(yield* holderOf("ended"), yield* successor.id)
    }))

  it.effect("messages with keys are done once, though their holder and their sender are killed, and both come back", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* startConsumer(url)
      yield* holder.line("ready")
      const ids = Array.from({ length: 200 }, (_, index) => `once ${index}`)
      /** Sends all of them; tells what each was answered, unless the sender ends before. */
      const sendAll = Effect.fnUntraced(function*(sender: Nodes.TestNode, answers: Map<string, number>) {
        const counter = yield* sender.run(Counter.client())
        yield* Effect.forEach(ids, (id) =>
          Effect.map(
            counter("keyed").call.AddOnce({ id, by: 1 }, { timeout: "20 seconds" }),
            (answer) => answers.set(id, answer)
          ), { concurrency: 16, discard: true })
      })
      const first = new Map<string, number>()
      const producer = yield* Nodes.start({ url })
      const counter = yield* producer.run(Counter.client())
      yield* counter("keyed").call.Add({ by: 0 }, { timeout: "20 seconds" })
      const sending = yield* Effect.forkChild(Effect.exit(sendAll(producer, first)))
      yield* Effect.sleep("5 millis").pipe(Effect.repeat({ while: () => first.size < 40 }))
      yield* holder.signal("SIGKILL")
      yield* Effect.sleep("20 millis")
      yield* producer.close
      yield* Fiber.join(sending)
      assert.isBelow(first.size, ids.length)
      // Another sender repeats them all, while another holder comes; and then, with another holder again, once more.
      for (let round = 0; round < 2; round++) {
        const next = yield* startConsumer(url)
        yield* next.line("ready")
        const again = new Map<string, number>()
        const sender = yield* Nodes.start({ url })
        yield* sendAll(sender, again)
        for (const [id, answer] of first) assert.strictEqual(again.get(id), answer, id)
        for (const [id, answer] of again) first.set(id, answer)
        assert.deepStrictEqual(
          Array.from(again.values()).toSorted((one, other) => one - other),
          ids.map((_, index) => index + 1)
        )
        const count = yield* Effect.flatMap(
          sender.run(Counter.client()),
          (counter) => counter("keyed").call.Get(undefined, { timeout: "20 seconds" })
        )
        assert.strictEqual(count, ids.length)
        yield* next.signal("SIGKILL")
      }
    }))

  it.effect("two that take turns in being stopped lose nothing between them", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const both = [yield* startConsumer(url, "turns"), yield* startConsumer(url, "turns")]
      for (const one of both) yield* one.line("working")
      for (const one of both) {
        yield* one.signal("SIGSTOP")
        yield* Effect.sleep(leaseMillis * 2)
        yield* one.signal("SIGCONT")
        yield* Effect.sleep(200)
      }
      for (const one of both) yield* one.say("stop")
      let acknowledged = 0
      for (const one of both) {
        acknowledged += numberAfter(yield* one.line("acknowledged"))
        assert.strictEqual(yield* one.line("failed"), "failed 0")
        assert.isDefined(yield* one.line("back"))
      }
      const producer = yield* Nodes.start({ url })
      const counter = yield* producer.run(Counter.client())
      assert.strictEqual(yield* counter("turns").call.Get(undefined, { timeout: "10 seconds" }), acknowledged)
    }))
})
