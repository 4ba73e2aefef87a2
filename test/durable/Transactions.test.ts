/**
 * SQL of a handler's own is committed with its step, in one transaction: both are there, or neither is.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Schedule, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { SqlClient } from "effect/sql"
import { DurableServer, PostgresStorage } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

const start = { startImmediately: true }

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}

class Account extends DurableServer.make("Account", {
  state: Schema.Struct({ balance: Schema.Int }),
  protocol: [
    Rpc.make("Add", { payload: { amount: Schema.Int } }),
    Rpc.make("Deposit", {
      payload: { amount: Schema.Int, how: Schema.optionalKey(Schema.String) },
      success: Schema.Int,
      error: Refused
    }),
    Rpc.make("DepositOnce", {
      payload: { id: Schema.String, amount: Schema.Int },
      primaryKey: ({ id }) => id,
      success: Schema.Int
    }),
    Rpc.make("Balance", { success: Schema.Int })
  ]
}) {}

class Gate extends DurableServer.make("Gate", {
  state: Schema.Struct({ passed: Schema.Int }),
  protocol: [Rpc.make("Pass"), Rpc.make("Passed", { success: Schema.Int })]
}) {}

/** Whether handlers go on after their SQL, and how often they began. */
interface World {
  attempts: number
  waits: Effect.Effect<void>
}

const makeWorld = (): World => ({ attempts: 0, waits: Effect.void })

