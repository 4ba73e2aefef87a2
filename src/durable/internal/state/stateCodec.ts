/**
 * How the states of a definition are made, stored and read, whichever version of it stored them.
 */
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import type { Fragment } from "../../DurableStorage.ts"
import { attempt, type Checked } from "../checked.ts"
import { textCodec } from "../codec.ts"
import { migrateJson, type StateVersions } from "../stateVersions.ts"
import * as IncrementalState from "./incrementalState.ts"
import type { State, StoredCodec } from "./stored.ts"
import * as WholeState from "./wholeState.ts"

/** How states are stored. */
export type Persistence = "whole" | "incremental"

/** The states of a definition. */
export interface StateCodec extends Pick<StoredCodec, "encode"> {
  /** What the schema describes, of what is only shaped like it: a plain object where the schema is a class. */
  readonly asType: (value: unknown) => Checked<unknown>
  /** Reads a state of this version or an older one: what stands in its place, and its fragments. */
  readonly load: (head: string, fragments: ReadonlyArray<Fragment>, version: number) => Checked<State>
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
const asType = (state: Schema.Top, persistence: Persistence): (value: unknown) => Checked<unknown> => {
  const type = Schema.toType(state).ast
  const isInstance = type._tag === "Declaration" ? Schema.is(state as unknown as Schema.Schema<unknown>) : undefined
  if (isInstance === undefined && (persistence === "incremental" || !hasClasses(type))) {
    return (value) => ({ ok: true, value })
  }
  const maker = state as unknown as { readonly make: (input: unknown) => unknown }
  return (value) => isInstance?.(value) === true ? { ok: true, value } : attempt(() => maker.make(value))
}

export const make = (
  kind: string,
  schema: Schema.Top,
  versions: StateVersions,
  persistence: Persistence
): StateCodec => {
  const text = textCodec(schema)
  const stored = persistence === "whole" ? WholeState.make(text) : IncrementalState.make(schema, text)
  if (stored === undefined) {
    throw new Error(`${kind}: persistence "incremental" needs a state whose fields are encoded each under its own name`)
  }
  const migrated = (version: number) => (json: unknown): Checked<unknown> => {
    const today = migrateJson(versions, json, version)
    if (!today.ok) return today
    const state = text.decodeJson(today.value)
    return state.ok ? state : { ok: false, issue: `after its migration from version ${version}: ${state.issue}` }
  }
  return {
    asType: asType(schema, persistence),
    encode: stored.encode,
    load: (head, fragments, version) =>
      version === versions.current
        ? stored.load(head, fragments)
        : stored.loadFrom(head, fragments, migrated(version))
  }
}
