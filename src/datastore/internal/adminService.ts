/**
 * The service that makes, changes and drops one datastore, and what its operations take and tell.
 *
 * It lies apart from its two users: `administrator` does the work, and `DatastoreAdmin` makes layers of it.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { ConnectionFailed } from "../ConnectionFailed.ts"
import type { ContextState, DatabaseState, InvalidOptions, MigrationState } from "../DatastoreOptions.ts"
import type { Applied, Bindings, MigrationError, Planned, Progress, Source } from "../Migrations.ts"
import type { AdminStepFailed, DatabaseInUse, DatabaseNotFound, RoleNotFound } from "./adminError.ts"
import type { ContextNotFound } from "./contextService.ts"

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
