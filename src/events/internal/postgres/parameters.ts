/**
 * Values as the statements take them, and rows as they come.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as DateTime from "effect/DateTime"
import { bools, isOpaque, texts, uuids } from "../../../member/internal/parameters.ts"
import type { ExpectedVersion } from "../../EventStoreError.ts"
import type { Metadata, RecordedEvent, StreamInfo } from "../../RecordedEvent.ts"
import * as eventText from "../eventText.ts"
import type { EncodedEvent, Placed, PlacedText } from "../storage.ts"

export type Row = ReadonlyArray<unknown>

export const int8 = (value: number): PgTypes.Parameter => PgTypes.int8(BigInt(value))
export const text = (value: string | undefined): PgTypes.Parameter => PgTypes.text(value ?? null)

/** Whether a stream comes to be where this is expected of it. */
export const mayCreate = (expected: ExpectedVersion): boolean =>
  expected === "any" || expected === "noStream" || expected === -1

export const isOpaqueEvent = ({ data, metadata }: EncodedEvent): boolean =>
  isOpaque(data) || (metadata !== null && isOpaque(metadata))

/** A column; one that holds nothing is none, which `unnest` takes for the same. */
const unlessEmpty = <A>(
  of: (values: ReadonlyArray<A>) => PgTypes.Parameter,
  values: ReadonlyArray<A>,
  nothing: A
): PgTypes.Parameter => values.every((value) => value === nothing) ? { ...of([]), value: null } : of(values)

/** What statements want to know of events, column by column. */
export const columns = (events: ReadonlyArray<EncodedEvent>): ReadonlyArray<PgTypes.Parameter> => [
  uuids(events.map(({ id }) => id)),
  texts(events.map(({ type }) => type)),
  texts(events.map(({ data }) => data)),
  unlessEmpty(texts, events.map(({ metadata }) => metadata), null),
  unlessEmpty(texts, events.map(({ dataContentType }) => dataContentType), null),
  unlessEmpty(texts, events.map(({ metadataContentType }) => metadataContentType), null),
  unlessEmpty(bools, events.map(isOpaqueEvent), false)
]

export const numbers = (value: unknown): ReadonlyArray<number> => Array.isArray(value) ? value.map(Number) : []

export const strings = (value: unknown): ReadonlyArray<string> => Array.isArray(value) ? value.map(String) : []

const json = "application/json"

export const dateOf = (epoch: unknown): DateTime.Utc => DateTime.makeUnsafe(Math.floor(Number(epoch) / 1000))

/** An event from its columns, which begin at an index of the row; `undefined` where the row has none. */
export const placedOf = (row: Row, at: number, streamId?: string): Placed | undefined => {
  if (typeof row[at + 1] !== "number") return undefined
  const metadata = row[at + 7]
  const link = row[at + 11]
  const event: RecordedEvent = {
    eventStreamId: String(row[at + 2]),
    eventNumber: Number(row[at + 3]),
    globalPosition: Number(row[at + 1]),
    eventId: String(row[at + 4]),
    eventType: String(row[at + 5]),
    data: JSON.parse(String(row[at + 6])),
    metadata: typeof metadata === "string" ? JSON.parse(metadata) as Metadata : {},
    dataContentType: typeof row[at + 8] === "string" ? String(row[at + 8]) : json,
    metadataContentType: typeof row[at + 9] === "string" ? String(row[at + 9]) : json,
    created: dateOf(row[at + 10]),
    createdEpoch: Number(row[at + 10])
  }
  const cursor = Number(row[at])
  return typeof link === "number" && streamId !== undefined
    ? { cursor, event: { ...event, link: { eventStreamId: streamId, eventNumber: link } } }
    : { cursor, event }
}

/** The same event as text. */
export const textOf = (row: Row, at: number, streamId?: string): PlacedText | undefined => {
  if (typeof row[at + 1] !== "number") return undefined
  const [dataType, metadataType, metadata, link] = [row[at + 8], row[at + 9], row[at + 7], row[at + 11]]
  return eventText.textOf(
    Number(row[at]),
    String(row[at + 2]),
    Number(row[at + 3]),
    Number(row[at + 1]),
    String(row[at + 4]),
    String(row[at + 5]),
    String(row[at + 6]),
    typeof metadata === "string" ? metadata : null,
    [typeof dataType === "string" ? dataType : null, typeof metadataType === "string" ? metadataType : null],
    Number(row[at + 10]),
    typeof link === "number" && streamId !== undefined ? [streamId, link] : null
  )
}

export const streamInfoOf = ([name, version, created, deleted]: Row): StreamInfo => ({
  eventStreamId: String(name),
  version: Number(version),
  created: dateOf(created),
  deleted: deleted === true
})
