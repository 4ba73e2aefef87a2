import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Path } from "effect"
import { Migrations } from "holdfast/datastore"
import { connectAs, connectAsSuperuser, makeInput, withDatastore } from "./support.ts"

const names = (applied: ReadonlyArray<Migrations.Applied>) => applied.map((_) => `${_.source}/${_.file}`)

const own = "holdfast/datastore/0001_raise.sql"

const one = { name: "0001_account.sql", sql: "CREATE SCHEMA app; CREATE TABLE app.account (id int PRIMARY KEY)" }
const two = {
  name: "0002_touch.sql",
  sql: `
    -- semicolons; in comments, 'in texts;' and in functions
    INSERT INTO app.account VALUES (1); SELECT 1; SELECT 'a;b';
    CREATE FUNCTION app.one() RETURNS int LANGUAGE plpgsql AS $body$
    BEGIN
      /* ; */ RETURN (SELECT count(*)::int FROM app.account);
    END
    $body$;
    DO $$ BEGIN PERFORM app.one(); END $$;`
}
const three = { name: "0003_more.sql", sql: "INSERT INTO app.account SELECT g FROM generate_series(2, 10) g" }

describe("Migrations", () => {
  it.live("are applied in order, once, as the owner, and are entered in the ledger", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const source = Migrations.make("app", [three, one, two])
        assert.strictEqual((yield* admin.state([source])).migrations, "notInitialized")
        assert.deepStrictEqual(names(yield* admin.upgrade([Migrations.make("app", [one])])), [
          own,
          "app/0001_account.sql"
        ])
        assert.strictEqual((yield* admin.state([source])).migrations, "notUpdated")
        assert.deepStrictEqual(names(yield* admin.upgrade([source])), ["app/0002_touch.sql", "app/0003_more.sql"])
        assert.deepStrictEqual(yield* admin.upgrade([source]), [])
        assert.strictEqual((yield* admin.state([source])).migrations, "ready")

        const sql = yield* connectAsSuperuser(input.databaseName)
        const ledger = yield* sql<{ file: string; role: string; length: number; took: boolean; owner: string }>`
          SELECT file, role, length(sha256) AS length, finished >= started AS took,
            (SELECT tableowner::text FROM pg_tables WHERE schemaname = 'app') AS owner
          FROM holdfast.migration WHERE source = 'app' ORDER BY started`
        assert.deepStrictEqual(
          ledger,
          ["0001_account.sql", "0002_touch.sql", "0003_more.sql"].map((file) => ({
            file,
            role: input.owner.databaseRole,
            length: 64,
            took: true,
            owner: input.owner.databaseRole
          }))
        )
        assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM app.account`, [{ n: 10 }])
        assert.deepStrictEqual(yield* sql`SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace`, [])
      }))
  })

  it.live("two upgraders at once: each file runs once, and one of them finds nothing to do", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const source = Migrations.make("app", [one, { ...two, sql: `${two.sql}; SELECT pg_sleep(0.05)` }, three])
        const runs = yield* Effect.all([admin.upgrade([source]), admin.upgrade([source]), admin.upgrade([source])], {
          concurrency: 3
        })
        assert.deepStrictEqual(runs.map((_) => _.length).sort(), [0, 0, 4])
      }))
  })

  it.live("content that changed after it was applied stops everything before it starts", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        yield* admin.upgrade([Migrations.make("app", [one, two])])
        const source = Migrations.make("app", [one, { ...two, sql: `${two.sql} ` }, three])
        assert.strictEqual((yield* admin.state([source])).migrations, "notUpdated")
        const error = yield* Effect.flip(admin.upgrade([Migrations.make("first", [three]), source]))
        assert.strictEqual(error._tag, "MigrationChanged")
        assert.include(error.message, "app/0002_touch.sql was applied with other content")
        const sql = yield* connectAsSuperuser(input.databaseName)
        assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM app.account`, [{ n: 1 }])
      }))
  })

  it.live("a file that sorts before the newest applied is refused, in byte order", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        yield* admin.upgrade([Migrations.make("app", [one, three])])
        const late = yield* Effect.flip(admin.upgrade([Migrations.make("app", [one, two, three])]))
        assert.deepInclude(late, { _tag: "MigrationOutOfOrder", file: two.name, newestApplied: three.name })
        // The newest counts even when the source has lost it.
        const lost = yield* Effect.flip(admin.upgrade([Migrations.make("app", [one, two])]))
        assert.strictEqual(lost._tag, "MigrationOutOfOrder")
        // Capitals come before small letters, whatever the locale.
        const capital = yield* Effect.flip(
          admin.upgrade([
            Migrations.make("other", [{ name: "b.sql", sql: "SELECT 1" }])
          ]).pipe(
            Effect.andThen(admin.upgrade([
              Migrations.make("other", [{ name: "b.sql", sql: "SELECT 1" }, { name: "C.sql", sql: "SELECT 1" }])
            ]))
          )
        )
        assert.deepInclude(capital, { _tag: "MigrationOutOfOrder", file: "C.sql" })
      }))
  })

  it.live("a file that fails rolls back alone, and the error says where and what was applied before it", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const bad = {
          name: "0002_bad.sql",
          sql: "INSERT INTO app.account VALUES (7);\n\n  SELECT *\n  FROM app.nothing;"
        }
        const error = yield* Effect.flip(admin.upgrade([Migrations.make("app", [one, bad, three])]))
        assert.strictEqual(error._tag, "MigrationFailed")
        if (error._tag === "MigrationFailed") {
          assert.deepInclude(error, { source: "app", file: bad.name, sqlState: "42P01", line: 4, column: 8 })
          assert.deepStrictEqual(names(error.applied), [own, "app/0001_account.sql"])
        }
        assert.include(
          error.message,
          "app/0002_bad.sql:4:8 failed and was rolled back: relation \"app.nothing\" does not exist"
        )
        const sql = yield* connectAsSuperuser(input.databaseName)
        assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM app.account`, [{ n: 0 }])
        assert.deepStrictEqual(names(yield* admin.upgrade([Migrations.make("app", [one, two])])), [
          "app/0002_touch.sql"
        ])
      }))
  })

  it.live("a file cannot end its transaction, and one for outside of transactions is refused", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const refused = { "SELECT 1; COMMIT; SELECT 2": "0A000", VACUUM: "25001", "SELECT 1/0": "22012" }
        for (const [sql, sqlState] of Object.entries(refused)) {
          const error = yield* Effect.flip(admin.upgrade([Migrations.make("app", [{ name: "1.sql", sql }])]))
          assert.strictEqual(error._tag === "MigrationFailed" && error.sqlState, sqlState)
        }
        assert.deepStrictEqual(
          names(
            yield* admin.upgrade([
              Migrations.make("app", [{ name: "1.sql", sql: "" }, { name: "2.sql", sql: "-- no" }])
            ])
          ),
          ["app/1.sql", "app/2.sql"]
        )
      }))
  })

  it.live("a connection that is lost in the middle is a failed migration that runs again", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const slow = { name: "0002_slow.sql", sql: "SELECT pg_sleep(20)" }
        const superuser = yield* connectAsSuperuser()
        yield* superuser`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = ${input.databaseName} AND wait_event = 'PgSleep'`.pipe(
          Effect.repeat({ until: (rows) => rows.length > 0 }),
          Effect.forkChild
        )
        const error = yield* Effect.flip(admin.upgrade([Migrations.make("app", [one, slow])]))
        assert.strictEqual(error._tag, "MigrationFailed")
        assert.match(error.message, /app\/0002_slow\.sql failed and was rolled back: .*(closed|terminating)/)
        assert.deepStrictEqual(
          names(yield* admin.upgrade([Migrations.make("app", [one, { ...slow, sql: "SELECT 1" }])])),
          ["app/0002_slow.sql"]
        )
      }))
  })

  it.live("sources that make no sense are refused", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const twice = Migrations.make("app", [one, one])
        assert.include((yield* Effect.flip(admin.upgrade([twice]))).message, "0001_account.sql is there twice")
        const again = yield* Effect.flip(admin.upgrade([Migrations.make("app", [one]), Migrations.make("app", [two])]))
        assert.strictEqual(again._tag, "SourceInvalid")
        const nul = yield* Effect.flip(admin.upgrade([Migrations.make("app", [{ name: "1.sql", sql: "SELECT '\0'" }])]))
        assert.include(nul.message, "NUL")
        for (const name of ["", "holdfast/mine"]) {
          assert.strictEqual((yield* Effect.flip(admin.upgrade([Migrations.make(name, [])])))._tag, "SourceInvalid")
        }
      }))
  })

  it.live("what the library installs is open to contexts with library access, and to no other", () => {
    const input = makeInput()
    const library = (files: ReadonlyArray<Migrations.MigrationFile>) =>
      Migrations.make("library", files, { schema: "holdfast" })
    const first = {
      name: "1.sql",
      sql: `CREATE TABLE holdfast.thing (id serial PRIMARY KEY);
        CREATE FUNCTION holdfast.things() RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM holdfast.thing'`
    }
    const second = { name: "2.sql", sql: "CREATE TABLE holdfast.later (id int)" }
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        yield* admin.upgrade([library([first])])
        yield* admin.upgrade([library([first, second])])
        const { app: a, audit: b } = input.contexts
        const app = yield* connectAs(input.databaseName, a.databaseRole, a.databasePassword)
        const audit = yield* connectAs(input.databaseName, b.databaseRole, b.databasePassword)
        yield* app`INSERT INTO holdfast.thing DEFAULT VALUES`
        yield* app`UPDATE holdfast.later SET id = 1`
        assert.deepStrictEqual(yield* app`SELECT holdfast.things() AS n`, [{ n: 1 }])
        for (
          const statement of [
            app`CREATE TABLE holdfast.mine (id int)`,
            app`TRUNCATE holdfast.thing`,
            app`DELETE FROM holdfast.migration`,
            app`UPDATE holdfast.migration SET sha256 = ''`,
            audit`SELECT * FROM holdfast.thing`,
            audit`SELECT holdfast.things()`,
            audit`SELECT nextval('holdfast.thing_id_seq')`,
            audit`SELECT * FROM holdfast.migration`
          ]
        ) {
          assert.strictEqual((yield* Effect.flip(statement)).reason._tag, "AuthorizationError")
        }
        assert.isAbove((yield* app`SELECT FROM holdfast.migration`).length, 0)
        // Refusing is open to all.
        for (const sql of [app, audit]) {
          const error = yield* Effect.flip(sql`SELECT holdfast.raise('PM101', 'no')`)
          assert.deepInclude(error.reason.cause, { code: "PM101" })
        }
      }))
  })

  it.live("library access can be taken away again", () => {
    const input = makeInput()
    const { app } = input.contexts
    const without = { ...input, contexts: { ...input.contexts, app: { ...app, libraryAccess: false } } }
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        yield* admin.upgrade([])
        const sql = yield* connectAs(input.databaseName, app.databaseRole, app.databasePassword)
        yield* sql`SELECT FROM holdfast.migration`
        yield* withDatastore(without, (changed) =>
          Effect.gen(function*() {
            yield* changed.upgrade([])
            assert.strictEqual(
              (yield* Effect.flip(sql`SELECT FROM holdfast.migration`)).reason._tag,
              "AuthorizationError"
            )
          }))
      }))
  })

  it.live("fromDirectory takes the .sql files of a folder, in byte order", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const directory = yield* fs.makeTempDirectoryScoped()
      const write = (name: string) => fs.writeFileString(path.join(directory, name), `-- ${name}`)
      yield* Effect.forEach(["b.sql", "B.sql", "a.sql", "ä.sql", "notes.md"], write)
      yield* fs.makeDirectory(path.join(directory, "nested"))
      const source = yield* Migrations.fromDirectory(directory, { name: "app" })
      assert.deepStrictEqual(source, {
        name: "app",
        files: ["B.sql", "a.sql", "b.sql", "ä.sql"].map((name) => ({ name, sql: `-- ${name}` }))
      })
      assert.strictEqual((yield* Migrations.fromDirectory(directory)).name, path.basename(directory))
      const empty = yield* Effect.flip(Migrations.fromDirectory(path.join(directory, "nested")))
      assert.strictEqual(empty._tag, "SourceInvalid")
    }).pipe(Effect.provide(NodeServices.layer)))
})
