/** The object identifiers that Postgres gives its own types, the same in every database. */
import { OID } from "@effect/sql-pg/PgTypes"

export const oids = {
  int4range: { oid: 3904, arrayOid: 3905 },
  numrange: { oid: 3906, arrayOid: 3907 },
  tsrange: { oid: 3908, arrayOid: 3909 },
  tstzrange: { oid: 3910, arrayOid: 3911 },
  daterange: { oid: 3912, arrayOid: 3913 },
  int8range: { oid: 3926, arrayOid: 3927 },
  interval: { oid: OID.interval, arrayOid: OID.intervalArray },
  inet: { oid: OID.inet, arrayOid: OID.inetArray },
  cidr: { oid: OID.cidr, arrayOid: OID.cidrArray },
  timestamptz: { oid: OID.timestamptz, arrayOid: OID.timestamptzArray }
} as const
