/**
 * A database or a role may have any defaults. None of them is what the engine's sessions run with: neither one that would
 * lose acknowledged work, nor one that would sink whole groups.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Counter, CounterLive } from "../durable/fixtures/servers.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

layer(TestPostgres.layer, { excludeTestServices: true })("PinnedSettings", (it) => {
  it.effect("commits wait for the disk and run under read committed, whatever the database says", () =>
    Effect.gen(function*() {
      const { database, url } = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      for (
        const setting of [
          "synchronous_commit = off",
          "default_transaction_isolation = 'serializable'",
          "default_transaction_read_only = on",
          "jit = on",
          "enable_seqscan = on",
          "enable_hashjoin = on",
          "enable_nestloop = off",
          "statement_timeout = '1ms'",
          "lock_timeout = '1ms'",
          "search_path = 'nowhere'"
        ]
      ) yield* sql.unsafe(`ALTER DATABASE ${database} SET ${setting}`)
      // The tables are installed over the client's own session, which is the application's affair.
      yield* sql.unsafe(`ALTER DATABASE ${database} RESET default_transaction_read_only`)
      yield* sql.unsafe(`ALTER DATABASE ${database} RESET statement_timeout`)
      yield* (yield* Nodes.start({ url })).close
      yield* sql.unsafe(`ALTER DATABASE ${database} SET default_transaction_read_only = on`)
      yield* sql`CREATE TABLE seen (name text, setting text)`
      // What a session runs with is written down by the very statement that commits.
      yield* sql.unsafe(`
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO public.seen SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN (
            'synchronous_commit', 'transaction_isolation', 'transaction_read_only', 'jit', 'enable_seqscan',
            'enable_hashjoin', 'enable_mergejoin', 'search_path', 'plan_cache_mode');
          INSERT INTO public.seen SELECT name, 'bounded' FROM pg_catalog.pg_settings
            WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')
              AND setting::int BETWEEN 1000 AND 60000;
          RETURN NULL;
        END $$`)
      yield* sql`CREATE TRIGGER see AFTER UPDATE OF seq ON holdfast.lane FOR EACH ROW EXECUTE FUNCTION see()`
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const producer = yield* Nodes.start({ url })
      const counter = yield* node.run(Counter.client())
      // In all the shapes that a group has.
      yield* counter("one").call.Add({ by: 1 })
      yield* Effect.all([counter("one").call.Add({ by: 1 }), counter("two").call.Add({ by: 1 })], {
        concurrency: "unbounded"
      })
      yield* (yield* producer.run(Counter.client()))("one").call.AddOnce({ id: "a", by: 1 })
      assert.strictEqual(yield* counter("one").call.Get(), 3)
      const rows = yield* sql<{ readonly name: string; readonly setting: string }>`
        SELECT DISTINCT name, setting FROM seen ORDER BY name, setting`
      assert.deepStrictEqual(rows.map(({ name, setting }) => `${name} = ${setting}`), [
        "enable_hashjoin = off",
        "enable_mergejoin = off",
        "enable_seqscan = off",
        "idle_in_transaction_session_timeout = bounded",
        "jit = off",
        "lock_timeout = bounded",
        "plan_cache_mode = force_generic_plan",
        "search_path = pg_catalog",
        "statement_timeout = bounded",
        "synchronous_commit = on",
        "transaction_isolation = read committed",
        "transaction_read_only = off"
      ])
    }))
})
