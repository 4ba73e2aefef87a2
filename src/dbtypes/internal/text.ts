/**
 * Reading text by position: what a parser found wrong and where, relative to the text it was given.
 */
import * as Result from "effect/Result"
import { InvalidText } from "../DbTypeError.ts"

/** Something wrong in a text, at an index of it. */
export interface Flaw {
  readonly position: number
  readonly problem: string
}

export type Parsed<A> = Result.Result<A, Flaw>

export const flaw = (position: number, problem: string): Result.Result<never, Flaw> =>
  Result.fail({ position, problem })

/** Turns a flaw into the error that users see. */
export const orInvalid = <A>(parsed: Parsed<A>, typeName: string, text: string): Result.Result<A, InvalidText> =>
  Result.mapError(parsed, ({ position, problem }) => new InvalidText({ typeName, text, position, problem }))

/** White space as C's `isspace` sees it, which is what Postgres skips. */
export const isSpace = (code: number): boolean => code === 32 || (code >= 9 && code <= 13)

export const skipSpace = (text: string, position: number): number => {
  while (position < text.length && isSpace(text.charCodeAt(position))) position++
  return position
}

/** The text between white space, and where it begins and ends. */
export const trimmed = (text: string): { readonly start: number; readonly end: number } => {
  const start = skipSpace(text, 0)
  let end = text.length
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--
  return { start, end }
}

export const isDigit = (text: string, position: number): boolean => {
  const code = text.charCodeAt(position)
  return code >= 48 && code <= 57
}

/** The end of the run of digits that begins there. */
export const digitsEnd = (text: string, position: number): number => {
  while (isDigit(text, position)) position++
  return position
}
