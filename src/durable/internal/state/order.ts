/**
 * A fractional index: texts that tell the order of a list's items, such that between any two of them there is room for more. An
 * item that is put between two others gets a text between theirs, and nothing else is written.
 *
 * A key is a fraction between 0 and 1 in base 62, without the zero and the point before it and without zeros behind it, so
 * that comparing keys as texts compares the fractions. At the ends of a list there is room for some ten million items
 * before keys get longer than six digits.
 */

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
const base = BigInt(digits.length)
const valueOf = new Map(Array.from(digits, (digit, value) => [digit, BigInt(value)]))

/** How many digits a key has at least, before zeros at its end are left out. */
const minWidth = 6
/** How far apart items are that are added at an end. */
const stride = base ** 2n
/** Keys that get longer than this are given anew, together with those around them. */
const maxLength = 32

/** The first digits of a key, as a number. */
const toNumber = (key: string, width: number): bigint => {
  let number = 0n
  for (let index = 0; index < width; index++) number = number * base + (valueOf.get(key[index] ?? "0") ?? 0n)
  return number
}

const toKey = (number: bigint, width: number): string => {
  let key = ""
  for (let rest = number, index = 0; index < width; index++, rest /= base) {
    const digit = digits[Number(rest % base)] ?? ""
    if (key !== "" || digit !== "0") key = digit + key
  }
  return key
}

/** So many keys, in ascending order, behind one key and before another one, each as short as can be. */
const between = (low: string | undefined, high: string | undefined, count: number): ReadonlyArray<string> => {
  if (low !== undefined && high !== undefined && low >= high) throw new Error(`no key is between ${low} and ${high}`)
  for (let width = minWidth;; width++) {
    const from = low === undefined ? 0n : toNumber(low, width)
    const to = high === undefined ? base ** BigInt(width) : toNumber(high, width)
    const even = (to - from) / BigInt(count + 1)
    if (even < 1n) continue
    const step = low !== undefined && high !== undefined || even < stride ? even : stride
    const first = low !== undefined
      ? from + step
      : high !== undefined
      ? to - step * BigInt(count)
      : (to - step * BigInt(count - 1)) / 2n
    return Array.from({ length: count }, (_, index) => toKey(first + step * BigInt(index), width))
  }
}

/** Whether all keys that are there are in ascending order. */
const isAscending = (keys: ReadonlyArray<string | undefined>): boolean => {
  let last = ""
  for (const key of keys) {
    if (key === undefined) continue
    if (key <= last) return false
    last = key
  }
  return true
}

const isComplete = (keys: ReadonlyArray<string | undefined>): keys is ReadonlyArray<string> => !keys.includes(undefined)

/** Which of these keys may stay: the most that are in ascending order. */
const ascending = (keys: ReadonlyArray<string | undefined>): Array<string | undefined> => {
  if (isAscending(keys)) return keys.slice()
  // Patience sorting: `tails[n]` is where the lowest end of an ascending row of n + 1 keys stands.
  const tails: Array<number> = []
  const before = Array<number>(keys.length).fill(-1)
  keys.forEach((key, index) => {
    if (key === undefined) return
    let low = 0
    let high = tails.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((keys[tails[middle] ?? 0] ?? "") < key) low = middle + 1
      else high = middle
    }
    before[index] = tails[low - 1] ?? -1
    tails[low] = index
  })
  const kept = Array<string | undefined>(keys.length).fill(undefined)
  for (let index = tails.at(-1) ?? -1; index >= 0; index = before[index] ?? -1) kept[index] = keys[index]
  return kept
}

/**
 * Keys for items that had these, or none yet, and that stand behind one key and before another one: in ascending order, and as
 * many as possible the ones that they had. `undefined`: there is too little room between the two; all others have to move as well.
 */
export function arrange(keys: ReadonlyArray<string | undefined>): ReadonlyArray<string>
export function arrange(
  keys: ReadonlyArray<string | undefined>,
  low: string | undefined,
  high: string | undefined
): ReadonlyArray<string> | undefined
export function arrange(
  keys: ReadonlyArray<string | undefined>,
  low?: string,
  high?: string
): ReadonlyArray<string> | undefined {
  if (isComplete(keys) && isAscending(keys)) return keys
  const arranged = ascending(keys)
  const give = (from: number, to: number) =>
    between(from > 0 ? arranged[from - 1] : low, to < arranged.length ? arranged[to] : high, to - from)
  for (let start = 0; start < arranged.length; start++) {
    if (arranged[start] !== undefined) continue
    let from = start
    let to = start
    while (to < arranged.length && arranged[to] === undefined) to++
    let given = give(from, to)
    // Where there is too little room, those around move as well.
    for (let around = 8; given.some((key) => key.length > maxLength); around *= 4) {
      if (from === 0 && to === arranged.length) return undefined
      from = Math.max(0, start - around)
      to = Math.min(arranged.length, to + around)
      while (to < arranged.length && arranged[to] === undefined) to++
      given = give(from, to)
    }
    given.forEach((key, index) => arranged[from + index] = key)
    start = to - 1
  }
  return arranged.map((key) => key ?? "")
}
