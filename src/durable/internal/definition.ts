/**
 * A definition as the machinery uses it: every codec compiled once, from and to the texts that are stored.
 */
import * as PrimaryKey from "effect/PrimaryKey"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import { attempt, type Checked, checked } from "./checked.ts"
import { migrateJson, type StateVersions } from "./stateVersions.ts"

export type { Checked }

/** Between a value and its text, and what the text is parsed to where it is JSON. */
export interface TextCodec {
  readonly encode: (value: unknown) => Checked<string>
  readonly decode: (text: string) => Checked<unknown>
  readonly decodeJson: (json: unknown) => Checked<unknown>
}

/** One operation of a protocol. */
export interface Operation {
  readonly tag: string
  readonly payload: TextCodec
  /** Builds the payload from what the caller gave, as the schema's constructor does. */
  readonly makePayload: (input: unknown) => Checked<unknown>
  readonly success: TextCodec
  readonly error: TextCodec
}

/** A kind of durable server, compiled. */
export interface Definition {
  readonly kind: string
  readonly state: TextCodec & {
    /** What the schema describes, of what is only shaped like it: a plain object where the schema is a class. */
    readonly asType: (value: unknown) => Checked<unknown>
  }
  /** The version of the state's schema, from 1. */
  readonly stateVersion: number
  /** Reads a stored state of this version or an older one: its value, and its text as it would be written now. */
  readonly readState: (text: string, version: number) => Checked<{ readonly value: unknown; readonly text: string }>
  readonly key: TextCodec
  readonly operations: ReadonlyMap<string, Operation>
  /** What `info` tells, as an operation that no protocol declares. */
  readonly info: Operation
}

/** The name that what `info` tells bears in a line. */
const infoTag = "~info"

/** The operation of that name, whether it is one of the protocol or not. */
export const operationNamed = (definition: Definition, tag: string): Operation | undefined =>
  tag === infoTag ? definition.info : definition.operations.get(tag)

/** No single value may be so large that a statement which carries it cannot be sent. */
const maxTextLength = 64 * 1024 * 1024

const checkedText = (text: string): Checked<string> =>
  text.length <= maxTextLength
    ? { ok: true, value: text }
    : { ok: false, issue: `Expected at most ${maxTextLength} characters as JSON, got ${text.length}` }

const jsonText = (schema: Schema.Codec<unknown, unknown>): TextCodec => {
  const codec = Schema.toCodecJson(schema)
  const encode = Schema.encodeUnknownExit(codec)
  const decode = Schema.decodeUnknownExit(codec)
  return {
    encode: (value) => {
      const encoded = checked(encode(value))
      return encoded.ok ? checkedText(JSON.stringify(encoded.value) ?? "null") : encoded
    },
    decode: (text) => {
      const json = attempt(() => JSON.parse(text) as unknown)
      return json.ok ? checked(decode(json.value)) : json
    },
    decodeJson: (json) => checked(decode(json))
  }
}

const plainText = (schema: Schema.Codec<unknown, string>): TextCodec => {
  const encode = Schema.encodeUnknownExit(schema)
  const decode = Schema.decodeUnknownExit(schema)
  const decodeText = (text: unknown) => checked(decode(text))
  return { encode: (value) => checked(encode(value)), decode: decodeText, decodeJson: decodeText }
}

const nothing: TextCodec = {
  encode: (value) =>
    value === undefined
      ? { ok: true, value: "null" }
      : { ok: false, issue: "Expected nothing, the operation declares none" },
  decode: () => ({ ok: true, value: undefined }),
  decodeJson: () => ({ ok: true, value: undefined })
}

const textCodec = (schema: Schema.Top): TextCodec =>
  // Codecs without services is what the public signatures let in.
  (schema as unknown) === Schema.Void ? nothing : jsonText(schema as unknown as Schema.Codec<unknown, unknown>)

