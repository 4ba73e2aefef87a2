/**
 * Events on the wire: each an array of its fields in a fixed order, many of them a JSON array, and all of that one text.
 */
import * as DateTime from "effect/DateTime"
import * as Predicate from "effect/Predicate"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import type * as Schema from "effect/Schema"
import type { Metadata, RecordedEvent } from "../../RecordedEvent.ts"
import type { EncodedEvent, Placed, PlacedText } from "../storage.ts"

const json = "application/json"

/** `null` stands for `application/json`, and for no link. */
type Wire = readonly [
  cursor: number,
  eventStreamId: string,
  eventNumber: number,
  globalPosition: number,
  eventId: string,
  eventType: string,
  data: Schema.Json,
  metadata: Metadata,
  dataContentType: string | null,
  metadataContentType: string | null,
  createdEpoch: number,
  link: readonly [eventStreamId: string, eventNumber: number] | null
]

const wireOf = ({ cursor, event }: Placed): Wire => [
  cursor,
  event.eventStreamId,
  event.eventNumber,
  event.globalPosition,
  event.eventId,
  event.eventType,
  event.data,
  event.metadata,
  event.dataContentType === json ? null : event.dataContentType,
  event.metadataContentType === json ? null : event.metadataContentType,
  event.createdEpoch,
  event.link === undefined ? null : [event.link.eventStreamId, event.link.eventNumber]
]

const placedOf = (wire: Wire): Placed => {
  const link = wire[11]
  const event: RecordedEvent = {
    eventStreamId: wire[1],
    eventNumber: wire[2],
    globalPosition: wire[3],
    eventId: wire[4],
    eventType: wire[5],
    data: wire[6],
    metadata: wire[7],
    dataContentType: wire[8] ?? json,
    metadataContentType: wire[9] ?? json,
    created: DateTime.makeUnsafe(Math.floor(wire[10] / 1000)),
    createdEpoch: wire[10],
    ...(link === null ? {} : { link: { eventStreamId: link[0], eventNumber: link[1] } })
  }
  return { cursor: wire[0], event }
}

/** JSON that is text already, and goes into the text of an answer as it is. */
export class JsonText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** The same text, of an event whose data and metadata are text already. */
export const textOf = (
  cursor: number,
  eventStreamId: string,
  eventNumber: number,
  globalPosition: number,
  eventId: string,
  eventType: string,
  data: string,
  metadata: string | null,
  contentTypes: readonly [data: string | null, metadata: string | null],
  createdEpoch: number,
  link: readonly [eventStreamId: string, eventNumber: number] | null
): PlacedText => {
  const [dataType, metadataType] = contentTypes
  const types = dataType === null && metadataType === null ? "null,null" : JSON.stringify(contentTypes).slice(1, -1)
  const names = `${JSON.stringify(eventStreamId)},${eventNumber},${globalPosition},"${eventId}",${
    JSON.stringify(eventType)
  }`
  const linked = link === null ? "null" : JSON.stringify(link)
  return { cursor, text: `[${cursor},${names},${data},${metadata ?? "{}"},${types},${createdEpoch},${linked}]` }
}

export const toText = (placed: Placed): PlacedText => ({
  cursor: placed.cursor,
  text: JSON.stringify(wireOf(placed))
})

/** As many of these as make up to `limit` characters, and at least one: their text, and how many they are. */
export const encode = (
  events: ReadonlyArray<PlacedText>,
  limit: number
): { readonly events: JsonText; readonly count: number } => {
  const texts: Array<string> = []
  let length = 0
  for (const { text } of events) {
    if (texts.length > 0 && length + text.length > limit) break
    length += text.length
    texts.push(text)
  }
  return { events: new JsonText(`[${texts.join(",")}]`), count: texts.length }
}

/** A worker has made them, of what a store gave it. */
export const decode = (events: unknown): ReadonlyArray<Placed> => (events as ReadonlyArray<Wire>).map(placedOf)

/** An answer as text. */
export const answerText = (response: FromServerEncoded): string => {
  if (response._tag === "Exit" && response.exit._tag === "Success") {
    const { value } = response.exit
    if (Predicate.hasProperty(value, "events") && value.events instanceof JsonText) {
      const rest = JSON.stringify({ ...value, events: undefined }).slice(1)
      return `{"_tag":"Exit","requestId":${
        JSON.stringify(response.requestId)
      },"exit":{"_tag":"Success","value":{"events":${value.events.text},${rest}}}`
    }
  }
  return JSON.stringify(response)
}

export type WireEvent = readonly [
  id: string,
  idGiven: boolean,
  type: string,
  data: string,
  metadata: string | null,
  dataContentType: string | null,
  metadataContentType: string | null
]

export const toWire = (event: EncodedEvent): WireEvent => [
  event.id,
  event.idGiven,
  event.type,
  event.data,
  event.metadata,
  event.dataContentType,
  event.metadataContentType
]

export const fromWire = (wire: WireEvent): EncodedEvent => ({
  id: wire[0],
  idGiven: wire[1],
  type: wire[2],
  data: wire[3],
  metadata: wire[4],
  dataContentType: wire[5],
  metadataContentType: wire[6]
})
