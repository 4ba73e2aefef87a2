/**
 * Making, changing and dropping the roles of a datastore.
 *
 * Roles belong to the whole server, so a name in the options may be somebody else's role. Every role that a datastore makes
 * becomes a member of a group that has no privileges and says just that; one that is in no such group, or has privileges that
 * a datastore never gives (a superuser, the administrator itself), is refused before anything is changed. The groups are of
 * use elsewhere, too: `+holdfast_contexts` in `pg_hba.conf` means the roles of all contexts.
 */
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import type { DatastoreOptions } from "../DatastoreOptions.ts"
import { AdminStepFailed, type Operation } from "./adminError.ts"
import { identifier, literal } from "./identifier.ts"
import { scramVerifier } from "./scramVerifier.ts"
import { inTransaction, rows, run } from "./sqlScript.ts"
import { serverError } from "./sqlState.ts"

/** The groups that say what a role was made for. */
export const groups = { owner: "holdfast_owners", context: "holdfast_contexts" } as const

export type Kind = keyof typeof groups

/** Makes the groups where they are missing; another session may do so at the same moment. */
export const ensureGroups = (connection: Connection): Effect.Effect<void, SqlError> =>
  Effect.forEach(Object.values(groups), (group) =>
    run(
      connection,
      `DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${group}') THEN
          CREATE ROLE ${group} NOLOGIN;
        END IF;
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END $$`
    ), { discard: true })

/** A role as the options want it. */
export interface WantedRole {
  readonly kind: Kind
  readonly name: string
  readonly login: boolean
  readonly verifier?: string | undefined
  readonly description?: string | undefined
}

/** The role of the owner. */
export const wantedOwner = ({ owner }: DatastoreOptions): WantedRole => ({
  kind: "owner",
  name: owner.databaseRole,
  login: false,
  description: owner.description
})

/** The roles of contexts. Each login role gets a verifier with a salt of its own. */
export const wantedContexts = (
  contexts: DatastoreOptions["contexts"]
): Effect.Effect<ReadonlyArray<WantedRole>> =>
  Effect.forEach(Object.values(contexts), (context) =>
    Effect.map(
      context.loginContext && context.databasePassword !== undefined
        ? scramVerifier(context.databasePassword)
        : Effect.succeed(undefined),
      (verifier): WantedRole => ({
        kind: "context",
        name: context.databaseRole,
        login: context.loginContext,
        verifier,
        description: context.description
      })
    ))

interface ExistingRole {
  readonly name: string
  readonly privileged: boolean
  readonly self: boolean
  readonly groups: ReadonlyArray<string>
}

/** A role that is expected under a name. */
export type Expected = Pick<WantedRole, "kind" | "name">

/** The roles that a datastore is expected to have. */
export const expectedRoles = (options: Pick<DatastoreOptions, "owner" | "contexts">): ReadonlyArray<Expected> => [
  ...Object.values(options.contexts).map((context) => ({ kind: "context", name: context.databaseRole } as const)),
  { kind: "owner", name: options.owner.databaseRole }
]

const find = (connection: Connection, names: ReadonlyArray<string>) =>
  Effect.map(
    rows<ExistingRole>(
      connection,
      `SELECT rolname::text AS name, rolname = current_user AS self,
        rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS privileged,
        ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid) AS groups
      FROM pg_roles r WHERE rolname = ANY($1::text[])`,
      [names]
    ),
    (found) => new Map(found.map((role) => [role.name, role]))
  )

const problemOf = (role: ExistingRole, kind: Kind): string | undefined =>
  role.self
    ? "it is the privileged role that does the work"
    : role.privileged
    ? "a role of this name exists that may create roles or databases or is a superuser: it is none of a datastore's"
    : role.groups.includes(groups[kind])
    ? undefined
    : `a role of this name exists that no datastore has made as its ${kind}. Choose another name, or give the role to ` +
      `datastores with GRANT ${groups[kind]} TO ${identifier(role.name)}`

/** Refuses names under which there are roles that no datastore has made. Returns those that there are. */
export const refuseForeignRoles = Effect.fnUntraced(function*(
  connection: Connection,
  operation: Operation,
  expected: ReadonlyArray<Expected>
): Effect.fn.Return<ReadonlySet<string>, SqlError | AdminStepFailed> {
  const existing = yield* find(connection, expected.map((role) => role.name))
  for (const { kind, name } of expected) {
    const role = existing.get(name)
    const problem = role === undefined ? undefined : problemOf(role, kind)
    if (problem !== undefined) {
      return yield* new AdminStepFailed({ operation, step: `role ${name}`, done: [], problem })
    }
  }
  return new Set(existing.keys())
})

