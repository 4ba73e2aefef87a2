/**
 * A long text in pieces, of which only those are written that a change of the text has to do with, wherever it gets longer or
 * shorter: the pieces before and behind the change stay as they are.
 */
import { byteLength, type Changes, type Place } from "./fragments.ts"
import { arrange } from "./order.ts"

/** A piece of a text: the fragment that holds it, its place among the pieces, and how many characters it has. */
export interface Piece {
  readonly number: number
  readonly key: string
  readonly length: number
}

/** A text, and the pieces it lies in; none where it is not stored in pieces. */
export interface Cut {
  readonly text: string
  readonly pieces: ReadonlyArray<Piece>
}

/** Bytes in a piece, at most: two versions of its row are to fit on a page of 8 KB. */
const maxBytes = 3400
/** And about as many as it has at first, so that it may grow. */
const goodBytes = 2600

/** Where to cut a part of a text, evenly. Gives the ends of the pieces. */
const ends = (text: string, from: number, to: number): ReadonlyArray<number> => {
  if (to === from) return []
  const bytes = byteLength(text, from, to)
  if (bytes <= maxBytes) return [to]
  for (let count = Math.ceil(bytes / goodBytes);; count = Math.ceil(count * 1.25)) {
    const cut: Array<number> = []
    let fits = true
    for (let index = 1, start = from; index <= count; index++) {
      let end = index === count ? to : from + Math.floor((to - from) / count * index)
      // Not between the two halves of a character.
      if (end < to && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end++
      fits &&= byteLength(text, start, end) <= maxBytes
      cut.push(end)
      start = end
    }
    if (fits) return cut
  }
}

interface NewPiece {
  readonly was: Piece | undefined
  readonly start: number
  readonly end: number
  /** Its text is what it was. */
  readonly same: boolean
}

/** Stores a text where another one was stored, or none. Gives its pieces. */
export const store = (
  before: Cut | undefined,
  text: string,
  placeOf: (key: string) => Place,
  changes: Changes
): ReadonlyArray<Piece> => {
  const old = before?.pieces ?? []
  const oldText = before?.text ?? ""
  // What is the same at the beginning, and at the end.
  let head = 0
  let start = 0
  for (let piece = old[0]; piece !== undefined; piece = old[head]) {
    const end = start + piece.length
    if (end > text.length || !text.startsWith(oldText.slice(start, end), start)) break
    head++
    start = end
  }
  let tail = old.length
  let end = text.length
  let oldEnd = oldText.length
  for (let piece = old[tail - 1]; piece !== undefined && tail > head; piece = old[tail - 1]) {
    const length = piece.length
    if (end - length < start || !text.startsWith(oldText.slice(oldEnd - length, oldEnd), end - length)) break
    tail--
    end -= length
    oldEnd -= length
  }
  // What has become short is joined to what stands beside it.
  const previous = old[head - 1]
  const following = old[tail]
  if (end > start) {
    if (previous !== undefined && byteLength(text, start - previous.length, end) <= goodBytes) {
      head--
      start -= previous.length
    } else if (following !== undefined && byteLength(text, start, end + following.length) <= goodBytes) {
      tail++
      end += following.length
    }
  }

  const pieces: Array<NewPiece> = []
  let at = 0
  for (const was of old.slice(0, head)) {
    pieces.push({ was, start: at, end: at + was.length, same: true })
    at += was.length
  }
  ends(text, start, end).forEach((until, index) => {
    pieces.push({ was: head + index < tail ? old[head + index] : undefined, start: at, end: until, same: false })
    at = until
  })
  for (const was of old.slice(pieces.length, tail)) changes.drop(was.number)
  for (const was of old.slice(tail)) {
    pieces.push({ was, start: at, end: at + was.length, same: true })
    at += was.length
  }
  const keys = arrange(pieces.map(({ was }) => was?.key))
  return pieces.map(({ end, same, start, was }, index): Piece => {
    const key = keys[index] ?? ""
    if (same && was?.key === key) return was
    return { number: changes.write(was?.number, placeOf(key), text.slice(start, end)), key, length: end - start }
  })
}

/** Stores the same text under another place. */
export const move = (cut: Cut, placeOf: (key: string) => Place, changes: Changes): void => {
  let at = 0
  for (const { key, length, number } of cut.pieces) {
    changes.write(number, placeOf(key), cut.text.slice(at, at += length))
  }
}

export const drop = (pieces: ReadonlyArray<Piece>, changes: Changes): void => {
  for (const { number } of pieces) changes.drop(number)
}
