/**
 * Making, changing and dropping the roles of a datastore.
 *
 * Roles belong to the whole server, so a name in the options may be somebody else's role. One with privileges that a
 * datastore never gives (a superuser, the administrator itself) is refused before anything is changed.
 */
import * as Effect from "effect/Effect"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import type { DatastoreOptions } from "../DatastoreOptions.ts"
import { AdminStepFailed } from "./adminError.ts"
import { identifier, literal } from "./identifier.ts"
import { scramVerifier } from "./scramVerifier.ts"
import { inTransaction, rows, run } from "./sqlScript.ts"
import { serverError } from "./sqlState.ts"

/** A role as the options want it. */
export interface WantedRole {
  readonly name: string
  readonly login: boolean
  readonly verifier?: string | undefined
  readonly description?: string | undefined
}

/** The roles of a datastore, the owner first. Each login role gets a verifier with a salt of its own. */
export const wantedRoles = (options: DatastoreOptions): Effect.Effect<ReadonlyArray<WantedRole>> =>
  Effect.map(
    Effect.forEach(Object.values(options.contexts), (context) =>
      Effect.map(
        context.loginContext && context.databasePassword !== undefined
          ? scramVerifier(context.databasePassword)
          : Effect.succeed(undefined),
        (verifier): WantedRole => ({
          name: context.databaseRole,
          login: context.loginContext,
          verifier,
          description: context.description
        })
      )),
    (contexts) => [
      { name: options.owner.databaseRole, login: false, description: options.owner.description },
      ...contexts
    ]
  )

interface ExistingRole {
  readonly name: string
  readonly privileged: boolean
  readonly self: boolean
}

const find = (connection: Connection, names: ReadonlyArray<string>) =>
  Effect.map(
    rows<ExistingRole>(
      connection,
      `SELECT rolname::text AS name, rolname = current_user AS self,
        rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS privileged
      FROM pg_roles WHERE rolname = ANY($1::text[])`,
      [names]
    ),
    (found) => new Map(found.map((role) => [role.name, role]))
  )

const refuse = (operation: "create" | "drop", role: ExistingRole): Effect.Effect<void, AdminStepFailed> =>
  role.self || role.privileged
    ? Effect.fail(
      new AdminStepFailed({
        operation,
        step: `role ${role.name}`,
        done: [],
        problem: role.self
          ? "it is the privileged role that does the work"
          : "a role of this name exists that may create roles or databases or is a superuser: it is none of a datastore's"
      })
    )
    : Effect.void

/** Refuses names under which there are roles that no datastore has made. */
export const refuseForeignRoles = (
  connection: Connection,
  operation: "create" | "drop",
  names: ReadonlyArray<string>
): Effect.Effect<ReadonlySet<string>, SqlError | AdminStepFailed> =>
  Effect.flatMap(find(connection, names), (existing) =>
    Effect.as(
      Effect.forEach(existing.values(), (role) => refuse(operation, role), { discard: true }),
      new Set(existing.keys())
    ))

/** Makes the roles that are missing and sets the others to what is wanted, all or none. Returns those it made. */
export const createRoles = Effect.fnUntraced(function*(
  connection: Connection,
  wanted: ReadonlyArray<WantedRole>
): Effect.fn.Return<ReadonlyArray<string>, SqlError | AdminStepFailed> {
  return yield* inTransaction(
    connection,
    Effect.gen(function*() {
      const existing = yield* refuseForeignRoles(connection, "create", wanted.map((role) => role.name))
      const created: Array<string> = []
      for (const role of wanted) {
        const exists = existing.has(role.name)
        const name = identifier(role.name)
        const password = role.verifier === undefined ? "PASSWORD NULL" : `PASSWORD ${literal(role.verifier)}`
        yield* run(
          connection,
          `${exists ? "ALTER" : "CREATE"} ROLE ${name} ${role.login ? "LOGIN" : "NOLOGIN"} ${password}`
        )
        if (role.description !== undefined) {
          yield* run(connection, `COMMENT ON ROLE ${name} IS ${literal(role.description)}`)
        }
        if (!exists) {
          created.push(role.name)
        }
      }
      return created
    })
  )
})

/** Lets an administrator that is no superuser act as the owner; a superuser may anyway. */
export const takeOwnership = Effect.fnUntraced(function*(connection: Connection, owner: string) {
  const [me] = yield* rows<{ readonly may: boolean }>(
    connection,
    "SELECT rolsuper AS may FROM pg_roles WHERE rolname = current_user"
  )
  if (me?.may !== true) {
    yield* run(connection, `GRANT ${identifier(owner)} TO CURRENT_USER`)
  }
})

/** What became of the roles of a datastore that was dropped. */
export interface DroppedRoles {
  readonly dropped: ReadonlyArray<string>
  readonly kept: ReadonlyArray<{ readonly databaseRole: string; readonly problem: string }>
}

/** Drops the roles that are there. One that something outside the datastore hangs on is kept, with what that is. */
export const dropRoles = Effect.fnUntraced(function*(
  connection: Connection,
  names: ReadonlyArray<string>
): Effect.fn.Return<DroppedRoles, SqlError | AdminStepFailed> {
  const existing = yield* refuseForeignRoles(connection, "drop", names)
  const dropped: Array<string> = []
  const kept: Array<{ readonly databaseRole: string; readonly problem: string }> = []
  for (const name of names.filter((name) => existing.has(name))) {
    const problem = yield* run(connection, `DROP ROLE ${identifier(name)}`).pipe(
      Effect.as(undefined),
      Effect.catch((error) => {
        const said = serverError(error)
        return said?.code === "2BP01" ? Effect.succeed(said.detail ?? said.message) : Effect.fail(error)
      })
    )
    if (problem === undefined) {
      dropped.push(name)
    } else {
      kept.push({ databaseRole: name, problem })
    }
  }
  return { dropped, kept }
})
