/**
 * A list whose items have ids, stored item by item. What was there before is found again by being the same value, or by its id;
 * only what is neither is encoded or written, and what changes its place gets another key.
 */
import type { Checked } from "../codec.ts"
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
}

/** A list in comparison with what it was. */
export interface NewItems {
  readonly items: ReadonlyArray<Item | NewItem>
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

/** Encodes a list in comparison with what it was. `trusted`: what is still the same value has not changed. */
export const encodeItems = (
  field: string,
  codec: ListCodec,
  values: ReadonlyArray<unknown>,
  before: ReadonlyArray<Item>,
  trusted: boolean
): Checked<NewItems> => {
  // What is the same at the beginning, and at the end: most lists change in one place.
  let head = 0
  let tail = 0
  if (trusted) {
    const most = Math.min(values.length, before.length)
    while (head < most && Object.is(values[head], before[head]?.value)) head++
    while (tail < most - head && Object.is(values.at(-1 - tail), before.at(-1 - tail)?.value)) tail++
  }
  const between = before.slice(head, before.length - tail)
  const byId = new Map(between.map((item) => [item.id, item]))
  const byValue = new Map(trusted ? between.map((item) => [item.value, item]) : [])
  const ids = new Set<string>()
  const items: Array<Item | NewItem> = before.slice(0, head)
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
      const was = byId.get(id)
      hasNew ||= was === undefined
      item = was?.text === text ? { ...was, value } : { value, id, text, was }
    }
    if (ids.has(item.id)) return duplicate(field, item.id)
    ids.add(item.id)
    changed ||= item.id !== before[index]?.id || item.text !== before[index]?.text
    items.push(item)
  }
  for (let index = before.length - tail; index < before.length; index++) {
    const item = before[index]
    if (item !== undefined) items.push(item)
  }
  if (hasNew) {
    for (let index = 0; index < before.length; index++) {
      if (index === head) index = before.length - tail
      const id = before[index]?.id
      if (id !== undefined && ids.has(id)) return duplicate(field, id)
    }
  }
  return { ok: true, value: { items, gone: between.filter(({ id }) => !ids.has(id)), changed } }
}

/** Stores a list item by item: what is not stored that way yet, and what has changed. */
export const storeItems = (
  field: string,
  { gone, items }: NewItems,
  changes: Changes
): ReadonlyArray<Item> => {
  for (const { pieces } of gone) drop(pieces, changes)
  const before = items.map((item) => isItem(item) ? item : item.was)
  const keys = arrange(before.map((was) => was?.key || undefined))
  return items.map((item, index): Item => {
    const { id, text, value } = item
    const key = keys[index] ?? ""
    const placeOf = (piece: string) => [field, key, piece] as const
    const was = before[index]
    if (isItem(item) && item.pieces.length > 0) {
      if (item.key === key) return item
      move(item, placeOf, changes)
      return { ...item, key }
    }
    if (was?.key === key) return { value, id, key, text, pieces: store(was, text, placeOf, changes) }
    if (was !== undefined) drop(was.pieces, changes)
    return { value, id, key, text, pieces: store(undefined, text, placeOf, changes) }
  })
}

const isItem = (item: Item | NewItem): item is Item => !("was" in item)

/** The items of a list that has not changed, with the values that they have now. */
export const sameItems = ({ items }: NewItems): ReadonlyArray<Item> => items.filter(isItem)

/** The items of a list that is not stored item by item. */
export const keepItems = (items: ReadonlyArray<Item | NewItem>): ReadonlyArray<Item> =>
  items.map((item): Item =>
    isItem(item) && item.pieces.length === 0
      ? item
      : { value: item.value, id: item.id, key: "", text: item.text, pieces: [] }
  )
