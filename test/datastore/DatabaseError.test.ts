import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Schema } from "effect"
import { SqlError } from "effect/sql"
import { DatabaseError } from "holdfast/datastore"
import { datastoreSource } from "../../src/datastore/internal/ledger.ts"
import { ensureInstalled } from "../../src/datastore/internal/schemaInstall.ts"
import { TestPostgres } from "./support.ts"

const all = [...Object.keys(DatabaseError.bySqlState), "PM999", "PMXYZ"]

const expectedTag = (code: string): DatabaseError.DatabaseErrorReason["_tag"] => {
  const Reason = Object.entries(DatabaseError.bySqlState).find(([known]) => known === code)?.[1]
  return Reason === undefined ? "UnknownDatabaseError" : new Reason({ sqlState: code, message: "" })._tag
}

/** Runs a statement that is to be refused, and gives the refusal. */
const refusal = <A, E, R>(self: Effect.Effect<A, E | SqlError.SqlError, R>) =>
  Effect.flip(DatabaseError.refine(self)).pipe(Effect.map((error) => {
    if (!(error instanceof DatabaseError.DatabaseError)) {
      assert.fail(`not refined: ${String(error)}`)
    }
    return error.reason
  }))

const Guarded = Layer.effectDiscard(Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* ensureInstalled(datastoreSource)
  yield* sql`CREATE TABLE guarded (code text, at_commit boolean DEFAULT false)`
  yield* sql.unsafe(`CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM holdfast.raise(NEW.code, 'refused by ' || TG_NAME, detail => jsonb_build_object('code', NEW.code),
        "schema" => TG_TABLE_SCHEMA, "table" => TG_TABLE_NAME);
      RETURN NEW;
    END $$`)
  yield* sql`CREATE TRIGGER now BEFORE INSERT ON guarded FOR EACH ROW WHEN (NOT NEW.at_commit) EXECUTE FUNCTION guard()`
  yield* sql`CREATE CONSTRAINT TRIGGER later AFTER INSERT ON guarded DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.at_commit) EXECUTE FUNCTION guard()`
}))

