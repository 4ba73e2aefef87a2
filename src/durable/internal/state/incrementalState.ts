/**
 * States whose fields are encoded and stored one by one, and the items of their lists too: what a step costs depends on what
 * it changes, not on how large the state is. As long as such a state is small it lies in its head like any other.
 */
import type * as Schema from "effect/Schema"
import { attempt, type Checked } from "../checked.ts"
import { checkLength, type TextCodec } from "../codec.ts"
import { type FieldCodec, fieldsCodec } from "./fields.ts"
import { Changes, fieldsHead, fitsHead, maxHead, maxHeadAgain } from "./fragments.ts"
import * as Lists from "./lists.ts"
import { type Cut, drop, store } from "./pieces.ts"
import { type Encoded, find, type FoundField, jsonOf, leftOver, listText, noChanges, objectText } from "./stored.ts"
import type { State, Stored, StoredCodec } from "./stored.ts"

interface TextField extends Cut {
  readonly value: unknown
}

interface ListField {
  readonly value: unknown
  /** The fragment that says that this is a list, where it is stored item by item. */
  readonly marker: number | undefined
  readonly items: ReadonlyArray<Lists.Item>
  /** How many characters its items have, with what separates them. */
  readonly size: number
}

type Field = TextField | ListField

/** A field in comparison with what it was. */
type NewField =
  | { readonly _tag: "Same"; readonly was: Field }
  | { readonly _tag: "Text"; readonly value: unknown; readonly text: string; readonly was: Field | undefined }
  | {
    readonly _tag: "List"
    readonly value: unknown
    readonly list: Lists.NewItems
    readonly size: number
    readonly was: Field | undefined
  }

class FieldsStored implements Stored {
  readonly head: string
  readonly fields: ReadonlyMap<string, Field>
  readonly next: number
  readonly stray: ReadonlyArray<number>

  constructor(head: string, fields: ReadonlyMap<string, Field>, next: number, stray: ReadonlyArray<number>) {
    this.head = head
    this.fields = fields
    this.next = next
    this.stray = stray
  }

  /** Its fields are stored one by one. */
  get isApart(): boolean {
    return this.head === fieldsHead
  }
}

const none: ReadonlyArray<never> = []

const isList = (field: Field): field is ListField => "items" in field

const sizeOf = (name: string, field: NewField): number => {
  const one = field._tag === "Same" ? field.was : field
  return name.length + 4 + ("size" in one ? one.size : one.text.length)
}

const dropField = (field: Field, changes: Changes): void => {
  if (!isList(field)) return drop(field.pieces, changes)
  if (field.marker !== undefined) changes.drop(field.marker)
  for (const { pieces } of field.items) drop(pieces, changes)
}

/** Stores a field by itself. */
const storeField = (name: string, field: NewField, changes: Changes): Field => {
  const { was } = field
  switch (field._tag) {
    case "Same": {
      if (isList(field.was)) {
        if (field.was.marker !== undefined) return field.was
        const { items, size, value } = field.was
        return storeField(name, { _tag: "List", value, list: Lists.unchanged(items), size, was }, changes)
      }
      if (field.was.pieces.length > 0) return field.was
      return storeField(name, { _tag: "Text", value: field.was.value, text: field.was.text, was: undefined }, changes)
    }
    case "Text": {
      const { text, value } = field
      if (was !== undefined && isList(was)) dropField(was, changes)
      const before = was === undefined || isList(was) || was.pieces.length === 0 ? undefined : was
      return { value, text, pieces: store(before, text, (key) => [name, key], changes) }
    }
    case "List": {
      if (was !== undefined && !isList(was)) dropField(was, changes)
      const marker = was !== undefined && isList(was) ? was.marker : undefined
      return {
        value: field.value,
        marker: marker ?? changes.write(undefined, [name], ""),
        items: Lists.storeItems(name, field.list, changes),
        size: field.size
      }
    }
  }
}

/** A field of a state that lies in its head. */
const keepField = (field: NewField): Field => {
  switch (field._tag) {
    case "Text":
      return { value: field.value, text: field.text, pieces: none }
    case "List":
      return { value: field.value, marker: undefined, items: Lists.keepItems(field.list), size: field.size }
    case "Same": {
      const { was } = field
      if (!isList(was)) return was.pieces.length === 0 ? was : { value: was.value, text: was.text, pieces: none }
      return { ...was, marker: undefined, items: Lists.keepItems(Lists.unchanged(was.items)) }
    }
  }
}

