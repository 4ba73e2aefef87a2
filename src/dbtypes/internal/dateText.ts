/**
 * Dates and times of day in text, as Postgres prints them with `DateStyle` ISO: years of four digits or more, the era behind
 * everything else.
 */
import * as Result from "effect/Result"
import { type Civil, monthLength } from "./calendar.ts"
import { digitsEnd, flaw, type Parsed } from "./text.ts"

interface YearMonthDay extends Civil {
  readonly yearAt: number
  readonly dayAt: number
  readonly end: number
}

/** Reads so many digits, and then what must follow them. */
const digits = (text: string, at: number, limit: number, name: string, least: number, most: number): Parsed<number> => {
  const end = Math.min(digitsEnd(text, at), limit)
  if (end === at) {
    return flaw(at, at >= limit ? `expected the ${name}, found the end` : `expected a digit of the ${name}`)
  }
  if (end - at < least) return flaw(at, `the ${name} has ${least} digits${most > least ? " or more" : ""}`)
  if (end - at > most) return flaw(at, `the ${name} has ${most > least ? "at most " : ""}${most} digits`)
  return Result.succeed(Number(text.slice(at, end)))
}

const expect = (text: string, at: number, limit: number, mark: string, after: string): Parsed<number> =>
  at < limit && text[at] === mark
    ? Result.succeed(at + 1)
    : flaw(at, `expected "${mark}" after the ${after}${at >= limit ? ", found the end" : ""}`)

/** Reads `YYYY-MM-DD`; whether there is such a day depends on the era, and is for {@link dayOf} to say. */
export const parseYearMonthDay = (text: string, at: number, limit: number): Parsed<YearMonthDay> =>
  Result.gen(function*() {
    const year = yield* digits(text, at, limit, "year", 4, 7)
    const monthAt = yield* expect(text, digitsEnd(text, at), limit, "-", "year")
    const month = yield* digits(text, monthAt, limit, "month", 2, 2)
    if (month < 1 || month > 12) return yield* flaw(monthAt, "the month is not within 1 and 12")
    const dayAt = yield* expect(text, monthAt + 2, limit, "-", "month")
    const day = yield* digits(text, dayAt, limit, "day", 2, 2)
    return { year, month, day, yearAt: at, dayAt, end: dayAt + 2 }
  })

/** The day that was read, once its era is known. */
export const dayOf = ({ day, dayAt, month, year, yearAt }: YearMonthDay, isBc: boolean): Parsed<Civil> => {
  if (year === 0) return flaw(yearAt, "there is no year 0: the year before 1 is 1 BC")
  const astronomical = isBc ? 1 - year : year
  const most = monthLength(astronomical, month)
  return day >= 1 && day <= most
    ? Result.succeed({ year: astronomical, month, day })
    : flaw(dayAt, `the day is not within 1 and ${most}`)
}

/** Reads the era, if there is one, up to the end of the text. */
export const parseEra = (text: string, at: number, limit: number): Parsed<boolean> => {
  if (at === limit) return Result.succeed(false)
  const era = /^ +(BC|AD)/i.exec(text.slice(at, limit))
  const end = at + (era?.[0].length ?? 0)
  return end === limit && era !== null
    ? Result.succeed(era[1]?.toUpperCase() === "BC")
    : flaw(end, `unexpected ${JSON.stringify(text.slice(end, limit))}`)
}

interface TimeOfDay {
  readonly micros: bigint
  readonly end: number
}

/** Reads `HH:MM[:SS[.ffffff]]`. */
export const parseTimeOfDay = (text: string, at: number, limit: number): Parsed<TimeOfDay> =>
  Result.gen(function*() {
    const hour = yield* digits(text, at, limit, "hour", 2, 2)
    if (hour > 23) return yield* flaw(at, "the hour is not within 0 and 23")
    const minuteAt = yield* expect(text, at + 2, limit, ":", "hour")
    const minute = yield* digits(text, minuteAt, limit, "minute", 2, 2)
    if (minute > 59) return yield* flaw(minuteAt, "the minute is not within 0 and 59")
    let end = minuteAt + 2
    let micros = BigInt(hour * 3600 + minute * 60) * 1_000_000n
    if (end < limit && text[end] === ":") {
      const second = yield* digits(text, end + 1, limit, "second", 2, 2)
      if (second > 59) return yield* flaw(end + 1, "the second is not within 0 and 59")
      end += 3
      micros += BigInt(second) * 1_000_000n
      if (end < limit && text[end] === ".") {
        const fractionEnd = Math.min(digitsEnd(text, end + 1), limit)
        if (fractionEnd === end + 1) return yield* flaw(end + 1, "expected a digit of the fraction")
        if (fractionEnd > end + 7) return yield* flaw(end + 7, "finer than a microsecond")
        micros += BigInt(text.slice(end + 1, fractionEnd).padEnd(6, "0"))
        end = fractionEnd
      }
    }
    return { micros, end }
  })

/** Reads `Z`, `+HH`, `+HH:MM`, `+HHMM` or `+HH:MM:SS`, as microseconds east of UTC. */
export const parseOffset = (text: string, at: number, limit: number): Parsed<TimeOfDay> => {
  if (at >= limit) return flaw(at, "expected an offset from UTC, found the end")
  if (text[at] === "Z" || text[at] === "z") return Result.succeed({ micros: 0n, end: at + 1 })
  const match = /^([+-])(\d\d)(?:(\d\d)|:(\d\d)(?::(\d\d))?)?(?!\d)/.exec(text.slice(at, limit))
  if (match === null) return flaw(at, "expected an offset from UTC, such as +00 or Z")
  const [whole, sign, hours, together = "0", minutes = together, seconds = "0"] = match
  if (Number(hours) > 15 || Number(minutes) > 59 || Number(seconds) > 59) {
    return flaw(at, "the offset from UTC is not within -15:59:59 and +15:59:59")
  }
  const micros = BigInt(Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1_000_000n
  return Result.succeed({ micros: sign === "-" ? -micros : micros, end: at + whole.length })
}
