/**
 * Contexts that come and go while their datastore stays, and roles that are none of its.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted } from "effect"
import { Datastore, DatastoreAdmin, type DatastoreOptions, Migrations } from "holdfast/datastore"
import { ensureInstalled, librarySource } from "../../src/datastore/internal/schemaInstall.ts"
import {
  connectAs,
  connectAsSuperuser,
  makeInput,
  runtime,
  secret,
  unique,
  withAdmin,
  withDatastore
} from "./support.ts"

const ready = (state: DatastoreAdmin.State) =>
  Object.entries(state.contexts).flatMap(([name, context]) => context === "ready" ? [name] : [])

const withFour = (input: ReturnType<typeof makeInput>) => ({
  ...input,
  contexts: {
    ...input.contexts,
    jobs: { databaseRole: unique("jobs"), databasePassword: secret() },
    reports: { databaseRole: unique("reports"), databasePassword: secret(), description: "reads" }
  }
})

const administrator = (input: DatastoreOptions.AdminInput) =>
  Effect.provide(DatastoreAdmin.DatastoreAdmin, DatastoreAdmin.layer(input))

describe("contexts", () => {
  it.live("two of them, two more, and those dropped again", () => {
    const input = makeInput()
    const four = withFour(input)
    return withAdmin(four, (admin) =>
      Effect.gen(function*() {
        yield* Effect.flatMap(administrator(input), (two) => two.create)
        assert.deepStrictEqual(ready(yield* admin.state()), ["app", "audit"])
        yield* admin.upgrade([])
        assert.deepStrictEqual(yield* admin.createContexts(["jobs", "reports"]), [
          four.contexts.jobs.databaseRole,
          four.contexts.reports.databaseRole
        ])
        assert.deepStrictEqual(yield* admin.createContexts(["jobs", "reports"]), [])
        assert.deepStrictEqual(ready(yield* admin.state()), ["app", "audit", "jobs", "reports"])
        yield* Effect.gen(function*() {
          const datastore = yield* Datastore.Datastore
          assert.strictEqual(yield* datastore.state, "allStarted")
          // They may use the library's tables at once, without another upgrade.
          const { sql } = yield* datastore.context("jobs")
          assert.isAbove((yield* sql`SELECT FROM holdfast.migration`).length, 0)
        }).pipe(Effect.provide(Datastore.layer(runtime(four))))

        assert.deepStrictEqual(yield* admin.dropContexts(["jobs", "reports"]), {
          roles: [four.contexts.jobs.databaseRole, four.contexts.reports.databaseRole],
          rolesKept: []
        })
        assert.deepStrictEqual(yield* admin.dropContexts(["jobs", "reports"]), { roles: [], rolesKept: [] })
        assert.deepStrictEqual((yield* admin.state()).contexts, {
          app: "ready",
          audit: "ready",
          jobs: "notFound",
          reports: "notFound"
        })
      }))
  })

  it.live("a context is dropped with its grants and its sessions, and what it owns goes to the owner", () => {
    const input = makeInput()
    const { app } = input.contexts
    const schema = Migrations.make("app", [{
      name: "1.sql",
      sql: `CREATE SCHEMA app; CREATE TABLE app.thing (i int); GRANT ALL ON SCHEMA app TO \${app};
        GRANT SELECT, INSERT ON app.thing TO \${app}; ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO \${app}`
    }])
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        yield* admin.upgrade([schema])
        const session = yield* connectAs(input.databaseName, app.databaseRole, app.databasePassword)
        yield* session`CREATE TABLE app.own (i int)`
        yield* session`INSERT INTO app.own VALUES (7)`
        assert.deepStrictEqual((yield* admin.dropContexts(["app"])).roles, [app.databaseRole])
        assert.isTrue(Exit.isFailure(yield* Effect.exit(session`SELECT 1`)))
        const superuser = yield* connectAsSuperuser(input.databaseName)
        assert.deepStrictEqual(
          yield* superuser`SELECT tableowner::text AS owner, (SELECT i FROM app.own) AS i FROM pg_tables WHERE tablename = 'own'`,
          [{ owner: input.owner.databaseRole, i: 7 }]
        )
        yield* admin.createContexts(["app"])
        const again = yield* connectAs(input.databaseName, app.databaseRole, app.databasePassword)
        assert.strictEqual((yield* Effect.flip(again`SELECT * FROM app.thing`)).reason._tag, "AuthorizationError")
      }))
  })

  it.live("a context whose role another database hangs on is kept, and cannot connect here", () => {
    const input = makeInput()
    const second = { ...input, databaseName: `${input.databaseName}_2` }
    return withDatastore(input, (admin) =>
      withDatastore(second, () =>
        Effect.gen(function*() {
          const dropped = yield* admin.dropContexts(["app"])
          assert.lengthOf(dropped.roles, 0)
          assert.lengthOf(dropped.rolesKept, 1)
          assert.include(dropped.rolesKept[0]?.problem, second.databaseName)
          assert.strictEqual((yield* admin.state()).contexts["app"], "notReady")
          const { databasePassword, databaseRole } = input.contexts.app
          const refused = yield* Effect.flip(connectAs(input.databaseName, databaseRole, databasePassword))
          assert.strictEqual(refused.reason._tag, "AuthorizationError")
          yield* connectAs(second.databaseName, databaseRole, databasePassword)
        })))
  })

  it.live("names that are not there are typed errors", () => {
    const input = makeInput()
    return withAdmin(input, (admin) =>
      Effect.gen(function*() {
        const failures = [
          yield* Effect.flip(admin.createContexts(["app"])),
          yield* Effect.flip(admin.dropContexts(["app"])),
          yield* Effect.flip(admin.plan([])),
          yield* Effect.flip(admin.versions)
        ]
        assert.deepStrictEqual(failures.map((_) => _._tag), Array(4).fill("DatabaseNotFound"))
        assert.deepInclude(yield* Effect.flip(admin.rotatePassword("app", secret())), {
          _tag: "RoleNotFound",
          databaseRole: input.contexts.app.databaseRole
        })
        yield* admin.create
        const unknown = [
          yield* Effect.flip(admin.createContexts(["toString"])),
          yield* Effect.flip(admin.dropContexts(["toString"])),
          yield* Effect.flip(admin.rotatePassword("toString", secret()))
        ]
        for (const error of unknown) {
          assert.deepInclude(error, {
            _tag: "ContextNotFound",
            contextName: "toString",
            contextNames: ["app", "audit"]
          })
        }
        const invalid = yield* Effect.flip(admin.rotatePassword("app", Redacted.make("")))
        assert.strictEqual(invalid._tag, "InvalidOptions")
        assert.include(invalid.message, "contexts.app.databasePassword must not be empty")
        assert.deepStrictEqual(yield* admin.versions, [])
        assert.lengthOf(yield* admin.plan([]), 1)
        // A plan has done nothing.
        assert.strictEqual((yield* admin.state()).migrations, "notInitialized")
        yield* admin.upgrade([])
        assert.deepStrictEqual(yield* admin.versions, [{ source: "holdfast/datastore", file: "0001_raise.sql" }])
      }))
  })

  it.live("somebody else's role is neither taken over nor dropped, whatever the options call it", () => {
    const input = makeInput()
    const alice = unique("alice")
    const password = secret()
    const taken = {
      ...input,
      contexts: { ...input.contexts, app: { databaseRole: alice, databasePassword: secret() } }
    }
    return Effect.gen(function*() {
      const superuser = yield* connectAsSuperuser()
      yield* superuser.unsafe(`CREATE ROLE ${alice} LOGIN PASSWORD '${Redacted.value(password)}'`)
      yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${alice}`)))
      yield* withAdmin(input, () =>
        Effect.gen(function*() {
          const admin = yield* administrator(taken)
          const refused = yield* Effect.flip(admin.create)
          assert.include(refused.message, `role ${alice} failed: a role of this name exists that no datastore has made`)
          assert.include(refused.message, `GRANT holdfast_contexts TO "${alice}"`)
          assert.include((yield* Effect.flip(admin.drop({ ifExists: true }))).message, "no datastore has made")
          assert.include((yield* Effect.flip(admin.rotatePassword("app", secret()))).message, "no datastore has made")
          yield* connectAs("postgres", alice, password)
          const owned = yield* administrator({ ...input, owner: { databaseRole: alice } })
          assert.include((yield* Effect.flip(owned.create)).message, "GRANT holdfast_owners")
          // Given to datastores, it may be had.
          yield* superuser.unsafe(`GRANT holdfast_contexts TO ${alice}`)
          yield* admin.create
          assert.deepStrictEqual(ready(yield* admin.state()), ["app", "audit"])
          yield* admin.drop()
        }))
      assert.lengthOf(yield* superuser`SELECT FROM pg_roles WHERE rolname = ${alice}`, 0)
    })
  })

  it.live("tables that a superuser installed on first use are the owner's, who upgrades them", () => {
    const input = makeInput()
    const one = { name: "1.sql", text: "CREATE TABLE holdfast.one (id int)" }
    const two = { name: "2.sql", text: "ALTER TABLE holdfast.one ADD COLUMN more int" }
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser(input.databaseName)
        yield* Effect.provideService(ensureInstalled(librarySource("thing", [one])), PgClient.PgClient, superuser)
        const owners =
          yield* superuser`SELECT DISTINCT tableowner::text AS owner FROM pg_tables WHERE schemaname = 'holdfast'`
        assert.deepStrictEqual(owners, [{ owner: input.owner.databaseRole }])
        const applied = yield* admin.upgrade([librarySource("thing", [one, two])])
        assert.deepStrictEqual(applied.map((_) => _.file), ["0001_raise.sql", "2.sql"])
      }))
  })
})
