/**
 * The registry in which the workers of an event gateway are entered: who there is, where, for which stores, and how busy.
 *
 * On Postgres it is as wide as the database; its `layer` is that of one process, for tests. A worker that has died is in it until
 * its lease has run out, and clients find out before that by themselves.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as ProfileRegistry from "../registry/ProfileRegistry.ts"
import { WorkerInfo } from "./GatewayRpcs.ts"

/**
 * A worker, and which of its entries: what is said of a worker is said anew in an entry of its own, before the old one goes.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Entry = Schema.Struct({ worker: Schema.String, turn: Schema.Int })

/**
 * The registry of gateway workers.
 *
 * @since 0.1.0
 * @category services
 */
export class GatewayWorkers extends ProfileRegistry.Service<GatewayWorkers, WorkerInfo>()(
  "holdfast/events/GatewayWorkers",
  { profile: Entry, address: WorkerInfo }
) {}

/**
 * The registry on every process of a database.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPostgres = GatewayWorkers.layerPostgres

/**
 * The registry of this process alone.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = GatewayWorkers.layer
