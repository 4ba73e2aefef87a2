/**
 * Values as the engine's statements take them: what belongs together goes over as arrays, a column each.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"

/** Makes parameters that are arrays, of elements of this type. */
export const array = (oid: number) => (values: ReadonlyArray<unknown>): PgTypes.Parameter => {
  const arrayOid = PgTypes.arrayOidFor(oid)
  if (arrayOid === undefined) throw new Error(`no array type for ${oid}`)
  return { [PgTypes.ParameterTypeId]: PgTypes.ParameterTypeId, oid: arrayOid, value: values }
}