/** Encodes a field in comparison with what it was; `undefined`: it is left out. */
const encodeField = (
  codec: FieldCodec,
  state: object,
  was: Field | undefined,
  trusted: boolean
): Checked<NewField | undefined> => {
  const { list, mutable, name } = codec
  const isThere = Object.hasOwn(state, name) || (name in state && !Object.hasOwn(Object.prototype, name))
  const value: unknown = isThere ? Reflect.get(state, name) : undefined
  if (trusted && isThere && was !== undefined && !mutable && Object.is(was.value, value)) {
    return { ok: true, value: { _tag: "Same", was } }
  }
  if (list !== undefined && Array.isArray(value)) {
    const checked = list.check(value)
    if (!checked.ok) return { ok: false, issue: `${checked.issue} at ["${name}"]` }
    const before = was !== undefined && isList(was) ? was.items : none
    const items = Lists.encodeItems(name, list, value, before, trusted && !list.itemsMutable)
    if (!items.ok) return items
    if (was !== undefined && isList(was) && !items.value.changed) {
      return { ok: true, value: { _tag: "Same", was: { ...was, value, items: Lists.sameItems(items.value) } } }
    }
    const size = (was !== undefined && isList(was) ? was.size : 1) + Lists.growth(items.value)
    return { ok: true, value: { _tag: "List", value, list: items.value, size, was } }
  }
  const encoded = codec.encode(isThere ? { [name]: value } : {})
  if (!encoded.ok) return encoded
  const json: unknown = Reflect.get(encoded.value as object, name)
  if (json === undefined) return { ok: true, value: undefined }
  const text = JSON.stringify(json)
  // It is the new value that the next one is compared with.
  if (was !== undefined && !isList(was) && was.text === text) {
    return { ok: true, value: { _tag: "Same", was: { ...was, value } } }
  }
  return { ok: true, value: { _tag: "Text", value, text, was } }
}

const textOfField = (field: Field): string => isList(field) ? listText(field.items) : field.text

/** Stores fields together in the head, where they are few and small, or else one by one. */
const storeFields = (
  fields: ReadonlyMap<string, NewField>,
  before: FieldsStored | undefined,
  instead: Stored | undefined
): Checked<Encoded> => {
  let size = 2
  for (const [name, field] of fields) size += sizeOf(name, field)
  const fits = checkLength(size)
  if (!fits.ok) return fits
  const changes = new Changes(instead?.next ?? 1)
  for (const number of instead?.stray ?? none) changes.drop(number)
  if (size <= (before?.isApart === true ? maxHeadAgain : maxHead)) {
    const kept = new Map(Array.from(fields, ([name, field]) => [name, keepField(field)]))
    const text = objectText(Array.from(kept, ([name, field]) => [name, textOfField(field)]))
    if (fitsHead(text)) {
      for (const field of before?.fields.values() ?? none) dropField(field, changes)
      return {
        ok: true,
        value: { stored: new FieldsStored(text, kept, changes.next, none), changes: changes.list }
      }
    }
  }
  for (const [name, field] of before?.fields ?? none) if (!fields.has(name)) dropField(field, changes)
  const stored = new Map(Array.from(fields, ([name, field]) => [name, storeField(name, field, changes)]))
  return {
    ok: true,
    value: { stored: new FieldsStored(fieldsHead, stored, changes.next, none), changes: changes.list }
  }
}

/** The JSON of a field that was found, and how it is stored. */
const fromFound = (found: FoundField): { readonly json: unknown; readonly field: Field } => {
  if (!("items" in found)) {
    return { json: JSON.parse(found.text) as unknown, field: { value: undefined, ...found } }
  }
  const jsons = found.items.map(({ text }) => JSON.parse(text) as unknown)
  const items = found.items.map((item, index): Lists.Item => ({
    ...item,
    value: undefined,
    id: Lists.idOf(jsons[index]) ?? ""
  }))
  return { json: jsons, field: { value: undefined, marker: found.marker, items, size: Lists.sizeOf(items) + 1 } }
}

/** How a field of a state that was stored as a whole is, from its JSON. */
const fromJson = (json: unknown, codec: FieldCodec | undefined): Field => {
  if (codec?.list === undefined || !Array.isArray(json)) {
    return { value: undefined, text: JSON.stringify(json), pieces: [] }
  }
  const items = json.map((item: unknown): Lists.Item => ({
    value: undefined,
    id: Lists.idOf(item) ?? "",
    key: "",
    text: JSON.stringify(item),
    pieces: []
  }))
  return { value: undefined, marker: undefined, items, size: Lists.sizeOf(items) + 1 }
}

