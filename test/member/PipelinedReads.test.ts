/**
 * Reads of a member share one connection, and follow each other on it without waiting for answers: what that must not change.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer } from "effect"
import { Member } from "holdfast/member"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

/** A member whose connections go through a proxy, and what it reads by. */
const setUp = Effect.gen(function*() {
  const database = yield* TestPostgres.TestDatabase
  const proxy = yield* CuttableProxy.make(database)
  const context = yield* Layer.build(
    Layer.fresh(Member.layerPostgres.pipe(
      Layer.provide(PgClient.layer({ url: proxy.through(database.url), maxConnections: 1 })),
      Layer.provide(Layer.succeed(Member.MemberOptions, {
        lease: "10 seconds",
        statementTimeout: "10 seconds",
        name: "tested"
      }))
    ))
  )
  const { query } = Context.get(context, Member.Member)["~enter"]("tested")
  /** What one statement gives, in one column of one row. */
  const read = (sql: string, params: ReadonlyArray<unknown> = []) => Effect.map(query(sql, params), ([row]) => row?.[0])
  return { proxy, read, session: read("SELECT pg_backend_pid()") }
})

const numbers = Array.from({ length: 40 }, (_, n) => n)

layer(TestPostgres.layer, { excludeTestServices: true })("PipelinedReads", (it) => {
  it.effect("reads do not wait for each other's answers, and each gets its own", () =>
    Effect.gen(function*() {
      const { proxy, read, session } = yield* setUp
      yield* session
      yield* proxy.delayAnswers(100)
      const [took, answers] = yield* Effect.timed(
        Effect.forEach(numbers, (n) => read("SELECT $1::int8::float8", [BigInt(n)]), { concurrency: "unbounded" })
      )
      assert.deepStrictEqual(answers, numbers)
      // One after the other they would take four seconds at least.
      assert.isBelow(Duration.toMillis(took), 2000)
    }))

  it.effect("who does not wait any longer leaves the others and the connection be", () =>
    Effect.gen(function*() {
      const { read, session } = yield* setUp
      const before = yield* session
      const slow = yield* Effect.forkChild(read("SELECT pg_sleep(0.3)"), { startImmediately: true })
      const others = yield* Effect.forkChild(
        Effect.forEach(numbers, (n) => read("SELECT $1::int8::float8", [BigInt(n)]), { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      yield* Fiber.interrupt(slow)
      assert.deepStrictEqual(yield* Fiber.join(others), numbers)
      assert.strictEqual(yield* session, before)
    }))

  it.effect("when the connection is lost under many, each is sent again, and gets its own answer", () =>
    Effect.gen(function*() {
      const { proxy, read, session } = yield* setUp
      const before = yield* session
      const caught = yield* proxy.catchAnswer({ sql: /pg_sleep/, application: "holdfast read" })
      const all = yield* Effect.forkChild(
        Effect.forEach(numbers, (n) => read("SELECT $1::int8::float8, pg_sleep(0.001)", [BigInt(n)]), {
          concurrency: "unbounded"
        }),
        { startImmediately: true }
      )
      yield* caught.arrived
      yield* caught.cut
      assert.deepStrictEqual(yield* Fiber.join(all), numbers)
      assert.notStrictEqual(yield* session, before)
    }))

  it.effect("a statement that the server refuses is its caller's alone", () =>
    Effect.gen(function*() {
      const { read, session } = yield* setUp
      const before = yield* session
      const answers = yield* Effect.forEach(
        numbers,
        (n) => Effect.option(read("SELECT 1 / ($1::int8 % 2)", [BigInt(n)])),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(answers.map(({ _tag }) => _tag), numbers.map((n) => n % 2 === 0 ? "None" : "Some"))
      assert.strictEqual(yield* session, before)
    }))
})
