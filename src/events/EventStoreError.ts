/**
 * What can go wrong with an event store. There is one error, `EventStoreError`, and its `reason` says which of a few things
 * happened, as with `SqlError`. Catch one of them with `Effect.catchReason("EventStoreError", "StreamNotFound", …)`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { FailedAttemptTypeId } from "../durable/Behaviour.ts"

const StreamFields = {
  /** The id of the store. */
  store: Schema.String,
  /** The id of the stream. */
  eventStreamId: Schema.String
}

const SubscriptionFields = {
  store: Schema.String,
  /** The name of the subscription. */
  name: Schema.String
}

/**
 * There is no stream of that id in the store: nothing was ever appended to it.
 *
 * @since 0.1.0
 * @category errors
 */
export class StreamNotFound extends Schema.TaggedError<StreamNotFound>("holdfast/events/StreamNotFound")(
  "StreamNotFound",
  StreamFields
) {
  override get message() {
    return `there is no stream "${this.eventStreamId}" in the event store ${this.store}`
  }
}

/**
 * The stream was deleted. Its events are still in `$all`; it is neither read nor appended to.
 *
 * @since 0.1.0
 * @category errors
 */
export class StreamDeleted extends Schema.TaggedError<StreamDeleted>("holdfast/events/StreamDeleted")(
  "StreamDeleted",
  StreamFields
) {
  override get message() {
    return `the stream "${this.eventStreamId}" of the event store ${this.store} was deleted`
  }
}

/**
 * How far a stream is expected to be when something is appended to it: the number of its last event, `"noStream"` (there is
 * none yet), `"streamExists"`, or `"any"`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ExpectedVersion = Schema.Union([Schema.Int, Schema.Literals(["any", "noStream", "streamExists"])])

/**
 * How far a stream is expected to be.
 *
 * @since 0.1.0
 * @category models
 */
export type ExpectedVersion = typeof ExpectedVersion.Type

/**
 * The stream is not where the append expected it. Nothing was appended.
 *
 * @since 0.1.0
 * @category errors
 */
export class WrongExpectedVersion extends Schema.TaggedError<WrongExpectedVersion>(
  "holdfast/events/WrongExpectedVersion"
)("WrongExpectedVersion", {
  ...StreamFields,
  expectedVersion: ExpectedVersion,
  /** The number of the stream's last event; -1 where there is no stream. */
  currentVersion: Schema.Int
}) {
  override get message() {
    return `the stream "${this.eventStreamId}" of the event store ${this.store} stands at ${this.currentVersion}, and ` +
      `${JSON.stringify(this.expectedVersion)} was expected`
  }
}

/**
 * An event of that id is in the store already, or the link is in the stream. Nothing was appended.
 *
 * When an append is repeated because nobody knows what became of it, this tells that it was done: the place it names is where.
 *
 * @since 0.1.0
 * @category errors
 */
export class DuplicateEvent extends Schema.TaggedError<DuplicateEvent>("holdfast/events/DuplicateEvent")(
  "DuplicateEvent",
  {
    ...StreamFields,
    eventId: Schema.String,
    /** The number of the event in its stream, where it is in the store; without, the same call names the event twice. */
    eventNumber: Schema.optionalKey(Schema.Int)
  }
) {
  override get message() {
    return this.eventNumber === undefined
      ? `the event ${this.eventId} is named twice`
      : `the event ${this.eventId} is in the event store ${this.store} already: number ${this.eventNumber} of ` +
        `"${this.eventStreamId}"`
  }
}

/**
 * There is no event of that id.
 *
 * @since 0.1.0
 * @category errors
 */
export class EventNotFound extends Schema.TaggedError<EventNotFound>("holdfast/events/EventNotFound")(
  "EventNotFound",
  { store: Schema.String, eventId: Schema.String }
) {
  override get message() {
    return `there is no event ${this.eventId} in the event store ${this.store}`
  }
}

