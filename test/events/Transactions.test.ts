/**
 * Appends inside a transaction of the user's own: they are there when it commits and not when it does not, they are told of
 * a wrong expectation at once, and they keep nobody waiting but those who want the same streams.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { EventStore, PostgresEventStore } from "holdfast/events"
import * as TestPostgres from "../support/TestPostgres.ts"
import { counted, range, tagOf } from "./support.ts"

const store = "transactions"
const TestLive = Layer.provideMerge(PostgresEventStore.layer, TestPostgres.layer)

const setUp = Effect.gen(function*() {
  const events = yield* EventStore.EventStore
  const sql = yield* PgClient.PgClient
  yield* Effect.ignore(events.createStore(store))
  yield* sql`CREATE TABLE IF NOT EXISTS note (text text)`
  return { events, sql }
})

const positionsOf = (events: EventStore.EventStore["Service"], stream: string) =>
  Effect.map(events.getEvents(store, stream, 0, 1000), (all) => all.map(({ globalPosition }) => globalPosition))

layer(TestLive, { excludeTestServices: true })("Transactions", (it) => {
  it.effect("what is appended is there with everything else of the transaction, in its order", () =>
    Effect.gen(function*() {
      const { events, sql } = yield* setUp
      const versions = yield* sql.withTransaction(Effect.gen(function*() {
        const a = yield* events.appendEvents(store, "a", counted(0, 2), { expectedVersion: "noStream" })
        yield* sql`INSERT INTO note VALUES ('a')`
        const b = yield* events.appendEvents(store, "b", counted(2, 3))
        const c = yield* events.appendEvents(store, "a", counted(3, 5), { expectedVersion: 1 })
        // Nobody sees any of it yet.
        assert.strictEqual(yield* events.getVersion(store, "a"), -1)
        return [a, b, c]
      }))
      assert.deepStrictEqual(versions, [1, 0, 3])
      const head = yield* events.getVersion(store, "$all")
      const [all, rows] = [yield* events.getEvents(store, "$all", head - 4, 5), yield* sql`SELECT * FROM note`]
      assert.deepStrictEqual(all.map(({ data }) => data), range(0, 5).map((n) => ({ n })))
      assert.deepStrictEqual(all.map(({ eventNumber }) => eventNumber), [0, 1, 0, 2, 3])
      assert.strictEqual(rows.length, 1)
      assert.deepStrictEqual(yield* sql`SELECT * FROM holdfast_events_transactions.staged`, [])
      assert.deepStrictEqual(yield* sql`SELECT * FROM holdfast_events_transactions.staging`, [])
    }))

  it.effect("what was rolled back never was, neither its streams nor its positions", () =>
    Effect.gen(function*() {
      const { events, sql } = yield* setUp
      const before = yield* events.getVersion(store, "$all")
      const failed = sql.withTransaction(
        Effect.andThen(events.appendEvents(store, "rolled", counted(0, 3)), Effect.fail("no"))
      )
      assert.strictEqual(yield* Effect.flip(failed), "no")
      assert.strictEqual(yield* events.getVersion(store, "$all"), before)
      assert.strictEqual(yield* tagOf(events.streamInfo(store, "rolled")), "StreamNotFound")
      // So is what was rolled back to a savepoint.
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* events.appendEvents(store, "kept", counted(0, 1))
        yield* Effect.ignore(
          sql.withTransaction(Effect.andThen(events.appendEvents(store, "kept", counted(1, 2)), Effect.fail("no")))
        )
        assert.strictEqual(yield* events.appendEvents(store, "kept", counted(2, 3)), 1)
      }))
      assert.deepStrictEqual(yield* positionsOf(events, "kept"), [before + 1, before + 2])
    }))

  it.effect("a wrong expectation, a known id, a deleted stream are told at once, and the transaction goes on", () =>
    Effect.gen(function*() {
      const { events, sql } = yield* setUp
      const eventId = "00000000-0000-7000-8000-000000000001"
      yield* events.appendEvents(store, "known", [{ eventType: "A", data: 1, eventId }])
      yield* events.appendEvents(store, "deleted", counted(0, 1))
      yield* events.deleteStream(store, "deleted")
      yield* sql.withTransaction(Effect.gen(function*() {
        const append = (stream: string, expectedVersion: number) =>
          events.appendEvents(store, stream, counted(0, 1), { expectedVersion })
        assert.strictEqual(yield* tagOf(append("known", 7)), "WrongExpectedVersion")
        assert.strictEqual(yield* tagOf(append("never", 0)), "WrongExpectedVersion")
        assert.strictEqual(yield* tagOf(append("deleted", 0)), "StreamDeleted")
        const twice = events.appendEvents(store, "other", [{ eventType: "A", data: 1, eventId }])
        assert.strictEqual(yield* tagOf(twice), "DuplicateEvent")
        const again = [{ eventType: "A", data: 1, eventId: eventId.replace(/1$/, "2") }]
        yield* events.appendEvents(store, "known", again)
        assert.strictEqual(yield* tagOf(events.appendEvents(store, "known", again)), "DuplicateEvent")
        yield* append("known", 1)
      }))
      assert.strictEqual(yield* events.getVersion(store, "known"), 2)
      assert.strictEqual(yield* tagOf(events.streamInfo(store, "never")), "StreamNotFound")
    }))

  it.effect("a transaction that takes its time keeps nobody else from appending, and gets the later positions", () =>
    Effect.gen(function*() {
      const { events, sql } = yield* setUp
      yield* events.appendEvents(store, "slow", counted(0, 1))
      const [appended, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = yield* sql.withTransaction(Effect.gen(function*() {
        yield* events.appendEvents(store, "slow", counted(1, 2))
        yield* events.appendEvents(store, "slow and new", counted(0, 1))
        yield* Deferred.succeed(appended, undefined)
        yield* Deferred.await(goOn)
      })).pipe(Effect.forkChild)
      yield* Deferred.await(appended)
      // To other streams at once, also in one group with one to its own stream, which waits for it.
      const waiting = yield* Effect.forkChild(
        Effect.all([
          events.appendEvents(store, "slow", counted(2, 3)),
          events.appendEvents(store, "slow and new", counted(1, 2))
        ], { concurrency: 2 })
      )
      yield* Effect.forEach(range(0, 100), (n) => events.appendEvents(store, `quick ${n}`, counted(n, n + 1)), {
        concurrency: 16
      })
      const head = yield* events.getVersion(store, "$all")
      assert.isUndefined(waiting.pollUnsafe())
      yield* Deferred.succeed(goOn, undefined)
      yield* Fiber.join(slow)
      assert.deepStrictEqual(yield* Fiber.join(waiting), [2, 1])
      assert.isAbove((yield* positionsOf(events, "slow"))[1] ?? -1, head)
    }))

  it.effect("an append gets its turn on a stream that transactions stand in line for", () =>
    Effect.gen(function*() {
      const { events, sql } = yield* setUp
      for (const stream of ["line", "line to be"]) {
        if (stream === "line") yield* events.appendEvents(store, stream, counted(0, 1))
        let appended = false
        let transactions = 0
        // Someone always waits for the lock: whoever only looks whether it is free never finds it so.
        const busy = yield* Effect.forEach(
          range(0, 6),
          () =>
            sql.withTransaction(
              Effect.andThen(events.appendEvents(store, stream, counted(0, 1)), Effect.sleep("20 millis"))
            ).pipe(
              Effect.andThen(Effect.sync(() => {
                transactions++
              })),
              Effect.repeat({ while: () => !appended })
            ),
          { concurrency: "unbounded" }
        ).pipe(Effect.forkChild)
        yield* Effect.sleep("50 millis").pipe(Effect.repeat({ while: () => transactions === 0 }))
        const before = transactions
        const versions = yield* Effect.forEach(range(0, 5), () => events.appendEvents(store, stream, counted(0, 1)), {
          concurrency: "unbounded"
        })
        appended = true
        assert.strictEqual(new Set(versions).size, 5)
        // Each stands behind those six that stand there already, and had looked a few times before. Whoever finds the lock free by
        // luck alone waits for hundreds.
        assert.isBelow(transactions - before, 80)
        yield* Fiber.join(busy)
      }
    }))

  it.effect("a transaction at another isolation level is refused with its name", () =>
    Effect.gen(function*() {
      const { events, sql } = yield* setUp
      const error = yield* sql.withTransaction(events.appendEvents(store, "isolated", counted(0, 1))).pipe(
        Effect.provideService(SqlClient.BeginTransaction, "BEGIN ISOLATION LEVEL REPEATABLE READ"),
        Effect.catchReason(
          "EventStoreError",
          "IsolationNotSupported",
          ({ isolation }) => Effect.succeed(isolation)
        )
      )
      assert.strictEqual(error, "repeatable read")
    }))

  it.effect("nobody changes history: not its owner, not a superuser", () =>
    Effect.gen(function*() {
      const { events, sql } = yield* setUp
      yield* events.createStore("hard", { hardDeletes: true })
      for (const name of [store, "hard"]) {
        yield* events.appendEvents(name, "history", counted(0, 2))
        const ids = (yield* events.getEvents(name, "history", 0, 2)).map(({ eventId }) => eventId)
        yield* events.linkToStream(name, "links", ids)
        const schema = `holdfast_events_${name}`
        for (const table of ["event", "link"]) {
          for (
            const statement of [
              `UPDATE ${schema}.${table} SET stream = 'x'`,
              `DELETE FROM ${schema}.${table}`,
              `TRUNCATE ${schema}.${table}`,
              `SELECT set_config('session_replication_role', 'replica', true); DELETE FROM ${schema}.${table}`
            ]
          ) {
            const statements = statement.split("; ")
            const refused = sql.withTransaction(
              Effect.forEach(statements, (one) => sql.unsafe(one), { discard: true })
            )
            const error = yield* Effect.flip(refused)
            assert.match(String(error.reason.cause), /events are never changed/, statement)
          }
        }
        assert.strictEqual((yield* events.getEvents(name, "links", 0, 10)).length, 2)
      }
    }))
})
