/**
 * The application has taken all connections of its pool, and keeps them. Durable servers go on: their engine has connections of
 * its own. Only handlers that run SQL of their own wait, until there is a connection for them, and are not told of a failure.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { SqlClient } from "effect/sql"
import { DurableNode, DurableServer, PostgresStorage } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive } from "./fixtures/servers.ts"

class Ledger extends DurableServer.make("Ledger", {
  state: Schema.Struct({ count: Schema.Int }),
  protocol: [Rpc.make("Enter", { success: Schema.Int })]
}) {}

const LedgerLive = Ledger.toLayer({
  init: () => ({ count: 0 }),
  handlers: {
    Enter: Effect.fnUntraced(function*({ key, reply, state }) {
      yield* PostgresStorage.transaction(Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO entry VALUES (${key})`
      }))
      return reply(state.count + 1, { count: state.count + 1 })
    })
  }
})

const connections = 2
const callers = 64
const ledgers = 8

const NodeLive = Layer.mergeAll(CounterLive, LedgerLive).pipe(
  Layer.provideMerge(DurableNode.layerPostgres),
  Layer.provideMerge(
    Layer.unwrap(
      Effect.map(TestPostgres.TestDatabase, ({ url }) => PgClient.layer({ url, maxConnections: connections }))
    )
  ),
  Layer.provideMerge(TestPostgres.layerDatabase)
)

layer(NodeLive, { excludeTestServices: true })("PoolExhausted", (it) => {
  it.effect("calls go on while the pool is exhausted; handlers with SQL of their own wait for it, and lose nothing", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const counter = yield* Counter.client()
      const ledger = yield* Ledger.client()
      yield* sql`CREATE TABLE entry (ledger text)`
      const release = yield* Deferred.make<void>()
      let taken = 0
      const hoarders = yield* Effect.forEach(
        Array.from({ length: connections }),
        () =>
          Effect.forkChild(sql.withTransaction(Effect.andThen(
            Effect.sync(() => taken++),
            Deferred.await(release)
          )))
      )
      yield* Effect.sleep("5 millis").pipe(Effect.repeat({ while: () => taken < connections }))
      const entering = yield* Effect.forEach(
        Array.from({ length: callers }),
        (_, n) =>
          Effect.forkChild(ledger(`ledger ${n % ledgers}`).call.Enter(undefined, { timeout: "30 seconds" }), {
            startImmediately: true
          })
      )
      for (let n = 1; n <= 100; n++) {
        const count = yield* Nodes.within("10 seconds", counter("beside").call.AddAndGet({ by: 1 }))
        assert.strictEqual(count, n)
      }
      yield* counter("new").cast.Add({ by: 1 })
      yield* counter("line").castAll((cast) => [cast.Add({ by: 1 }), cast.Add({ by: 1 })])
      assert.strictEqual(yield* counter("line").call.Get(), 2)
      for (const fiber of entering) assert.isUndefined(fiber.pollUnsafe())
      yield* Deferred.succeed(release, undefined)
      yield* Effect.forEach(hoarders, Fiber.join)
      const counts = yield* Nodes.within("20 seconds", Effect.forEach(entering, Fiber.join))
      assert.strictEqual(Math.max(...counts), callers / ledgers)
      const rows = yield* sql<{ readonly n: number }>`SELECT count(*)::int AS n FROM entry GROUP BY ledger`
      assert.deepStrictEqual(rows.map(({ n }) => n), Array.from({ length: ledgers }, () => callers / ledgers))
    }))
})
