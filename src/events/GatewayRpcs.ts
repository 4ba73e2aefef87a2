/**
 * What goes over the wire between an event gateway and its workers: everything that an event store can do, as one Rpc group.
 *
 * The wire lies where a store meets the place that keeps it. On the client's side of it events are checked, encoded and given
 * their ids, so that an append can be repeated and is recognised; and subscriptions are handed out and acknowledged, by key
 * where that is wanted, in the process of those who handle them. What goes over the wire of a subscription is `Watch`, a stream
 * that tells when there is something new; `Scan`, a page of selected events after a cursor, asked for when there is room; and
 * `Checkpoint`, which acknowledges everything up to a cursor under the fencing token of a claim. So back-pressure is what it is
 * without a gateway, and a reader that has lost its worker goes on at its cursor with another one.
 *
 * Appends that are ready together travel together, and so do requests of any kind in one frame. Recorded events are JSON that
 * was made once, and that no schema walks through on its way.
 *
 * Programs use `EventGateway` and `GatewayWorker`; this is for those who write another end.
 *
 * @since 0.1.0
 */
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { EventStoreError, ExpectedVersion } from "./EventStoreError.ts"
import { StreamInfo } from "./RecordedEvent.ts"
import * as Selector from "./Selector.ts"
import { Snapshot } from "./Snapshot.ts"
import { StoreConfig, StoreStatus } from "./StoreConfig.ts"
import { SubscriptionInfo } from "./Subscription.ts"

const Nullable = <S extends Schema.Top>(schema: S) => Schema.NullOr(schema)

/**
 * An event to be appended: id, whether somebody may have used that id before, type, data and metadata as JSON text, content
 * types. What is null is left to the store.
 *
 * @since 0.1.0
 * @category models
 */
export type EncodedEvent = readonly [
  id: string,
  idGiven: boolean,
  type: string,
  data: string,
  metadata: string | null,
  dataContentType: string | null,
  metadataContentType: string | null
]

/**
 * An append: the stream, how far it is expected to be, and the events.
 *
 * @since 0.1.0
 * @category models
 */
export type Append = readonly [
  eventStreamId: string,
  expectedVersion: ExpectedVersion,
  events: readonly [EncodedEvent, ...ReadonlyArray<EncodedEvent>]
]

type Appends = readonly [Append, ...ReadonlyArray<Append>]

const isArray: (value: unknown) => value is ReadonlyArray<unknown> = Array.isArray

const isTextOrNull = (value: unknown): boolean => value === null || typeof value === "string"

const isEncodedEvent = (value: unknown): boolean =>
  isArray(value) && value.length === 7 && typeof value[0] === "string" && typeof value[1] === "boolean" &&
  typeof value[2] === "string" && typeof value[3] === "string" && isTextOrNull(value[4]) && isTextOrNull(value[5]) &&
  isTextOrNull(value[6])

const isAppend = (value: unknown): value is Append =>
  isArray(value) && value.length === 3 && typeof value[0] === "string" && isExpectedVersion(value[1]) &&
  isArray(value[2]) && value[2].length > 0 && value[2].every(isEncodedEvent)

const isExpectedVersion = Schema.is(ExpectedVersion)

const isAppends = (value: unknown): value is Appends => isArray(value) && value.length > 0 && value.every(isAppend)

/** What is JSON as it is. A schema that knows of every field would take as long as the append itself. */
const plain = <A>(is: (value: unknown) => value is A, expected: string) =>
  Schema.declare(is, {
    expected,
    toCodecJson: () => Schema.link<A>()(Schema.Any, SchemaTransformation.passthrough())
  })

/**
 * An append, as it goes over the wire.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Append = plain(isAppend, "an append")

/**
 * Appends of one store, at least one.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Appends = plain(isAppends, "appends")

const isVersion = (value: unknown): value is readonly [index: number, version: number] =>
  isArray(value) && value.length === 2 && Number.isSafeInteger(value[0]) && Number.isSafeInteger(value[1])

/**
 * What became of one of several appends, by its place among them: the number of the last event, or why there is none.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Appended = Schema.Union([
  plain(isVersion, "a place and a version"),
  Schema.Tuple([Schema.Int, EventStoreError])
])

/**
 * Some of the events that were asked for, as many as go in one answer.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Piece = Schema.Struct({
  /** A JSON array, made and read without a schema. */
  events: Schema.Any,
  /** Where the rest begins; null where there is none. */
  next: Nullable(Schema.Int)
})

/**
 * Selected events in order, and how far was looked for them.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Page = Schema.Struct({ events: Schema.Any, scannedTo: Schema.Int, atEnd: Schema.Boolean })

const Stored = { store: Schema.String }
const InStream = { ...Stored, eventStreamId: Schema.String }

/** A claim of a persistent subscription, as its worker knows it. */
const Claim = { ...Stored, id: Schema.Int, token: Schema.Int }

const rpc = <const Tag extends string, const Fields extends Schema.Struct.Fields, Success extends Schema.Top>(
  tag: Tag,
  payload: Fields,
  success: Success
) => Rpc.make(tag, { payload, success, error: EventStoreError })

const Checkpointed = Schema.Literals(["done", "lost", "gone"])

/**
 * What an event store can do.
 *
 * @since 0.1.0
 * @category protocols
 */
