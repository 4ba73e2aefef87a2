/**
 * A member of a database: alive while its lease lasts, declared dead by others when it has run out, back under a new id. Its
 * lane is closed with it, and what it had under way does nothing any more.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Fiber, Layer, type Redacted, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Member } from "holdfast/member"
import { Counter, CounterLive } from "../durable/fixtures/servers.ts"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

const leaseMillis = 600

interface Row {
  readonly dead: boolean
  readonly open: number
  readonly left: number
}

/** What the database knows of a member: whether it is dead, its open lanes, and how much of its lease is left. */
const rowOf = (id: number) =>
  Effect.flatMap(PgClient.PgClient, (sql) =>
    Effect.map(
      sql<Row>`
        SELECT m.dead, (SELECT count(*) FROM holdfast.lane l WHERE l.member = m.id AND NOT l.closed)::int AS open,
          (extract(epoch FROM m.lease_until - clock_timestamp()) * 1000)::float8 AS left
        FROM holdfast.member m WHERE m.id = ${BigInt(id)}`,
      ([row]) => row ?? { dead: true, open: 0, left: 0 }
    ))

const until = <E, R>(id: number, holds: (row: Row) => boolean, effect: Effect.Effect<Row, E, R>) =>
  Effect.repeat(Effect.delay(effect, "10 millis"), { until: holds, times: 500 }).pipe(
    Effect.tap((row) => Effect.sync(() => assert.isTrue(holds(row), `member ${id}: ${JSON.stringify(row)}`)))
  )

const joinMember = Effect.fnUntraced(function*(
  url: Redacted.Redacted,
  { lease, statementTimeout }: Pick<Member.Options, "lease" | "statementTimeout"> = {
    lease: leaseMillis,
    statementTimeout: "10 seconds"
  }
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(
    Layer.fresh(Member.layerPostgres.pipe(
      Layer.provide(PgClient.layer({ url, maxConnections: 1 })),
      Layer.provide(Layer.succeed(Member.MemberOptions, {
        lease,
        statementTimeout,
        name: "tested"
      }))
    )),
    scope
  )
  return { member: Context.get(context, Member.Member), close: Scope.close(scope, Exit.void) }
})

