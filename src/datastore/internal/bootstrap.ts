/**
 * What a server needs once before an administrator without superuser rights can work on it.
 */
import * as Effect from "effect/Effect"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import type { AdminOptions } from "../DatastoreOptions.ts"
import { identifier } from "./identifier.ts"
import { ensureGroups, groups, setPassword } from "./roles.ts"
import { inTransaction, rows, run } from "./sqlScript.ts"

/**
 * Makes the groups and the privileged role, or sets it to what it should be, all or nothing. The role may create roles and
 * databases, give the groups to the roles it makes, and end sessions that are in the way of a drop; it is no superuser.
 * Returns whether it was made. Run by a superuser.
 */
export const bootstrapServer = (
  connection: Connection,
  admin: AdminOptions["admin"]
): Effect.Effect<boolean, SqlError> =>
  inTransaction(
    connection,
    Effect.gen(function*() {
      yield* ensureGroups(connection)
      const name = identifier(admin.databaseRole)
      const [existing] = yield* rows<{ readonly superuser: boolean }>(
        connection,
        "SELECT rolsuper AS superuser FROM pg_roles WHERE rolname = $1",
        [admin.databaseRole]
      )
      if (existing?.superuser === true) {
        return false
      }
      yield* run(connection, `${existing === undefined ? "CREATE" : "ALTER"} ROLE ${name} LOGIN CREATEDB CREATEROLE`)
      if (admin.databasePassword !== undefined) {
        yield* setPassword(connection, admin.databaseRole, admin.databasePassword)
      }
      for (const group of Object.values(groups)) {
        yield* run(connection, `GRANT ${group} TO ${name} WITH ADMIN OPTION`)
      }
      yield* run(connection, `GRANT pg_signal_backend TO ${name}`)
      return existing === undefined
    })
  )
