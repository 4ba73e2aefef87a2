/**
 * Making and dropping the database of a datastore, and proving that only its own roles can connect to it.
 *
 * A database is made closed, so that there is no moment at which it lets everybody in, and is opened once the grants are
 * proved. One that was left half made is closed still, and making it again goes on from there.
 */
import * as Effect from "effect/Effect"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import type { DatastoreOptions } from "../DatastoreOptions.ts"
import { AdminStepFailed, type Operation } from "./adminError.ts"
import { identifier } from "./identifier.ts"
import { inTransaction, rows, run } from "./sqlScript.ts"

/** A database as the server has it. */
export interface ExistingDatabase {
  readonly owner: string
  readonly open: boolean
}

export const findDatabase = (
  connection: Connection,
  databaseName: string
): Effect.Effect<ExistingDatabase | undefined, SqlError> =>
  Effect.map(
    rows<ExistingDatabase>(
      connection,
      `SELECT r.rolname::text AS owner, d.datallowconn AS open
      FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = $1`,
      [databaseName]
    ),
    (found) => found[0]
  )

/** Refuses a database of this name that is another owner's. */
export const refuseForeignDatabase = (
  operation: Operation,
  options: DatastoreOptions,
  existing: ExistingDatabase | undefined
): Effect.Effect<void, AdminStepFailed> =>
  existing === undefined || existing.owner === options.owner.databaseRole
    ? Effect.void
    : Effect.fail(
      new AdminStepFailed({
        operation,
        step: `database ${options.databaseName}`,
        done: [],
        problem: `a database of this name exists, and belongs to role ${JSON.stringify(existing.owner)}`
      })
    )

/** Makes the database if it is not there, closed. Returns whether it did. */
export const createDatabase = Effect.fnUntraced(function*(
  connection: Connection,
  options: DatastoreOptions
): Effect.fn.Return<boolean, SqlError | AdminStepFailed> {
  const existing = yield* findDatabase(connection, options.databaseName)
  yield* refuseForeignDatabase("create", options, existing)
  if (existing !== undefined) {
    return false
  }
  // From template0: what somebody once left in template1 is not part of a datastore.
  yield* run(
    connection,
    `CREATE DATABASE ${identifier(options.databaseName)} OWNER ${identifier(options.owner.databaseRole)} ` +
      "TEMPLATE template0 ENCODING 'UTF8' ALLOW_CONNECTIONS false"
  )
  return true
})

/** Lets the login contexts connect, and nobody else. As the owner: a revoke by another role only warns. */
export const grantConnect = (
  connection: Connection,
  options: Pick<DatastoreOptions, "databaseName" | "owner" | "contexts">
): Effect.Effect<void, SqlError> =>
  inTransaction(
    connection,
    Effect.gen(function*() {
      const database = identifier(options.databaseName)
      yield* run(connection, `SET LOCAL ROLE ${identifier(options.owner.databaseRole)}`)
      yield* run(connection, `REVOKE ALL ON DATABASE ${database} FROM PUBLIC`)
      for (const context of Object.values(options.contexts)) {
        if (context.loginContext) {
          yield* run(connection, `GRANT CONNECT ON DATABASE ${database} TO ${identifier(context.databaseRole)}`)
        }
      }
    })
  )

/** Asks the server whether the grants are what they should be. */
export const proveIsolation = Effect.fnUntraced(function*(
  connection: Connection,
  operation: Operation,
  options: DatastoreOptions
): Effect.fn.Return<void, SqlError | AdminStepFailed> {
  const refuse = (problem: string) => new AdminStepFailed({ operation, step: "isolation", done: [], problem })
  const [acl] = yield* rows<{ readonly everybody: boolean }>(
    connection,
    `SELECT EXISTS (
      SELECT FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
      WHERE d.datname = $1 AND a.grantee = 0
    ) AS everybody`,
    [options.databaseName]
  )
  if (acl?.everybody !== false) {
    return yield* refuse(`PUBLIC still has privileges on database ${JSON.stringify(options.databaseName)}`)
  }
  const logins = Object.values(options.contexts).filter((context) => context.loginContext)
  const found = yield* rows<{ readonly role: string; readonly connects: boolean; readonly owns: boolean }>(
    connection,
    `SELECT r.rolname::text AS role,
      has_database_privilege(r.oid, $1, 'CONNECT') AS connects,
      pg_has_role(r.oid, $2::name, 'MEMBER') AS owns
    FROM pg_roles r WHERE r.rolname = ANY($3::text[])`,
    [options.databaseName, options.owner.databaseRole, logins.map((context) => context.databaseRole)]
  )
  for (const { connects, owns, role } of found) {
    if (owns) {
      return yield* refuse(`login role ${JSON.stringify(role)} is a member of the owner, and could act as it`)
    }
    if (!connects) {
      return yield* refuse(`role ${JSON.stringify(role)} was granted CONNECT, but does not have it`)
    }
  }
})

/** Opens a database that was made closed. */
export const openDatabase = (connection: Connection, options: DatastoreOptions): Effect.Effect<void, SqlError> =>
  Effect.flatMap(findDatabase(connection, options.databaseName), (existing) =>
    existing?.open === true
      ? Effect.void
      : run(connection, `ALTER DATABASE ${identifier(options.databaseName)} ALLOW_CONNECTIONS true`))
