import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Cause, Data, Effect, Exit, Fiber, Option, Ref, Schedule, Schema } from "effect"
import { DatastoreQuery } from "holdfast/datastore"
import { isConnectionLost, lostConnectionToFailure } from "../../src/datastore/internal/lostConnection.ts"
import { TestPostgres } from "./support.ts"

class Mine extends Data.TaggedError("Mine")<{ readonly n: number }> {}

const pid = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`
  return row?.pid ?? 0
})

/** Ends a session from another one, and waits until it is gone. */
const kill = Effect.fnUntraced(function*(pid: number) {
  const { url } = yield* TestPostgres.TestDatabase
  yield* Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    yield* sql`SELECT pg_terminate_backend(${pid}, 5000)`
  }).pipe(Effect.provide(PgClient.layer({ url, maxConnections: 1 }), { local: true }))
})

/** A statement whose session is ended underneath it. */
const lose = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const me = yield* pid
  yield* Effect.forkChild(Effect.delay(kill(me), "30 millis"))
  yield* sql`SELECT pg_sleep(10)`
})

layer(TestPostgres.layer, { excludeTestServices: true })("DatastoreQuery", (it) => {
  it.effect("transaction commits, rolls back, and nests as a savepoint", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE TABLE n (i int)`
      const insert = (i: number) => sql`INSERT INTO n VALUES (${i})`
      yield* insert(1).pipe(DatastoreQuery.transaction)
      const failed = yield* Effect.flip(Effect.andThen(insert(2), new Mine({ n: 2 })).pipe(DatastoreQuery.transaction))
      assert.deepStrictEqual(failed, new Mine({ n: 2 }))
      yield* Effect.gen(function*() {
        yield* insert(3)
        const inner = yield* Effect.flip(Effect.andThen(insert(4), new Mine({ n: 4 })).pipe(DatastoreQuery.transaction))
        assert.strictEqual(inner._tag, "Mine")
        yield* insert(5)
      }).pipe(DatastoreQuery.transaction)
      assert.deepStrictEqual(yield* sql`SELECT i FROM n ORDER BY i`, [{ i: 1 }, { i: 3 }, { i: 5 }])
    }))

  it.effect("queryFor… returns what was meant, decoded, and fails when the database disagrees", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const numbers = (n: number) =>
        sql<{ readonly i: number; readonly d: Date }>`
        SELECT i, timestamptz '2024-01-01Z' AS d FROM generate_series(1, ${n}::int) i`
      const Row = Schema.Struct({ i: Schema.Int, d: Schema.DateTimeUtcFromDate })
      yield* DatastoreQuery.queryForNone(numbers(0))
      assert.deepStrictEqual(yield* DatastoreQuery.queryForOne(numbers(1)), { i: 1, d: new Date("2024-01-01Z") })
      assert.strictEqual((yield* DatastoreQuery.queryForOne(numbers(1), Row)).d.epochMilliseconds, Date.UTC(2024))
      assert.strictEqual(yield* DatastoreQuery.queryForValue(sql`SELECT 'x' AS "2", 'y' AS "1"`, Schema.String), "x")
      assert.lengthOf(yield* DatastoreQuery.queryForMany(numbers(3), Row), 3)
      assert.lengthOf(yield* DatastoreQuery.queryForMany(numbers(0)), 0)

      const wrong = [
        [yield* Effect.flip(DatastoreQuery.queryForNone(numbers(2))), 0, 2],
        [yield* Effect.flip(DatastoreQuery.queryForOne(numbers(0))), 1, 0],
        [yield* Effect.flip(DatastoreQuery.queryForOne(numbers(2), Row)), 1, 2],
        [yield* Effect.flip(DatastoreQuery.queryForValue(numbers(0))), 1, 0]
      ] as const
      for (const [error, expected, actual] of wrong) {
        assert.deepInclude(error, { _tag: "UnexpectedRowCount", expected, actual })
        assert.include(error.message, "FROM generate_series(1, $1::int) i")
      }
      const undecodable = yield* Effect.flip(
        DatastoreQuery.queryForOne(numbers(1), Schema.Struct({ i: Schema.String }))
      )
      assert.strictEqual(undecodable._tag, "SchemaError")
    }))

  it.effect("recordCount counts the rows of a table, by any name", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE SCHEMA "Odd"`
      yield* sql`CREATE TABLE "Odd"."Na""me" AS SELECT generate_series(1, 7)`
      assert.strictEqual(yield* DatastoreQuery.recordCount("Odd.Na\"me"), 7)
    }))

  it.effect("inTransaction says whether one is open", () =>
    Effect.gen(function*() {
      assert.isFalse(yield* DatastoreQuery.inTransaction)
      assert.isTrue(yield* DatastoreQuery.inTransaction.pipe(DatastoreQuery.transaction))
    }))

  it.effect("a session that is ended inside a transaction is a typed failure, not a defect", () =>
    Effect.gen(function*() {
      const plain = yield* PgClient.PgClient.use((sql) => Effect.exit(sql.withTransaction(lose)))
      assert.isTrue(Exit.hasDies(plain), "what this is for: the plain transaction dies")

      const error = yield* Effect.flip(lose.pipe(DatastoreQuery.transaction))
      assert.isTrue(error._tag === "SqlError" && isConnectionLost(error))
      const repaired = yield* Effect.flip(
        PgClient.PgClient.use((sql) => lostConnectionToFailure(sql.withTransaction(lose)))
      )
      assert.isTrue(isConnectionLost(repaired))
    }))

  it.effect("also when it is idle, in a nested transaction, and at COMMIT", () =>
    Effect.gen(function*() {
      const idle = yield* Effect.flip(
        pid.pipe(Effect.flatMap(kill), Effect.andThen(pid), DatastoreQuery.transaction)
      )
      assert.isTrue(idle._tag === "SqlError" && isConnectionLost(idle))
      const nested = yield* Effect.flip(lose.pipe(DatastoreQuery.transaction, DatastoreQuery.transaction))
      assert.isTrue(nested._tag === "SqlError" && isConnectionLost(nested))
      const commit = yield* Effect.flip(pid.pipe(Effect.flatMap(kill), DatastoreQuery.transaction))
      assert.isTrue(commit._tag === "SqlError" && isConnectionLost(commit))
    }))

  it.effect("what the effect failed with stays what it was, though the ROLLBACK found no connection", () =>
    Effect.gen(function*() {
      const failWith = <E>(end: Effect.Effect<never, E>) =>
        pid.pipe(Effect.flatMap(kill), Effect.andThen(end), DatastoreQuery.transaction, Effect.exit)
      const typed = yield* failWith(Effect.fail(new Mine({ n: 1 })))
      assert.deepStrictEqual(
        Exit.isFailure(typed) && Cause.findErrorOption(typed.cause),
        Exit.isFailure(typed) && Cause.findErrorOption(Cause.fail(new Mine({ n: 1 })))
      )
      assert.isFalse(Exit.hasDies(typed))
      const defect = yield* failWith(Effect.die("bug"))
      assert.isTrue(Exit.hasDies(defect))
      assert.strictEqual(Exit.isFailure(defect) && Cause.squash(defect.cause), "bug")
    }))

  it.effect("an interruption stays an interruption", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(
        pid.pipe(Effect.flatMap(kill), Effect.andThen(Effect.never), DatastoreQuery.transaction)
      )
      yield* Effect.sleep("100 millis")
      yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    }))

  it.effect("waiting for a connection can be interrupted", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      yield* Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        yield* sql.reserve
        const waiting = yield* Effect.timeoutOption(sql`SELECT 1`.pipe(DatastoreQuery.transaction), "50 millis")
        assert.isTrue(Option.isNone(waiting))
      }).pipe(Effect.scoped, Effect.provide(PgClient.layer({ url, maxConnections: 1 }), { local: true }))
    }))

  it.effect("so a retry sees it, and the pool has healed", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE TABLE once (i int)`
      const attempts = yield* Ref.make(0)
      yield* Effect.gen(function*() {
        const attempt = yield* Ref.updateAndGet(attempts, (n) => n + 1)
        yield* sql`INSERT INTO once VALUES (${attempt})`
        if (attempt < 3) {
          yield* lose
        }
      }).pipe(
        DatastoreQuery.transaction,
        Effect.retry({
          while: (error) => error._tag === "SqlError" && isConnectionLost(error),
          schedule: Schedule.recurs(5)
        })
      )
      assert.deepStrictEqual(yield* sql`SELECT i FROM once`, [{ i: 3 }])
    }))

  it.effect("a session that the server ends for idling in a transaction counts as lost", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const error = yield* Effect.flip(
        sql`SET LOCAL idle_in_transaction_session_timeout = 50`.pipe(
          Effect.andThen(Effect.sleep("200 millis")),
          Effect.andThen(sql`SELECT 1`),
          DatastoreQuery.transaction
        )
      )
      assert.isTrue(isConnectionLost(error))
    }))
})