/** Makes the roles that are missing and sets the others to what is wanted, all or none. Returns those it made. */
export const createRoles = Effect.fnUntraced(function*(
  connection: Connection,
  operation: Operation,
  wanted: ReadonlyArray<WantedRole>
): Effect.fn.Return<ReadonlyArray<string>, SqlError | AdminStepFailed> {
  return yield* inTransaction(
    connection,
    Effect.gen(function*() {
      yield* ensureGroups(connection)
      const existing = yield* refuseForeignRoles(connection, operation, wanted)
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
          yield* run(connection, `GRANT ${groups[role.kind]} TO ${name}`)
          created.push(role.name)
        }
      }
      return created
    })
  )
})

/** Lets an administrator that is no superuser act as another role; a superuser may anyway. */
export const takeOn = Effect.fnUntraced(function*(connection: Connection, role: string) {
  const [me] = yield* rows<{ readonly may: boolean }>(
    connection,
    "SELECT rolsuper AS may FROM pg_roles WHERE rolname = current_user"
  )
  if (me?.may !== true) {
    yield* run(connection, `GRANT ${identifier(role)} TO CURRENT_USER`)
  }
})

/** Sets the password of a role; the server gets a verifier of it. */
export const setPassword = (
  connection: Connection,
  role: string,
  password: Redacted.Redacted
): Effect.Effect<void, SqlError> =>
  Effect.flatMap(
    scramVerifier(password),
    (verifier) => run(connection, `ALTER ROLE ${identifier(role)} PASSWORD ${literal(verifier)}`)
  )

/** The other databases in which a role has something, or which it may use. */
const usedElsewhere = (connection: Connection, role: string): Effect.Effect<ReadonlyArray<string>, SqlError> =>
  Effect.map(
    rows<{ readonly name: string }>(
      connection,
      `SELECT DISTINCT d.datname::text AS name
      FROM pg_shdepend s
      JOIN pg_database d ON d.oid = CASE WHEN s.classid = 'pg_database'::regclass THEN s.objid ELSE s.dbid END
      WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = $1::text::regrole AND d.datname <> current_database()
      ORDER BY name`,
      [identifier(role)]
    ),
    (found) => found.map((row) => row.name)
  )

/**
 * Takes from a role all that it has in the connection's database, and its sessions there: what it owns goes to the owner,
 * what it was granted is gone. The role itself is left, and cannot log in.
 *
 * One that another database uses too only loses its right to connect to this one (`DROP OWNED` would take its right to connect
 * to the other as well), and is returned with what it is kept for.
 */
export const strip = Effect.fnUntraced(function*(
  connection: Connection,
  role: string,
  options: Pick<DatastoreOptions, "databaseName" | "owner">
): Effect.fn.Return<string | undefined, SqlError> {
  const name = identifier(role)
  const owner = identifier(options.owner.databaseRole)
  yield* takeOn(connection, options.owner.databaseRole)
  yield* takeOn(connection, role)
  const elsewhere = yield* usedElsewhere(connection, role)
  if (elsewhere.length === 0) {
    yield* run(connection, `ALTER ROLE ${name} NOLOGIN`)
  } else {
    yield* inTransaction(
      connection,
      Effect.andThen(
        run(connection, `SET LOCAL ROLE ${owner}`),
        run(connection, `REVOKE ALL ON DATABASE ${identifier(options.databaseName)} FROM ${name}`)
      )
    )
  }
  yield* run(
    connection,
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1::name AND datname = current_database()",
    [role]
  )
  if (elsewhere.length > 0) {
    return `it is used in ${elsewhere.map((database) => `database ${JSON.stringify(database)}`).join(", ")}`
  }
  yield* run(connection, `REASSIGN OWNED BY ${name} TO ${owner}`)
  yield* run(connection, `DROP OWNED BY ${name}`)
  return undefined
})

/** What became of the roles of a datastore that was dropped. */
export interface DroppedRoles {
  readonly dropped: ReadonlyArray<string>
  readonly kept: ReadonlyArray<{ readonly databaseRole: string; readonly problem: string }>
}

/** Drops the roles that are there. One that something outside the datastore hangs on is kept, with what that is. */
export const dropRoles = Effect.fnUntraced(function*(
  connection: Connection,
  operation: Operation,
  expected: ReadonlyArray<Expected>
): Effect.fn.Return<DroppedRoles, SqlError | AdminStepFailed> {
  const existing = yield* refuseForeignRoles(connection, operation, expected)
  const dropped: Array<string> = []
  const kept: Array<{ readonly databaseRole: string; readonly problem: string }> = []
  for (const { name } of expected.filter(({ name }) => existing.has(name))) {
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
