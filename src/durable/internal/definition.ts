/**
 * A definition as the machinery uses it: every codec compiled once.
 */
import * as PrimaryKey from "effect/PrimaryKey"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import { attempt, type Checked } from "./checked.ts"
import { plainText, type TextCodec, textCodec } from "./codec.ts"
import * as StateCodec from "./state/stateCodec.ts"
import type { StateVersions } from "./stateVersions.ts"

export type { Checked }

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
  readonly state: StateCodec.StateCodec
  /** The version of the state's schema, from 1. */
  readonly stateVersion: number
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
  versions: StateVersions,
  persistence: StateCodec.Persistence = "whole"
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
  return {
    kind,
    stateVersion: versions.current,
    state: StateCodec.make(kind, state, versions, persistence),
    key: plainText(key as unknown as Schema.Codec<unknown, string>),
    operations,
    info: operation(kind, Rpc.make(infoTag, { payload: info as Schema.Codec<unknown, unknown> }))
  }
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