layer(Guarded.pipe(Layer.provideMerge(TestPostgres.layer)), { excludeTestServices: true })("DatabaseError", (it) => {
  it.effect("has the thirteen codes of the specification", () =>
    Effect.sync(() => {
      const tags = [
        ["PM001", "DisallowedFieldChange"],
        ["PM002", "DisallowedOperation"],
        ["PM003", "SystemDefined"],
        ["PM101", "LogicalDuplicate"],
        ["PM102", "ResourceExhausted"],
        ["PM103", "OutOfRange"],
        ["PM104", "ParentChildMismatch"],
        ["PM105", "OutOfOrderPrerequisite"],
        ["PM106", "IneligibleDeletion"],
        ["PM107", "InvalidDataChange"],
        ["PM108", "InvalidStateChange"],
        ["PM109", "OutOfOrderDeletion"],
        ["PM110", "MissingParameter"]
      ]
      assert.deepStrictEqual(Object.keys(DatabaseError.bySqlState).map((code) => [code, expectedTag(code)]), tags)
    }))

  it.effect.each(all)("%s from a function", (code) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const reason = yield* refusal(
        sql`SELECT holdfast.raise(${code}, 'no', detail => '{"a": [1, null]}'::jsonb, hint => 'try', "schema" => 's',
          "table" => 't', "column" => 'c', "constraint" => 'k')`
      )
      assert.deepInclude(reason, {
        _tag: expectedTag(code),
        sqlState: code,
        message: "no",
        detail: { a: [1, null] },
        hint: "try",
        schema: "s",
        table: "t",
        column: "c",
        constraint: "k"
      })
    }))

  it.effect.each(all)("%s from a trigger", (code) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const reason = yield* refusal(sql`INSERT INTO guarded (code) VALUES (${code})`)
      assert.deepInclude(reason, {
        _tag: expectedTag(code),
        message: "refused by now",
        detail: { code },
        schema: "public",
        table: "guarded"
      })
    }))

  it.effect.each(all)("%s from a deferred constraint, at COMMIT", (code) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      let reachedEnd = false
      const reason = yield* refusal(sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO guarded VALUES (${code}, true)`
        reachedEnd = true
      })))
      assert.isTrue(reachedEnd)
      assert.deepInclude(reason, { _tag: expectedTag(code), message: "refused by later" })
      assert.deepStrictEqual(yield* sql`SELECT FROM guarded`, [])
    }))

  it.effect.each(all)("%s from a nested transaction, which is undone alone", (code) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE TABLE IF NOT EXISTS kept (code text)`
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO kept VALUES (${code})`
        const reason = yield* refusal(sql.withTransaction(Effect.andThen(
          sql`INSERT INTO kept VALUES ('inner')`,
          sql`INSERT INTO guarded (code) VALUES (${code})`
        )))
        assert.strictEqual(reason._tag, expectedTag(code))
      }))
      assert.deepStrictEqual(yield* sql`SELECT code FROM kept WHERE code IN (${code}, 'inner')`, [{ code }])
    }))

  it.effect("is caught by its reason, or by its bare tag once unwrapped", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const duplicate = sql`SELECT holdfast.raise('PM101', 'twice')`.pipe(DatabaseError.refine)
      assert.strictEqual(
        yield* duplicate.pipe(
          Effect.as(""),
          Effect.catchReason("DatabaseError", "LogicalDuplicate", (reason) => Effect.succeed(reason.message))
        ),
        "twice"
      )
      assert.strictEqual(
        yield* duplicate.pipe(
          Effect.as(""),
          Effect.unwrapReason("DatabaseError"),
          Effect.catchTag("LogicalDuplicate", (reason) => Effect.succeed(reason.sqlState))
        ),
        "PM101"
      )
    }))

  it.effect("keeps DETAIL as it is where it is no JSON, and leaves out what was not given", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const plain = yield* refusal(
        sql.unsafe("DO $$ BEGIN RAISE EXCEPTION 'm' USING ERRCODE = 'PM102', DETAIL = '{not json'; END $$")
      )
      assert.strictEqual(plain.detail, "{not json")
      const bare = yield* refusal(sql`SELECT holdfast.raise('PM103', NULL)`)
      assert.deepStrictEqual(bare, new DatabaseError.OutOfRange({ sqlState: "PM103", message: "PM103" }))
    }))

  it.effect("leaves every other SqlError, and every other error, as it is", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const unique = yield* Effect.flip(DatabaseError.refine(Effect.andThen(
        sql`CREATE TEMP TABLE IF NOT EXISTS u (i int PRIMARY KEY)`,
        sql`INSERT INTO u VALUES (1), (1)`
      )))
      assert.strictEqual(unique._tag === "SqlError" && unique.reason._tag, "UniqueViolation")
      assert.strictEqual(yield* Effect.flip(DatabaseError.refine(Effect.fail("mine"))), "mine")
      const wrong = yield* Effect.flip(DatabaseError.refine(sql`SELECT holdfast.raise('23505', 'no PM code')`))
      assert.strictEqual(wrong._tag, "SqlError")
    }))

  it.effect("finds the code at the end of a chain of causes", () =>
    Effect.gen(function*() {
      const server = Object.assign(new Error("deep"), { code: "PM110", severity: "ERROR", detail: "7" })
      const reason = yield* refusal(Effect.fail(
        new SqlError.SqlError({
          reason: new SqlError.UnknownError({
            cause: new Error("outer", {
              cause: new SqlError.SqlError({ reason: new SqlError.UnknownError({ cause: server }) })
            })
          })
        })
      ))
      assert.deepInclude(reason, { _tag: "MissingParameter", message: "deep", detail: 7 })
    }))

  it.effect("survives a wire: encodes to JSON and back", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const error = yield* Effect.flip(
        DatabaseError.refine(sql`SELECT holdfast.raise('PM104', 'm', '{"a": 1}'::jsonb)`)
      )
      const codec = Schema.toCodecJson(DatabaseError.DatabaseError)
      assert.instanceOf(error, DatabaseError.DatabaseError)
      const text = JSON.stringify(yield* Schema.encodeUnknownEffect(codec)(error))
      const back = yield* Schema.decodeUnknownEffect(codec)(JSON.parse(text))
      assert.deepInclude(back.reason, { _tag: "ParentChildMismatch", detail: { a: 1 } })
    }))

  it.effect("does not touch defects and interruptions", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(DatabaseError.refine(Effect.die("bug")))
      assert.isTrue(Exit.hasDies(exit))
    }))
})
