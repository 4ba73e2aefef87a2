/**
 * Snapshots: states that were built from a stream, kept so that they need not be built again from its beginning.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A state that was built from a stream up to a version, kept so that it need not be built again.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Snapshot = Schema.Struct({
  /** Who made it: a projection, an aggregate. */
  sourceId: Schema.String,
  eventStreamId: Schema.String,
  /** The number of the last event that is in it. */
  version: Schema.Int,
  record: Schema.Json,
  created: Schema.DateTimeUtc
})

/**
 * A state that was built from a stream up to a version.
 *
 * @since 0.1.0
 * @category models
 */
export type Snapshot = typeof Snapshot.Type
