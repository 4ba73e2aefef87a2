/**
 * Which events a selector selects, decided in this process, and the text by which selectors are told apart.
 *
 * What Postgres filters out never comes here; what it lets through is looked at again, since it lets through what it cannot
 * compare (text that its `jsonb` refuses). "Contains" is what its `@>` says.
 */
import type * as Schema from "effect/Schema"
import * as RecordedEvent from "../RecordedEvent.ts"
import type { Selector } from "../Selector.ts"

const isObject = (value: Schema.Json): value is { readonly [key: string]: Schema.Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const containsWithin = (whole: Schema.Json, part: Schema.Json): boolean => {
  if (Array.isArray(part)) {
    return Array.isArray(whole) &&
      part.every((element: Schema.Json) => whole.some((candidate: Schema.Json) => containsWithin(candidate, element)))
  }
  if (isObject(part)) {
    return isObject(whole) && Object.entries(part).every(([key, value]) => {
      const found = Object.hasOwn(whole, key) ? whole[key] : undefined
      return found !== undefined && containsWithin(found, value)
    })
  }
  return whole === part
}

/** Whether this JSON contains that one. */
export const contains = (whole: Schema.Json, part: Schema.Json): boolean =>
  containsWithin(whole, part) ||
  // At the top, and only there, an array also contains its plain elements.
  (Array.isArray(whole) && !Array.isArray(part) && !isObject(part) && whole.some((element) => element === part))

/** Whether a selector is about one stream, whose numbers are then what its subscriptions go by. */
export const streamOf = (selector: Selector): string | undefined =>
  selector._tag === "byStream" && selector.eventStreamId !== RecordedEvent.all ? selector.eventStreamId : undefined

export const matches = (selector: Selector, event: RecordedEvent.RecordedEvent): boolean => {
  switch (selector._tag) {
    case "byStream":
      return true
    case "byEventType":
      return selector.eventTypes.includes(event.eventType)
    case "byEventPayload":
      return contains(event.data, selector.payload)
    case "byEventPattern": {
      const { data, metadata, ...plain } = selector.pattern
      const fields: { readonly [key: string]: unknown } = event
      return Object.entries(plain).every(([field, value]) => fields[field] === value) &&
        (data === undefined || contains(event.data, data)) &&
        (metadata === undefined || contains(event.metadata, metadata))
    }
  }
}

const canonical = (value: Schema.Json): Schema.Json => {
  if (Array.isArray(value)) return value.map(canonical)
  return isObject(value)
    ? Object.fromEntries(
      Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, v]) => [key, canonical(v)])
    )
    : value
}

/** The same text for the same selector, in whatever order its fields were written. */
export const textOf = (selector: Selector): string => JSON.stringify(canonical(selector as Schema.Json))
