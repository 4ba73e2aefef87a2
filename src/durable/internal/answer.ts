/**
 * The answer to a message: as a value for a caller in this process, as a text for all others and for the record.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { DurableServerError, ReplyUndecodable } from "../DurableServerError.ts"
import type { Address } from "../DurableStorage.ts"
import type { Checked } from "./checked.ts"
import type { Operation } from "./definition.ts"

const errorCodec = Schema.toCodecJson(DurableServerError)
const encodeError = Schema.encodeSync(errorCodec)
const decodeError = Schema.decodeUnknownExit(errorCodec)

/** What became of a message, for whoever waits for it. */
export type Answer =
  | { readonly _tag: "Success"; readonly value: unknown }
  | { readonly _tag: "Failure"; readonly error: unknown }
  | { readonly _tag: "Broken"; readonly error: DurableServerError }

const brokenText = Schema.decodeUnknownExit(Schema.fromJsonString(Schema.Struct({ broken: errorCodec })))

/** The answer of an operation that gives nothing back. */
export const nothing: Answer = { _tag: "Success", value: undefined }

/** As an Effect, for the caller's fiber. */
export const toEffect = (answer: Answer): Effect.Effect<unknown, unknown> =>
  answer._tag === "Success" ? Effect.succeed(answer.value) : Effect.fail(answer.error)

/** As a text, for messages of whichever operation. */
export const encodeBroken = (error: DurableServerError): string => `{"broken":${JSON.stringify(encodeError(error))}}`

/** From such a text, if it is one. */
export const decodeBroken = (text: string): DurableServerError | undefined => {
  const decoded = brokenText(text)
  return Exit.isSuccess(decoded) ? decoded.value.broken : undefined
}

/** As a text. Fails where the handler answered what its operation does not declare. */
export const encode = (operation: Operation, answer: Answer): Checked<string> => {
  switch (answer._tag) {
    case "Success": {
      const value = operation.success.encode(answer.value)
      return value.ok ? { ok: true, value: `{"success":${value.value}}` } : value
    }
    case "Failure": {
      const error = operation.error.encode(answer.error)
      return error.ok ? { ok: true, value: `{"failure":${error.value}}` } : error
    }
    case "Broken":
      return { ok: true, value: encodeBroken(answer.error) }
  }
}

/** From a text. What does not decode is an answer too: two processes with different versions of a protocol. */
export const decode = (operation: Operation, server: Address, text: string): Answer => {
  const undecodable = (issue: string): Answer => ({
    _tag: "Broken",
    error: new DurableServerError({
      reason: new ReplyUndecodable({ kind: server.kind, key: server.key, rpc: operation.tag, issue })
    })
  })
  const json = JSON.parse(text) as {
    readonly success?: unknown
    readonly failure?: unknown
    readonly broken?: unknown
  }
  if ("success" in json) {
    const value = operation.success.decodeJson(json.success)
    return value.ok ? { _tag: "Success", value: value.value } : undecodable(value.issue)
  }
  if ("failure" in json) {
    const error = operation.error.decodeJson(json.failure)
    return error.ok ? { _tag: "Failure", error: error.value } : undecodable(error.issue)
  }
  const broken = decodeError(json.broken)
  return Exit.isSuccess(broken)
    ? { _tag: "Broken", error: broken.value }
    : undecodable("Expected a success or a failure")
}
