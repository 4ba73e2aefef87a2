/**
 * The work of an administrator: the operations of `DatastoreAdmin`, each over connections of its own.
 *
 * An operation is a series of steps, each of which finds done what an earlier run has done; that is what makes an operation
 * good to be run again after it failed, or was killed, anywhere. What makes or drops holds a lock meanwhile, so that two of
 * them on one database do so one after the other.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import type { ConnectionFailed } from "../ConnectionFailed.ts"
import {
  type AdminInput,
  type AdminOptions,
  checkAdmin,
  type ContextState,
  type InvalidOptions,
  type MigrationState
} from "../DatastoreOptions.ts"
import type { Applied, Bindings, MigrationError, Planned, Source } from "../Migrations.ts"
import { grantAccess } from "./access.ts"
import {
  type AdminStepFailed,
  DatabaseInUse,
  DatabaseNotFound,
  makeSteps,
  type Operation,
  RoleNotFound
} from "./adminError.ts"
import type { Created, DatastoreAdmin, Dropped, DroppedContexts, State, UpgradeOptions } from "./adminService.ts"
import { bootstrapServer } from "./bootstrap.ts"
import { connect } from "./connection.ts"
import { ContextNotFound } from "./contextService.ts"
import {
  createDatabase,
  findDatabase,
  grantConnect,
  openDatabase,
  proveIsolation,
  refuseForeignDatabase
} from "./databases.ts"
import { identifier } from "./identifier.ts"
import { apply, datastoreSource, inspect, newest, plan as planUpgrade } from "./ledger.ts"
import {
  createRoles,
  dropRoles,
  expectedRoles,
  refuseForeignRoles,
  setPassword,
  strip,
  takeOn,
  wantedContexts,
  wantedOwner
} from "./roles.ts"
import { inTransaction, rows, run } from "./sqlScript.ts"
import { serverError } from "./sqlState.ts"

/** Of 'hole': another space than that of the lock of migrations. */
const lockSpace = 1752132709

