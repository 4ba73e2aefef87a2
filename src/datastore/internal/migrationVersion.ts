/**
 * Versions of built migrations, and the names of their files: `<type>.RR.VV.UUU.SSSSSS.MMM.sql`, each number in upper-case
 * base 36 and padded with zeros, so that the order of the names is the order of the numbers.
 */
import * as Schema from "effect/Schema"

/** The digits of each number in a name. */
const widths = { release: 2, version: 2, update: 3, sponsor: 6, sponsor_modification: 3 } as const

type Part = keyof typeof widths

const parts: ReadonlyArray<Part> = ["release", "version", "update", "sponsor", "sponsor_modification"]

const number = (part: Part, minimum: number) => {
  const maximum = 36 ** widths[part] - 1
  return Schema.Int.check(
    Schema.makeFilter((value: number) =>
      value >= minimum && value <= maximum || `must be from ${minimum} to ${maximum}`
    )
  )
}

/** The five numbers of a version, under their names in build plans. */
export const versionFields = {
  release: number("release", 1),
  version: number("version", 1),
  update: number("update", 0),
  sponsor: number("sponsor", 0),
  sponsor_modification: number("sponsor_modification", 0)
}

export type Version = { readonly [P in Part]: number }

/** As in the name of a file: `01.01.44M.0000MS.000`. */
export const versionText = (version: Version): string =>
  parts.map((part) => version[part].toString(36).toUpperCase().padStart(widths[part], "0")).join(".")

/** As one would say it: `1.1.5350.820.0`. */
export const versionNumbers = (version: Version): string => parts.map((part) => version[part]).join(".")

const digits = parts.map((part) => `([0-9A-Z]{${widths[part]}})`).join("\\.")
const builtName = new RegExp(`^([A-Za-z0-9][A-Za-z0-9_-]*)\\.(${digits})\\.sql$`)

/** Types are part of file names, and end at the first dot. */
export const isType = (type: string): boolean => /^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(type)

export const builtFileName = (type: string, version: Version): string => `${type}.${versionText(version)}.sql`

/** What the name of a file says, if it is that of a built migration. */
export const parseBuiltName = (
  name: string
): { readonly type: string; readonly text: string; readonly version: Version } | undefined => {
  const [, type, text, ...numbers] = builtName.exec(name) ?? []
  if (type === undefined || text === undefined) {
    return undefined
  }
  const of = (index: number) => Number.parseInt(numbers[index] ?? "0", 36)
  const version = { release: of(0), version: of(1), update: of(2), sponsor: of(3), sponsor_modification: of(4) }
  return version.release === 0 || version.version === 0 ? undefined : { type, text, version }
}
