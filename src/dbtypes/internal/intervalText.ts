/**
 * Intervals in text: Postgres's own notation (`1 year 2 mons -3 days +04:05:06.789`), ISO 8601 (`P1Y2M-3DT4H5M6.789S`), and
 * words for people.
 */
import * as Result from "effect/Result"
import { pad } from "./calendar.ts"
import { digitsEnd, flaw, type Parsed, skipSpace, trimmed } from "./text.ts"

export interface Parts {
  readonly months: number
  readonly days: number
  readonly microseconds: bigint
}

const minInt32 = -2_147_483_648
const maxInt32 = 2_147_483_647
const minInt64 = -(1n << 63n)
const maxInt64 = (1n << 63n) - 1n

/** What Postgres 17 and later print as `infinity`: every part at its end. */
export const infinity: Parts = { months: maxInt32, days: maxInt32, microseconds: maxInt64 }
export const negativeInfinity: Parts = { months: minInt32, days: minInt32, microseconds: minInt64 }

export const equals = (self: Parts, that: Parts): boolean =>
  self.months === that.months && self.days === that.days && self.microseconds === that.microseconds

export const isFinite = (self: Parts): boolean => !equals(self, infinity) && !equals(self, negativeInfinity)

/** What part of an interval is beyond what it can hold, if one is. */
export const overflow = (parts: { readonly months: bigint; readonly days: bigint; readonly microseconds: bigint }) =>
  parts.months < minInt32 || parts.months > maxInt32
    ? "months"
    : parts.days < minInt32 || parts.days > maxInt32
    ? "days"
    : parts.microseconds < minInt64 || parts.microseconds > maxInt64
    ? "microseconds"
    : undefined

type Part = "months" | "days" | "microseconds"
type UnitName = "year" | "month" | "week" | "day" | "hour" | "minute" | "second" | "millisecond" | "microsecond"

export const units: { readonly [U in UnitName]: readonly [part: Part, factor: bigint] } = {
  year: ["months", 12n],
  month: ["months", 1n],
  week: ["days", 7n],
  day: ["days", 1n],
  hour: ["microseconds", 3_600_000_000n],
  minute: ["microseconds", 60_000_000n],
  second: ["microseconds", 1_000_000n],
  millisecond: ["microseconds", 1000n],
  microsecond: ["microseconds", 1n]
}

const names: ReadonlyMap<string, UnitName> = new Map([
  ...["y", "yr", "yrs", "year", "years"].map((name) => [name, "year"] as const),
  ...["mon", "mons", "month", "months"].map((name) => [name, "month"] as const),
  ...["w", "week", "weeks"].map((name) => [name, "week"] as const),
  ...["d", "day", "days"].map((name) => [name, "day"] as const),
  ...["h", "hr", "hrs", "hour", "hours"].map((name) => [name, "hour"] as const),
  ...["m", "min", "mins", "minute", "minutes"].map((name) => [name, "minute"] as const),
  ...["s", "sec", "secs", "second", "seconds"].map((name) => [name, "second"] as const)
])

interface Sum {
  months: bigint
  days: bigint
  microseconds: bigint
}

/** Adds a number of units, exactly: a fraction is one of a unit of time, and a whole number of microseconds. */
const addUnits = (
  sum: Sum,
  unit: UnitName,
  number: { readonly isNegative: boolean; readonly whole: string; readonly fraction: string; readonly at: number }
): Parsed<void> => {
  const { at, fraction, isNegative, whole } = number
  const [part, factor] = units[unit]
  // Anything with that many digits is out of range, whatever the unit.
  if (whole.replace(/^0+/, "").length > 20) return flaw(at, `too many ${unit}s`)
  let amount = BigInt(whole === "" ? "0" : whole) * factor
  const digits = fraction.replace(/0+$/, "")
  if (digits !== "") {
    if (part !== "microseconds") return flaw(at, `a fraction of a ${unit} is no whole number of anything`)
    const scale = 10n ** BigInt(Math.min(digits.length, 20))
    const scaled = BigInt(digits.slice(0, 20)) * factor
    if (digits.length > 20 || scaled % scale !== 0n) return flaw(at, "finer than a microsecond")
    amount += scaled / scale
  }
  sum[part] += isNegative ? -amount : amount
  return Result.succeed(undefined)
}

const finish = (sum: Sum, at: number): Parsed<Parts> => {
  const beyond = overflow(sum)
  if (beyond !== undefined) return flaw(at, `the ${beyond} are out of range`)
  const parts = { months: Number(sum.months), days: Number(sum.days), microseconds: sum.microseconds }
  return isFinite(parts) ? Result.succeed(parts) : flaw(at, "out of range")
}

