/**
 * Profiles and addresses as texts, which is what backends know them by.
 *
 * A schema that encodes to a string gives that string: readable in a table, and by other programs. Any other gives JSON, with
 * the keys of objects in one order, so that equal profiles are one profile.
 */
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"

/** From values to texts and back. Failures are what is wrong, in words. */
export interface TextCodec<A> {
  readonly encode: (value: A) => Result.Result<string, string>
  readonly decode: (text: string) => Result.Result<A, string>
}

const problemOf = (cause: unknown): string => {
  if (SchemaIssue.isIssue(cause)) return String(cause)
  return cause instanceof Error ? cause.message : String(cause)
}

const attempt = <A>(go: () => A): Result.Result<A, string> => Result.try({ try: go, catch: problemOf })

/** Objects with their keys in order, all the way down. */
const ordered = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(ordered)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, inner]) => [key, ordered(inner)])
  )
}

const plainString: TextCodec<string> = {
  encode: (value) => typeof value === "string" ? Result.succeed(value) : Result.fail("Expected string"),
  decode: Result.succeed
}

export const make = <A>(schema: Schema.Codec<A, unknown>): TextCodec<A> => {
  // Proven by the comparison: this schema's type is string.
  if ((schema as unknown) === Schema.String) return plainString as unknown as TextCodec<A>
  if (SchemaAST.isString(SchemaAST.toEncoded(schema.ast))) {
    const encode = Schema.encodeUnknownExit(schema)
    const decode = Schema.decodeUnknownExit(schema)
    return {
      encode: (value) => Result.map(checked(encode(value)), String),
      decode: (text) => checked(decode(text))
    }
  }
  const codec = Schema.toCodecJson(schema)
  const encode = Schema.encodeUnknownExit(codec)
  const decode = Schema.decodeUnknownExit(codec)
  return {
    encode: (value) => Result.map(checked(encode(value)), (json) => JSON.stringify(ordered(json))),
    decode: (text) => Result.flatMap(attempt(() => JSON.parse(text) as unknown), (json) => checked(decode(json)))
  }
}

const checked = <A>(exit: Exit.Exit<A, { readonly message: string }>): Result.Result<A, string> =>
  Exit.match(exit, {
    onSuccess: (value) => Result.succeed(value),
    onFailure: (cause) => {
      const [reason] = cause.reasons
      return Result.fail(reason?._tag === "Fail" ? reason.error.message : "Expected a value that needs no services")
    }
  })

const maxKeyBytes = 512
const maxAddressBytes = 4096

const checkText = (text: string, maxBytes: number): string | undefined => {
  if (text.includes("\0")) return "Expected no NUL character"
  // A character takes at most 3 bytes for each UTF-16 unit: most texts need no counting.
  if (text.length * 3 > maxBytes && new TextEncoder().encode(text).length > maxBytes) {
    return `Expected at most ${maxBytes} bytes`
  }
  return text.isWellFormed() ? undefined : "Expected well-formed text"
}

/** What is wrong with a key, if something is: 1 to 512 bytes, without NUL. */
export const checkKey = (key: string): string | undefined =>
  key.length === 0 ? "Expected at least one character" : checkText(key, maxKeyBytes)

/** What is wrong with an address, if something is: at most 4,096 bytes, without NUL. */
export const checkAddress = (address: string): string | undefined => checkText(address, maxAddressBytes)
