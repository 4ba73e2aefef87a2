/**
 * A node that cannot start says why, in a typed error that names the thing and never a secret, and leaves nothing open. Where
 * its tables are missing it installs them if it may.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { DurableStorage, PostgresStorage } from "holdfast/durable"
import { randomBytes } from "node:crypto"
import { inspect } from "node:util"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive, Journal, JournalLive } from "./fixtures/servers.ts"

const secret = "a secret that nobody may read"

const withUser = (url: Redacted.Redacted, username: string, password: string) => {
  const other = new URL(Redacted.value(url))
  other.username = username
  other.password = encodeURIComponent(password)
  return Redacted.make(other.href)
}

/** A role that may log in and nothing else, for as long as the scope lasts. */
const unprivileged = Effect.fnUntraced(function*(url: Redacted.Redacted) {
  const sql = yield* PgClient.PgClient
  const role = `test_${randomBytes(6).toString("hex")}`
  yield* Effect.acquireRelease(
    sql.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD '${secret}'`),
    () => Effect.orDie(Effect.andThen(sql.unsafe(`DROP OWNED BY ${role}`), sql.unsafe(`DROP ROLE ${role}`)))
  )
  return { role, url: withUser(url, role, secret) }
})

const neverTells = (error: unknown) => {
  for (const text of [inspect(error, { depth: 20 }), String(error), JSON.stringify(error)]) {
    assert.notInclude(text, secret)
    assert.notInclude(text, encodeURIComponent(secret))
  }
}

const sessions = Effect.flatMap(
  PgClient.PgClient,
  (sql) =>
    sql`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'holdfast %'`
)

/** A storage, for nodes to be started on one after the other. */
const storageOf = (url: Redacted.Redacted) =>
  Layer.build(Layer.fresh(Layer.provide(PostgresStorage.layer, PgClient.layer({ url, maxConnections: 2 })))).pipe(
    Effect.map(Context.get(DurableStorage.DurableStorage))
  )

layer(TestPostgres.layer, { excludeTestServices: true })("NodeStart", (it) => {
  it.effect("a role that may not create the missing tables is told what to install", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const role = yield* unprivileged(url)
      const error = yield* Effect.flip(Nodes.start({ url: role.url, servers: CounterLive }))
      if (error._tag !== "SchemaNotInstalled") return assert.fail(error._tag)
      assert.strictEqual(error.reason, "notInstalled")
      assert.include(error.message, role.role)
      neverTells(error)
      assert.deepStrictEqual(yield* sessions, [])
    }))

  it.effect("a wrong password, an unknown role, database or server are told apart, and no secret is told", () =>
    Effect.gen(function*() {
      const { url, username } = yield* TestPostgres.TestDatabase
      const other = (change: (url: URL) => void) => {
        const changed = new URL(Redacted.value(withUser(url, username, secret)))
        change(changed)
        return Redacted.make(changed.href)
      }
      const right = new URL(Redacted.value(url))
      const cases = [
        ["passwordRejected", other(() => undefined), username],
        ["passwordRejected", other((url) => (url.username = "nobody_knows")), "nobody_knows"],
        ["serverUnreachable", other((url) => (url.port = "1")), "127.0.0.1:1"],
        [
          "databaseNotFound",
          other((url) => {
            url.password = right.password
            url.pathname = "/no_such_database"
          }),
          "no_such_database"
        ]
      ] as const
      for (const [reason, wrong, named] of cases) {
        const error = yield* Nodes.within("10 seconds", Effect.flip(Nodes.start({ url: wrong, servers: CounterLive })))
        if (error._tag !== "ConnectionFailed") return assert.fail(`${reason}: ${error._tag}: ${error.message}`)
        assert.strictEqual(error.reason, reason)
        assert.include(error.message, named)
        neverTells(error)
        assert.notInclude(inspect(error, { depth: 20 }), right.password)
      }
      assert.deepStrictEqual(yield* sessions, [])
    }))

  it.effect("several nodes that start at once on an empty database install the tables once, and all work", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const nodes = yield* Effect.forEach(
        Array.from({ length: 4 }),
        () => Nodes.start({ url, servers: CounterLive }),
        { concurrency: "unbounded" }
      )
      const counts = yield* Effect.forEach(
        nodes,
        (node) => Effect.flatMap(node.run(Counter.client()), (counter) => counter("first").call.AddAndGet({ by: 1 })),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([...counts].sort(), [1, 2, 3, 4])
    }))

  it.effect("a storage in Postgres has one node at a time: a second one is refused, and the first one goes on", () =>
    Effect.gen(function*() {
      const storage = yield* storageOf((yield* TestPostgres.TestDatabase).url)
      const node = yield* Nodes.startOn(storage, { servers: CounterLive })
      const exit = yield* Effect.exit(Nodes.startOn(storage, { servers: CounterLive }))
      if (Exit.isSuccess(exit)) return assert.fail("there are two")
      assert.isTrue(Cause.hasDies(exit.cause))
      assert.include(Cause.pretty(exit.cause), "a PostgresStorage has one node")
      assert.strictEqual(yield* (yield* node.run(Counter.client()))("one node").call.AddAndGet({ by: 1 }), 1)
    }))

  it.effect("a node that comes after another one on the same storage works, and hears nothing that was meant for it", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* Nodes.start({ url, servers: JournalLive })
      const held = yield* holder.run(Journal.client())
      yield* held("old").call.Write({ entry: "first" })
      for (const entry of ["first", "second"]) yield* held("new").call.Write({ entry })
      const storage = yield* storageOf(url)
      // The first call of each: that of the first node is answered while the second one waits for its own.
      const first = yield* Nodes.startOn(storage)
      const firstId = yield* first.id
      const old = (yield* first.run(Journal.client()))("old")
      const closed = yield* Effect.forkChild(Effect.flip(old.call.WriteSlowly({ entry: "second", millis: 300 })), {
        startImmediately: true
      })
      const line = yield* PgClient.PgClient
      yield* Effect.repeat(
        Effect.delay(
          line<{ readonly pushed: number }>`SELECT max(pushed)::int AS pushed FROM holdfast.inbox`,
          "5 millis"
        ),
        { until: ([row]) => (row?.pushed ?? 0) > 0, times: 400 }
      )
      yield* first.close
      assert.strictEqual((yield* Fiber.join(closed)).reason._tag, "NodeClosed")
      const second = yield* Nodes.startOn(storage, { servers: CounterLive, node: { pollInterval: "20 millis" } })
      assert.notStrictEqual(yield* second.id, firstId)
      const sent = yield* second.run(Journal.client())
      assert.strictEqual(yield* sent("new").call.WriteSlowly({ entry: "third", millis: 500 }), 3)
      assert.deepStrictEqual(yield* sent("old").call.Read(), ["first", "second"])
      assert.strictEqual(yield* (yield* second.run(Counter.client()))("own").call.AddAndGet({ by: 1 }), 1)
    }))

  it.effect("a role with the rights to the tables, and none to create any, is enough to run", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const owner = yield* Nodes.start({ url })
      yield* owner.close
      const { role, url: theirs } = yield* unprivileged(url)
      yield* sql.unsafe(`GRANT USAGE ON SCHEMA holdfast TO ${role}`)
      yield* sql.unsafe(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA holdfast TO ${role}`)
      yield* sql.unsafe(`GRANT USAGE ON ALL SEQUENCES IN SCHEMA holdfast TO ${role}`)
      const node = yield* Nodes.start({ url: theirs, servers: CounterLive })
      const producer = yield* Nodes.start({ url: theirs })
      assert.strictEqual(yield* (yield* node.run(Counter.client()))("theirs").call.AddAndGet({ by: 1 }), 1)
      assert.strictEqual(yield* (yield* producer.run(Counter.client()))("theirs").call.AddAndGet({ by: 1 }), 2)
      yield* node.close
      yield* producer.close
    }))

  it.effect("a start that is interrupted leaves nothing open", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      yield* proxy.delayAnswers(10)
      for (const millis of [5, 30, 60, 90, 120, 150]) {
        const starting = yield* Effect.forkChild(
          Effect.scoped(Nodes.start({ url: proxy.through(database.url), servers: CounterLive }))
        )
        yield* Effect.sleep(millis)
        yield* Nodes.within("3 seconds", Fiber.interrupt(starting))
      }
      const left = yield* Effect.repeat(Effect.delay(sessions, "10 millis"), {
        until: (rows) => rows.length === 0,
        times: 200
      })
      assert.deepStrictEqual(left, [])
    }))
})