layer(TestPostgres.layer, { excludeTestServices: true })("Membership", (it) => {
  it.effect("a member renews its lease for as long as it lives", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const { member } = yield* joinMember(url)
      yield* joinMember(url)
      for (let n = 0; n < 10; n++) {
        yield* Effect.sleep("150 millis")
        const row = yield* rowOf(member.id())
        assert.isFalse(row.dead)
        assert.isAbove(row.left, 0)
      }
    }))

  it.effect(
    "of members that were all kept from renewing for longer than their leases none is buried by the first one up",
    () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const heart = "holdfast heartbeat"
        const patient = { lease: 2000, statementTimeout: "10 seconds" } as const
        const join = Effect.gen(function*() {
          const proxy = yield* CuttableProxy.make(database)
          const { member } = yield* joinMember(proxy.through(database.url), patient)
          const beats = Effect.map(proxy.passed, (passed) =>
            passed.filter(({ application, sql }) =>
              application === heart && /lease_until|bury_overdue/.test(sql)
            ).map(({ sql }) =>
              sql.includes("bury_overdue") ? "judges" : "renews"
            ))
          return { proxy, member, beats }
        })
        const [first, second] = [yield* join, yield* join]
        for (const { proxy } of [first, second]) {
          yield* proxy.welcome("cut", heart)
          yield* proxy.cut(heart)
        }
        for (const { member } of [first, second]) {
          yield* until(member.id(), ({ left }) => left < 0, rowOf(member.id()))
        }
        const before = (yield* first.beats).length
        yield* first.proxy.welcome("accept", heart)
        const since = Effect.map(first.beats, (all) => all.slice(before))
        const seen = (what: string, count: number) =>
          Nodes.within(
            "20 seconds",
            Effect.repeat(Effect.delay(since, "5 millis"), {
              until: (all) => all.filter((one) => one === what).length >= count
            })
          )
        yield* seen("renews", 1)
        yield* second.proxy.welcome("accept", heart)
        assert.deepStrictEqual((yield* seen("judges", 1)).slice(0, 3), ["renews", "renews", "renews"])
        for (const { member } of [first, second]) {
          yield* until(member.id(), ({ left }) => left > 0, rowOf(member.id()))
          assert.isFalse((yield* rowOf(member.id())).dead)
        }
      }),
    60_000
  )

  it.effect("a member that leaves is dead at once, and its lane closed", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const { close, member } = yield* joinMember(url)
      assert.deepInclude(yield* rowOf(member.id()), { dead: false, open: 1 })
      yield* close
      assert.deepInclude(yield* rowOf(member.id()), { dead: true, open: 0 })
    }))

  it.effect("members that died more than a week ago are forgotten, with their lanes; others are not", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const members = yield* Effect.forEach(["long dead", "dead", "alive"], () => joinMember(url))
      const [longDead, dead, alive] = members.map(({ member }) => member.id())
      yield* Effect.forEach(members.slice(0, 2), ({ close }) => close)
      yield* sql`UPDATE holdfast.member SET lease_until = lease_until - interval '8 days' WHERE id = ${
        longDead ?? 0
      }::int`
      yield* sql`UPDATE holdfast.member SET lease_until = lease_until - interval '6 days' WHERE id = ${dead ?? 0}::int`
      const known = Effect.map(
        sql<{ readonly id: number }>`
          SELECT m.id::int FROM holdfast.member m JOIN holdfast.lane l ON l.member = m.id ORDER BY m.id`,
        (rows) => rows.map(({ id }) => id)
      )
      const lanes = sql<{ readonly count: number }>`SELECT count(*)::int AS count FROM holdfast.lane`
      const before = yield* known
      assert.includeMembers(before, [longDead, dead, alive])
      // A member sees to it a minute after it has come. This one has a clock of its own, and nothing else to do until then.
      const clock = yield* TestClock.make()
      yield* joinMember(url, { lease: "1 hour", statementTimeout: "1 hour" }).pipe(
        Effect.provideService(Clock.Clock, clock)
      )
      yield* clock.adjust("1 minute")
      const left = yield* Effect.repeat(Effect.delay(known, "10 millis"), {
        until: (ids) => !ids.includes(longDead ?? 0),
        times: 300
      })
      assert.deepStrictEqual(left.slice(0, -1), before.filter((id) => id !== longDead))
      assert.strictEqual((yield* lanes)[0]?.count, left.length)
    }))

  it.effect("a member whose heart is not heard for a lease is declared dead by another, and comes back anew", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      yield* joinMember(database.url)
      const node = yield* Nodes.start({
        url: proxy.through(database.url),
        servers: CounterLive,
        member: { lease: leaseMillis }
      })
      const counter = yield* node.run(Counter.client())
      yield* counter("heart").call.Add({ by: 1 })
      const id = yield* node.id
      yield* proxy.welcome("cut", "holdfast heartbeat")
      yield* proxy.cut("holdfast heartbeat")
      yield* until(id, ({ dead, open }) => dead && open === 0, rowOf(id))
      // Its other connections are as good as ever, and what it sends by them does nothing until it is back.
      assert.strictEqual(yield* counter("heart").call.AddAndGet({ by: 1 }), 2)
      const back = yield* node.id
      assert.notStrictEqual(back, id)
      yield* proxy.welcome("accept", "holdfast heartbeat")
      assert.strictEqual(yield* counter("heart").call.AddAndGet({ by: 1 }), 3)
      yield* Effect.sleep(2 * leaseMillis)
      assert.strictEqual(yield* counter("heart").call.AddAndGet({ by: 1 }), 4)
    }))

  it.effect("a member whose group is stuck for a lease is followed by another, though its heart beats", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const node = yield* Nodes.start({
        url: proxy.through(database.url),
        servers: CounterLive,
        member: { lease: leaseMillis, statementTimeout: "20 seconds" }
      })
      const successor = yield* Nodes.start({ url: database.url, servers: CounterLive, member: { lease: leaseMillis } })
      const counter = yield* node.run(Counter.client())
      const other = yield* successor.run(Counter.client())
      yield* counter("stuck").call.Add({ by: 1 })
      const id = yield* node.id
      const caught = yield* proxy.catchRequest(/commit_step/)
      const caller = yield* Effect.forkChild(counter("stuck").call.AddAndGet({ by: 1 }, { timeout: "20 seconds" }))
      yield* caught.arrived
      assert.strictEqual(yield* other("stuck").call.AddAndGet({ by: 1 }), 2)
      assert.isTrue((yield* rowOf(id)).dead)
      yield* caught.release
      assert.strictEqual(yield* Fiber.join(caller), 3)
      assert.strictEqual(yield* other("stuck").call.Get(), 3)
    }))

  it.effect("a statement that is never answered is given up, and decided anew on another connection", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const node = yield* Nodes.start({
        url: proxy.through(database.url),
        servers: CounterLive,
        member: { statementTimeout: "400 millis", lease: "10 seconds" }
      })
      const counter = yield* node.run(Counter.client())
      yield* counter("silent").call.Add({ by: 1 })
      for (const side of ["catchAnswer", "catchRequest"] as const) {
        const before = yield* counter("silent").call.Get()
        const caught = yield* proxy[side](/commit_step/)
        const caller = yield* Effect.forkChild(counter("silent").call.AddAndGet({ by: 1 }))
        yield* caught.arrived
        assert.strictEqual(yield* Nodes.within("15 seconds", Fiber.join(caller)), before + 1)
        yield* caught.release
        assert.strictEqual(yield* counter("silent").call.Get(), before + 1)
      }
      // The same for reads.
      const caught = yield* proxy.catchAnswer({ sql: /./, application: "holdfast read" })
      const caller = yield* Effect.forkChild(counter("new").call.Get())
      yield* caught.arrived
      assert.strictEqual(yield* Nodes.within("15 seconds", Fiber.join(caller)), 0)
    }))
})
