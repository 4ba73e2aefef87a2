/**
 * Who may use what the library has installed.
 *
 * Everything in a schema of the library belongs to the owner. Roles whose context has `libraryAccess` may read and write
 * its tables and call its functions, now and after later upgrades; the ledger of migrations they may only read. The others
 * may call `holdfast.raise` and nothing else: a trigger runs as whoever set it off, and must be able to refuse.
 */
import * as Effect from "effect/Effect"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import type { DatastoreOptions } from "../DatastoreOptions.ts"
import { identifier } from "./identifier.ts"
import { rows, runScript } from "./sqlScript.ts"

const tables = "SELECT, INSERT, UPDATE, DELETE"

const access = (schema: string, role: string): ReadonlyArray<string> => [
  `GRANT ${tables} ON ALL TABLES IN SCHEMA ${schema} TO ${role}`,
  `GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO ${role}`,
  `GRANT EXECUTE ON ALL ROUTINES IN SCHEMA ${schema} TO ${role}`,
  `ALTER DEFAULT PRIVILEGES IN SCHEMA ${schema} GRANT ${tables} ON TABLES TO ${role}`,
  `ALTER DEFAULT PRIVILEGES IN SCHEMA ${schema} GRANT USAGE ON SEQUENCES TO ${role}`,
  `ALTER DEFAULT PRIVILEGES IN SCHEMA ${schema} GRANT EXECUTE ON ROUTINES TO ${role}`,
  `REVOKE INSERT, UPDATE, DELETE ON holdfast.migration FROM ${role}`
]

const noAccess = (schema: string, role: string): ReadonlyArray<string> => [
  `REVOKE ALL ON ALL TABLES IN SCHEMA ${schema} FROM ${role}`,
  `REVOKE ALL ON ALL SEQUENCES IN SCHEMA ${schema} FROM ${role}`,
  `REVOKE ALL ON ALL ROUTINES IN SCHEMA ${schema} FROM ${role}`,
  `ALTER DEFAULT PRIVILEGES IN SCHEMA ${schema} REVOKE ALL ON TABLES FROM ${role}`,
  `ALTER DEFAULT PRIVILEGES IN SCHEMA ${schema} REVOKE ALL ON SEQUENCES FROM ${role}`,
  `ALTER DEFAULT PRIVILEGES IN SCHEMA ${schema} REVOKE ALL ON ROUTINES FROM ${role}`
]

const raise = "FUNCTION holdfast.raise(text, text, jsonb, text, text, text, text, text)"

/** Brings the access of all contexts to one schema of the library to what the options say. Roles not made yet are left out. */
export const grantAccess = Effect.fnUntraced(function*(
  connection: Connection,
  schemaName: string,
  contexts: DatastoreOptions["contexts"]
): Effect.fn.Return<void, SqlError> {
  const existing = new Set(
    (yield* rows<{ readonly rolname: string }>(
      connection,
      "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1::text[])",
      [
        Object.values(contexts).map((context) => context.databaseRole)
      ]
    )).map((row) => row.rolname)
  )
  const schema = identifier(schemaName)
  const statements = [
    // Postgres lets everybody call a new function.
    `REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA ${schema} FROM PUBLIC`,
    ...(schemaName === "holdfast" ? [`GRANT EXECUTE ON ${raise} TO PUBLIC`] : [])
  ]
  for (const context of Object.values(contexts)) {
    if (existing.has(context.databaseRole)) {
      const role = identifier(context.databaseRole)
      statements.push(`GRANT USAGE ON SCHEMA ${schema} TO ${role}`)
      statements.push(...(context.libraryAccess ? access : noAccess)(schema, role))
    }
  }
  yield* runScript(connection, statements.join(";\n"))
})
