/**
 * Postgres's `numeric`: decimals of up to 131,072 digits before the point and 16,383 after it, two infinities, and `NaN`,
 * which is equal to itself and above everything else.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Hash from "effect/Hash"
import type * as Order from "effect/Order"
import * as Result from "effect/Result"
import { digitsEnd, flaw, type Parsed, trimmed } from "./text.ts"

export type Decimal = BigDecimal.BigDecimal | "NaN" | "Infinity" | "-Infinity"

const mostDigits = 131_072
const mostDecimals = 16_383

const rank = (value: Decimal): number =>
  typeof value === "string" ? (value === "NaN" ? 2 : value === "Infinity" ? 1 : -1) : 0

export const order: Order.Order<Decimal> = (self, that) => {
  if (typeof self !== "string" && typeof that !== "string") {
    return self.scale === that.scale
      ? self.value < that.value ? -1 : self.value > that.value ? 1 : 0
      : BigDecimal.Order(self, that)
  }
  const [left, right] = [rank(self), rank(that)]
  return left < right ? -1 : left > right ? 1 : 0
}

export const hash = (value: Decimal): number => Hash.hash(value)

/** As a `numeric` is kept: without a negative scale, and within what Postgres can hold. */
export const fromInput = (value: Decimal): Result.Result<Decimal, string> => {
  if (typeof value === "string") {
    return value === "NaN" || value === "Infinity" || value === "-Infinity"
      ? Result.succeed(value)
      : Result.fail(`is none of "NaN", "Infinity" and "-Infinity": ${JSON.stringify(value)}`)
  }
  if (!BigDecimal.isBigDecimal(value)) return Result.fail("is not a BigDecimal")
  if (value.scale > mostDecimals) return Result.fail(`has more than ${mostDecimals} digits behind the point`)
  if (value.value === 0n) return Result.succeed(value.scale < 0 ? BigDecimal.make(0n, 0) : value)
  const tooMany = Result.fail(`has more than ${mostDigits} digits before the point`)
  if (value.scale < -mostDigits) return tooMany
  const digits = String(value.value < 0n ? -value.value : value.value).length
  if (digits - value.scale > mostDigits) return tooMany
  return Result.succeed(
    value.scale < 0 ? BigDecimal.make(value.value * 10n ** BigInt(-value.scale), 0) : value
  )
}

/** All digits, those of the scale among them: `1.50` stays `1.50`. */
export const format = (value: Decimal): string => {
  if (typeof value === "string") return value
  const digits = String(value.value < 0n ? -value.value : value.value).padStart(value.scale + 1, "0")
  const point = digits.length - value.scale
  return `${value.value < 0n ? "-" : ""}${digits.slice(0, point)}${value.scale > 0 ? `.${digits.slice(point)}` : ""}`
}

const words: { readonly [word: string]: Decimal } = {
  "nan": "NaN",
  "infinity": "Infinity",
  "+infinity": "Infinity",
  "-infinity": "-Infinity",
  "inf": "Infinity",
  "+inf": "Infinity",
  "-inf": "-Infinity"
}

export const parse = (text: string): Parsed<Decimal> => {
  const { end, start } = trimmed(text)
  const word = end - start <= 9 ? words[text.slice(start, end).toLowerCase()] : undefined
  if (word !== undefined) return Result.succeed(word)
  const wholeAt = text[start] === "-" || text[start] === "+" ? start + 1 : start
  const wholeEnd = digitsEnd(text, wholeAt)
  const whole = text.slice(wholeAt, wholeEnd)
  let at = wholeEnd
  let fraction = ""
  if (text[at] === ".") {
    at = digitsEnd(text, wholeEnd + 1)
    fraction = text.slice(wholeEnd + 1, at)
  }
  if (whole === "" && fraction === "") {
    return flaw(at, at >= end ? "expected a digit, found the end of the number" : "expected a digit")
  }
  let exponent = 0
  if (text[at] === "e" || text[at] === "E") {
    const exponentAt = text[at + 1] === "-" || text[at + 1] === "+" ? at + 2 : at + 1
    const exponentEnd = digitsEnd(text, exponentAt)
    if (exponentEnd === exponentAt) return flaw(exponentAt, "expected a digit of the exponent")
    exponent = Number(text.slice(at + 1, exponentEnd))
    if (Math.abs(exponent) > 1_000_000) return flaw(at + 1, "the exponent is out of range")
    at = exponentEnd
  }
  if (at < end) return flaw(at, "expected a digit")
  if (whole.length + fraction.length > mostDigits + mostDecimals + 1000) return flaw(start, "has too many digits")
  const value = BigInt(`${whole}${fraction}`)
  const decimal = fromInput(BigDecimal.make(text[start] === "-" ? -value : value, fraction.length - exponent))
  return Result.mapError(decimal, (problem) => ({ position: start, problem }))
}
