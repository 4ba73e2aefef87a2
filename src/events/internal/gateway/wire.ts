/**
 * Events on the wire: each an array of its fields in a fixed order, many of them a JSON array, and all of that one text.
 */
import * as DateTime from "effect/DateTime"
import type * as Schema from "effect/Schema"
import type { Metadata, RecordedEvent } from "../../RecordedEvent.ts"
import type { EncodedEvent, Placed } from "../storage.ts"

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

const textOf = ({ cursor, event }: Placed): string => {
  const wire: Wire = [
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
  return JSON.stringify(wire)
}

const placedOf = (wire: Wire): Placed => {
  const [cursor, eventStreamId, eventNumber, globalPosition, eventId, eventType, data, metadata] = wire
  const [, , , , , , , , dataContentType, metadataContentType, createdEpoch, link] = wire
  const event: RecordedEvent = {
    eventStreamId,
    eventNumber,
    globalPosition,
    eventId,
    eventType,
    data,
    metadata,
    dataContentType: dataContentType ?? json,
    metadataContentType: metadataContentType ?? json,
    created: DateTime.makeUnsafe(Math.floor(createdEpoch / 1000)),
    createdEpoch,
    ...(link === null ? {} : { link: { eventStreamId: link[0], eventNumber: link[1] } })
  }
  return { cursor, event }
}

/** As many of these as make up to `limit` characters, and at least one: their text, and how many they are. */
export const encode = (
  events: ReadonlyArray<Placed>,
  limit: number
): { readonly text: string; readonly count: number } => {
  const texts: Array<string> = []
  let length = 0
  for (const placed of events) {
    const text = textOf(placed)
    if (texts.length > 0 && length + text.length > limit) break
    length += text.length
    texts.push(text)
  }
  return { text: `[${texts.join(",")}]`, count: texts.length }
}

/** A worker has made the text, of what a store gave it. */
export const decode = (text: string): ReadonlyArray<Placed> => (JSON.parse(text) as ReadonlyArray<Wire>).map(placedOf)

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