/** An administrator of these options. Opens nothing before an operation is run. */
export const makeAdministrator = Effect.fnUntraced(function*(
  input: AdminInput
): Effect.fn.Return<DatastoreAdmin["Service"], InvalidOptions> {
  const options: AdminOptions = yield* checkAdmin(input)
  const { databaseName } = options
  const roles = expectedRoles(options)

  const connectTo = (
    databaseName: string,
    login: Pick<AdminOptions["admin"], "databaseRole" | "databasePassword"> = options.admin
  ): Effect.Effect<PgClient.PgClient, ConnectionFailed, Scope.Scope> =>
    connect(options.dbServer, {
      databaseName,
      databaseRole: login.databaseRole,
      databasePassword: login.databasePassword,
      applicationName: "holdfast admin"
    })

  /** A client of the datastore's own database. */
  const connectToDatastore = connectTo(databaseName).pipe(
    Effect.mapError((error) => error.reason === "databaseNotFound" ? new DatabaseNotFound({ databaseName }) : error)
  )

  const connectToMaintenance: Effect.Effect<Connection, ConnectionFailed | SqlError, Scope.Scope> = Effect.flatMap(
    connectTo(options.admin.maintenanceDatabase),
    (client) => client.reserve
  )

  /** One at a time makes or drops this database. The lock lies in the maintenance database, and ends with the session. */
  const connectExclusively = Effect.tap(
    connectToMaintenance,
    (connection) => run(connection, `SELECT pg_advisory_lock(${lockSpace}, hashtext($1))`, [databaseName])
  )

  /** The contexts of these names, all of which must be in the options. */
  const named = Effect.fnUntraced(function*(names: ReadonlyArray<string>) {
    const contexts: Record<string, AdminOptions["contexts"][string]> = {}
    for (const name of names) {
      const context = Object.hasOwn(options.contexts, name) ? options.contexts[name] : undefined
      if (context === undefined) {
        const contextNames = Object.keys(options.contexts)
        return yield* new ContextNotFound({ databaseName, contextName: name, contextNames })
      }
      contexts[name] = context
    }
    return { ...options, contexts }
  })

  const bindings = (given: Bindings = {}): Bindings => ({
    ...Object.fromEntries(Object.entries(options.contexts).map(([name, context]) => [name, context.databaseRole])),
    owner: options.owner.databaseRole,
    database: databaseName,
    ...given
  })

  const bootstrap = Effect.fn("DatastoreAdmin.bootstrap")(function*(
    superuser: Pick<AdminOptions["admin"], "databaseRole"> & {
      readonly databasePassword?: Redacted.Redacted | undefined
    }
  ): Effect.fn.Return<{ readonly roleCreated: boolean }, ConnectionFailed | AdminStepFailed, Scope.Scope> {
    const step = makeSteps("bootstrap")
    const { databasePassword, databaseRole } = superuser
    const client = yield* connectTo(
      options.admin.maintenanceDatabase,
      databasePassword === undefined ? { databaseRole } : { databasePassword, databaseRole }
    )
    const connection = yield* step("connect", client.reserve)
    return { roleCreated: yield* step("privileged role", bootstrapServer(connection, options.admin)) }
  }, Effect.scoped)

  const create = Effect.fn("DatastoreAdmin.create")(function*(): Effect.fn.Return<
    Created,
    ConnectionFailed | AdminStepFailed,
    Scope.Scope
  > {
    const step = makeSteps("create")
    const connection = yield* step("connect", connectExclusively)
    const roles = yield* step(
      "roles",
      Effect.flatMap(
        wantedContexts(options.contexts),
        (contexts) => createRoles(connection, "create", [wantedOwner(options), ...contexts])
      )
    )
    yield* step("ownership", takeOn(connection, options.owner.databaseRole))
    const database = yield* step("database", createDatabase(connection, options))
    yield* step("grants", grantConnect(connection, options))
    yield* step("isolation", proveIsolation(connection, "create", options))
    yield* step("opening", openDatabase(connection, options))
    return { database, roles }
  }, Effect.scoped)

  const dropDatabase = (connection: Connection, force: boolean): Effect.Effect<void, SqlError | DatabaseInUse> =>
    run(connection, `DROP DATABASE ${identifier(databaseName)}${force ? " WITH (FORCE)" : ""}`).pipe(
      Effect.mapError((error) => {
        const said = serverError(error)
        return said?.code === "55006"
          ? new DatabaseInUse({ databaseName, problem: said.detail ?? said.message })
          : error
      })
    )

  const drop = Effect.fn("DatastoreAdmin.drop")(function*({ force = false, ifExists = false }: {
    readonly force?: boolean | undefined
    readonly ifExists?: boolean | undefined
  } = {}): Effect.fn.Return<
    Dropped,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | DatabaseInUse,
    Scope.Scope
  > {
    const step = makeSteps("drop")
    const connection = yield* step("connect", connectExclusively)
    const existing = yield* step("look up", findDatabase(connection, databaseName))
    yield* refuseForeignDatabase("drop", options, existing)
    yield* step("look up", refuseForeignRoles(connection, "drop", roles))
    if (existing !== undefined) {
      yield* step("database", dropDatabase(connection, force))
    }
    const { dropped, kept } = yield* step("roles", dropRoles(connection, "drop", roles))
    if (existing === undefined && dropped.length === 0 && kept.length === 0 && !ifExists) {
      return yield* new DatabaseNotFound({ databaseName })
    }
    return { database: existing !== undefined, roles: dropped, rolesKept: kept }
  }, Effect.scoped)

  /** Brings the access of these contexts to the library's tables to what the options say, once there are any. */
  const grantLibrary = Effect.fnUntraced(function*(contexts: AdminOptions["contexts"]) {
    const client = yield* connectToDatastore
    const connection = yield* client.reserve
    const [ledger] = yield* rows<{ readonly there: boolean }>(
      connection,
      "SELECT to_regclass('holdfast.migration') IS NOT NULL AS there"
    )
    if (ledger?.there === true) {
      yield* inTransaction(
        connection,
        Effect.andThen(
          run(connection, `SET LOCAL ROLE ${identifier(options.owner.databaseRole)}`),
          grantAccess(connection, "holdfast", contexts)
        )
      )
    }
  })

  /** A database that is there, is open and is ours. */
  const findOwn = Effect.fnUntraced(function*(connection: Connection, operation: Operation) {
    const existing = yield* findDatabase(connection, databaseName)
    yield* refuseForeignDatabase(operation, options, existing)
    if (existing?.open !== true) {
      return yield* new DatabaseNotFound({ databaseName })
    }
  })

  const createContexts = Effect.fn("DatastoreAdmin.createContexts")(function*(
    names: ReadonlyArray<string>
  ): Effect.fn.Return<
    ReadonlyArray<string>,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | ContextNotFound,
    Scope.Scope
  > {
    const step = makeSteps("createContexts")
    const chosen = yield* named(names)
    const connection = yield* step("connect", connectExclusively)
    yield* step("look up", findOwn(connection, "createContexts"))
    const created = yield* step(
      "roles",
      Effect.flatMap(wantedContexts(chosen.contexts), (wanted) => createRoles(connection, "createContexts", wanted))
    )
    yield* step("grants", grantConnect(connection, chosen))
    yield* step("isolation", proveIsolation(connection, "createContexts", chosen))
    yield* step("library access", grantLibrary(chosen.contexts))
    return created
  }, Effect.scoped)

  const dropContexts = Effect.fn("DatastoreAdmin.dropContexts")(function*(
    names: ReadonlyArray<string>
  ): Effect.fn.Return<
    DroppedContexts,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | ContextNotFound,
    Scope.Scope
  > {
    const step = makeSteps("dropContexts")
    const chosen = yield* named(names)
    const connection = yield* step("connect", connectExclusively)
    yield* step("look up", findOwn(connection, "dropContexts"))
    const contexts = expectedRoles(chosen).filter((role) => role.kind === "context")
    const existing = yield* step("look up", refuseForeignRoles(connection, "dropContexts", contexts))
    const inside = yield* step("connect", Effect.flatMap(connectToDatastore, (client) => client.reserve))
    const rolesKept: Array<DroppedContexts["rolesKept"][number]> = []
    for (const databaseRole of existing) {
      const problem = yield* step(`grants of role ${databaseRole}`, strip(inside, databaseRole, options))
      if (problem !== undefined) {
        rolesKept.push({ databaseRole, problem })
      }
    }
    const free = contexts.filter(({ name }) => rolesKept.every((kept) => kept.databaseRole !== name))
    const { dropped, kept } = yield* step("roles", dropRoles(connection, "dropContexts", free))
    return { roles: dropped, rolesKept: [...rolesKept, ...kept] }
  }, Effect.scoped)

  const rotatePassword = Effect.fn("DatastoreAdmin.rotatePassword")(function*(
    contextName: string,
    databasePassword: Redacted.Redacted
  ): Effect.fn.Return<
    void,
    ConnectionFailed | AdminStepFailed | ContextNotFound | RoleNotFound | InvalidOptions,
    Scope.Scope
  > {
    const step = makeSteps("rotatePassword")
    const databaseRole = (yield* named([contextName])).contexts[contextName]?.databaseRole ?? ""
    // As if the options had it: with the same words where it will not do.
    yield* checkAdmin({ ...input, contexts: { [contextName]: { databaseRole, databasePassword } } })
    const connection = yield* step("connect", connectToMaintenance)
    const expected = [{ kind: "context", name: databaseRole } as const]
    const existing = yield* step("look up", refuseForeignRoles(connection, "rotatePassword", expected))
    if (!existing.has(databaseRole)) {
      return yield* new RoleNotFound({ contextName, databaseRole })
    }
    yield* step("password", setPassword(connection, databaseRole, databasePassword))
  }, Effect.scoped)

  const contextStates = Effect.fnUntraced(function*(connection: Connection, databaseFound: boolean) {
    const found = databaseFound
      ? yield* rows<{ readonly role: string; readonly login: boolean; readonly connects: boolean }>(
        connection,
        `SELECT rolname::text AS role, rolcanlogin AS login, has_database_privilege(oid, $1, 'CONNECT') AS connects
        FROM pg_roles WHERE rolname = ANY($2::text[])`,
        [databaseName, roles.map((role) => role.name)]
      )
      : []
    const byRole = new Map(found.map((row) => [row.role, row]))
    return Object.fromEntries(
      Object.entries(options.contexts).map(([name, context]): [string, ContextState] => {
        const role = byRole.get(context.databaseRole)
        if (role === undefined) {
          return [name, "notFound"]
        }
        const ready = role.login === context.loginContext && (role.connects || !context.loginContext)
        return [name, ready ? "ready" : "notReady"]
      })
    )
  })

  const migrationState = Effect.fnUntraced(function*(sources: ReadonlyArray<Source>) {
    const client = yield* connectTo(databaseName)
    const installed = yield* inspect(client, sources)
    if (installed === undefined) {
      return "notInitialized"
    }
    return Array.from(installed.values()).every((source) => source.missing.length === 0 && source.changed.length === 0)
      ? "ready"
      : "notUpdated"
  }, Effect.scoped)

  const state = Effect.fn("DatastoreAdmin.state")(function*(
    sources: ReadonlyArray<Source> = []
  ): Effect.fn.Return<State, ConnectionFailed | AdminStepFailed, Scope.Scope> {
    const step = makeSteps("state")
    const connection = yield* step("connect", connectToMaintenance)
    const existing = yield* step("database", findDatabase(connection, databaseName))
    const contexts = yield* step("contexts", contextStates(connection, existing !== undefined))
    const open = existing?.open === true
    const migrations: MigrationState = open
      ? yield* step("migrations", migrationState([datastoreSource, ...sources]))
      : "notInitialized"
    return { database: open ? "ready" : "notFound", contexts, migrations }
  }, Effect.scoped)

  const versions = Effect.fn("DatastoreAdmin.versions")(function*(): Effect.fn.Return<
    ReadonlyArray<Applied>,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound,
    Scope.Scope
  > {
    const step = makeSteps("versions")
    return yield* step("ledger", Effect.flatMap(connectToDatastore, newest))
  }, Effect.scoped)

  const plan = Effect.fn("DatastoreAdmin.plan")(function*(
    sources: ReadonlyArray<Source>,
    planOptions?: { readonly bindings?: Bindings | undefined }
  ): Effect.fn.Return<
    ReadonlyArray<Planned>,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | MigrationError,
    Scope.Scope
  > {
    const step = makeSteps("plan")
    const client = yield* connectToDatastore
    return yield* step("ledger", planUpgrade(client, [datastoreSource, ...sources], bindings(planOptions?.bindings)))
  }, Effect.scoped)

  const upgrade = Effect.fn("DatastoreAdmin.upgrade")(function*(
    sources: ReadonlyArray<Source>,
    upgradeOptions: UpgradeOptions = {}
  ): Effect.fn.Return<
    ReadonlyArray<Applied>,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | MigrationError,
    Scope.Scope
  > {
    const step = makeSteps("upgrade")
    const client = yield* connectToDatastore
    return yield* step(
      "migrations",
      apply(client, [datastoreSource, ...sources], {
        role: options.owner.databaseRole,
        grantAccess: (connection, schema) => grantAccess(connection, schema, options.contexts),
        bindings: bindings(upgradeOptions.bindings),
        onProgress: upgradeOptions.onProgress
      })
    )
  }, Effect.scoped)

  return {
    databaseName,
    bootstrap,
    create: Effect.suspend(create),
    createContexts,
    drop,
    dropContexts,
    plan,
    rotatePassword,
    state,
    upgrade,
    versions: Effect.suspend(versions)
  }
})
