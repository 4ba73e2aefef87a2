/**
 * How states lie in a storage. A small one lies in the server's head, as JSON. A large one is cut to fragments that are written
 * one by one, and its head only says of which kind they are.
 *
 * A fragment has a number, which no other fragment of its server has or had, and a text of two lines: where it belongs, and what
 * stands there. Where it belongs is told by keys of a fractional index (`order.ts`), so that what comes between two
 * fragments leaves both of them as they are.
 *
 * - `~text`: the JSON of the state in pieces, `["<key>"]`.
 * - `~fields`: each field for itself. The JSON of a field in pieces, `["<field>","<key>"]`; or a list, `["<field>"]` with nothing
 *   in it, and the JSON of each of its items in pieces, `["<field>","<key of the item>","<key>"]`.
 */
import type { Fragment, FragmentChange } from "../../DurableStorage.ts"

export const textHead = "~text"
export const fieldsHead = "~fields"

/** Where a fragment belongs. */
export type Place = readonly [string, string?, string?]

/** What a commit changes of a server's fragments. */
export class Changes {
  readonly list: Array<FragmentChange> = []
  /** The number that the next new fragment gets. */
  next: number

  constructor(next: number) {
    this.next = next
  }

  /** Writes a fragment that is there, or a new one. Gives its number. */
  write(number: number | undefined, place: Place, text: string): number {
    const own = number ?? this.next++
    this.list.push({ number: own, text: `${JSON.stringify(place)}\n${text}` })
    return own
  }

  drop(number: number): void {
    this.list.push({ number, text: undefined })
  }
}

/** A fragment, read. */
export interface Placed {
  readonly number: number
  readonly place: ReadonlyArray<string>
  readonly text: string
}

/** Reads fragments, in their order. Throws where they are not what this module wrote. */
export const read = (fragments: ReadonlyArray<Fragment>): ReadonlyArray<Placed> =>
  fragments.map(({ number, text }): Placed => {
    const end = text.indexOf("\n")
    return { number, place: JSON.parse(text.slice(0, end)) as ReadonlyArray<string>, text: text.slice(end + 1) }
  }).sort((a, b) => comparePlaces(a.place, b.place))

const comparePlaces = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): number => {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [x = "", y = ""] = [a[index], b[index]]
    if (x !== y) return x < y ? -1 : 1
  }
  return 0
}

/** How many bytes a part of a text takes, in UTF-8. It has no half of a surrogate pair. */
export const byteLength = (text: string, from = 0, to = text.length): number => {
  let bytes = to - from
  for (let index = from; index < to; index++) {
    const unit = text.charCodeAt(index)
    // Each half of a surrogate pair is one unit and two bytes.
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2
  }
  return bytes
}

/** How many bytes a state has at most that lies in its head: two versions of the row are to fit on a page of 8 KB. */
export const maxHead = 3000
/** A state that was cut is whole again when it has become as small as this: not for every byte that comes and goes. */
export const maxHeadAgain = 1000

/** Whether a state fits into its head. */
export const fitsHead = (text: string): boolean =>
  text.length * 3 <= maxHead || (text.length <= maxHead && byteLength(text) <= maxHead)
