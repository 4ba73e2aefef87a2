/**
 * Several rooms of the library on one member: hints of their own, one lease, and each finds out for itself that an id was lost.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, Context, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Member } from "holdfast/member"
import { MemberLease } from "../../src/member/internal/lease.ts"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

const leaseMillis = 2000

const joinMember = Effect.fnUntraced(function*(url: TestPostgres.TestDatabase["Service"]["url"]) {
  const context = yield* Layer.build(
    Layer.fresh(Member.layerPostgres.pipe(
      Layer.provide(PgClient.layer({ url, maxConnections: 1 })),
      Layer.provide(Layer.succeed(Member.MemberOptions, {
        lease: leaseMillis,
        statementTimeout: "10 seconds",
        name: "tested"
      }))
    ))
  )
  return Context.get(context, Member.Member)
})

const until = (holds: () => boolean) =>
  Effect.repeat(Effect.sleep("5 millis"), { until: holds, times: 2000 }).pipe(
    Effect.andThen(Effect.sync(() => assert.isTrue(holds())))
  )

layer(TestPostgres.layer, { excludeTestServices: true })("Rooms", (it) => {
  it.effect("each hears its own hints, and all hear that something may have been missed", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const [one, two] = [yield* joinMember(url), yield* joinMember(url)]
      const heard: Record<string, Array<string>> = { a: [], b: [] }
      for (const room of ["a", "b"]) {
        yield* two["~enter"](room).onHint((hint) => heard[room]!.push(hint))
      }
      // From when it listens on.
      yield* until(() => heard["a"]!.includes("missed") || heard["b"]!.includes("missed")).pipe(
        Effect.timeoutOption("300 millis")
      )
      heard["a"]!.length = heard["b"]!.length = 0
      const from = one["~enter"]("a")
      from.hint({ to: two.id(), payload: "for a/and with a slash" })
      one["~enter"]("b").hint({ to: "everyone", payload: "for b" })
      yield* until(() => heard["a"]!.length > 0 && heard["b"]!.length > 0)
      assert.deepStrictEqual(heard, { a: ["for a/and with a slash"], b: ["for b"] })
      yield* sql`SELECT pg_notify('holdfast_everyone', 'missed')`
      yield* until(() => heard["a"]!.length > 1 && heard["b"]!.length > 1)
      assert.deepStrictEqual([heard["a"]!.at(-1), heard["b"]!.at(-1)], ["missed", "missed"])
    }))

  it.effect("a room stays under an id that was lost until it says so itself, and then has the one that others have", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const member = yield* joinMember(url)
      const [a, b] = [member["~enter"]("a"), member["~enter"]("b")]
      const id = member.id()
      let lapses = 0
      yield* b.lease.onLapse(() => lapses++)
      yield* sql`SELECT holdfast.bury_members(ARRAY[${BigInt(id)}])`
      yield* until(() => a.isLost() && b.isLost())
      assert.isAtLeast(lapses, 1)
      assert.isFalse(a.lease.isHeld())
      yield* a.rejoin(id)
      assert.notStrictEqual(a.id(), id)
      assert.strictEqual(member.id(), a.id())
      assert.isFalse(a.isLost())
      assert.isTrue(a.lease.isHeld())
      // The other one does not know yet: what it commits goes through the lane that is closed.
      assert.strictEqual(b.id(), id)
      assert.isTrue(b.isLost())
      assert.isFalse(b.lease.isHeld())
      assert.notStrictEqual(b.lane(), a.lane())
      yield* b.rejoin(id)
      assert.strictEqual(b.id(), a.id())
      assert.strictEqual(b.lane(), a.lane())
      assert.isTrue(b.lease.isHeld())
      const [row] = yield* sql<{ readonly alive: number }>`
        SELECT count(*)::int AS alive FROM holdfast.member WHERE NOT dead AND id >= ${BigInt(id)}`
      assert.strictEqual(row?.alive, 1)
    }))

  it.effect("a lease that cannot be renewed lapses while the database still counts on it, and is held again when it can", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const proxy = yield* CuttableProxy.make(database)
      const { lease } = (yield* joinMember(proxy.through(database.url)))["~enter"]("a")
      let lapsed: number | undefined
      const clock = yield* Clock.Clock
      yield* lease.onLapse(() => {
        lapsed = clock.currentTimeMillisUnsafe()
      })
      yield* proxy.welcome("cut", "holdfast heartbeat")
      yield* proxy.cut("holdfast heartbeat")
      yield* until(() => lapsed !== undefined)
      const [row] = yield* sql<{ readonly until: number }>`
        SELECT (extract(epoch FROM max(lease_until)) * 1000)::float8 AS until FROM holdfast.member WHERE NOT dead`
      assert.isBelow(lapsed ?? 0, row?.until ?? 0)
      assert.isFalse(lease.isHeld())
      const waiting = yield* Effect.forkChild(lease.held)
      yield* proxy.welcome("accept", "holdfast heartbeat")
      yield* Fiber.join(waiting)
      assert.isTrue(lease.isHeld())
    }))
})

describe("MemberLease", () => {
  it.effect("lapses after four fifths, whatever renewal is heard of later, and tells once", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const lease = new MemberLease(clock, 1000, MemberLease.now(clock))
      let told = 0
      yield* lease.onLapse(() => told++)
      yield* Effect.forkScoped(lease.watch)
      yield* TestClock.adjust("799 millis")
      assert.strictEqual(told, 0)
      assert.isTrue(lease.isHeld())
      const sent = MemberLease.now(clock)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(told, 1)
      // The answer to a renewal that was sent before, and came after.
      lease.renewed(sent)
      assert.isTrue(lease.isHeld())
      yield* TestClock.adjust("798 millis")
      assert.isTrue(lease.isHeld())
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(told, 2)
      // One that was sent too long ago renews nothing.
      lease.renewed(sent)
      assert.isFalse(lease.isHeld())
    }))

  it.effect("one that lapsed unnoticed is told of before it is renewed", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const lease = new MemberLease(clock, 1000, MemberLease.now(clock))
      const order: Array<string> = []
      yield* lease.onLapse(() => order.push(`lapsed, held: ${lease.isHeld()}`))
      // As after a stop: nothing has run, and the clock has gone on.
      yield* TestClock.adjust("5 seconds")
      lease.renewed(MemberLease.now(clock))
      order.push(`renewed, held: ${lease.isHeld()}`)
      assert.deepStrictEqual(order, ["lapsed, held: false", "renewed, held: true"])
    }))
})
