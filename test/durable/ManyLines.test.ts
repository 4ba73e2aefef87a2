/**
 * Very many servers whose messages nobody attends to: a node that comes finds all of them, page by page, and works them off, at a
 * cost that does not grow with their number, also in tables that were filled so recently that nothing is known of them.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Duration, Effect, Layer } from "effect"
import { DurableStorage, PostgresStorage } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive } from "./fixtures/servers.ts"

const servers = 10_000

/** Servers with a message each, as a producer leaves them that nobody listens to. */
const fill = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`
    WITH made AS (
      INSERT INTO holdfast.server (kind, key) SELECT ${Counter.kind}, 'many ' || n FROM generate_series(1, ${servers}::int) n
      RETURNING id
    ), pushed AS (
      INSERT INTO holdfast.inbox (id, pushed) SELECT id, 1 FROM made
    )
    INSERT INTO holdfast.message (server_id, seq, mode, rpc, payload, member, call)
    SELECT id, 1, 'cast', 'Add', '{"by":1}', 0, 0 FROM made`
})

layer(TestPostgres.layer, { excludeTestServices: true })("ManyLines", (it) => {
  it.effect("every server with a line is found once, in the order of ids, page by page", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const storage = Context.get(yield* Layer.build(PostgresStorage.layer), DurableStorage.DurableStorage)
      const { unattended } = yield* storage.join({ outcomeRetention: Duration.days(7) })
      yield* fill
      // Some are locked besides, or only locked.
      yield* sql`UPDATE holdfast.server SET lock = '{}' WHERE id % 100 = 0`
      yield* sql`DELETE FROM holdfast.message WHERE server_id % 1000 = 0`
      const found: Array<number> = []
      for (;;) {
        const page = yield* unattended([Counter.kind], found.at(-1) ?? 0)
        found.push(...page.map(({ id }) => id))
        if (page.length < 1000) break
        assert.strictEqual(page.length, 1000)
      }
      assert.strictEqual(found.length, servers)
      assert.deepStrictEqual(found, Array.from(new Set(found)).toSorted((one, other) => one - other))
      assert.deepStrictEqual(yield* unattended(["another"], 0), [])
      yield* sql`TRUNCATE holdfast.server, holdfast.message, holdfast.inbox`
    }))

  it.effect("a node that comes works all of them off", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      yield* fill
      yield* Nodes.start({ url, servers: CounterLive })
      const left = Effect.map(
        sql<{ readonly left: number }>`SELECT count(*)::int AS left FROM holdfast.message`,
        ([row]) => row?.left
      )
      yield* Effect.andThen(Effect.sleep("50 millis"), left).pipe(Effect.repeat({ while: (left) => left !== 0 }))
      const [row] = yield* sql<{ readonly done: number }>`
        SELECT count(*)::int AS done FROM holdfast.server WHERE state = '{"count":1}' AND taken = 1`
      assert.strictEqual(row?.done, servers)
    }), 60_000)
})