const isoDate: ReadonlyMap<string, UnitName> = new Map([["Y", "year"], ["M", "month"], ["W", "week"], ["D", "day"]])
const isoTime: ReadonlyMap<string, UnitName> = new Map([["H", "hour"], ["M", "minute"], ["S", "second"]])

const parseIso = (text: string, start: number, end: number): Parsed<Parts> =>
  Result.gen(function*() {
    const sum: Sum = { months: 0n, days: 0n, microseconds: 0n }
    let designators = isoDate
    let last = -1
    let at = start + 1
    if (at === end) return yield* flaw(at, "expected a number or \"T\", found the end")
    while (at < end) {
      if (text[at] === "T" && designators === isoDate) {
        designators = isoTime
        last = -1
        if (++at === end) return yield* flaw(at, "expected a number, found the end")
      }
      const numberAt = at
      if (text[at] === "-") at++
      const wholeAt = at
      at = digitsEnd(text, at)
      if (at === wholeAt) return yield* flaw(at, "expected a digit")
      const whole = text.slice(wholeAt, at)
      let fraction = ""
      if (text[at] === ".") {
        const fractionAt = at + 1
        at = digitsEnd(text, fractionAt)
        if (at === fractionAt) return yield* flaw(at, "expected a digit")
        fraction = text.slice(fractionAt, at)
      }
      const unit = designators.get(text.charAt(at))
      const known = Array.from(designators.keys())
      if (at >= end || unit === undefined) return yield* flaw(at, `expected one of ${known.join(", ")}`)
      const place = known.indexOf(text.charAt(at))
      if (place <= last) return yield* flaw(at, `${text.charAt(at)} is repeated, or stands behind a smaller unit`)
      last = place
      yield* addUnits(sum, unit, { isNegative: text[numberAt] === "-", whole, fraction, at: numberAt })
      at++
    }
    return yield* finish(sum, start)
  })

const parseWords = (text: string, start: number, end: number): Parsed<Parts> =>
  Result.gen(function*() {
    const sum: Sum = { months: 0n, days: 0n, microseconds: 0n }
    const seen = new Set<UnitName>()
    const once = (unit: UnitName, at: number): Parsed<void> => {
      if (seen.has(unit)) return flaw(at, `${unit}s are given twice`)
      seen.add(unit)
      return Result.succeed(undefined)
    }
    let at = text[start] === "@" ? skipSpace(text, start + 1) : start
    if (at >= end) return yield* flaw(at, "expected a number")
    while (at < end) {
      const numberAt = at
      if (seen.size > 0 && text.slice(at, end).toLowerCase() === "ago") {
        return yield* finish({ months: -sum.months, days: -sum.days, microseconds: -sum.microseconds }, start)
      }
      const isNegative = text[at] === "-"
      if (isNegative || text[at] === "+") at++
      const wholeAt = at
      at = digitsEnd(text, at)
      const whole = text.slice(wholeAt, at)
      if (whole === "") return yield* flaw(at, "expected a digit")
      if (text[at] === ":") {
        for (const unit of ["hour", "minute", "second"] as const) {
          yield* once(unit, numberAt)
        }
        yield* addUnits(sum, "hour", { isNegative, whole, fraction: "", at: numberAt })
        const match = /^:(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?![\d.:])/.exec(text.slice(at, end))
        if (match === null) return yield* flaw(at, "expected :MM or :MM:SS[.ffffff] behind the hours")
        const [all, minute = "", second = "0", fraction = ""] = match
        if (Number(minute) > 59) return yield* flaw(at + 1, "the minutes are not within 0 and 59")
        if (Number(second) > 59) return yield* flaw(at + 4, "the seconds are not within 0 and 59")
        yield* addUnits(sum, "minute", { isNegative, whole: minute, fraction: "", at: at + 1 })
        yield* addUnits(sum, "second", { isNegative, whole: second, fraction, at: at + 4 })
        at += all.length
      } else {
        let fraction = ""
        if (text[at] === ".") {
          const fractionAt = at + 1
          at = digitsEnd(text, fractionAt)
          if (at === fractionAt) return yield* flaw(at, "expected a digit")
          fraction = text.slice(fractionAt, at)
        }
        const unitAt = skipSpace(text, at)
        const word = /^[a-z]+/i.exec(text.slice(unitAt, end))?.[0] ?? ""
        const unit = names.get(word.toLowerCase())
        if (unit === undefined) {
          return yield* flaw(unitAt, word === "" ? "expected a unit, such as days" : `there is no unit ${word}`)
        }
        yield* once(unit, unitAt)
        yield* addUnits(sum, unit, { isNegative, whole, fraction, at: numberAt })
        at = unitAt + word.length
      }
      const next = skipSpace(text, at)
      if (next === at && at < end) return yield* flaw(at, "expected a space")
      at = next
    }
    return yield* finish(sum, start)
  })

