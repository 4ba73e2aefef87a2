/**
 * Events on the wire: many of them a JSON array, and all of that one text.
 */
import * as Predicate from "effect/Predicate"
import type { FromServerEncoded } from "effect/rpc/RpcMessage"
import type { EncodedEvent as WireEvent } from "../../GatewayRpcs.ts"
import * as eventText from "../eventText.ts"
import type { EncodedEvent, Placed, PlacedText } from "../storage.ts"

/** JSON that is text already, and goes into the text of an answer as it is. */
export class JsonText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

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
export const decode = (events: unknown): ReadonlyArray<Placed> =>
  (events as ReadonlyArray<eventText.EventArray>).map(eventText.placedOf)

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
