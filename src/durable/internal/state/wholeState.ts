/**
 * States that are encoded as a whole: in the head as long as they are small, and cut to pieces when they are not, of which a
 * step writes those that have changed.
 */
import { attempt } from "../checked.ts"
import type { TextCodec } from "../codec.ts"
import { Changes, fitsHead, maxHeadAgain, textHead } from "./fragments.ts"
import { type Piece, store } from "./pieces.ts"
import { type Encoded, find, foundText, jsonOf, leftOver, noChanges, type Stored, type StoredCodec } from "./stored.ts"

class WholeStored implements Stored {
  readonly head: string
  readonly text: string
  readonly pieces: ReadonlyArray<Piece>
  readonly next: number
  readonly stray: ReadonlyArray<number>

  constructor(head: string, text: string, pieces: ReadonlyArray<Piece>, next: number, stray: ReadonlyArray<number>) {
    this.head = head
    this.text = text
    this.pieces = pieces
    this.next = next
    this.stray = stray
  }
}

const none: ReadonlyArray<never> = []
const placeOf = (key: string) => [key] as const

/** Stores what does not fit into a head, or has just come to do so, in the place of what is stored. */
const storeLarge = (text: string, before: WholeStored | undefined, instead: Stored | undefined): Encoded => {
  const changes = new Changes(instead?.next ?? 1)
  for (const number of instead?.stray ?? none) changes.drop(number)
  const wasCut = before !== undefined && before.pieces.length > 0
  if (fitsHead(text) && !(wasCut && text.length > maxHeadAgain)) {
    for (const { number } of before?.pieces ?? none) changes.drop(number)
    return { stored: new WholeStored(text, text, none, changes.next, none), changes: changes.list }
  }
  const pieces = store(wasCut ? before : undefined, text, placeOf, changes)
  return { stored: new WholeStored(textHead, text, pieces, changes.next, none), changes: changes.list }
}

export const make = (codec: TextCodec): StoredCodec => ({
  load: (head, fragments) => {
    const found = attempt(() => find(head, fragments))
    if (!found.ok) return found
    const text = foundText(found.value)
    const value = codec.decode(text)
    if (!value.ok) return value
    const { next } = found.value
    const stored = found.value._tag === "Text"
      ? new WholeStored(head, text, found.value.cut.pieces, next, found.value.stray)
      : new WholeStored(head, text, none, next, found.value.numbers)
    return { ok: true, value: { value: value.value, stored } }
  },
  loadFrom: (head, fragments, decode) => {
    const json = jsonOf(head, fragments)
    const value = json.ok ? decode(json.value) : json
    if (!value.ok) return value
    // Not the text that is stored: the same text may mean something else in another version.
    const now = codec.encode(value.value)
    if (!now.ok) return now
    const { next = 1, stray = none } = leftOver(fragments) ?? {}
    return { ok: true, value: { value: value.value, stored: new WholeStored("", now.value, none, next, stray) } }
  },
  encode: (value, before) => {
    const encoded = codec.encode(value)
    if (!encoded.ok) return encoded
    const text = encoded.value
    const stored = before?.stored instanceof WholeStored ? before.stored : undefined
    if (stored?.text === text) return { ok: true, value: { stored, changes: noChanges } }
    const instead = stored ?? before?.instead
    if ((instead === undefined || instead.next === 1) && fitsHead(text)) {
      return { ok: true, value: { stored: new WholeStored(text, text, none, 1, none), changes: noChanges } }
    }
    return { ok: true, value: storeLarge(text, stored, instead) }
  }
})
