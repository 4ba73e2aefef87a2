/**
 * A datastore as its administrator has it: making it, migrating it, changing its contexts, dropping it.
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
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type { ConnectionFailed } from "./ConnectionFailed.ts"
import {
  type AdminInput,
  type ConfigInput,
  type ContextState,
  type DatabaseState,
  fromConfig,
  type InvalidOptions,
  type MigrationState
} from "./DatastoreOptions.ts"
import type { AdminStepFailed, DatabaseInUse, DatabaseNotFound, RoleNotFound } from "./internal/adminError.ts"
import { makeAdministrator } from "./internal/administrator.ts"
import type { ContextNotFound } from "./internal/contextService.ts"
import type { Applied, Bindings, MigrationError, Planned, Progress, Source } from "./Migrations.ts"

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
  DatabaseNotFound,
  /**
   * @since 0.1.0
   * @category errors
   */
  RoleNotFound
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
 * What an upgrade may be given.
 *
 * @since 0.1.0
 * @category models
 */
export interface UpgradeOptions {
  /**
   * What placeholders in the files stand for. Bound already are `owner`, `database` and every context by its name: to their
   * roles, and to the name of the database.
   */
  readonly bindings?: Bindings | undefined
  /** Is told how it goes on. */
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

/**
 * What became of contexts that were dropped. A role that something outside of the datastore hangs on is kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface DroppedContexts {
  readonly roles: ReadonlyArray<string>
  readonly rolesKept: ReadonlyArray<{ readonly databaseRole: string; readonly problem: string }>
}

/**
 * What became of a datastore that was dropped. A role that something outside of the datastore hangs on is kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dropped extends DroppedContexts {
  readonly database: boolean
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
   * Once for each server, as a superuser: makes the privileged role of these options, which is none itself, and the groups
   * that all roles of datastores are in. Returns whether the role was made. May be run again, and sets the role's password.
   */
  readonly bootstrap: (superuser: {
    readonly databaseRole: string
    readonly databasePassword?: Redacted.Redacted | undefined
  }) => Effect.Effect<{ readonly roleCreated: boolean }, ConnectionFailed | AdminStepFailed>
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
   * Makes the roles of these contexts of the options, as far as they are missing, and lets them connect. Returns the roles it
   * made. What migrations grant is for migrations to grant.
   */
  readonly createContexts: (names: ReadonlyArray<string>) => Effect.Effect<
    ReadonlyArray<string>,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | ContextNotFound
  >
  /**
   * Drops the roles of these contexts with all that they were granted, and ends their sessions. What they own goes to the
   * owner. A role that is not there is no error.
   */
  readonly dropContexts: (names: ReadonlyArray<string>) => Effect.Effect<
    DroppedContexts,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | ContextNotFound
  >
  /**
   * Changes the password of one context's role. Its open connections go on; new ones need the new password, which
   * `Datastore.restartContext` takes.
   */
  readonly rotatePassword: (name: string, databasePassword: Redacted.Redacted) => Effect.Effect<
    void,
    ConnectionFailed | AdminStepFailed | ContextNotFound | RoleNotFound | InvalidOptions
  >
  /**
   * How the database, the contexts and the migrations stand. Of migrations, the library's own functions and these sources
   * count. A database that was left half made is `"notFound"` still.
   */
  readonly state: (
    sources?: ReadonlyArray<Source>
  ) => Effect.Effect<State, ConnectionFailed | AdminStepFailed>
  /** The newest file that was applied of each source, the library's own among them; none before the first upgrade. */
  readonly versions: Effect.Effect<ReadonlyArray<Applied>, ConnectionFailed | AdminStepFailed | DatabaseNotFound>
  /** What `upgrade` would apply, in order, checked as it would be, without doing anything. */
  readonly plan: (
    sources: ReadonlyArray<Source>,
    options?: { readonly bindings?: Bindings | undefined }
  ) => Effect.Effect<
    ReadonlyArray<Planned>,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | MigrationError
  >
  /**
   * Applies what is missing of these sources, in their order, each file as the owner in a transaction of its own, and
   * returns what it applied. The library's own functions come first. Roles with `libraryAccess` get their access to what
   * library sources install. Two at once do so one after the other.
   */
  readonly upgrade: (
    sources: ReadonlyArray<Source>,
    options?: UpgradeOptions
  ) => Effect.Effect<
    ReadonlyArray<Applied>,
    ConnectionFailed | AdminStepFailed | DatabaseNotFound | MigrationError
  >
}>()("holdfast/datastore/DatastoreAdmin") {}

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
  Layer.effect(DatastoreAdmin, makeAdministrator(input))

/**
 * The administrator of a datastore whose options come from configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: ConfigInput<AdminInput>
): Layer.Layer<DatastoreAdmin, Config.ConfigError | InvalidOptions> =>
  Layer.effect(DatastoreAdmin, Effect.flatMap(fromConfig(config), makeAdministrator))
