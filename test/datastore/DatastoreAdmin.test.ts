import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted } from "effect"
import { Datastore, DatastoreAdmin, type DatastoreOptions } from "holdfast/datastore"
import {
  admin as superuserLogin,
  connectAs,
  connectAsSuperuser,
  makeInput,
  runtime,
  secret,
  unique,
  withAdmin,
  withDatastore
} from "./support.ts"

const canConnect = (input: DatastoreOptions.Input, name: string) => {
  const context = input.contexts[name]
  return Effect.scoped(connectAs(input.databaseName, context?.databaseRole ?? "", context?.databasePassword)).pipe(
    Effect.match({ onFailure: () => false, onSuccess: () => true })
  )
}

describe("DatastoreAdmin", () => {
  it.live("create makes roles and database, ready to use; a second create finds nothing to do", () => {
    const input = makeInput()
    return withAdmin(input, (admin) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* admin.state(), {
          database: "notFound",
          contexts: { app: "notFound", audit: "notFound" },
          migrations: "notInitialized"
        })
        assert.deepStrictEqual(yield* admin.create, {
          database: true,
          roles: [input.owner.databaseRole, input.contexts.app.databaseRole, input.contexts.audit.databaseRole]
        })
        assert.deepStrictEqual(yield* admin.create, { database: false, roles: [] })
        assert.deepStrictEqual(yield* admin.state(), {
          database: "ready",
          contexts: { app: "ready", audit: "ready" },
          migrations: "notInitialized"
        })
        assert.isTrue(yield* canConnect(input, "app"))
        assert.isTrue(yield* canConnect(input, "audit"))
      }))
  })

  it.live("create again sets the passwords that the options have now", () => {
    const input = makeInput()
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const app = { ...input.contexts.app, databasePassword: secret() }
        const changed = { ...input, contexts: { ...input.contexts, app } }
        yield* withoutDrop(changed, (admin) => admin.create)
        assert.isFalse(yield* canConnect(input, "app"))
        assert.isTrue(yield* canConnect(changed, "app"))
      }))
  })

  it.live("create adds the contexts that the options have gained", () => {
    const input = makeInput()
    const more = {
      ...input,
      contexts: { ...input.contexts, jobs: { databaseRole: unique("jobs"), databasePassword: secret() } }
    }
    return withAdmin(more, (admin) =>
      Effect.gen(function*() {
        yield* withoutDrop(input, (before) => before.create)
        assert.strictEqual((yield* admin.state()).contexts.jobs, "notFound")
        assert.deepStrictEqual(yield* admin.create, { database: false, roles: [more.contexts.jobs.databaseRole] })
        assert.strictEqual((yield* admin.state()).contexts.jobs, "ready")
        assert.isTrue(yield* canConnect(more, "jobs"))
      }))
  })

  it.live("two creates at once make one datastore", () => {
    const input = makeInput()
    return withAdmin(input, (admin) =>
      Effect.gen(function*() {
        const results = yield* Effect.all([admin.create, admin.create, admin.create], { concurrency: 3 })
        assert.deepStrictEqual(results.map((_) => _.database).sort(), [false, false, true])
      }))
  })

  it.live("only a granted role can connect, and no login role can become the owner", () => {
    const input = makeInput()
    const stranger = unique("stranger")
    const password = secret()
    return withDatastore(input, () =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser()
        yield* superuser.unsafe(`CREATE ROLE ${stranger} LOGIN PASSWORD '${Redacted.value(password)}'`)
        yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${stranger}`)))
        const refused = yield* Effect.flip(connectAs(input.databaseName, stranger, password))
        assert.strictEqual(refused.reason._tag, "AuthorizationError")

        const app = yield* connectAs(
          input.databaseName,
          input.contexts.app.databaseRole,
          input.contexts.app.databasePassword
        )
        const error = yield* Effect.flip(app`SET ROLE ${app(input.owner.databaseRole)}`)
        assert.strictEqual(error.reason._tag, "AuthorizationError")
        assert.strictEqual(
          (yield* Effect.flip(app`CREATE TABLE public.mine (i int)`)).reason._tag,
          "AuthorizationError"
        )
        assert.strictEqual((yield* Effect.flip(app`CREATE SCHEMA mine`)).reason._tag, "AuthorizationError")
        const [owner] = yield* superuser<{ rolcanlogin: boolean }>`
          SELECT rolcanlogin FROM pg_roles WHERE rolname = ${input.owner.databaseRole}`
        assert.isFalse(owner?.rolcanlogin)
      }))
  })

  it.live("passwords are kept as SCRAM-SHA-256 verifiers, salted anew each time", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser()
        const verifier = superuser<{ readonly rolpassword: string }>`
          SELECT rolpassword FROM pg_authid WHERE rolname = ${input.contexts.app.databaseRole}`
        const [first] = yield* verifier
        assert.match(first?.rolpassword ?? "", /^SCRAM-SHA-256\$4096:[^$]+\$[^:]+:.+$/)
        yield* admin.create
        const [second] = yield* verifier
        assert.notStrictEqual(first?.rolpassword, second?.rolpassword)
      }))
  })

  it.live("names with capitals, dashes, quotes and umlauts are just names", () => {
    const odd = (what: string) => `${unique("Odd")}-"${what}"'s \\Ü%s`
    const input = {
      ...makeInput(),
      databaseName: odd("db"),
      owner: { databaseRole: odd("owner"), description: "It's the \"owner\" \\ of all" },
      contexts: {
        "the app": { databaseRole: odd("app"), databasePassword: Redacted.make("p'w\"\\$ü%"), description: "x'y" }
      }
    }
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        assert.deepStrictEqual((yield* admin.state()).contexts, { "the app": "ready" })
        yield* admin.upgrade([])
        const sql = yield* connectAs(
          input.databaseName,
          input.contexts["the app"].databaseRole,
          input.contexts["the app"].databasePassword
        )
        const [row] = yield* sql<{ db: string; role: string; comment: string }>`
          SELECT current_database()::text AS db, current_user::text AS role, shobj_description(oid, 'pg_authid') AS comment
          FROM pg_roles WHERE rolname = ${input.owner.databaseRole}`
        assert.deepStrictEqual(row, {
          db: input.databaseName,
          role: input.contexts["the app"].databaseRole,
          comment: input.owner.description
        })
      }))
  })

  it.live("a create that fails in the middle says what was done, and goes on when run again", () => {
    const input = makeInput()
    const other = unique("other")
    return withAdmin(input, (admin) =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser()
        yield* superuser.unsafe(`CREATE ROLE ${other}`)
        yield* superuser.unsafe(`CREATE DATABASE ${input.databaseName} OWNER ${other}`)
        yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${other}`)))

        const error = yield* Effect.flip(admin.create)
        assert.strictEqual(error._tag, "AdminStepFailed")
        assert.deepInclude(error, { step: `database ${input.databaseName}`, done: ["connect", "roles", "ownership"] })
        assert.include(error.message, `belongs to role "${other}"`)
        assert.strictEqual((yield* Effect.flip(admin.drop())).message.includes("belongs to role"), true)

        yield* superuser.unsafe(`DROP DATABASE ${input.databaseName}`)
        assert.deepStrictEqual(yield* admin.create, { database: true, roles: [] })
        assert.strictEqual((yield* admin.state()).database, "ready")
      }))
  })

  it.live("a database that was left closed, half made, is finished by the next create", () => {
    const input = makeInput()
    return withAdmin(input, (admin) =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser()
        yield* admin.create
        yield* superuser.unsafe(`DROP DATABASE ${input.databaseName}`)
        yield* superuser.unsafe(
          `CREATE DATABASE ${input.databaseName} OWNER ${input.owner.databaseRole} ALLOW_CONNECTIONS false`
        )
        assert.deepStrictEqual((yield* admin.state()).database, "notFound")
        assert.isFalse((yield* admin.create).database)
        assert.strictEqual((yield* admin.state()).database, "ready")
        assert.isTrue(yield* canConnect(input, "app"))
      }))
  })

  it.live("a create that is cut off at any moment goes on when it is run again", () =>
    Effect.forEach([2, 5, 10, 15, 20, 30, 45, 70, 100], (millis) => {
      const input = makeInput()
      return withAdmin(input, (admin) =>
        Effect.gen(function*() {
          yield* Effect.timeoutOption(admin.create, millis)
          yield* admin.create
          assert.deepStrictEqual(yield* admin.state(), {
            database: "ready",
            contexts: { app: "ready", audit: "ready" },
            migrations: "notInitialized"
          })
        }))
    }))

  it.live("roles are made all or none, and a superuser is never one of them", () => {
    const input = makeInput()
    const boss = unique("boss")
    const bad = {
      ...input,
      contexts: { ...input.contexts, boss: { databaseRole: boss, databasePassword: secret() } }
    }
    return Effect.gen(function*() {
      const superuser = yield* connectAsSuperuser()
      yield* superuser.unsafe(`CREATE ROLE ${boss} SUPERUSER NOLOGIN`)
      yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${boss}`)))
      yield* withoutDrop(bad, (admin) =>
        Effect.gen(function*() {
          assert.include((yield* Effect.flip(admin.create)).message, `role ${boss} failed`)
          assert.include((yield* Effect.flip(admin.drop())).message, `role ${boss} failed`)
        }))
      const left = yield* superuser`SELECT FROM pg_roles WHERE rolname = ${input.contexts.app.databaseRole}`
      assert.lengthOf(left, 0)
      const self = { ...input, owner: { databaseRole: input.admin.databaseRole } }
      assert.include(
        (yield* Effect.flip(withoutDrop(self, (admin) => admin.create))).message,
        "privileged role that does the work"
      )
    })
  })

  it.live("a login role that is a member of the owner is not let through: the database stays closed", () => {
    const input = makeInput()
    const { contexts: { app }, owner } = input
    return withAdmin(input, (admin) =>
      Effect.gen(function*() {
        yield* admin.bootstrap(superuserLogin)
        const superuser = yield* connectAsSuperuser()
        yield* superuser.unsafe(`CREATE ROLE ${owner.databaseRole} IN ROLE holdfast_owners`)
        yield* superuser.unsafe(`CREATE ROLE ${app.databaseRole} IN ROLE holdfast_contexts, ${owner.databaseRole}`)
        const error = yield* Effect.flip(admin.create)
        assert.deepInclude(error, { _tag: "AdminStepFailed", step: "isolation" })
        assert.include(error.message, "could act as it")
        assert.strictEqual((yield* admin.state()).database, "notFound")
        assert.isFalse(yield* canConnect(input, "app"))

        yield* superuser.unsafe(`REVOKE ${owner.databaseRole} FROM ${app.databaseRole}`)
        yield* admin.create
        assert.isTrue(yield* canConnect(input, "app"))
      }))
  })

  it.live("drop takes database and roles; a second drop is NotFound, or nothing with ifExists", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        yield* admin.upgrade([])
        const dropped = yield* admin.drop()
        assert.isTrue(dropped.database)
        assert.sameMembers([...dropped.roles], [
          input.owner.databaseRole,
          input.contexts.app.databaseRole,
          input.contexts.audit.databaseRole
        ])
        assert.lengthOf(dropped.rolesKept, 0)
        assert.strictEqual((yield* Effect.flip(admin.drop()))._tag, "DatabaseNotFound")
        assert.deepStrictEqual(yield* admin.drop({ ifExists: true }), { database: false, roles: [], rolesKept: [] })
        assert.strictEqual((yield* admin.state()).database, "notFound")
      }))
  })

  it.live("a database in use is dropped only by force, which ends its sessions", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const app = yield* connectAs(
          input.databaseName,
          input.contexts.app.databaseRole,
          input.contexts.app.databasePassword
        )
        const error = yield* Effect.flip(admin.drop())
        assert.strictEqual(error._tag, "DatabaseInUse")
        assert.include(error.message, "1 other session")
        assert.isTrue((yield* admin.drop({ force: true })).database)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(app`SELECT 1`)))
      }))
  })

  it.live("a role that another database hangs on is kept, and named", () => {
    const input = makeInput()
    const second = { ...input, databaseName: `${input.databaseName}_2` }
    return withDatastore(input, (admin) =>
      withDatastore(second, () =>
        Effect.gen(function*() {
          const dropped = yield* admin.drop()
          assert.lengthOf(dropped.roles, 0)
          assert.lengthOf(dropped.rolesKept, 3)
          assert.include(dropped.rolesKept.map((_) => _.problem).join(), second.databaseName)
          assert.isTrue(yield* canConnect(second, "app"))
        })))
  })

  it.live("a drop that lost its database on the way still takes the roles", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser()
        yield* superuser.unsafe(`DROP DATABASE ${input.databaseName}`)
        const dropped = yield* admin.drop()
        assert.isFalse(dropped.database)
        assert.lengthOf(dropped.roles, 3)
      }))
  })

  it.live("an administrator need not be a superuser", () => {
    const input = makeInput()
    const role = unique("builder")
    const password = secret()
    return Effect.gen(function*() {
      const superuser = yield* connectAsSuperuser()
      yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${role}`)))
      yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP OWNED BY ${role}`)))
      yield* withAdmin(
        { ...input, admin: { databaseRole: role, databasePassword: password } },
        (admin) =>
          Effect.gen(function*() {
            assert.deepStrictEqual(yield* admin.bootstrap(superuserLogin), { roleCreated: true })
            assert.deepStrictEqual(yield* admin.bootstrap(superuserLogin), { roleCreated: false })
            const [privileges] = yield* superuser`
              SELECT rolsuper, rolcreatedb, rolcreaterole, rolcanlogin FROM pg_roles WHERE rolname = ${role}`
            assert.deepStrictEqual(privileges, {
              rolsuper: false,
              rolcreatedb: true,
              rolcreaterole: true,
              rolcanlogin: true
            })
            yield* admin.create
            yield* admin.create
            yield* admin.upgrade([])
            assert.strictEqual((yield* admin.state()).migrations, "ready")
            assert.isTrue(yield* canConnect(input, "app"))
            yield* admin.dropContexts(["audit"])
            assert.deepStrictEqual((yield* admin.state()).contexts, { app: "ready", audit: "notFound" })
            yield* admin.createContexts(["audit"])
            const next = secret()
            yield* admin.rotatePassword("app", next)
            const app = { ...input.contexts.app, databasePassword: next }
            const session = yield* connectAs(input.databaseName, app.databaseRole, next)
            assert.lengthOf((yield* admin.drop({ force: true })).roles, 3)
            assert.isTrue(Exit.isFailure(yield* Effect.exit(session`SELECT 1`)))
          })
      )
    })
  })

  it.live("connection failures are told apart: no server, wrong password, no database", () => {
    const input = makeInput()
    return Effect.gen(function*() {
      const nowhere = { ...input, dbServer: { host: "127.0.0.1", port: 1 } }
      const unreachable = yield* Effect.flip(withoutDrop(nowhere, (admin) => admin.create))
      assert.deepInclude(unreachable, { _tag: "ConnectionFailed", reason: "serverUnreachable" })
      assert.include(unreachable.message, "127.0.0.1:1")

      const wrong = { ...input, admin: { ...input.admin, databasePassword: Redacted.make("not-the-password") } }
      const rejected = yield* Effect.exit(withoutDrop(wrong, (admin) => admin.create))
      assert.isTrue(Exit.isFailure(rejected))
      const rendered = Exit.isFailure(rejected) ? Cause.pretty(rejected.cause) + JSON.stringify(rejected.cause) : ""
      assert.include(rendered, "passwordRejected")
      assert.notInclude(rendered, "not-the-password")

      const missing = yield* Effect.flip(withoutDrop(input, (admin) => admin.upgrade([])))
      assert.strictEqual(missing._tag, "DatabaseNotFound")
    })
  })

  it.live("no password reaches a statement that the server shows or keeps", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser()
        const seen = yield* Effect.forkChild(Effect.forever(
          Effect.map(
            superuser<{ query: string }>`SELECT query FROM pg_stat_activity WHERE application_name LIKE 'holdfast%'`,
            (rows) => {
              for (const { query } of rows) {
                assert.notInclude(query, Redacted.value(input.contexts.app.databasePassword))
              }
            }
          )
        ))
        yield* Effect.repeat(admin.create, { times: 5 })
        assert.isUndefined(seen.pollUnsafe())
      }).pipe(Effect.andThen(
        Effect.gen(function*() {
          const datastore = yield* Datastore.Datastore
          assert.strictEqual(yield* datastore.state, "allStarted")
        }).pipe(Effect.provide(Datastore.layer(runtime(input))))
      )))
  })
})

/** The administrator's service without the clean-up, where another one does that. */
function withoutDrop<A, E, R>(
  input: DatastoreOptions.AdminInput,
  self: (admin: DatastoreAdmin.DatastoreAdmin["Service"]) => Effect.Effect<A, E, R>
) {
  return Effect.provide(Effect.flatMap(DatastoreAdmin.DatastoreAdmin, self), DatastoreAdmin.layer(input))
}
