/**
 * States that are encoded as a whole: in the head as long as they are small, and cut to pieces when they are not, of which a
 * step writes those that have changed.
 */
import type { TextCodec } from "../codec.ts"
import { Changes, fitsHead, maxHeadAgain, textHead } from "./fragments.ts"
import { type Piece, store } from "./pieces.ts"
import { find, noChanges, objectText, type StateCodec, type Stored, textOf } from "./stored.ts"

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

/** Stores what does not fit into a head, or has just come to do so. */
const storeLarge = (text: string, before: WholeStored | undefined) => {
  const changes = new Changes(before?.next ?? 1)
  for (const number of before?.stray ?? none) changes.drop(number)
  const wasCut = before !== undefined && before.pieces.length > 0
  if (fitsHead(text) && !(wasCut && text.length > maxHeadAgain)) {
    for (const { number } of before?.pieces ?? none) changes.drop(number)
    return { stored: new WholeStored(text, text, none, changes.next, none), changes: changes.list }
  }
  const pieces = store(wasCut ? before : undefined, text, placeOf, changes)
  return { stored: new WholeStored(textHead, text, pieces, changes.next, none), changes: changes.list }
}

export const make = (codec: TextCodec): StateCodec => ({
  load: (head, fragments) => {
    let stored: WholeStored
    try {
      const found = find(head, fragments)
      stored = found._tag === "Text"
        ? new WholeStored(head, found.cut.text, found.cut.pieces, found.next, found.stray)
        : new WholeStored(
          head,
          objectText(Array.from(found.fields, ([name, field]) => [name, textOf(field)])),
          none,
          found.next,
          found.numbers
        )
    } catch {
      return { ok: false, issue: "its fragments are not what was written" }
    }
    const value = codec.decode(stored.text)
    return value.ok ? { ok: true, value: { value: value.value, stored } } : value
  },
  encode: (value, before) => {
    const encoded = codec.encode(value)
    if (!encoded.ok) return encoded
    const text = encoded.value
    const stored = before?.stored instanceof WholeStored ? before.stored : undefined
    if (stored?.text === text) return { ok: true, value: { stored, changes: noChanges } }
    if ((stored === undefined || stored.next === 1) && fitsHead(text)) {
      return { ok: true, value: { stored: new WholeStored(text, text, none, 1, none), changes: noChanges } }
    }
    return { ok: true, value: storeLarge(text, stored) }
  }
})
