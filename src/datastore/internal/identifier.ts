/**
 * Names and texts inside statements that take no parameters, such as `CREATE ROLE`.
 *
 * Every name that reaches such a statement goes through here, so that capitals, dashes and quotes in it are only ever
 * part of a name.
 */

/** Postgres cuts a longer name off silently, so two long names might become one. */
export const maxIdentifierBytes = 63

const encoder = new TextEncoder()

/** Whether Postgres would keep this name as it is. */
export const isIdentifier = (name: string): boolean =>
  name.length > 0 && !/[\0\p{Surrogate}]/u.test(name) && encoder.encode(name).byteLength <= maxIdentifierBytes

/** A name, quoted. */
export const identifier = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`

/** A text, quoted; right whatever `standard_conforming_strings` says. */
export const literal = (text: string): string => {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return quoted.includes("\\") ? ` E${quoted.replaceAll("\\", "\\\\")}` : quoted
}
