/**
 * A store with the types of its events: every codec compiled once, from and to the JSON that is stored.
 *
 * The tag of an event is its event type and is not stored a second time in its data.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type EventStoreError, EventUndecodable, InvalidArgument, InvalidEvent } from "../EventStoreError.ts"
import type { NewEvent, RecordedEvent } from "../RecordedEvent.ts"
import * as Selector from "../Selector.ts"
import type { Delivery, Options } from "../Subscription.ts"
import { failure, issueOf } from "./checks.ts"
import type { EventStore } from "./eventStore.ts"
import type { Any, Envelope, EventOf, EventSchema, Recorded, Store, Upcast } from "./typedStore.ts"

type Tagged = { readonly _tag: string }

interface Codec {
  readonly encode: (event: unknown) => Exit.Exit<Schema.Json, unknown>
  readonly decode: (data: Schema.Json) => Exit.Exit<Tagged, unknown>
}

export interface Compiled {
  readonly id: string
  readonly codecs: ReadonlyMap<string, Codec>
  readonly upcast: ReadonlyMap<string, Upcast>
}

const isObject = (value: unknown): value is { readonly [key: string]: Schema.Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const codecOf = (tag: string, schema: EventSchema): Codec => {
  // Schemas without services are what the public signatures let in.
  const codec = Schema.toCodecJson(schema as unknown as Schema.Codec<Tagged, unknown>)
  const encode = Schema.encodeUnknownExit(codec)
  const decode = Schema.decodeUnknownExit(codec)
  return {
    encode: (event) =>
      Exit.map(encode(event), (encoded) => {
        if (!isObject(encoded)) return encoded
        const { _tag, ...data } = encoded
        return data
      }),
    decode: (data) => decode(isObject(data) ? { ...data, _tag: tag } : data)
  }
}

export const compile = (
  id: string,
  events: ReadonlyArray<EventSchema>,
  upcast: Readonly<Record<string, Upcast>>
): Compiled => {
  const codecs = new Map<string, Codec>()
  for (const schema of events) {
    const tag = String(schema.fields._tag.schema.literal)
    if (codecs.has(tag)) throw new Error(`${id}: the event type "${tag}" is declared twice`)
    codecs.set(tag, codecOf(tag, schema))
  }
  return { id, codecs, upcast: new Map(Object.entries(upcast)) }
}

const isEnvelope = (event: Tagged | Envelope<Tagged>): event is Envelope<Tagged> => !("_tag" in event)

const encodeEvent = (
  { codecs, id }: Compiled,
  eventStreamId: string,
  given: Tagged | Envelope<Tagged>
): Effect.Effect<NewEvent, EventStoreError> => {
  const { event, ...rest } = isEnvelope(given) ? given : { event: given }
  const refuse = (field: string, issue: string) =>
    Effect.fail(failure(new InvalidEvent({ store: id, eventStreamId, field, issue })))
  const codec = codecs.get(event._tag)
  if (codec === undefined) return refuse("eventType", `the store has no event type "${event._tag}"`)
  const encoded = codec.encode(event)
  return Exit.isSuccess(encoded)
    ? Effect.succeed({ ...rest, eventType: event._tag, data: encoded.value })
    : refuse("data", issueOf(Cause.squash(encoded.cause)))
}

type Decoded = Omit<RecordedEvent, "data" | "eventType"> & { readonly eventType: string; readonly data: Tagged }

const decodeEvent = (
  { codecs, id, upcast }: Compiled,
  recorded: RecordedEvent
): Effect.Effect<Decoded, EventStoreError> => {
  const { eventNumber, eventStreamId } = recorded
  const { data, eventType } = upcast.get(recorded.eventType)?.(recorded, recorded) ?? recorded
  const refuse = (issue: string) =>
    Effect.fail(failure(new EventUndecodable({ store: id, eventStreamId, eventNumber, eventType, issue })))
  const codec = codecs.get(eventType)
  if (codec === undefined) return refuse("the store has no such event type")
  const decoded = codec.decode(data)
  return Exit.isSuccess(decoded)
    ? Effect.succeed({ ...recorded, eventType, data: decoded.value })
    : refuse(issueOf(Cause.squash(decoded.cause)))
}

/** What is subscribed to, and which of the decoded events are then given out. */
const selected = (
  { codecs, upcast }: Compiled,
  options: {
    readonly selector?: Selector.Selector | undefined
    readonly eventType?: string | ReadonlyArray<string> | undefined
    readonly eventStreamId?: string | undefined
  }
): { readonly selector: Selector.Selector; readonly types: ReadonlySet<string> | undefined } | string => {
  const { eventStreamId, eventType, selector } = options
  if ([eventStreamId, eventType, selector].filter((one) => one !== undefined).length > 1) {
    return "Expected at most one of eventType, eventStreamId and selector"
  }
  if (selector !== undefined) return { selector, types: undefined }
  if (eventStreamId !== undefined) return { selector: Selector.byStream(eventStreamId), types: undefined }
  const types = eventType === undefined ? Array.from(codecs.keys()) : [eventType].flat()
  // What a stored event is by now is known only when it has been made so.
  const [first, ...rest] = new Set([...types, ...upcast.keys()])
  return first === undefined
    ? "Expected at least one event type"
    : { selector: Selector.byEventType(first, ...rest), types: new Set(types) }
}

