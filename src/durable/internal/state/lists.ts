/**
 * A list whose items have ids, stored item by item. What was there before is found again by being the same value, or by its id;
 * only what is neither is encoded or written, and what changes its place gets another key.
 */
import type { Checked } from "../checked.ts"
import type { ListCodec } from "./fields.ts"
import type { Changes } from "./fragments.ts"
import { arrange } from "./order.ts"
import { type Cut, drop, move, store } from "./pieces.ts"

/** An item. It has no pieces where it is not stored by itself. */
export interface Item extends Cut {
  readonly value: unknown
  /** Its id, as JSON. */
  readonly id: string
  readonly key: string
}

/** An item that is new, or is not what it was. */
interface NewItem {
  readonly value: unknown
  readonly id: string
  readonly text: string
  readonly was: Item | undefined
  readonly pieces?: undefined
}

const isItem = (item: Item | NewItem): item is Item => item.pieces !== undefined

/** A list in comparison with what it was: the same at its beginning and at its end, and what is in between now. */
export interface NewItems {
  readonly before: ReadonlyArray<Item>
  readonly head: number
  readonly tail: number
  readonly between: ReadonlyArray<Item | NewItem>
  /** What was in between, and is not in the list any more. */
  readonly gone: ReadonlyArray<Item>
  readonly changed: boolean
}

/** The id of an encoded item, as JSON. */
export const idOf = (json: unknown): string | undefined => {
  const id = typeof json === "object" && json !== null && "id" in json ? json.id : undefined
  return typeof id === "string" || typeof id === "number" ? JSON.stringify(id) : undefined
}

export const duplicate = (field: string, id: string): Checked<never> => ({
  ok: false,
  issue: `Expected items with different ids, got two with the id ${id} at ["${field}"]`
})

/** A list that is what it was. */
export const unchanged = (items: ReadonlyArray<Item>): NewItems => ({
  before: items,
  head: items.length,
  tail: 0,
  between: [],
  gone: [],
  changed: false
})

/** Encodes a list in comparison with what it was. `trusted`: what is still the same value has not changed. */
export const encodeItems = (
  field: string,
  codec: ListCodec,
  values: ReadonlyArray<unknown>,
  before: ReadonlyArray<Item>,
  trusted: boolean
): Checked<NewItems> => {
  let head = 0
  let tail = 0
  if (trusted) {
    const most = Math.min(values.length, before.length)
    while (head < most && values[head] === before[head]?.value) head++
    while (tail < most - head && values[values.length - 1 - tail] === before[before.length - 1 - tail]?.value) tail++
  }
  const was = before.slice(head, before.length - tail)
  const byId = new Map(was.map((item) => [item.id, item]))
  const byValue = new Map(trusted ? was.map((item) => [item.value, item]) : [])
  const ids = new Set<string>()
  const between: Array<Item | NewItem> = []
  let changed = values.length !== before.length
  let hasNew = false
  for (let index = head; index < values.length - tail; index++) {
    const value = values[index]
    let item: Item | NewItem | undefined = byValue.get(value)
    if (item === undefined) {
      const encoded = codec.encodeItem(value)
      if (!encoded.ok) return { ok: false, issue: `${encoded.issue} in the item at ["${field}"][${index}]` }
      const id = idOf(encoded.value)
      if (id === undefined) return { ok: false, issue: `Expected an item with an id at ["${field}"][${index}]` }
      const text = JSON.stringify(encoded.value)
      const same = byId.get(id)
      hasNew ||= same === undefined
      item = same?.text === text ? { ...same, value } : { value, id, text, was: same }
    }
    if (ids.has(item.id)) return duplicate(field, item.id)
    ids.add(item.id)
    changed ||= item.id !== before[index]?.id || item.text !== before[index]?.text
    between.push(item)
  }
  // What is not among those in between must not be among the others either.
  const twice = hasNew
    ? before.find(({ id }, index) => (index < head || index >= before.length - tail) && ids.has(id))
    : undefined
  if (twice !== undefined) return duplicate(field, twice.id)
  return { ok: true, value: { before, head, tail, between, gone: was.filter(({ id }) => !ids.has(id)), changed } }
}

/** How many characters items have, with what separates them. */
export const sizeOf = (items: ReadonlyArray<{ readonly text: string }>): number =>
  items.reduce((size, { text }) => size + text.length + 1, 0)

/** By how many characters a list has grown. */
export const growth = ({ before, between, head, tail }: NewItems): number =>
  sizeOf(between) - sizeOf(before.slice(head, before.length - tail))

const around = ({ before, head, tail }: NewItems, between: ReadonlyArray<Item>): ReadonlyArray<Item> =>
  before.slice(0, head).concat(between, before.slice(before.length - tail))

/** All items of a list as those that are in between. */
const whole = (list: NewItems): NewItems => {
  const { before, between, head, tail } = list
  const all = [...before.slice(0, head), ...between, ...before.slice(before.length - tail)]
  return { ...list, head: 0, tail: 0, between: all }
}

const keyOf = (item: Item | NewItem | undefined): string | undefined => {
  const key = item === undefined || isItem(item) ? item?.key : item.was?.key
  return key === "" ? undefined : key
}

/** Stores a list item by item: what is not stored that way yet, and what has changed. */
export const storeItems = (field: string, list: NewItems, changes: Changes): ReadonlyArray<Item> => {
  const { before, between, gone, head, tail } = list
  if (head + tail > 0 && keyOf(before[0]) === undefined) return storeItems(field, whole(list), changes)
  const keys = arrange(between.map(keyOf), before[head - 1]?.key, before[before.length - tail]?.key)
  if (keys === undefined) return storeItems(field, whole(list), changes)
  for (const { pieces } of gone) drop(pieces, changes)
  const stored = between.map((item, index): Item => {
    const key = keys[index] ?? ""
    const placeOf = (piece: string) => [field, key, piece] as const
    if (isItem(item) && item.pieces.length > 0) {
      if (item.key === key) return item
      move(item, placeOf, changes)
      return { ...item, key }
    }
    const was = isItem(item) ? undefined : item.was
    const { id, text, value } = item
    if (was?.key === key) return { value, id, key, text, pieces: store(was, text, placeOf, changes) }
    if (was !== undefined) drop(was.pieces, changes)
    return { value, id, key, text, pieces: store(undefined, text, placeOf, changes) }
  })
  return around(list, stored)
}

/** The items of a list that has not changed, with the values that they have now. */
export const sameItems = (list: NewItems): ReadonlyArray<Item> => around(list, list.between.filter(isItem))

/** The items of a list that is not stored item by item. */
export const keepItems = (list: NewItems): ReadonlyArray<Item> =>
  whole(list).between.map((item): Item =>
    isItem(item) && item.pieces.length === 0
      ? item
      : { value: item.value, id: item.id, key: "", text: item.text, pieces: [] }
  )