/**
 * An event that cannot be stored: its data is not JSON, its schema refuses it, or it is too large. Nothing was appended.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidEvent extends Schema.TaggedError<InvalidEvent>("holdfast/events/InvalidEvent")("InvalidEvent", {
  ...StreamFields,
  /** `data`, `metadata`, `eventType`, `eventId`, … */
  field: Schema.String,
  issue: Schema.String
}) {
  override get message() {
    return `the ${this.field} of an event for "${this.eventStreamId}" was refused: ${this.issue}`
  }
}

/**
 * An argument that cannot be meant: an id that is reserved or too long, a count below 1. Nothing was done.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidArgument extends Schema.TaggedError<InvalidArgument>("holdfast/events/InvalidArgument")(
  "InvalidArgument",
  { field: Schema.String, issue: Schema.String }
) {
  override get message() {
    return `${this.field} was refused: ${this.issue}`
  }
}

/**
 * What is stored does not decode with the schemas that the store now has.
 *
 * @since 0.1.0
 * @category errors
 */
export class EventUndecodable extends Schema.TaggedError<EventUndecodable>("holdfast/events/EventUndecodable")(
  "EventUndecodable",
  {
    ...StreamFields,
    eventNumber: Schema.Int,
    eventType: Schema.String,
    issue: Schema.String
  }
) {
  override get message() {
    return `event ${this.eventNumber} of "${this.eventStreamId}" (${this.eventType}) does not decode: ${this.issue}`
  }
}

/**
 * There is no persistent subscription of that name and selector. Where deliveries were under way, it was removed.
 *
 * @since 0.1.0
 * @category errors
 */
export class SubscriptionNotFound extends Schema.TaggedError<SubscriptionNotFound>(
  "holdfast/events/SubscriptionNotFound"
)("SubscriptionNotFound", SubscriptionFields) {
  override get message() {
    return `there is no subscription "${this.name}" to the event store ${this.store}`
  }
}

/**
 * The subscription has another owner by now, so this delivery is nobody's to acknowledge here: it is delivered there again.
 *
 * @since 0.1.0
 * @category errors
 */
export class SubscriptionLost extends Schema.TaggedError<SubscriptionLost>("holdfast/events/SubscriptionLost")(
  "SubscriptionLost",
  SubscriptionFields
) {
  override get message() {
    return `the subscription "${this.name}" to the event store ${this.store} has another owner by now`
  }
}

/**
 * As many subscribers as the subscription allows are there already.
 *
 * @since 0.1.0
 * @category errors
 */
export class TooManySubscribers extends Schema.TaggedError<TooManySubscribers>("holdfast/events/TooManySubscribers")(
  "TooManySubscribers",
  { ...SubscriptionFields, concurrencyLimit: Schema.Int }
) {
  override get message() {
    return `the subscription "${this.name}" to the event store ${this.store} has ${this.concurrencyLimit} subscribers ` +
      "already, as many as its concurrencyLimit"
  }
}

/**
 * There is no such snapshot.
 *
 * @since 0.1.0
 * @category errors
 */
export class SnapshotNotFound extends Schema.TaggedError<SnapshotNotFound>("holdfast/events/SnapshotNotFound")(
  "SnapshotNotFound",
  {
    ...StreamFields,
    sourceId: Schema.String,
    /** The version that was asked for; without, any. */
    version: Schema.optionalKey(Schema.Int)
  }
) {
  override get message() {
    const version = this.version === undefined ? "" : ` at version ${this.version}`
    return `there is no snapshot of "${this.sourceId}" for "${this.eventStreamId}"${version} in the event store ${this.store}`
  }
}

/**
 * There is no store of that id, or it was removed.
 *
 * @since 0.1.0
 * @category errors
 */
export class StoreNotFound extends Schema.TaggedError<StoreNotFound>("holdfast/events/StoreNotFound")("StoreNotFound", {
  store: Schema.String
}) {
  override get message() {
    return `there is no event store ${this.store}`
  }
}

