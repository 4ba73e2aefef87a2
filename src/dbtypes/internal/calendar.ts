/**
 * The proleptic Gregorian calendar over days since 1970-01-01, with astronomical years (0 is 1 BC), and what Postgres's
 * `date` and `timestamptz` can hold of it. The algorithm is Howard Hinnant's.
 */

export interface Civil {
  readonly year: number
  readonly month: number
  readonly day: number
}

/** Days between 1970-01-01 and 2000-01-01, where Postgres counts from. */
export const postgresEpochDays = 10_957

/** 24 November 4714 BC, the first day of Julian days. */
export const firstDay = -2_440_588
/** 31 December 5874897. */
export const lastDay = 2_145_042_905

export const microsPerDay = 86_400_000_000n
export const postgresEpochMicros = 946_684_800_000_000n
/** The first moment of 24 November 4714 BC. */
export const firstMicros = -210_866_803_200_000_000n
/** The last microsecond of the year 294276. */
export const lastMicros = 9_224_318_015_999_999_999n

export const civilFromDays = (days: number): Civil => {
  const z = days + 719_468
  const era = Math.floor(z / 146_097)
  const dayOfEra = z - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1
  }
}

export const daysFromCivil = ({ day, month, year }: Civil): number => {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const fromMarch = month > 2 ? month - 3 : month + 9
  const dayOfYear = Math.floor((153 * fromMarch + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

const lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

export const monthLength = (year: number, month: number): number =>
  month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : lengths[month - 1] ?? 0

/** The same day so many months later, or the last of a month that is too short for it. */
export const addMonths = (days: number, months: number): number => {
  const { day, month, year } = civilFromDays(days)
  const total = year * 12 + (month - 1) + months
  const toYear = Math.floor(total / 12)
  const toMonth = total - toYear * 12 + 1
  return daysFromCivil({ year: toYear, month: toMonth, day: Math.min(day, monthLength(toYear, toMonth)) })
}

export const pad = (value: number, size: number): string => String(value).padStart(size, "0")

/** `YYYY-MM-DD`, with the year of its era. */
export const formatCivil = ({ day, month, year }: Civil): string =>
  `${pad(year > 0 ? year : 1 - year, 4)}-${pad(month, 2)}-${pad(day, 2)}`
