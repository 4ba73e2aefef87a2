/**
 * A definition as the machinery uses it: every codec compiled once.
 */
import * as PrimaryKey from "effect/PrimaryKey"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { attempt, type Checked, plainText, type TextCodec, textCodec } from "./codec.ts"
import * as IncrementalState from "./state/incrementalState.ts"
import type { StateCodec } from "./state/stored.ts"
import * as WholeState from "./state/wholeState.ts"

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
  readonly state: StateCodec & {
    /** What the schema describes, of what is only shaped like it: a plain object where the schema is a class. */
    readonly asType: (value: unknown) => Checked<unknown>
  }
  readonly key: TextCodec
  readonly operations: ReadonlyMap<string, Operation>
}

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

const stateCodec = (kind: string, state: Schema.Top, persistence: "whole" | "incremental"): StateCodec => {
  const whole = textCodec(state)
  if (persistence === "whole") return WholeState.make(whole)
  const incremental = IncrementalState.make(state, whole)
  if (incremental === undefined) {
    throw new Error(`${kind}: persistence "incremental" needs a state whose fields are encoded each under its own name`)
  }
  return incremental
}

/** Whether values of a schema may have to be made: instances of classes, out of what is only shaped like them. */
const hasClasses = (ast: SchemaAST.AST, seen: Set<SchemaAST.AST> = new Set()): boolean => {
  if (seen.has(ast)) return false
  seen.add(ast)
  const some = (asts: ReadonlyArray<SchemaAST.AST>) => asts.some((inner) => hasClasses(inner, seen))
  switch (ast._tag) {
    case "Declaration":
      return ast.typeParameters.length > 0
    case "Arrays":
      return some(ast.elements) || some(ast.rest)
    case "Objects":
      return some(ast.propertySignatures.map(({ type }) => type)) || some(ast.indexSignatures.map(({ type }) => type))
    case "Union":
      return some(ast.types)
    case "Suspend":
      return hasClasses(ast.thunk(), seen)
    default:
      return false
  }
}

/**
 * Making a value looks at all of it, and gives another one: where only data is described, that is left to the encoder. Where
 * states are stored field by field it is done for the state itself alone.
 */
const asType = (state: Schema.Top, persistence: "whole" | "incremental"): (value: unknown) => Checked<unknown> => {
  const type = Schema.toType(state).ast
  const isInstance = type._tag === "Declaration" ? Schema.is(state as unknown as Schema.Schema<unknown>) : undefined
  if (isInstance === undefined && (persistence === "incremental" || !hasClasses(type))) {
    return (value) => ({ ok: true, value })
  }
  const maker = state as unknown as { readonly make: (input: unknown) => unknown }
  return (value) => isInstance?.(value) === true ? { ok: true, value } : attempt(() => maker.make(value))
}

/** Compiles a definition, and refuses what a durable server cannot keep to. */
export const compile = (
  kind: string,
  state: Schema.Top,
  protocol: ReadonlyArray<Rpc.Any>,
  key: Schema.Top,
  persistence: "whole" | "incremental" = "whole"
): Definition => {
  if (kind.length === 0 || kind.includes("\0") || new TextEncoder().encode(kind).length > 128) {
    throw new Error("the kind of a durable server is 1 to 128 bytes of text without NUL")
  }
  const operations = new Map<string, Operation>()
  for (const rpc of protocol) {
    if (operations.has(rpc._tag)) throw new Error(`${kind}: "${rpc._tag}" is declared twice`)
    operations.set(rpc._tag, operation(kind, rpc as Rpc.AnyWithProps))
  }
  return {
    kind,
    state: {
      ...stateCodec(kind, state, persistence),
      asType: asType(state, persistence)
    },
    key: plainText(key as unknown as Schema.Codec<unknown, string>),
    operations
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