/**
 * There is a store of that id already.
 *
 * @since 0.1.0
 * @category errors
 */
export class AlreadyExists extends Schema.TaggedError<AlreadyExists>("holdfast/events/AlreadyExists")("AlreadyExists", {
  store: Schema.String
}) {
  override get message() {
    return `there is an event store ${this.store} already`
  }
}

/**
 * The store was made without `hardDeletes`: its streams are deleted softly, or not at all.
 *
 * @since 0.1.0
 * @category errors
 */
export class HardDeletesDisabled extends Schema.TaggedError<HardDeletesDisabled>("holdfast/events/HardDeletesDisabled")(
  "HardDeletesDisabled",
  StreamFields
) {
  override get message() {
    return `the event store ${this.store} was made without hardDeletes`
  }
}

/**
 * A transaction at another isolation level than READ COMMITTED cannot append: whatever was appended since it began is in
 * its way.
 *
 * @since 0.1.0
 * @category errors
 */
export class IsolationNotSupported extends Schema.TaggedError<IsolationNotSupported>(
  "holdfast/events/IsolationNotSupported"
)("IsolationNotSupported", { ...StreamFields, isolation: Schema.String }) {
  override get message() {
    return `a transaction appends under READ COMMITTED, and this one is ${this.isolation}`
  }
}

/**
 * A handler's appends are committed with its state, and this store is not kept where its server is: in the same database, by the
 * same client; or in memory, where the server is in memory. Nothing was appended. An action after the commit may append to it.
 *
 * @since 0.1.0
 * @category errors
 */
export class StoreElsewhere extends Schema.TaggedError<StoreElsewhere>("holdfast/events/StoreElsewhere")(
  "StoreElsewhere",
  { ...StreamFields, kind: Schema.String, key: Schema.String }
) {
  override get message() {
    return `the event store ${this.store} is not kept where the server ${this.kind} "${this.key}" is: its handlers cannot ` +
      "append to it in their transitions"
  }
}

/**
 * The store did not answer in time, or refused to.
 *
 * @since 0.1.0
 * @category errors
 */
export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>("holdfast/events/StoreUnavailable")(
  "StoreUnavailable",
  {
    store: Schema.String,
    /** What was asked of it. */
    operation: Schema.String,
    detail: Schema.String,
    /** Whether it may be done all the same. An append that is repeated with the same event ids finds out. */
    mayBeDone: Schema.Boolean
  }
) {
  override get message() {
    const done = this.mayBeDone ? ", and may be done all the same" : ""
    return `${this.operation} on the event store ${this.store} was not answered${done}: ${this.detail}`
  }
}

/**
 * The token does not give this right. The answer is the same whether there is such a store or not. Nothing was done.
 *
 * @since 0.1.0
 * @category errors
 */
export class AccessDenied extends Schema.TaggedError<AccessDenied>("holdfast/events/AccessDenied")("AccessDenied", {
  store: Schema.String,
  /** The rights of which one would do. */
  rights: Schema.Array(Schema.Literals(["read", "append", "subscribe", "admin"]))
}) {
  override get message() {
    return `the token does not give the right to ${this.rights.join(" or ")} in the event store ${this.store}`
  }
}

/**
 * The gateway was shown no token, one that it did not issue, or one that has expired. Nothing was done.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenRefused extends Schema.TaggedError<TokenRefused>("holdfast/events/TokenRefused")("TokenRefused", {
  problem: Schema.Literals(["missing", "invalid", "expired"])
}) {
  override get message() {
    return {
      missing: "the gateway asks for a token",
      invalid: "the gateway did not issue this token",
      expired: "the token has expired"
    }[this.problem]
  }
}

/**
 * No worker of the gateway that serves the store could be reached in time. Nothing was done.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoGatewayWorkers extends Schema.TaggedError<NoGatewayWorkers>("holdfast/events/NoGatewayWorkers")(
  "NoGatewayWorkers",
  {
    store: Schema.String,
    /** For how long one was looked for. */
    waitedMillis: Schema.Int,
    detail: Schema.String
  }
) {
  override get message() {
    return `no gateway worker for the event store ${this.store} within ${this.waitedMillis} ms: ${this.detail}`
  }
}

