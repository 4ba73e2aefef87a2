/**
 * Codecs as the machinery uses them: compiled once, from and to the texts that are stored, with what goes wrong as a value.
 */
import * as Schema from "effect/Schema"
import { attempt, type Checked, checked } from "./checked.ts"

/** Between a value and its text, and what the text is parsed to where it is JSON. */
export interface TextCodec {
  readonly encode: (value: unknown) => Checked<string>
  readonly decode: (text: string) => Checked<unknown>
  readonly decodeJson: (json: unknown) => Checked<unknown>
}

/** No single value may be so large that a statement which carries it cannot be sent. */
const maxTextLength = 64 * 1024 * 1024

export const checkLength = (length: number): Checked<undefined> =>
  length <= maxTextLength
    ? { ok: true, value: undefined }
    : { ok: false, issue: `Expected at most ${maxTextLength} characters as JSON, got ${length}` }

const checkedText = (text: string): Checked<string> => {
  const length = checkLength(text.length)
  return length.ok ? { ok: true, value: text } : length
}

/** A text that is JSON, and may be stored as it is. */
export const checkJson = (text: string): Checked<string> => {
  // JSON has no NUL but as an escape; what is not well-formed would be changed on its way.
  if (!text.isWellFormed()) return { ok: false, issue: "Expected well-formed text" }
  const json = attempt(() => JSON.parse(text) as unknown)
  return json.ok ? checkedText(text) : json
}

/** Encodes, compiled. */
export const encoderOf = (schema: Schema.Codec<unknown, unknown>): (value: unknown) => Checked<unknown> => {
  const encode = Schema.encodeUnknownExit(schema)
  return (value) => checked(encode(value))
}

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

export const plainText = (schema: Schema.Codec<unknown, string>): TextCodec => {
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

export const textCodec = (schema: Schema.Top): TextCodec =>
  // Codecs without services is what the public signatures let in.
  (schema as unknown) === Schema.Void ? nothing : jsonText(schema as unknown as Schema.Codec<unknown, unknown>)