/** The same field with the values that were decoded from it. */
const withValues = (field: Field, value: unknown): Field => {
  if (!isList(field)) return { ...field, value }
  const values: ReadonlyArray<unknown> = Array.isArray(value) && value.length === field.items.length ? value : none
  return { ...field, value, items: field.items.map((item, index) => ({ ...item, value: values[index] })) }
}

const firstDuplicate = (items: ReadonlyArray<Lists.Item>): string | undefined => {
  const ids = new Set<string>()
  return items.find(({ id }) => ids.size === ids.add(id).size)?.id
}

/** `undefined`: the schema has no fields of its own that could be stored one by one. */
export const make = (state: Schema.Top, whole: TextCodec): StoredCodec | undefined => {
  const codec = fieldsCodec(state)
  if (codec === undefined) return undefined
  const codecs = new Map(codec.fields.map((field) => [field.name, field]))

  /** A state with its fields as they are stored. */
  const loaded = (
    value: unknown,
    fields: ReadonlyMap<string, Field>,
    head: string,
    next: number,
    stray: ReadonlyArray<number>
  ): Checked<State> => {
    const state = value as object
    const withDecoded = new Map<string, Field>()
    for (const [name, field] of fields) {
      const twice = codecs.get(name)?.list !== undefined && isList(field) ? firstDuplicate(field.items) : undefined
      if (twice !== undefined) return Lists.duplicate(name, twice)
      withDecoded.set(name, withValues(field, name in state ? Reflect.get(state, name) : undefined))
    }
    return { ok: true, value: { value, stored: new FieldsStored(head, withDecoded, next, stray) } }
  }

  /** The fields of a state that is stored as a whole, or not at all. */
  const together = (json: unknown): ReadonlyMap<string, Field> =>
    new Map(Object.entries(json ?? {}).map(([name, value]) => [name, fromJson(value, codecs.get(name))]))

  const load: StoredCodec["load"] = (head, fragments) => {
    const read = attempt(() => {
      const found = find(head, fragments)
      const { next } = found
      if (found._tag === "Fields") {
        const read = Array.from(found.fields, ([name, field]) => [name, fromFound(field)] as const)
        return {
          json: Object.fromEntries(read.map(([name, { json }]) => [name, json])) as unknown,
          fields: new Map(read.map(([name, { field }]) => [name, field])),
          next,
          stray: none
        }
      }
      const json = JSON.parse(found.cut.text) as unknown
      const stray = [...found.stray, ...found.cut.pieces.map(({ number }) => number)]
      return { json, fields: together(json), next, stray }
    })
    if (!read.ok) return read
    const { fields, json, next, stray } = read.value
    const value = whole.decodeJson(json)
    return value.ok ? loaded(value.value, fields, head, next, stray) : value
  }

  const loadFrom: StoredCodec["loadFrom"] = (head, fragments, decode) => {
    const json = jsonOf(head, fragments)
    const value = json.ok ? decode(json.value) : json
    const now = value.ok ? whole.encode(value.value) : value
    if (!value.ok || !now.ok) return value.ok ? now as Checked<never> : value
    const { next = 1, stray = none } = leftOver(fragments) ?? {}
    return loaded(value.value, together(JSON.parse(now.value)), "", next, stray)
  }

  const encode = (state: unknown, before: State | undefined): Checked<Encoded> => {
    if (typeof state !== "object" || state === null) {
      const encoded = whole.encode(state)
      return encoded.ok ? { ok: false, issue: "Expected an object" } : encoded
    }
    const checked = codec.check(state)
    if (!checked.ok) return checked
    const stored = before?.stored instanceof FieldsStored ? before.stored : undefined
    // A state that is given back may have been changed in place.
    const trusted = before !== undefined && state !== before.value
    const fields = new Map<string, NewField>()
    let changed = stored === undefined
    for (const field of codec.fields) {
      const was = stored?.fields.get(field.name)
      const encoded = encodeField(field, state, was, trusted)
      if (!encoded.ok) return encoded
      if (encoded.value === undefined) continue
      fields.set(field.name, encoded.value)
      changed ||= encoded.value._tag !== "Same"
    }
    changed ||= fields.size !== stored?.fields.size
    return !changed && stored !== undefined
      ? { ok: true, value: { stored, changes: noChanges } }
      : storeFields(fields, stored, stored ?? before?.instead)
  }
  return { load, loadFrom, encode }
}
