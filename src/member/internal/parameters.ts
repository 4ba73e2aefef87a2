/**
 * Values as the engine's statements take them: what belongs together goes over as arrays, a column each.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"

/** Makes parameters that are arrays, of elements of this type. */
const array = (oid: number) => (values: ReadonlyArray<unknown>): PgTypes.Parameter => {
  const arrayOid = PgTypes.arrayOidFor(oid)
  if (arrayOid === undefined) throw new Error(`no array type for ${oid}`)
  return { [PgTypes.ParameterTypeId]: PgTypes.ParameterTypeId, oid: arrayOid, value: values }
}

export const texts = array(PgTypes.OID.text)
export const int4s = array(PgTypes.OID.int4)
export const bools = array(PgTypes.OID.bool)
export const float8s = array(PgTypes.OID.float8)
export const uuids = array(PgTypes.OID.uuid)

const bigints = array(PgTypes.OID.int8)

/** Numbers that are ids, versions and positions, all far below 2^53. */
export const int8s = (values: ReadonlyArray<number | bigint | null | undefined>): PgTypes.Parameter =>
  bigints(values.map((value) => value === null || value === undefined ? null : BigInt(value)))

/** What `jsonb` does not take: NUL and lone surrogates, as JSON text has them. More may look like it, which is no harm. */
const opaque = /\\u0000|\\ud[89a-f]/i

/** Whether a JSON text has something that `jsonb` does not take. */
export const isOpaque = (json: string): boolean => json.includes("\\u") && opaque.test(json)
