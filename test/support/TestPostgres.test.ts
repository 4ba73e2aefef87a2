/** The tests' own databases: apart from each other, and gone when their scope is. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Scope } from "effect"
import { Context, Exit, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as TestPostgres from "./TestPostgres.ts"

describe("TestPostgres", () => {
  it.live("each build of the layer is a new database with a client of it", () =>
    Effect.gen(function*() {
      const open = Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const { database } = yield* TestPostgres.TestDatabase
        yield* sql`CREATE TABLE only_here (n int)`
        const [row] = yield* sql<{ readonly name: string }>`SELECT current_database() AS name`
        assert.strictEqual(row?.name, database)
        return database
      })
      const first = yield* Effect.provide(open, TestPostgres.layer)
      const second = yield* Effect.provide(open, TestPostgres.layer)
      assert.notStrictEqual(first, second)
    }))

  it.live("the database is dropped with its scope, though others are connected", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(TestPostgres.layerDatabase, scope)
      const { database, url } = Context.get(context, TestPostgres.TestDatabase)
      const other = Context.get(yield* Layer.build(PgClient.layer({ url })), PgClient.PgClient)
      yield* other`SELECT 1`
      yield* Scope.close(scope, Exit.void)

      const suite = yield* Layer.build(PgClient.layer({ url: TestPostgres.server().url }))
      const sql = Context.get(suite, PgClient.PgClient)
      assert.deepStrictEqual(yield* sql`SELECT 1 FROM pg_database WHERE datname = ${database}`, [])
    }))
})
