/**
 * What a state's schema says about storing its fields one by one: which fields there are, which of them are lists whose items
 * have ids, and how each is encoded without the others.
 *
 * A field that is still the same value as before is not encoded again. That is sound as long as values are never changed in
 * place, which their types forbid; where a type allows it, the field is encoded every time.
 */
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import type { Checked } from "../checked.ts"
import { encoderOf } from "../codec.ts"

/** One field of a state. */
export interface FieldCodec {
  readonly name: string
  /** The field alone, in an object of its own: it may be left out, or be encoded to nothing. */
  readonly encode: (field: object) => Checked<unknown>
  /** Whether its type allows that it is changed in place. */
  readonly mutable: boolean
  /** Where it is a list whose items have ids. */
  readonly list: ListCodec | undefined
}

/** A list whose items are objects with an `id`, a string or a number. */
export interface ListCodec {
  /** What holds of the list as a whole. Its items are not looked at. */
  readonly check: (list: unknown) => Checked<unknown>
  readonly encodeItem: (item: unknown) => Checked<unknown>
  readonly itemsMutable: boolean
}

/** The fields of a state, and what holds of all of them together. */
export interface FieldsCodec {
  readonly fields: ReadonlyArray<FieldCodec>
  readonly check: (state: object) => Checked<unknown>
}

type Encodable = Schema.Codec<unknown, unknown>

const schemaOf = (ast: SchemaAST.AST): Encodable => Schema.make<Encodable>(ast)

const fine: Checked<unknown> = { ok: true, value: undefined }

/** Values of these kinds are changed in place by their own methods. */
const mutableValues: ReadonlySet<unknown> = new Set(
  [Schema.Date, Schema.Uint8Array, Schema.URL, Schema.FormData, Schema.URLSearchParams].map(({ ast }) => ast.run)
)

/** Whether the type of a schema lets its values be changed in place. */
const isMutable = (ast: SchemaAST.AST, seen: Set<SchemaAST.AST> = new Set()): boolean => {
  if (seen.has(ast)) return false
  seen.add(ast)
  const some = (asts: ReadonlyArray<SchemaAST.AST>) => asts.some((inner) => isMutable(inner, seen))
  switch (ast._tag) {
    case "Any":
    case "ObjectKeyword":
      return true
    case "Arrays":
      return ast.isMutable || some(ast.elements) || some(ast.rest)
    case "Objects":
      return ast.propertySignatures.some(({ type }) => type.context?.isMutable === true || isMutable(type, seen)) ||
        some(ast.indexSignatures.map(({ type }) => type))
    case "Union":
      return some(ast.types)
    case "Suspend":
      return isMutable(ast.thunk(), seen)
    case "Declaration":
      return mutableValues.has(ast.run) || some(ast.typeParameters)
    default:
      return false
  }
}

const typeOf = (ast: SchemaAST.AST): SchemaAST.AST => Schema.toType(schemaOf(ast)).ast

/** Whether what is encoded is an object that always has an `id`, a string or a number. */
const hasId = (encoded: SchemaAST.AST): boolean => {
  if (encoded._tag === "Union") return encoded.types.length > 0 && encoded.types.every(hasId)
  if (encoded._tag === "Suspend") return hasId(encoded.thunk())
  if (encoded._tag !== "Objects") return false
  const id = encoded.propertySignatures.find(({ name }) => name === "id")?.type
  return id !== undefined && id.context?.isOptional !== true && isName(id)
}

const isName = (encoded: SchemaAST.AST): boolean => {
  switch (encoded._tag) {
    case "String":
    case "Number":
    case "TemplateLiteral":
      return true
    case "Literal":
      return typeof encoded.literal === "string" || typeof encoded.literal === "number"
    case "Union":
      return encoded.types.length > 0 && encoded.types.every(isName)
    default:
      return false
  }
}

/** The checks of a schema alone: what is below is taken as it is. */
const checksOnly = (checks: SchemaAST.Checks | undefined): (value: unknown) => Checked<unknown> =>
  checks === undefined ? () => fine : encoderOf(Schema.Unknown.check(...checks))

const listCodec = (ast: SchemaAST.AST): ListCodec | undefined => {
  if (ast._tag !== "Arrays" || ast.encoding !== undefined || ast.elements.length > 0 || ast.rest.length !== 1) {
    return undefined
  }
  const [item] = ast.rest
  if (item === undefined) return undefined
  const codec = Schema.toCodecJson(schemaOf(item))
  if (!hasId(Schema.toEncoded(codec).ast)) return undefined
  return {
    check: checksOnly(ast.checks),
    encodeItem: encoderOf(codec),
    itemsMutable: isMutable(typeOf(item))
  }
}

const fieldCodec = (name: string, schema: Schema.Top): FieldCodec => {
  const type = typeOf(schema.ast)
  return {
    name,
    encode: encoderOf(Schema.toCodecJson(Schema.Struct({ [name]: schema })) as unknown as Encodable),
    mutable: type.context?.isMutable === true || isMutable(type),
    list: listCodec(schema.ast)
  }
}

/** The struct behind a schema, where its fields are encoded each under its own name: that of a struct, or of a class. */
const structOf = (ast: SchemaAST.AST): SchemaAST.Objects | undefined => {
  if (ast._tag === "Objects") return ast.encoding === undefined ? ast : undefined
  if (ast._tag !== "Declaration" || ast.encoding?.length !== 1) return undefined
  const struct = ast.encoding[0]?.to
  return struct?._tag === "Objects" && struct.encoding === undefined ? struct : undefined
}

/** How the fields of a state are encoded one by one; `undefined` where its schema has none, or transforms them all together. */
export const fieldsCodec = (state: Schema.Top): FieldsCodec | undefined => {
  const { fields } = state as { readonly fields?: Schema.Struct.Fields }
  const struct = structOf(state.ast)
  if (
    fields === undefined || struct === undefined || struct.indexSignatures.length > 0 ||
    struct.encodingChecks !== undefined
  ) return undefined
  const names = Reflect.ownKeys(fields)
  const isPlain = names.length === struct.propertySignatures.length &&
    struct.propertySignatures.every(({ name }) => typeof name === "string" && name in fields)
  if (!isPlain) return undefined
  const checks = [struct.checks, struct === state.ast ? undefined : state.ast.checks].map(checksOnly)
  return {
    fields: names.map((name) => fieldCodec(String(name), fields[name] as unknown as Schema.Top)),
    check: (value) => {
      for (const check of checks) {
        const checked = check(value)
        if (!checked.ok) return checked
      }
      return fine
    }
  }
}
