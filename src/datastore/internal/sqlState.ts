/**
 * What the server said, found again inside an `SqlError`.
 *
 * The driver keeps the fields of the server's answer on the innermost error of the chain of causes. Everything here that
 * depends on a SQLSTATE reads it through these functions.
 */
import * as Predicate from "effect/Predicate"
import type { SqlError } from "effect/sql/SqlError"

/** The fields of an error as the server reported it. */
export interface ServerError {
  readonly code: string
  readonly message: string
  readonly detail?: string | undefined
  readonly hint?: string | undefined
  readonly schema?: string | undefined
  readonly table?: string | undefined
  readonly column?: string | undefined
  readonly constraint?: string | undefined
  /** Where in `internalQuery` the fault is, in characters from 1. */
  readonly internalPosition?: string | undefined
  readonly internalQuery?: string | undefined
}

// A socket's own errors have a `code` as well ("EPIPE"), but no severity.
const isServerError = (value: unknown): value is ServerError =>
  Predicate.hasProperty(value, "code") && typeof value.code === "string" && /^[0-9A-Z]{5}$/.test(value.code) &&
  Predicate.hasProperty(value, "severity") && Predicate.hasProperty(value, "message") &&
  typeof value.message === "string"

/** Chains of causes are short; the limit is for one that bites its tail. */
const maxDepth = 16

/** What the server said, when this error comes from the server. */
export const serverError = (error: SqlError): ServerError | undefined => {
  let current: unknown = error.reason
  for (let depth = 0; depth < maxDepth; depth++) {
    if (isServerError(current)) {
      return current
    }
    if (!Predicate.hasProperty(current, "cause")) {
      return undefined
    }
    current = current.cause
  }
  return undefined
}

/** The SQLSTATE, when this error comes from the server. */
export const sqlState = (error: SqlError): string | undefined => serverError(error)?.code

/** The most telling sentence of an error: the server's own, else the driver's. */
export const errorText = (error: SqlError): string => {
  const said = serverError(error)
  if (said !== undefined) {
    return said.message
  }
  const cause = error.reason.cause
  return cause instanceof Error && cause.message.length > 0 ? cause.message : error.message
}
