/**
 * A datastore as its administrator has it: making it, migrating it, dropping it.
 *
 * This service alone holds the privileged role. Each operation opens connections of its own and closes them, so nothing
 * privileged is open in between. All operations may be run again: {@link DatastoreAdmin} makes what is missing, sets what
 * differs, and goes on from where a run that failed left off.
 *
 * What it makes: an owner role that cannot log in and owns everything; one login role for each context, which owns nothing;
 * a database that only those roles can connect to. Passwords go to the server as SCRAM-SHA-256 verifiers computed here.
 *
 * @since 0.1.0
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import type { ConnectionFailed } from "./ConnectionFailed.ts"
import {
  type AdminInput,
  type AdminOptions,
  checkAdmin,
  type ConfigInput,
  type ContextState,
  type DatabaseState,
  fromConfig,
  type InvalidOptions,
  type MigrationState
} from "./DatastoreOptions.ts"
import { grantAccess } from "./internal/access.ts"
import { type AdminStepFailed, DatabaseInUse, DatabaseNotFound, makeSteps } from "./internal/adminError.ts"
import { connect } from "./internal/connection.ts"
import {
  createDatabase,
  findDatabase,
  grantConnect,
  openDatabase,
  proveIsolation,
  refuseForeignDatabase
} from "./internal/databases.ts"
import { identifier } from "./internal/identifier.ts"
import { apply, datastoreSource, inspect } from "./internal/ledger.ts"
import {
  createRoles,
  type DroppedRoles,
  dropRoles,
  refuseForeignRoles,
  takeOwnership,
  wantedRoles
} from "./internal/roles.ts"
import { rows, run } from "./internal/sqlScript.ts"
import { serverError } from "./internal/sqlState.ts"
import type { Applied, MigrationError, Source } from "./Migrations.ts"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  AdminStepFailed,
  /**
   * @since 0.1.0
   * @category errors
   */
  DatabaseInUse,
  /**
   * @since 0.1.0
   * @category errors
   */
  DatabaseNotFound
} from "./internal/adminError.ts"

/**
 * What {@link DatastoreAdmin} made in one run of `create`: nothing, where all of it was there.
 *
 * @since 0.1.0
 * @category models
 */
export interface Created {
  readonly database: boolean
  readonly roles: ReadonlyArray<string>
}

/**
 * What became of a datastore that was dropped. A role that something outside of the datastore hangs on is kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dropped {
  readonly database: boolean
  readonly roles: ReadonlyArray<string>
  readonly rolesKept: ReadonlyArray<{ readonly databaseRole: string; readonly problem: string }>
}

/**
 * How a datastore stands on its server.
 *
 * @since 0.1.0
 * @category models
 */
export interface State {
  readonly database: DatabaseState
  readonly contexts: { readonly [name: string]: ContextState }
  readonly migrations: MigrationState
}

/**
 * Creates, migrates and drops one datastore.
 *
 * @since 0.1.0
 * @category services
 */
export class DatastoreAdmin extends Context.Service<DatastoreAdmin, {
  readonly databaseName: string
  /**
   * Makes the roles, the database and its grants, as far as they are missing. The passwords of roles that are there are set
   * to those of the options. A failure leaves what can be gone on from, and its error says what was done.
   */
  readonly create: Effect.Effect<Created, ConnectionFailed | AdminStepFailed>
  /**
   * Drops the database and its roles. Fails with {@link DatabaseNotFound} when none of it is there, unless `ifExists`, and
   * with {@link DatabaseInUse} while sessions are open (the server gives them 5 seconds to end), unless `force`, which ends
   * them at once.
   */
  readonly drop: (options?: {
    readonly force?: boolean | undefined
    readonly ifExists?: boolean | undefined
  }) => Effect.Effect<Dropped, ConnectionFailed | AdminStepFailed | DatabaseNotFound | DatabaseInUse>
  /**
   * How the database, the contexts and the migrations stand. Of migrations, the library's own functions and these sources
   * count. A database that was left half made is `"notFound"` still.
   */
  readonly state: (
    sources?: ReadonlyArray<Source>
  ) => Effect.Effect<State, ConnectionFailed | AdminStepFailed>
  /**
   * Applies what is missing of these sources, in their order, each file as the owner in a transaction of its own, and
   * returns what it applied. The library's own functions come first. Roles with `libraryAccess` get their access to what
   * library sources install. Two at once do so one after the other.
   */
  readonly upgrade: (
    sources: ReadonlyArray<Source>
  ) => Effect.Effect<
    ReadonlyArray<Applied>,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | MigrationError
  >
}>()("holdfast/datastore/DatastoreAdmin") {}

/** Of 'hole': another space than that of the lock of migrations. */
const lockSpace = 1752132709

