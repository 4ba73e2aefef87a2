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
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type AdminInput, type ConfigInput, fromConfig, type InvalidOptions } from "./DatastoreOptions.ts"
import { makeAdministrator } from "./internal/administrator.ts"
import { DatastoreAdmin } from "./internal/adminService.ts"

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

export {
  /**
   * @since 0.1.0
   * @category models
   */
  type Created,
  /**
   * @since 0.1.0
   * @category services
   */
  DatastoreAdmin,
  /**
   * @since 0.1.0
   * @category models
   */
  type Dropped,
  /**
   * @since 0.1.0
   * @category models
   */
  type DroppedContexts,
  /**
   * @since 0.1.0
   * @category models
   */
  type State,
  /**
   * @since 0.1.0
   * @category models
   */
  type UpgradeOptions
} from "./internal/adminService.ts"

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