export const parse = (text: string): Parsed<Parts> => {
  const { end, start } = trimmed(text)
  const word = text.slice(start, end).toLowerCase()
  if (word === "infinity") return Result.succeed(infinity)
  if (word === "-infinity") return Result.succeed(negativeInfinity)
  return text[start] === "P" ? parseIso(text, start, end) : parseWords(text, start, end)
}

interface Clock {
  readonly isNegative: boolean
  readonly hours: bigint
  readonly minutes: number
  readonly seconds: number
  readonly fraction: string
}

const clockOf = (microseconds: bigint): Clock => {
  const magnitude = microseconds < 0n ? -microseconds : microseconds
  const fraction = magnitude % 1_000_000n
  return {
    isNegative: microseconds < 0n,
    hours: magnitude / 3_600_000_000n,
    minutes: Number((magnitude / 60_000_000n) % 60n),
    seconds: Number((magnitude / 1_000_000n) % 60n),
    fraction: fraction === 0n ? "" : `.${pad(Number(fraction), 6).replace(/0+$/, "")}`
  }
}

const infinite = (parts: Parts): string => parts.months > 0 ? "infinity" : "-infinity"

/** As Postgres writes it with `IntervalStyle` postgres. */
export const format = (parts: Parts): string => {
  if (!isFinite(parts)) return infinite(parts)
  let text = ""
  let isBefore = false
  const add = (amount: number, unit: string) => {
    if (amount === 0) return
    text += `${text === "" ? "" : " "}${isBefore && amount > 0 ? "+" : ""}${amount} ${unit}${amount === 1 ? "" : "s"}`
    isBefore = amount < 0
  }
  add(Math.trunc(parts.months / 12), "year")
  add(parts.months % 12, "mon")
  add(parts.days, "day")
  if (parts.microseconds === 0n && text !== "") return text
  const { fraction, hours, isNegative, minutes, seconds } = clockOf(parts.microseconds)
  const sign = isNegative ? "-" : isBefore ? "+" : ""
  const time = `${String(hours).padStart(2, "0")}:${pad(minutes, 2)}:${pad(seconds, 2)}${fraction}`
  return `${text}${text === "" ? "" : " "}${sign}${time}`
}

/** As Postgres writes it with `IntervalStyle` iso_8601. */
export const formatIso = (parts: Parts): string => {
  if (!isFinite(parts)) return infinite(parts)
  const { fraction, hours, isNegative, minutes, seconds } = clockOf(parts.microseconds)
  const sign = isNegative ? "-" : ""
  const piece = (amount: number, unit: string) => amount === 0 ? "" : `${amount}${unit}`
  const date = piece(Math.trunc(parts.months / 12), "Y") + piece(parts.months % 12, "M") + piece(parts.days, "D")
  const time = (hours === 0n ? "" : `${sign}${hours}H`) + (minutes === 0 ? "" : `${sign}${minutes}M`) +
    (seconds === 0 && fraction === "" ? "" : `${sign}${seconds}${fraction}S`)
  return date === "" && time === "" ? "PT0S" : `P${date}${time === "" ? "" : `T${time}`}`
}

/** For people: every part with its own sign and unit. */
export const formatWords = (parts: Parts): string => {
  if (!isFinite(parts)) return infinite(parts)
  const { fraction, hours, isNegative, minutes, seconds } = clockOf(parts.microseconds)
  const pieces: Array<string> = []
  const add = (amount: string, unit: string, negative: boolean) => {
    if (amount !== "0") pieces.push(`${negative ? "-" : ""}${amount} ${unit}${amount === "1" ? "" : "s"}`)
  }
  const signed = (amount: number, unit: string) => add(String(Math.abs(amount)), unit, amount < 0)
  signed(Math.trunc(parts.months / 12), "year")
  signed(parts.months % 12, "month")
  signed(parts.days, "day")
  add(String(hours), "hour", isNegative)
  add(String(minutes), "minute", isNegative)
  add(`${seconds}${fraction}`, "second", isNegative)
  return pieces.length === 0 ? "0 seconds" : pieces.join(" ")
}
