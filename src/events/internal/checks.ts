/**
 * What is asked of a store, looked at before anything is done: ids that rows can bear, numbers that can be meant, events that
 * are JSON. What is wrong is a typed error that names the field and its limit.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import {
  DuplicateEvent,
  EventStoreError,
  type EventStoreErrorReason,
  type ExpectedVersion,
  InvalidArgument,
  InvalidEvent,
  StoreNotFound
} from "../EventStoreError.ts"
import type { NewEvent } from "../RecordedEvent.ts"
import * as RecordedEvent from "../RecordedEvent.ts"
import * as Selector from "../Selector.ts"
import type { EncodedEvent } from "./storage.ts"

/** A value, or what is wrong with it. */
export type Checked<A> = { readonly ok: true; readonly value: A } | { readonly ok: false; readonly issue: string }

export const failure = (reason: EventStoreErrorReason): EventStoreError => new EventStoreError({ reason })

const invalid = (field: string, issue: string): EventStoreError => failure(new InvalidArgument({ field, issue }))

const formatIssue = SchemaIssue.makeFormatterDefault()

/** One line that says what was expected where. Never the value itself, which may be secret. */
export const issueOf = (error: unknown): string => {
  const issue = error instanceof Error && SchemaIssue.isIssue(error.cause) ? formatIssue(error.cause) : undefined
  return (issue ?? (error instanceof Error ? error.message : String(error))).replaceAll(/\s*\n\s*/g, " ")
}

const maxNameBytes = 512
const encoder = new TextEncoder()

const nameIssue = (name: string): string | undefined => {
  if (name.length === 0) return "Expected at least one character"
  if (name.includes("\0")) return "Expected no NUL character"
  // A character takes at most 3 bytes for each UTF-16 unit: most names need no counting.
  if (name.length * 3 > maxNameBytes && encoder.encode(name).length > maxNameBytes) {
    return `Expected at most ${maxNameBytes} bytes`
  }
  return name.isWellFormed() ? undefined : "Expected well-formed text"
}

/** Names of sources, subscriptions and event types: 1 to 512 bytes, without NUL. */
export const checkName = (field: string, name: string): EventStoreError | undefined => {
  const issue = nameIssue(name)
  return issue === undefined ? undefined : invalid(field, issue)
}

/** A stream that may be written. Ids that begin with `$` are the store's own. */
export const checkStream = (eventStreamId: string): EventStoreError | undefined =>
  eventStreamId.startsWith("$")
    ? invalid("eventStreamId", "Expected an id that does not begin with $, which is reserved")
    : checkName("eventStreamId", eventStreamId)

/** A stream that may be read. */
export const checkReadable = (eventStreamId: string): EventStoreError | undefined =>
  eventStreamId === RecordedEvent.all ? undefined : checkStream(eventStreamId)

const storePattern = /^[a-z][a-z0-9_]{0,39}$/

/** The id of a store that is to be made. */
export const checkNewStore = (store: string): EventStoreError | undefined =>
  storePattern.test(store)
    ? undefined
    : invalid("store", "Expected 1 to 40 of a-z, 0-9 and _, beginning with a letter")

/** The id of a store that is there: what cannot be one is not. */
export const checkStore = (store: string): EventStoreError | undefined =>
  storePattern.test(store) ? undefined : failure(new StoreNotFound({ store }))

/** A whole number from a least one on. */
export const checkCount = (field: string, value: number, least: number): EventStoreError | undefined =>
  Number.isSafeInteger(value) && value >= least
    ? undefined
    : invalid(field, `Expected a whole number of at least ${least}`)

export const checkExpectedVersion = (expected: ExpectedVersion): EventStoreError | undefined =>
  typeof expected === "number"
    ? checkCount("expectedVersion", expected, -1)
    : ["any", "noStream", "streamExists"].includes(expected)
    ? undefined
    : invalid("expectedVersion", `Expected a number, "any", "noStream" or "streamExists"`)

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export const checkEventId = (eventId: string): EventStoreError | undefined =>
  uuidPattern.test(eventId) ? undefined : invalid("eventId", "Expected a UUID")

const decodeSelector = Schema.decodeUnknownExit(Selector.Selector, { onExcessProperty: "error" })

/** A selector that can select something. */
export const checkSelector = (selector: Selector.Selector): EventStoreError | undefined => {
  const decoded = decodeSelector(selector)
  if (Exit.isFailure(decoded)) return invalid("selector", issueOf(Cause.squash(decoded.cause)))
  switch (selector._tag) {
    case "byStream":
      return checkReadable(selector.eventStreamId)
    case "byEventType":
      for (const type of selector.eventTypes) {
        const issue = nameIssue(type)
        if (issue !== undefined) return invalid("selector.eventTypes", issue)
      }
      return undefined
    case "byEventPattern": {
      const { dataContentType, eventId, eventStreamId, eventType, metadataContentType } = selector.pattern
      if (Object.keys(selector.pattern).length === 0) {
        return invalid("selector.pattern", "Expected at least one field: everything is selected by $all")
      }
      for (const [field, name] of Object.entries({ dataContentType, eventStreamId, eventType, metadataContentType })) {
        const issue = name === undefined ? undefined : nameIssue(name)
        if (issue !== undefined) return invalid(`selector.pattern.${field}`, issue)
      }
      return eventId === undefined ? undefined : checkEventId(eventId)
    }
    case "byEventPayload":
      return undefined
  }
}

