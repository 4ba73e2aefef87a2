/**
 * How a store is made, and what is known of one.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * How a store is to be.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StoreConfig = Schema.Struct({
  /** What it is for, for people. */
  description: Schema.optionalKey(Schema.String),
  /** Whether streams may be deleted with their events. Then positions and numbers may have gaps. */
  hardDeletes: Schema.optionalKey(Schema.Boolean)
})

/**
 * How a store is to be.
 *
 * @since 0.1.0
 * @category models
 */
export type StoreConfig = typeof StoreConfig.Type

/**
 * What is known of a store.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StoreStatus = Schema.Struct({
  store: Schema.String,
  /** The position of the last event; -1 where there is none. */
  globalPosition: Schema.Int,
  /** How many streams it has, those that were deleted softly included. */
  streams: Schema.Int,
  /** How many persistent subscriptions it has. */
  subscriptions: Schema.Int,
  created: Schema.DateTimeUtc
})

/**
 * What is known of a store.
 *
 * @since 0.1.0
 * @category models
 */
export type StoreStatus = typeof StoreStatus.Type