const operation = (kind: string, rpc: Rpc.AnyWithProps): Operation => {
  if (RpcSchema.isStreamSchema(rpc.successSchema)) {
    throw new Error(`${kind}: "${rpc._tag}" streams its success, and a durable server answers once`)
  }
  if (rpc.middlewares.size > 0) {
    throw new Error(`${kind}: "${rpc._tag}" has middleware, which durable servers do not run`)
  }
  const make = rpc.payloadSchema as unknown as { readonly make: (input: unknown) => unknown }
  return {
    tag: rpc._tag,
    payload: textCodec(rpc.payloadSchema),
    makePayload: (rpc.payloadSchema as unknown) === Schema.Void
      ? (input) => ({ ok: true, value: input })
      : (input) => attempt(() => make.make(input)),
    success: textCodec(rpc.successSchema),
    error: textCodec(rpc.errorSchema)
  }
}

const operations = new WeakMap<Rpc.Any, Operation>()

/** An operation by its definition alone, for those who meet it outside a protocol. */
export const operationOf = (rpc: Rpc.AnyWithProps): Operation => {
  let known = operations.get(rpc)
  if (known === undefined) operations.set(rpc, known = operation("a durable server", rpc))
  return known
}

/** Compiles a definition, and refuses what a durable server cannot keep to. */
export const compile = (
  kind: string,
  state: Schema.Top,
  protocol: ReadonlyArray<Rpc.Any>,
  key: Schema.Top,
  info: Schema.Top,
  versions: StateVersions
): Definition => {
  if (kind.length === 0 || kind.includes("\0") || new TextEncoder().encode(kind).length > 128) {
    throw new Error("the kind of a durable server is 1 to 128 bytes of text without NUL")
  }
  const operations = new Map<string, Operation>()
  for (const rpc of protocol) {
    if (rpc._tag === infoTag) throw new Error(`${kind}: an operation cannot be called "${infoTag}"`)
    if (operations.has(rpc._tag)) throw new Error(`${kind}: "${rpc._tag}" is declared twice`)
    operations.set(rpc._tag, operation(kind, rpc as Rpc.AnyWithProps))
  }
  const maker = state as unknown as { readonly make: (input: unknown) => unknown }
  const isType = typeof state === "function" ? (value: unknown) => value instanceof state : () => true
  const stateCodec = textCodec(state)
  return {
    kind,
    stateVersion: versions.current,
    readState: readState(stateCodec, versions),
    state: {
      ...stateCodec,
      asType: (value) => isType(value) ? { ok: true, value } : attempt(() => maker.make(value))
    },
    key: plainText(key as unknown as Schema.Codec<unknown, string>),
    operations,
    info: operation(kind, Rpc.make(infoTag, { payload: info as Schema.Codec<unknown, unknown> }))
  }
}

const readState = (codec: TextCodec, versions: StateVersions): Definition["readState"] => (text, version) => {
  if (version === versions.current) {
    const state = codec.decode(text)
    return state.ok ? { ok: true, value: { value: state.value, text } } : state
  }
  const json = attempt(() => JSON.parse(text) as unknown)
  const migrated = json.ok ? migrateJson(versions, json.value, version) : json
  if (!migrated.ok) return migrated
  const state = codec.decodeJson(migrated.value)
  if (!state.ok) return { ok: false, issue: `after its migration from version ${version}: ${state.issue}` }
  // Not the text that is stored: the same text may mean something else in another version.
  const now = codec.encode(state.value)
  return now.ok ? { ok: true, value: { value: state.value, text: now.value } } : now
}

const maxKeyBytes = 512

/** A name, as rows and indexes can bear it: 1 to 512 bytes, without NUL. */
export const checkName = (name: string): Checked<string> => {
  if (name.length === 0) return { ok: false, issue: "Expected at least one character" }
  if (name.includes("\0")) return { ok: false, issue: "Expected no NUL character" }
  // A character takes at most 3 bytes for each UTF-16 unit: most names need no counting.
  if (name.length * 3 > maxKeyBytes && new TextEncoder().encode(name).length > maxKeyBytes) {
    return { ok: false, issue: `Expected at most ${maxKeyBytes} bytes` }
  }
  return name.isWellFormed() ? { ok: true, value: name } : { ok: false, issue: "Expected well-formed text" }
}

/** The primary key that a payload names, where its operation declares one. */
export const primaryKeyOf = (payload: unknown): string | undefined =>
  PrimaryKey.isPrimaryKey(payload) ? PrimaryKey.value(payload) : undefined