export class GatewayRpcs extends RpcGroup.make(
  // Appending
  /** One append, alone: the number of its last event. */
  rpc("Append", { ...Stored, append: Append }, Schema.Int),
  /** Appends of one client that were ready together. Each is decided for itself, and told when it is. */
  Rpc.make("AppendEach", {
    payload: { ...Stored, appends: Appends },
    success: Appended,
    error: EventStoreError,
    stream: true
  }),
  rpc(
    "Link",
    { ...InStream, expectedVersion: ExpectedVersion, eventIds: Schema.NonEmptyArray(Schema.String) },
    Schema.Int
  ),
  /** Whether these events are in the stream one after the other, from a number on: what became of a lost append or link. */
  rpc("Holds", { ...InStream, first: Schema.Int, eventIds: Schema.Array(Schema.String) }, Schema.Boolean),
  rpc("DeleteStream", { ...InStream, expectedVersion: ExpectedVersion, hard: Schema.Boolean }, Schema.Void),
  // Reading
  rpc("Read", {
    ...InStream,
    start: Schema.Int,
    count: Schema.Int,
    direction: Schema.Literals(["forward", "backward"])
  }, Piece),
  rpc("StreamInfo", InStream, Nullable(StreamInfo)),
  rpc("Streams", { ...Stored, after: Schema.String, limit: Schema.Int }, Schema.Array(StreamInfo)),
  rpc("Head", { ...Stored, selector: Selector.Selector }, Schema.Int),
  // Subscriptions
  rpc("Scan", { ...Stored, selector: Selector.Selector, after: Schema.Int, limit: Schema.Int }, Page),
  Rpc.make("Watch", {
    payload: Stored,
    /** Events were appended, subscriptions have become free or are gone; the first tells that the watch has begun. */
    success: Schema.Literals(["events", "subscriptions", "watching"]),
    error: EventStoreError,
    stream: true
  }),
  rpc("SaveSubscription", {
    ...Stored,
    name: Schema.String,
    selector: Selector.Selector,
    position: Schema.Int
  }, Schema.Void),
  rpc(
    "RemoveSubscription",
    { ...Stored, name: Schema.String, selector: Nullable(Selector.Selector) },
    Schema.Boolean
  ),
  rpc("Subscriptions", Stored, Schema.Array(SubscriptionInfo)),
  rpc(
    "Claim",
    { ...Stored, name: Schema.String, selector: Selector.Selector },
    Schema.Union([
      Schema.TaggedStruct("Claimed", { id: Schema.Int, token: Schema.Int, position: Schema.Int }),
      Schema.TaggedStruct("Held", {}),
      Schema.TaggedStruct("Gone", {})
    ])
  ),
  rpc("Checkpoint", { ...Claim, position: Schema.Int }, Checkpointed),
  rpc("Park", {
    ...Claim,
    cursor: Schema.Int,
    eventId: Schema.String,
    attempts: Schema.Int,
    reason: Schema.String
  }, Checkpointed),
  rpc("Release", Claim, Schema.Void),
  // Snapshots
  rpc(
    "RecordSnapshot",
    { ...InStream, sourceId: Schema.String, version: Schema.Int, record: Schema.String },
    Schema.Void
  ),
  Rpc.make("Snapshots", {
    payload: {
      ...Stored,
      sourceId: Nullable(Schema.String),
      eventStreamId: Nullable(Schema.String),
      version: Nullable(Schema.Int),
      limit: Nullable(Schema.Int)
    },
    success: Snapshot,
    error: EventStoreError,
    stream: true
  }),
  rpc("DeleteSnapshot", { ...InStream, sourceId: Schema.String, version: Schema.Int }, Schema.Boolean),
  // Stores
  rpc("CreateStore", { ...Stored, config: StoreConfig }, Schema.Boolean),
  rpc("RemoveStore", { ...Stored, purge: Schema.Boolean }, Schema.Boolean),
  rpc("Stores", {}, Schema.Array(Schema.String)),
  rpc("StoreStatus", Stored, StoreStatus),
  rpc("StoreConfig", Stored, StoreConfig)
) {}

/**
 * A worker of the gateway, as others see it.
 *
 * @since 0.1.0
 * @category schemas
 */
export const WorkerInfo = Schema.Struct({
  /** Unlike that of any other, also of one that was started anew in its place. */
  id: Schema.String,
  /** Where it is reached: `http://host:port`, or `https`. */
  url: Schema.String,
  /** The stores that it serves; null: all of them. */
  stores: Nullable(Schema.Array(Schema.String)),
  /** How much it has to do: requests in flight and subscriptions, when it last said so. */
  load: Schema.Int
})

/**
 * A worker of the gateway, as others see it.
 *
 * @since 0.1.0
 * @category models
 */
export type WorkerInfo = typeof WorkerInfo.Type

/**
 * What a client is told when it comes: which workers there are, and what is allowed.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Welcome = Schema.Struct({
  /** The one that answers. */
  worker: Schema.String,
  workers: Schema.Array(WorkerInfo),
  limits: Schema.Struct({
    /** Bytes of one request. */
    requestBytes: Schema.Int,
    /** Requests of one client at once. */
    requests: Schema.Int,
    /** Requests of one client for one store at once. */
    storeRequests: Schema.Int,
    /** Subscriptions of one client at once. */
    subscriptions: Schema.Int
  })
})

/**
 * What a client is told when it comes.
 *
 * @since 0.1.0
 * @category models
 */
export type Welcome = typeof Welcome.Type
