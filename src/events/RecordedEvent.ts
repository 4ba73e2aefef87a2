/**
 * Events as they are given to a store, and as they come out of it.
 *
 * An event belongs to one stream, in which it has a number, and has a place in the order of the whole store. Data and
 * metadata are JSON. Once recorded, nothing of it ever changes.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The id that stands for all streams of a store: its events in the order in which they were committed. It is read, and never
 * appended to.
 *
 * @since 0.1.0
 * @category constants
 */
export const all = "$all"

/**
 * What is recorded beside the data. Anything goes; `correlationId` (what belongs together) and `causationId` (the event or
 * command that this one follows from) are what everybody means by these names.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Metadata = Schema.StructWithRest(
  Schema.Struct({
    correlationId: Schema.optionalKey(Schema.String),
    causationId: Schema.optionalKey(Schema.String)
  }),
  [Schema.Record(Schema.String, Schema.Json)]
)

/**
 * What is recorded beside the data.
 *
 * @since 0.1.0
 * @category models
 */
export interface Metadata {
  readonly correlationId?: string
  readonly causationId?: string
  readonly [key: string]: Schema.Json
}

/**
 * An event to be appended.
 *
 * @since 0.1.0
 * @category models
 */
export interface NewEvent {
  /** What kind of thing happened: 1 to 512 bytes. */
  readonly eventType: string
  readonly data: Schema.Json
  /** A UUID. Given, it makes a repeated append recognisable; without, a new one in the order of time (version 7). */
  readonly eventId?: string | undefined
  readonly metadata?: Metadata | undefined
  /** What the data is, for readers: a label. `application/json` by default. */
  readonly dataContentType?: string | undefined
  readonly metadataContentType?: string | undefined
}

/**
 * Where a link to an event is, when the event was read by way of it.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Link = Schema.Struct({
  eventStreamId: Schema.String,
  /** The number of the link in its stream, by which that stream is paged. */
  eventNumber: Schema.Int
})

/**
 * An event as it was recorded.
 *
 * @since 0.1.0
 * @category schemas
 */
export const RecordedEvent = Schema.Struct({
  /** The stream to which it was appended. */
  eventStreamId: Schema.String,
  /** Its number there, from 0 and without gaps. */
  eventNumber: Schema.Int,
  /** Its place among all events of the store, from 0 and without gaps, in the order of commits. */
  globalPosition: Schema.Int,
  eventId: Schema.String,
  eventType: Schema.String,
  data: Schema.Json,
  metadata: Metadata,
  dataContentType: Schema.String,
  metadataContentType: Schema.String,
  created: Schema.DateTimeUtc,
  /** The same in microseconds since 1970. */
  createdEpoch: Schema.Int,
  /** Where it was read, when that was by way of a link. */
  link: Schema.optionalKey(Link)
})

/**
 * An event as it was recorded.
 *
 * @since 0.1.0
 * @category models
 */
export type RecordedEvent = typeof RecordedEvent.Type

/**
 * What is known of a stream.
 *
 * @since 0.1.0
 * @category schemas
 */
export const StreamInfo = Schema.Struct({
  eventStreamId: Schema.String,
  /** The number of its last event or link. */
  version: Schema.Int,
  created: Schema.DateTimeUtc,
  /** Whether it was deleted softly. */
  deleted: Schema.Boolean
})

/**
 * What is known of a stream.
 *
 * @since 0.1.0
 * @category models
 */
export type StreamInfo = typeof StreamInfo.Type
