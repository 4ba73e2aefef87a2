/**
 * Events as text, for whoever passes them on without looking at them: each an array of its fields in a fixed order. What the
 * database gives as text is not parsed for that.
 */
import * as DateTime from "effect/DateTime"
import type * as Schema from "effect/Schema"
import type { Metadata, RecordedEvent } from "../RecordedEvent.ts"
import type { Placed, PlacedText } from "./storage.ts"

const json = "application/json"

/** `null` stands for `application/json`, and for no link. */
export type EventArray = readonly [
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

const arrayOf = ({ cursor, event }: Placed): EventArray => [
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

export const placedOf = (array: EventArray): Placed => {
  const link = array[11]
  const event: RecordedEvent = {
    eventStreamId: array[1],
    eventNumber: array[2],
    globalPosition: array[3],
    eventId: array[4],
    eventType: array[5],
    data: array[6],
    metadata: array[7],
    dataContentType: array[8] ?? json,
    metadataContentType: array[9] ?? json,
    created: DateTime.makeUnsafe(Math.floor(array[10] / 1000)),
    createdEpoch: array[10],
    ...(link === null ? {} : { link: { eventStreamId: link[0], eventNumber: link[1] } })
  }
  return { cursor: array[0], event }
}

/** The array of an event as text, from data and metadata that are text already. */
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
  text: JSON.stringify(arrayOf(placed))
})