class DecodedDelivery implements Delivery<Decoded> {
  readonly event: Decoded
  readonly attempt: number
  readonly #delivery: Delivery

  constructor(delivery: Delivery, event: Decoded) {
    this.#delivery = delivery
    this.event = event
    this.attempt = delivery.attempt
  }

  get ack() {
    return this.#delivery.ack
  }

  get ackUpTo() {
    return this.#delivery.ackUpTo
  }

  nack(how: Parameters<Delivery["nack"]>[0]) {
    return this.#delivery.nack(how)
  }
}

export const facade = <Self extends Any>(events: EventStore["Service"], compiled: Compiled): Store<Self> => {
  const { id } = compiled
  // The codecs are those of the definition, so what they give is of its types.
  const decode = (event: RecordedEvent) =>
    decodeEvent(compiled, event) as Effect.Effect<unknown, EventStoreError> as Effect.Effect<
      Recorded<EventOf<Self>>,
      EventStoreError
    >
  const decoded = (stream: Stream.Stream<RecordedEvent, EventStoreError>) => Stream.mapEffect(stream, decode)

  const subscribe = (
    options: Options & { readonly eventType?: never; readonly eventStreamId?: string | undefined } = {}
  ) => {
    const { eventStreamId: _stream, eventType: _type, ...rest } = options
    const what = selected(compiled, options)
    if (typeof what === "string") {
      return Stream.fail(failure(new InvalidArgument({ field: "selector", issue: what })))
    }
    const { selector, types } = what
    return events.subscribe(id, { ...rest, selector }).pipe(
      Stream.mapEffect((delivery) =>
        Effect.map(decodeEvent(compiled, delivery.event), (event) => new DecodedDelivery(delivery, event))
      ),
      Stream.filterEffect((delivery) =>
        types === undefined || types.has(delivery.event.eventType)
          ? Effect.succeed(true)
          : Effect.as(delivery.ack, false)
      )
    )
  }

  return {
    id: id as Self["id"],
    appendEvents: (eventStreamId, given, options) =>
      Effect.flatMap(
        Effect.forEach(given, (event) => encodeEvent(compiled, eventStreamId, event as Tagged | Envelope<Tagged>)),
        (encoded) => events.appendEvents(id, eventStreamId, encoded, options)
      ),
    getEvents: (eventStreamId, start, count, direction) =>
      Effect.flatMap(
        events.getEvents(id, eventStreamId, start, count, direction),
        (recorded) => Effect.forEach(recorded, decode)
      ),
    getVersion: (eventStreamId) => events.getVersion(id, eventStreamId),
    streamForward: (eventStreamId, options) => decoded(events.streamForward(id, eventStreamId, options)),
    streamBackward: (eventStreamId, options) => decoded(events.streamBackward(id, eventStreamId, options)),
    readAll: (options) => decoded(events.readAll(id, options)),
    subscribe: subscribe as unknown as Store<Self>["subscribe"],
    decode
  }
}
