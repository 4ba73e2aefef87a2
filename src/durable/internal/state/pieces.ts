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

/** How far a piece is looked for from where it should be. */
const reach = 4096

/** Where the pieces of a text begin in another one, as far as they are found there, in their order. */
const align = ({ pieces, text: oldText }: Cut, text: string): ReadonlyArray<number | undefined> => {
  const starts = Array<number | undefined>(pieces.length).fill(undefined)
  // What is the same at the beginning, and at the end.
  let head = 0
  let start = 0
  for (let piece = pieces[0]; piece !== undefined; piece = pieces[++head]) {
    if (!text.startsWith(oldText.slice(start, start + piece.length), start)) break
    starts[head] = start
    start += piece.length
  }
  let tail = pieces.length
  let end = text.length
  let oldEnd = oldText.length
  while (tail > head) {
    const length = pieces[tail - 1]?.length ?? 0
    if (end - length < start || !text.startsWith(oldText.slice(oldEnd - length, oldEnd), end - length)) break
    tail--
    end -= length
    oldEnd -= length
    starts[tail] = end
  }
  // Between two changes: about as far from the first one as it was.
  let expected = start
  for (let index = head, oldStart = start; index < tail; index++) {
    const length = pieces[index]?.length ?? 0
    const from = Math.max(start, expected - reach)
    const at = text.slice(from, Math.min(end, expected + length + reach)).indexOf(
      oldText.slice(oldStart, oldStart + length)
    )
    oldStart += length
    if (at >= 0) {
      starts[index] = from + at
      start = expected = from + at + length
    } else {
      expected += length
    }
  }
  return starts
}

/** Stores a text where another one was stored, or none. Gives its pieces. */
export const store = (
  before: Cut | undefined,
  text: string,
  placeOf: (key: string) => Place,
  changes: Changes
): ReadonlyArray<Piece> => {
  const old = before?.pieces ?? []
  const starts = before === undefined ? [] : align(before, text)
  const pieces: Array<NewPiece> = []
  let at = 0
  for (let index = 0; index <= old.length; index++) {
    // Up to the next piece that is as it was, or the end.
    const free: Array<Piece> = []
    let was = old[index]
    for (; was !== undefined && starts[index] === undefined; was = old[++index]) free.push(was)
    let until = starts[index] ?? text.length
    if (until > at) {
      // What has become short is joined to what stands beside it.
      const previous = pieces.at(-1)
      if (previous !== undefined && byteLength(text, previous.start, until) <= goodBytes) {
        pieces.pop()
        at = previous.start
        if (previous.was !== undefined) free.unshift(previous.was)
      } else if (was !== undefined && byteLength(text, at, until + was.length) <= goodBytes) {
        until += was.length
        free.push(was)
        was = undefined
      }
      for (const end of ends(text, at, until)) {
        pieces.push({ was: free.shift(), start: at, end, same: false })
        at = end
      }
    }
    for (const { number } of free) changes.drop(number)
    if (was !== undefined) {
      pieces.push({ was, start: at, end: at + was.length, same: true })
      at += was.length
    }
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