/** No single value may be so large that a statement which carries it cannot be sent. */
const maxTextLength = 64 * 1024 * 1024

/** Nor may all events of an append together: they go in one. */
const maxAppendLength = 2 * maxTextLength

const jsonText = (value: unknown): Checked<string> => {
  try {
    const text = JSON.stringify(value)
    if (text === undefined) return { ok: false, issue: "Expected JSON" }
    return text.length <= maxTextLength
      ? { ok: true, value: text }
      : { ok: false, issue: `Expected at most ${maxTextLength} characters as JSON, got ${text.length}` }
  } catch (error) {
    return { ok: false, issue: issueOf(error) }
  }
}

/** JSON as text, or what is wrong with it. */
export const encodeJson = (field: string, value: unknown): Checked<string> & { readonly field: string } => ({
  ...jsonText(value),
  field
})

const json = "application/json"

/** What is wrong with a content type, where there is one. */
const labelIssue = (label: string | null | undefined): string | undefined =>
  label === undefined || label === null ? undefined : nameIssue(label)

/** Encodes events for a stream. `newId` gives an id to those that have none. */
export const encodeEvents = (
  store: string,
  eventStreamId: string,
  events: ReadonlyArray<NewEvent>,
  newId: () => string
): ReadonlyArray<EncodedEvent> | EventStoreError => {
  const encoded: Array<EncodedEvent> = []
  let length = 0
  const refuse = (field: string, issue: string) => failure(new InvalidEvent({ store, eventStreamId, field, issue }))
  for (const event of events) {
    const typeIssue = nameIssue(event.eventType)
    if (typeIssue !== undefined) return refuse("eventType", typeIssue)
    const { dataContentType, eventId, metadata, metadataContentType } = event
    if (eventId !== undefined && !uuidPattern.test(eventId)) return refuse("eventId", "Expected a UUID")
    const dataTypeIssue = labelIssue(dataContentType)
    if (dataTypeIssue !== undefined) return refuse("dataContentType", dataTypeIssue)
    const metadataTypeIssue = labelIssue(metadataContentType)
    if (metadataTypeIssue !== undefined) return refuse("metadataContentType", metadataTypeIssue)
    const data = jsonText(event.data)
    if (!data.ok) return refuse("data", data.issue)
    const meta = metadata === undefined ? undefined : jsonText(metadata)
    if (meta?.ok === false) return refuse("metadata", meta.issue)
    length += data.value.length + (meta?.value.length ?? 0)
    if (length > maxAppendLength) {
      return refuse("data", `Expected at most ${maxAppendLength} characters in all events of an append`)
    }
    encoded.push({
      id: eventId?.toLowerCase() ?? newId(),
      idGiven: eventId !== undefined,
      type: event.eventType,
      data: data.value,
      metadata: meta?.value ?? null,
      dataContentType: dataContentType === json ? null : dataContentType ?? null,
      metadataContentType: metadataContentType === json ? null : metadataContentType ?? null
    })
  }
  return encoded
}

/** Whether this is JSON, and of a length that can be stored. */
export const isJson = (text: string): boolean => parsed(text).ok

const parsed = (text: string): Checked<unknown> => {
  if (text.length > maxTextLength) return { ok: false, issue: `Expected at most ${maxTextLength} characters` }
  try {
    return { ok: true, value: JSON.parse(text) }
  } catch {
    return { ok: false, issue: "Expected JSON" }
  }
}

const isJsonObject = (text: string): boolean => {
  const value = parsed(text)
  return value.ok && typeof value.value === "object" && value.value !== null && !Array.isArray(value.value)
}

/** Encoded events that somebody else has encoded, looked at anew. */
export const checkAppended = (
  store: string,
  eventStreamId: string,
  events: ReadonlyArray<EncodedEvent>
): EventStoreError | undefined => {
  const refuse = (field: string, issue: string) => failure(new InvalidEvent({ store, eventStreamId, field, issue }))
  const ids = new Set<string>()
  for (const { data, dataContentType, id, metadata, metadataContentType, type } of events) {
    const typeIssue = nameIssue(type)
    if (typeIssue !== undefined) return refuse("eventType", typeIssue)
    if (!uuidPattern.test(id) || id !== id.toLowerCase()) return refuse("eventId", "Expected a UUID")
    if (ids.has(id)) return failure(new DuplicateEvent({ store, eventStreamId, eventId: id }))
    ids.add(id)
    const dataTypeIssue = labelIssue(dataContentType)
    if (dataTypeIssue !== undefined) return refuse("dataContentType", dataTypeIssue)
    const metadataTypeIssue = labelIssue(metadataContentType)
    if (metadataTypeIssue !== undefined) return refuse("metadataContentType", metadataTypeIssue)
    if (!isJson(data)) return refuse("data", "Expected JSON")
    if (metadata !== null && !isJsonObject(metadata)) return refuse("metadata", "Expected a JSON object")
  }
  return undefined
}
