/**
 * 64-bit integers in text.
 */
import * as Result from "effect/Result"
import { digitsEnd, flaw, type Parsed, trimmed } from "./text.ts"

export const minInt64 = -(1n << 63n)
export const maxInt64 = (1n << 63n) - 1n

export const parseInt64 = (text: string): Parsed<bigint> => {
  const { end, start } = trimmed(text)
  const signed = text[start] === "-" || text[start] === "+"
  const digitsAt = signed ? start + 1 : start
  const stop = digitsEnd(text, digitsAt)
  if (stop === digitsAt || stop < end) {
    return flaw(stop, stop >= end ? "expected a digit, found the end of the number" : "expected a digit")
  }
  // Leading zeros aside, no more than 19 digits can fit; a text of millions of digits is not even converted.
  const digits = text.slice(digitsAt, stop).replace(/^0+(?=.)/, "")
  const value = digits.length > 19 ? maxInt64 + 2n : BigInt(digits)
  const result = text[start] === "-" ? -value : value
  return result < minInt64 || result > maxInt64
    ? flaw(start, "does not fit into 64 bits")
    : Result.succeed(result)
}
