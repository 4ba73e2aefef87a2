/**
 * Messages for later in a database: they outlive whoever sent them and whoever was to handle them, an answer that gets lost
 * doubles none of them, and a million of them hold nobody up.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Latch, Layer, Redacted } from "effect"
import { DurableServer, DurableStorage, PostgresStorage } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as Processes from "../support/Processes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive, JournalLive } from "./fixtures/servers.ts"
import { Planner, plannerLive } from "./fixtures/timers.ts"

const servers = Layer.mergeAll(CounterLive, JournalLive, plannerLive())

const leaseMillis = 1000

const startProcess = (program: string, url: Redacted.Redacted, ...args: ReadonlyArray<string>) =>
  Processes.start(new URL(`fixtures/${program}.ts`, import.meta.url), args, {
    HOLDFAST_TEST_URL: Redacted.value(url),
    HOLDFAST_TEST_LEASE: String(leaseMillis)
  })

const until = <A, E>(ask: Effect.Effect<A, E>, isRight: (answer: A) => boolean) =>
  Nodes.within("20 seconds", Effect.repeat(Effect.delay(ask, "10 millis"), { until: isRight }))

/** A way into the store, and nobody who delivers by himself. */
const joinNode = Effect.fnUntraced(function*(url: Redacted.Redacted) {
  const context = yield* Layer.build(
    PostgresStorage.layer.pipe(Layer.provide(PgClient.layer({ url, maxConnections: 1 })), Layer.fresh)
  )
  return yield* Context.get(context, DurableStorage.DurableStorage).join({ outcomeRetention: Duration.days(7) })
})

const scheduledRows = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<{ readonly count: number }>`SELECT count(*)::int AS count FROM holdfast.scheduled`
  return row?.count
})