const make = Effect.fnUntraced(function*(
  input: AdminInput
): Effect.fn.Return<DatastoreAdmin["Service"], InvalidOptions> {
  const options: AdminOptions = yield* checkAdmin(input)
  const { databaseName } = options
  const roleNames = [
    ...Object.values(options.contexts).map((context) => context.databaseRole),
    options.owner.databaseRole
  ]

  const connectTo = (databaseName: string): Effect.Effect<PgClient.PgClient, ConnectionFailed, Scope.Scope> =>
    connect(options.dbServer, {
      databaseName,
      databaseRole: options.admin.databaseRole,
      databasePassword: options.admin.databasePassword,
      applicationName: "holdfast admin"
    })

  const connectToMaintenance: Effect.Effect<Connection, ConnectionFailed | SqlError, Scope.Scope> = Effect.flatMap(
    connectTo(options.admin.maintenanceDatabase),
    (client) => client.reserve
  )

  /** One at a time makes or drops this database. The lock lies in the maintenance database, and ends with the session. */
  const connectExclusively = Effect.tap(
    connectToMaintenance,
    (connection) => run(connection, `SELECT pg_advisory_lock(${lockSpace}, hashtext($1))`, [databaseName])
  )

  const create = Effect.fn("DatastoreAdmin.create")(function*(): Effect.fn.Return<
    Created,
    ConnectionFailed | AdminStepFailed,
    Scope.Scope
  > {
    const step = makeSteps("create")
    const connection = yield* step("connect", connectExclusively)
    const roles = yield* step(
      "roles",
      Effect.flatMap(wantedRoles(options), (wanted) => createRoles(connection, wanted))
    )
    yield* step("ownership", takeOwnership(connection, options.owner.databaseRole))
    const database = yield* step("database", createDatabase(connection, options))
    yield* step("grants", grantConnect(connection, options))
    yield* step("isolation", proveIsolation(connection, options))
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
    yield* step("roles", refuseForeignRoles(connection, "drop", roleNames))
    if (existing !== undefined) {
      yield* step("database", dropDatabase(connection, force))
    }
    const roles: DroppedRoles = yield* step("roles", dropRoles(connection, roleNames))
    if (existing === undefined && roles.dropped.length === 0 && roles.kept.length === 0 && !ifExists) {
      return yield* new DatabaseNotFound({ databaseName })
    }
    return { database: existing !== undefined, roles: roles.dropped, rolesKept: roles.kept }
  }, Effect.scoped)

  const contextStates = Effect.fnUntraced(function*(connection: Connection, databaseFound: boolean) {
    const found = databaseFound
      ? yield* rows<{ readonly role: string; readonly login: boolean; readonly connects: boolean }>(
        connection,
        `SELECT rolname::text AS role, rolcanlogin AS login, has_database_privilege(oid, $1, 'CONNECT') AS connects
        FROM pg_roles WHERE rolname = ANY($2::text[])`,
        [databaseName, roleNames]
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

  const upgrade = Effect.fn("DatastoreAdmin.upgrade")(function*(
    sources: ReadonlyArray<Source>
  ): Effect.fn.Return<
    ReadonlyArray<Applied>,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | MigrationError,
    Scope.Scope
  > {
    const step = makeSteps("upgrade")
    const client = yield* connectTo(databaseName).pipe(
      Effect.mapError((error) => error.reason === "databaseNotFound" ? new DatabaseNotFound({ databaseName }) : error)
    )
    return yield* step(
      "migrations",
      apply(client, [datastoreSource, ...sources], {
        role: options.owner.databaseRole,
        grantAccess: (connection, schema) => grantAccess(connection, schema, options.contexts)
      })
    )
  }, Effect.scoped)

  return DatastoreAdmin.of({ databaseName, create: Effect.suspend(create), drop, state, upgrade })
})

/**
 * The administrator of a datastore.
 *
 * **Details**
 *
 * Fails with `InvalidOptions`; nothing is opened before an operation is run. `admin` must be a role that may create roles
 * and databases.
 *
 * **Example** (A script that makes a datastore)
 *
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { DatastoreAdmin } from "holdfast/datastore"
 *
 * const AdminLive = DatastoreAdmin.layer({
 *   databaseName: "airports",
 *   dbServer: { host: "localhost" },
 *   owner: { databaseRole: "airports_owner" },
 *   contexts: { app: { databaseRole: "airports_app", databasePassword: Redacted.make("…") } },
 *   admin: { databaseRole: "postgres", databasePassword: Redacted.make("…") }
 * })
 *
 * const setUp = Effect.gen(function*() {
 *   const admin = yield* DatastoreAdmin.DatastoreAdmin
 *   yield* admin.create
 *   return yield* admin.upgrade([])
 * }).pipe(Effect.provide(AdminLive))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (input: AdminInput): Layer.Layer<DatastoreAdmin, InvalidOptions> =>
  Layer.effect(DatastoreAdmin, make(input))

/**
 * The administrator of a datastore whose options come from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: ConfigInput<AdminInput>
): Layer.Layer<DatastoreAdmin, Config.ConfigError | InvalidOptions> =>
  Layer.effect(DatastoreAdmin, Effect.flatMap(fromConfig(config), make))