const insert = Effect.fnUntraced(function*(key: string, amount: number) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO entry (account, amount) VALUES (${key}, ${amount})`
})

const live = (world: World) =>
  Layer.merge(
    Gate.toLayer({
      init: () => ({ passed: 0 }),
      handlers: {
        Pass: ({ noReply, state }) => noReply({ passed: state.passed + 1 }),
        Passed: ({ reply, state }) => reply(state.passed)
      }
    }),
    Account.toLayer(
      Effect.gen(function*() {
        const gate = yield* Gate.client()
        return Account.of({
          init: () => ({ balance: 0 }),
          handlers: {
            Add: ({ noReply, payload, state }) => noReply({ balance: state.balance + payload.amount }),
            Deposit: Effect.fnUntraced(function*({ key, payload: { amount, how }, reply, state }) {
              world.attempts++
              yield* PostgresStorage.transaction(insert(key, amount))
              yield* gate(key).cast.Pass()
              switch (how) {
                case "refused":
                  return yield* new Refused({ why: "no" })
                case "dies":
                  return yield* Effect.die(new Error("dies"))
                case "twice":
                  yield* PostgresStorage.transaction(insert(key, amount))
                  break
                case "in vain":
                  yield* Effect.exit(PostgresStorage.transaction(
                    Effect.andThen(insert(key, 1000), Effect.fail("given up"))
                  ))
                  break
                case "deferred":
                  yield* PostgresStorage.transaction(Effect.gen(function*() {
                    const sql = yield* SqlClient.SqlClient
                    yield* sql`INSERT INTO strict_entry (amount) VALUES (1), (1)`
                  }))
                  break
              }
              yield* world.waits
              return reply(state.balance + amount, { balance: state.balance + amount })
            }),
            DepositOnce: Effect.fnUntraced(function*({ key, payload, reply, state }) {
              world.attempts++
              yield* PostgresStorage.transaction(insert(key, payload.amount))
              return reply(state.balance + payload.amount, { balance: state.balance + payload.amount })
            }),
            Balance: ({ reply, state }) => reply(state.balance)
          }
        })
      }),
      { defectRetryPolicy: Schedule.recurs(1) }
    )
  )

const tables = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`CREATE TABLE IF NOT EXISTS entry (account text NOT NULL, amount integer NOT NULL)`
  yield* sql`CREATE TABLE IF NOT EXISTS strict_entry (amount integer UNIQUE DEFERRABLE INITIALLY DEFERRED)`
})

const entries = Effect.fnUntraced(function*(key: string) {
  const sql = yield* PgClient.PgClient
  const rows = yield* sql<{ readonly amount: number }>`SELECT amount FROM entry WHERE account = ${key} ORDER BY amount`
  return rows.map(({ amount }) => amount)
})

const setUp = Effect.fnUntraced(function*(world: World) {
  yield* tables
  const database = yield* TestPostgres.TestDatabase
  const node = yield* Nodes.start({
    url: database.url,
    servers: live(world)
  })
  return { database, node, account: yield* node.run(Account.client()), gate: yield* node.run(Gate.client()) }
})

layer(TestPostgres.layer, { excludeTestServices: true })("Transactions", (it) => {
  it.effect("state, messages and rows are there together, and only once somebody was told", () =>
    Effect.gen(function*() {
      const world = makeWorld()
      const { account, gate, node } = yield* setUp(world)
      let seen: ReadonlyArray<number> | undefined
      const context = yield* Effect.context<PgClient.PgClient>()
      world.waits = Effect.provide(
        Effect.map(entries("together"), (rows) => {
          seen = rows
        }),
        context
      ).pipe(Effect.orDie)
      assert.strictEqual(yield* account("together").call.Deposit({ amount: 5 }), 5)
      assert.deepStrictEqual(seen, [])
      assert.deepStrictEqual(yield* entries("together"), [5])
      assert.strictEqual(yield* account("together").call.Balance(), 5)
      assert.strictEqual(yield* gate("together").call.Passed(), 1)
      assert.strictEqual(yield* account("together").call.Deposit({ amount: 7, how: "twice" }), 12)
      assert.deepStrictEqual(yield* entries("together"), [5, 7, 7])
      yield* node.close
    }))

  it.effect("what comes to no outcome leaves no row; what fails inside is undone alone", () =>
    Effect.gen(function*() {
      const world = makeWorld()
      const { account, gate, node } = yield* setUp(world)
      assert.strictEqual(
        (yield* Effect.flip(account("none").call.Deposit({ amount: 5, how: "refused" })))._tag,
        "Refused"
      )
      const parked = yield* Effect.flip(account("none").call.Deposit({ amount: 5, how: "dies" }))
      assert.include(parked.message, "parked after 2")
      assert.deepStrictEqual(yield* entries("none"), [])
      assert.strictEqual(yield* gate("none").call.Passed(), 0)
      assert.strictEqual(yield* account("none").call.Deposit({ amount: 5, how: "in vain" }), 5)
      assert.deepStrictEqual(yield* entries("none"), [5])
      const broken = yield* Effect.flip(account("none").call.Deposit({ amount: 1, how: "deferred" }))
      assert.include(broken.message, "strict_entry_amount_key")
      assert.deepStrictEqual(yield* entries("none"), [5])
      assert.strictEqual(yield* account("none").call.Balance(), 5)
      yield* node.close
    }))

  it.effect("many at once, mixed with others, on one server and on several: every row has its step", () =>
    Effect.gen(function*() {
      const { account, node } = yield* setUp(makeWorld())
      yield* Effect.forEach(
        Array.from({ length: 120 }, (_, index) => index),
        (index) => {
          const ref = account(`many ${index % 4}`)
          return index % 3 === 0 ? ref.cast.Add({ amount: 1000 }) : ref.call.Deposit({ amount: 1 })
        },
        { concurrency: 24, discard: true }
      )
      for (let server = 0; server < 4; server++) {
        assert.strictEqual((yield* entries(`many ${server}`)).length, 20)
        assert.strictEqual(yield* account(`many ${server}`).call.Balance(), 10_020)
      }
      yield* node.close
    }))

  it.effect("a repeat by its key leaves no second row", () =>
    Effect.gen(function*() {
      const world = makeWorld()
      const { account, database, node } = yield* setUp(world)
      const send = account("once").call.DepositOnce({ id: "a", amount: 3 })
      assert.deepStrictEqual(yield* Effect.all([send, send], { concurrency: 2 }), [3, 3])
      const next = yield* Nodes.start({ url: database.url, servers: live(world) })
      yield* node.close
      assert.strictEqual(yield* (yield* next.run(Account.client()))("once").call.DepositOnce({ id: "a", amount: 3 }), 3)
      assert.deepStrictEqual(yield* entries("once"), [3])
      yield* next.close
    }))

  for (
    const [side, sql] of [["catchRequest", /commit_/], ["catchAnswer", /commit_/], [
      "catchRequest",
      /^COMMIT/i
    ], ["catchAnswer", /^COMMIT/i]] as const
  ) {
    it.effect(`cut at ${sql.source} (${side}): rows and state once, and together`, () =>
      Effect.gen(function*() {
        const world = makeWorld()
        yield* tables
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        const node = yield* Nodes.start({
          url: proxy.through(database.url),
          servers: live(world)
        })
        const account = (yield* node.run(Account.client()))(`${side} ${sql.source}`)
        yield* account.call.Deposit({ amount: 1 })
        const caught = yield* proxy[side](sql)
        const caller = yield* Effect.forkChild(account.call.Deposit({ amount: 2 }, { timeout: "20 seconds" }), start)
        yield* caught.arrived
        yield* caught.cut
        assert.strictEqual(yield* Nodes.within("20 seconds", Fiber.join(caller)), 3)
        assert.deepStrictEqual(yield* entries(`${side} ${sql.source}`), [1, 2])
        assert.strictEqual(yield* account.call.Balance(), 3)
        yield* node.close
      }))
  }

  it.effect("a database that goes away before the SQL runs is waited for", () =>
    Effect.gen(function*() {
      const world = makeWorld()
      yield* tables
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const node = yield* Nodes.start({
        url: proxy.through(database.url),
        servers: live(world)
      })
      const account = (yield* node.run(Account.client()))("away")
      yield* account.call.Deposit({ amount: 1 })
      const caught = yield* proxy.catchRequest(/INSERT INTO entry/)
      const caller = yield* Effect.forkChild(account.call.Deposit({ amount: 2 }, { timeout: "20 seconds" }), start)
      yield* caught.arrived
      yield* caught.cut
      assert.strictEqual(yield* Nodes.within("20 seconds", Fiber.join(caller)), 3)
      assert.deepStrictEqual(yield* entries("away"), [1, 2])
      yield* node.close
    }))

  it.effect(
    "what was committed beside a transaction stays done, once, where the node is lost before the transaction ends",
    () =>
      Effect.gen(function*() {
        const world = makeWorld()
        yield* tables
        const sql = yield* PgClient.PgClient
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        const node = yield* Nodes.start({ url: proxy.through(database.url), servers: live(world) })
        const account = yield* node.run(Account.client())
        const within = account("lost within")
        const beside = account("lost beside")
        const first = account("lost first")
        yield* Effect.all([within, beside, first].map((ref) => ref.call.Add({ amount: 1 })))
        // While one commit is under way, two more gather for the next: one with a transaction, and one without.
        const under = yield* proxy.catchRequest({ sql: /holdfast.commit_/, application: "holdfast commit" })
        const timeout = { timeout: "20 seconds" } as const
        const callers: Array<Fiber.Fiber<unknown, unknown>> = [
          yield* Effect.forkChild(first.call.Add({ amount: 1 }, timeout), start)
        ]
        yield* under.arrived
        callers.push(yield* Effect.forkChild(within.call.Deposit({ amount: 1 }, timeout), start))
        yield* Effect.sleep("5 millis").pipe(Effect.repeat({ while: () => world.attempts === 0 }))
        yield* Effect.sleep("200 millis")
        callers.push(yield* Effect.forkChild(beside.call.Add({ amount: 1 }, timeout), start))
        const caught = yield* proxy.catchRequest({ sql: /commit_/, application: "@effect/sql-pg" })
        yield* under.release
        yield* caught.arrived
        const stored = (key: string) =>
          Effect.map(
            sql<{ readonly state: string }>`SELECT state FROM holdfast.server WHERE key = ${key}`,
            ([row]) => row?.state
          )
        yield* Effect.andThen(Effect.sleep("10 millis"), stored("lost beside")).pipe(
          Effect.repeat({ while: (state) => state !== "{\"balance\":2}" })
        )
        yield* sql`SELECT holdfast.bury_members(ARRAY[${yield* node.id}::bigint])`
        yield* caught.release
        for (const caller of callers) yield* Nodes.within("20 seconds", Fiber.join(caller))
        for (const ref of [within, beside, first]) {
          assert.strictEqual(yield* ref.call.Balance(), 2, ref.key)
        }
        assert.deepStrictEqual(yield* entries("lost within"), [1])
        yield* node.close
      }),
    60_000
  )
})