layer(TestPostgres.layer, { excludeTestServices: true })("TimersInPostgres", (it) => {
  it.effect("what a process scheduled that was killed afterwards is handled when it is due", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const scheduler = yield* startProcess("scheduler", url, "of the dead", "100", "1500")
      yield* scheduler.line("scheduled")
      yield* scheduler.signal("SIGKILL")
      const node = yield* Nodes.start({ url, servers, member: { lease: leaseMillis } })
      const counter = (yield* node.run(Counter.client()))("of the dead")
      yield* until(counter.call.Get(), (count) => count >= 100)
      yield* Effect.sleep("100 millis")
      assert.strictEqual(yield* counter.call.Get(), 100)
    }))

  it.effect("what is due while its holder is killed is handled once, by the one that follows", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* startProcess("consumer", url)
      yield* holder.line("ready")
      const producer = yield* Nodes.start({ url })
      const counter = yield* producer.run(Counter.client())
      yield* counter("killed holder").call.Add({ by: 0 }, { timeout: "20 seconds" })
      const delays = Array.from({ length: 400 }, (_, n) => n * 2)
      yield* Effect.forEach(delays, (millis) => counter("killed holder").castAfter(millis).Add({ by: 1 }), {
        concurrency: "unbounded"
      })
      yield* Effect.sleep("200 millis")
      yield* holder.signal("SIGKILL")
      yield* Nodes.start({ url, servers, member: { lease: leaseMillis } })
      const get = counter("killed holder").call.Get(undefined, { timeout: "20 seconds" })
      yield* until(get, (count) => count >= 400)
      yield* Effect.sleep("100 millis")
      assert.strictEqual(yield* get, 400)
    }))

  for (const side of ["request", "answer"] as const) {
    it.effect(`when the ${side} of delivering is lost, each is delivered once`, () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        const node = yield* Nodes.start({ url: proxy.through(database.url), servers })
        const counter = (yield* node.run(Counter.client()))(`lost ${side} of delivering`)
        yield* counter.castAfter("1 hour").Add({ by: 100 })
        const caught = yield* (side === "request" ? proxy.catchRequest : proxy.catchAnswer)(/deliver_due/)
        yield* counter.castAfter("100 millis").Add({ by: 1 })
        yield* counter.castAfter("100 millis").AddOnce({ id: "a", by: 10 })
        yield* caught.arrived
        yield* Effect.sleep("150 millis")
        yield* caught.cut
        yield* until(counter.call.Get(), (count) => count >= 11)
        yield* Effect.sleep("100 millis")
        assert.strictEqual(yield* counter.call.Get(), 11)
      }))

    it.effect(`when the ${side} of a commit is lost, what it schedules is there once, and what it cancels is gone`, () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        const node = yield* Nodes.start({ url: proxy.through(database.url), servers })
        const key = `lost ${side} of a commit`
        const counter = (yield* node.run(Counter.client()))(key)
        const planner = (yield* node.run(Planner.client()))(key)
        yield* planner.call.Set({ millis: 60_000 })
        yield* counter.call.Get()
        const before = yield* scheduledRows
        for (
          const [act, more] of [
            [counter.castAfter("1 hour").Add({ by: 1 }), 1],
            [planner.call.Reset({ millis: 60_000 }), 0],
            [planner.call.Unset({ twice: false, thenDies: false }), -1]
          ] as const
        ) {
          const rows = yield* scheduledRows
          const caught = yield* (side === "request" ? proxy.catchRequest : proxy.catchAnswer)(/commit_/)
          const acting = yield* Effect.forkChild(act as Effect.Effect<unknown, unknown>, { startImmediately: true })
          yield* caught.arrived
          yield* caught.cut
          yield* Fiber.join(acting)
          assert.strictEqual(yield* scheduledRows, (rows ?? 0) + more)
        }
        assert.deepStrictEqual((yield* planner.call.Look()).cancelled, [true, true])
        const timer = yield* counter.castAfter("1 hour").Add({ by: 1 })
        const caught = yield* (side === "request" ? proxy.catchRequest : proxy.catchAnswer)(/commit_/)
        const cancelling = yield* Effect.forkChild(node.run(DurableServer.cancel(timer)), { startImmediately: true })
        yield* caught.arrived
        yield* caught.cut
        assert.isTrue(yield* Fiber.join(cancelling))
        assert.strictEqual(yield* scheduledRows, before)
      }))
  }

  it.effect("while one node puts what is due in line, the others leave it to it: their part would come out of order", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const [first, second] = [yield* joinNode(url), yield* joinNode(url)]
      const [server] = yield* first.locate([{ kind: "Order", key: "of delivery" }])
      const id = server?.id ?? 0
      const send = (due: DurableStorage.Due, call: number) => ({
        id,
        due,
        message: {
          mode: "cast",
          rpc: "Do",
          payload: "{}",
          primaryKey: undefined,
          priority: false,
          node: 1,
          call
        } as const
      })
      const alone = { _tag: "Enqueue", replies: [] } as const
      // More than one statement takes.
      const scheduled = Array.from({ length: 1500 }, (_, n) => send({ _tag: "At", millis: n }, 1500 - n))
      yield* first.commit([{ ...alone, outgoing: [send({ _tag: "At", millis: 0 }, 9000)] }])
      yield* first.commit([{ ...alone, outgoing: [], later: { scheduled, cancelled: [] } }])
      const locked = yield* Latch.make()
      const enough = yield* Latch.make()
      const holding = yield* Effect.forkChild(sql.withTransaction(
        sql`SELECT 1 FROM holdfast.inbox WHERE id = ${BigInt(id)} FOR UPDATE`.pipe(
          Effect.andThen(locked.open),
          Effect.andThen(enough.await)
        )
      ))
      yield* locked.await
      const delivering = yield* Effect.forkChild(first.deliverDue)
      const waiting = sql`
        SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'holdfast %' AND wait_event_type = 'Lock'`
      yield* Effect.repeat(Effect.delay(waiting, "5 millis"), { until: (rows) => rows.length > 0, times: 1000 })
      // It is not there for the other one, who comes again soon.
      const next = yield* Nodes.within("5 seconds", second.deliverDue)
      assert.isAbove(next ?? 0, 0)
      yield* enough.open
      yield* Fiber.join(holding)
      assert.strictEqual(yield* Fiber.join(delivering), 0)
      assert.isAbove((yield* second.deliverDue) ?? 1, 0)
      const [line] = yield* first.read([{ id, after: 1, limit: 2000 }])
      assert.deepStrictEqual(
        line?.head.map(({ call }) => call),
        scheduled.map(({ message }) => message.call)
      )
    }))

  it.effect("a great many for later hold nobody up: what is due is found by the index", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const node = yield* Nodes.start({ url, servers })
      const counter = (yield* node.run(Counter.client()))("beside many")
      yield* counter.call.Add({ by: 0 })
      yield* sql`
        INSERT INTO holdfast.scheduled (server_id, member, call, due_at, rpc, payload, key)
        SELECT 1000000 + n % 1000, 1000000, n, clock_timestamp() + interval '1 day' + n * interval '1 millisecond', 'Add', '{"by":1}',
          CASE WHEN n % 2 = 0 THEN n::text END
        FROM generate_series(1, 100000) n`
      const [took] = yield* Effect.timed(Effect.gen(function*() {
        for (let n = 1; n <= 20; n++) {
          yield* counter.castAfter(0).Add({ by: 1 })
          yield* until(counter.call.Get(), (count) => count === n)
        }
      }))
      // Far more than it takes; how it is found is what the plan says.
      assert.isBelow(Duration.toMillis(took), 30_000)
      const plan = yield* sql.withTransaction(Effect.gen(function*() {
        for (const method of ["hashjoin", "mergejoin", "seqscan"]) {
          yield* sql`SELECT set_config(${`enable_${method}`}, 'off', true)`
        }
        return yield* sql<{ readonly "QUERY PLAN": string }>`
          EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) SELECT * FROM holdfast.scheduled WHERE due_at <= now()
          ORDER BY due_at, member, call LIMIT 1000 FOR UPDATE SKIP LOCKED`
      }))
      const text = plan.map((row) => row["QUERY PLAN"]).join("\n")
      assert.include(text, "Index Scan using scheduled_by_due")
      assert.notInclude(text, "Sort")
      yield* sql`DELETE FROM holdfast.scheduled WHERE member = 1000000`
    }))
})
