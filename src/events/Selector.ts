/**
 * What a subscription is about: which events of a store it is given.
 *
 * **Example** (The four kinds)
 *
 * ```ts
 * import { Selector } from "holdfast/events"
 *
 * export const one = Selector.byStream("SEA")
 * export const everything = Selector.all
 * export const departures = Selector.byEventType("Departed", "Cancelled")
 * export const ofOneUser = Selector.byEventPattern({ eventType: "Departed", metadata: { user: "ada" } })
 * export const late = Selector.byEventPayload({ flight: { carrier: "AS" } })
 * ```
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as RecordedEvent from "./RecordedEvent.ts"

/**
 * Selects all events of one stream, links included, by their numbers in it; or, with `$all`, those of the whole store, by
 * their global positions.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ByStream = Schema.TaggedStruct("byStream", { eventStreamId: Schema.String })

/**
 * Selects the events of some types.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ByEventType = Schema.TaggedStruct("byEventType", { eventTypes: Schema.NonEmptyArray(Schema.String) })

/**
 * Selects the events of which this is a part: every field that is named has this value, and `data` and `metadata` contain
 * what is given here.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ByEventPattern = Schema.TaggedStruct("byEventPattern", {
  pattern: Schema.Struct({
    eventStreamId: Schema.optionalKey(Schema.String),
    eventType: Schema.optionalKey(Schema.String),
    eventId: Schema.optionalKey(Schema.String),
    eventNumber: Schema.optionalKey(Schema.Int),
    dataContentType: Schema.optionalKey(Schema.String),
    metadataContentType: Schema.optionalKey(Schema.String),
    data: Schema.optionalKey(Schema.Json),
    metadata: Schema.optionalKey(Schema.Json)
  })
})

/**
 * Selects the events whose data contains this. An object contains another one if it has all its keys, with values that
 * contain its values; an array, if each of its elements is contained in one of the array's own.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ByEventPayload = Schema.TaggedStruct("byEventPayload", { payload: Schema.Json })

/**
 * What a subscription is about.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Selector = Schema.Union([ByStream, ByEventType, ByEventPattern, ByEventPayload])

/**
 * What a subscription is about.
 *
 * @since 0.1.0
 * @category models
 */
export type Selector = typeof Selector.Type

/**
 * A part of a recorded event.
 *
 * @since 0.1.0
 * @category models
 */
export type Pattern = typeof ByEventPattern.Type["pattern"]

/**
 * Selects the events of one stream, or of all of them: `$all`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const byStream = (eventStreamId: string): Selector => ({ _tag: "byStream", eventStreamId })

/**
 * Selects every event of the store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const all: Selector = byStream(RecordedEvent.all)

/**
 * Selects the events of some types.
 *
 * @since 0.1.0
 * @category constructors
 */
export const byEventType = (...eventTypes: readonly [string, ...ReadonlyArray<string>]): Selector => ({
  _tag: "byEventType",
  eventTypes
})

/**
 * Selects the events of which this is a part.
 *
 * @since 0.1.0
 * @category constructors
 */
export const byEventPattern = (pattern: Pattern): Selector => ({ _tag: "byEventPattern", pattern })

/**
 * Selects the events whose data contains this.
 *
 * @since 0.1.0
 * @category constructors
 */
export const byEventPayload = (payload: Schema.Json): Selector => ({ _tag: "byEventPayload", payload })
