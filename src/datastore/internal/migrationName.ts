/**
 * The order of migration files: byte by byte, as Postgres compares under `COLLATE "C"`, whatever the locale of either side.
 */

/** Compares by code points, which is the order of the UTF-8 bytes. */
export const compareNames = (a: string, b: string): number => {
  const left = Array.from(a)
  const right = Array.from(b)
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0)
    if (difference !== 0) {
      return difference
    }
  }
  return left.length - right.length
}
