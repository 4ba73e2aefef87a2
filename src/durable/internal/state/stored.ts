/**
 * States as they are stored, and what it takes to read and to write them: what `wholeState.ts` and `incrementalState.ts` have in
 * common. Each reads what the other wrote, so that a definition may change its mind.
 */
import type { Fragment, FragmentChange } from "../../DurableStorage.ts"
import { attempt, type Checked } from "../checked.ts"
import { fieldsHead, type Placed, read, textHead } from "./fragments.ts"
import type { Cut, Piece } from "./pieces.ts"

/** A state as it is stored, once what was changed with it is. What is in it belongs to the codec that made it. */
export interface Stored {
  /** What stands in the place of the state: its text, or of which kind its fragments are. */
  readonly head: string
  /** The number of the next new fragment. */
  readonly next: number
  /** Fragments that belong to nothing any more: another codec wrote them. They go with the next change. */
  readonly stray: ReadonlyArray<number>
}

/** The state of a server, decoded, and as it is stored, as far as it is. */
export interface State {
  readonly value: unknown
  readonly stored: Stored | undefined
  /** What is stored in the place of a state that is not yet: it belongs to nothing, and goes when this state comes. */
  readonly instead?: Stored | undefined
}

/** A state, ready to be stored, and the fragments that are written or dropped for it. */
export interface Encoded {
  readonly stored: Stored
  readonly changes: ReadonlyArray<FragmentChange>
}

/** How states are stored. */
export interface StoredCodec {
  /** Reads a state: what stands in its place, and its fragments. */
  readonly load: (head: string, fragments: ReadonlyArray<Fragment>) => Checked<State>
  /** Reads a state that another schema wrote, by what makes a state of its JSON. All of it is written anew once it changes. */
  readonly loadFrom: (
    head: string,
    fragments: ReadonlyArray<Fragment>,
    decode: (json: unknown) => Checked<unknown>
  ) => Checked<State>
  /**
   * Encodes a state that comes after another one, which is what is stored now; none where nothing is. Gives what was stored
   * back as it was where nothing has changed.
   */
  readonly encode: (value: unknown, before: State | undefined) => Checked<Encoded>
}

export const noChanges: ReadonlyArray<FragmentChange> = []

/** An item of a list, as it was found. */
export interface FoundItem extends Cut {
  readonly key: string
}

/** A field, as it was found: a text, or a list of items with the fragment that says that it is one. */
export type FoundField = Cut | { readonly marker: number; readonly items: ReadonlyArray<FoundItem> }

/** A state as it was found: one text, which may be in pieces, or fields. */
export type Found =
  | { readonly _tag: "Text"; readonly cut: Cut; readonly next: number; readonly stray: ReadonlyArray<number> }
  | {
    readonly _tag: "Fields"
    readonly fields: ReadonlyMap<string, FoundField>
    readonly numbers: ReadonlyArray<number>
    readonly next: number
  }

const cutOf = (fragments: ReadonlyArray<Placed>): Cut => ({
  text: fragments.map(({ text }) => text).join(""),
  pieces: fragments.map(({ number, place, text }): Piece => ({
    number,
    key: place.at(-1) ?? "",
    length: text.length
  }))
})

const fieldOf = (fragments: ReadonlyArray<Placed>): FoundField => {
  const marker = fragments.find(({ place }) => place.length === 1)
  if (marker === undefined) return cutOf(fragments)
  const items = Map.groupBy(fragments.filter(({ place }) => place.length === 3), ({ place }) => place[1] ?? "")
  return { marker: marker.number, items: Array.from(items, ([key, pieces]) => ({ key, ...cutOf(pieces) })) }
}

/** Sorts out what is stored. Throws where it is not what these modules wrote. */
export const find = (head: string, fragments: ReadonlyArray<Fragment>): Found => {
  const numbers = fragments.map(({ number }) => number)
  const next = numbers.reduce((next, number) => Math.max(next, number + 1), 1)
  if (head === textHead) return { _tag: "Text", cut: cutOf(read(fragments)), next, stray: [] }
  if (head !== fieldsHead) return { _tag: "Text", cut: { text: head, pieces: [] }, next, stray: numbers }
  const fields = Map.groupBy(read(fragments), ({ place }) => place[0] ?? "")
  return {
    _tag: "Fields",
    fields: new Map(Array.from(fields, ([name, of]) => [name, fieldOf(of)])),
    numbers,
    next
  }
}

/** The JSON of an object, from the texts of its fields. */
export const objectText = (fields: Iterable<readonly [name: string, text: string]>): string =>
  `{${Array.from(fields, ([name, text]) => `${JSON.stringify(name)}:${text}`).join(",")}}`

/** The JSON of a list, from the texts of its items. */
export const listText = (items: ReadonlyArray<Cut>): string => `[${items.map(({ text }) => text).join(",")}]`

const textOf = (field: FoundField): string => "items" in field ? listText(field.items) : field.text

/** The JSON of a state that was found. */
export const foundText = (found: Found): string =>
  found._tag === "Text"
    ? found.cut.text
    : objectText(Array.from(found.fields, ([name, field]) => [name, textOf(field)]))

/** The JSON text of what is stored, for a reader without a schema; as it lies there where it is not what these modules wrote. */
export const storedText = (head: string, fragments: ReadonlyArray<Fragment>): string => {
  const found = attempt(() => find(head, fragments))
  return found.ok ? foundText(found.value) : head
}

/** Fragments of which nothing is kept; `undefined` where there are none. */
export const leftOver = (fragments: ReadonlyArray<Fragment>): Stored | undefined => {
  const stray = fragments.map(({ number }) => number)
  return stray.length === 0 ? undefined : { head: "", next: Math.max(...stray) + 1, stray }
}

/** The JSON of a state, however it is stored. */
export const jsonOf = (head: string, fragments: ReadonlyArray<Fragment>): Checked<unknown> =>
  attempt(() => JSON.parse(foundText(find(head, fragments))) as unknown)