/**
 * There is more to do than is allowed at once, or what was asked of has not answered for a while. Nothing was done; it may be
 * asked again after a pause.
 *
 * @since 0.1.0
 * @category errors
 */
export class Overloaded extends Schema.TaggedError<Overloaded>("holdfast/events/Overloaded")("Overloaded", {
  /** What there is too much of: requests or subscriptions of one client, requests for one store; or what does not answer. */
  what: Schema.Literals(["requests", "subscriptions", "store"]),
  /** How many are allowed at once, where that is the matter. */
  limit: Schema.optionalKey(Schema.Int)
}) {
  override get message() {
    return this.limit === undefined
      ? `the ${this.what} has not answered for a while, and is let be`
      : `more than ${this.limit} ${this.what === "store" ? "requests for one store" : this.what} at once`
  }
}

/**
 * A request that is larger than the gateway lets through. Nothing was done.
 *
 * @since 0.1.0
 * @category errors
 */
export class RequestTooLarge extends Schema.TaggedError<RequestTooLarge>("holdfast/events/RequestTooLarge")(
  "RequestTooLarge",
  {
    /** How large a request may be, in bytes. */
    limit: Schema.Int
  }
) {
  override get message() {
    return `the request has more than ${this.limit} bytes, which is the most that the gateway lets through`
  }
}

/**
 * A request that the gateway does not understand: no client of this library sends one. Nothing was done.
 *
 * @since 0.1.0
 * @category errors
 */
export class MalformedRequest extends Schema.TaggedError<MalformedRequest>("holdfast/events/MalformedRequest")(
  "MalformedRequest",
  { issue: Schema.String }
) {
  override get message() {
    return `the gateway does not understand the request: ${this.issue}`
  }
}

const Reason = Schema.Union([
  AccessDenied,
  AlreadyExists,
  DuplicateEvent,
  EventNotFound,
  EventUndecodable,
  HardDeletesDisabled,
  InvalidArgument,
  InvalidEvent,
  IsolationNotSupported,
  MalformedRequest,
  NoGatewayWorkers,
  Overloaded,
  RequestTooLarge,
  SnapshotNotFound,
  StoreElsewhere,
  StoreNotFound,
  StoreUnavailable,
  StreamDeleted,
  StreamNotFound,
  SubscriptionLost,
  SubscriptionNotFound,
  TokenRefused,
  TooManySubscribers,
  WrongExpectedVersion
])

/**
 * Everything that can go wrong with an event store.
 *
 * @since 0.1.0
 * @category models
 */
export type EventStoreErrorReason = typeof Reason.Type

/**
 * The one error of event stores.
 *
 * **Example** (Starting where somebody else was first)
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { EventStoreError } from "holdfast/events"
 *
 * declare const append: Effect.Effect<number, EventStoreError.EventStoreError>
 *
 * export const version = append.pipe(
 *   Effect.catchReason("EventStoreError", "WrongExpectedVersion", ({ currentVersion }) => Effect.succeed(currentVersion))
 * )
 * ```
 *
 * @since 0.1.0
 * @category errors
 */
export class EventStoreError extends Schema.TaggedError<EventStoreError>("holdfast/events/EventStoreError")(
  "EventStoreError",
  { reason: Reason }
) {
  /** In a handler of a durable server that does not declare it, it is a failed attempt. */
  get [FailedAttemptTypeId](): true {
    return true
  }
  override get message() {
    return this.reason.message
  }
}
