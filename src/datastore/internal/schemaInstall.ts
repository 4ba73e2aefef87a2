/**
 * The library's own tables, for the rooms above: are they there, and if not, may they be put there?
 *
 * In production a privileged role installs them beforehand (`DatastoreAdmin.upgrade`), and the role that runs the
 * application has no right to. A developer's database is often reached as a superuser or as its owner; there, they are
 * installed on first use, by the same machinery.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type ConnectionFailed, fromSqlError } from "../ConnectionFailed.ts"
import { make as makeSource, type Source } from "../Migrations.ts"
import { targetOf } from "./connection.ts"
import { apply, installed } from "./ledger.ts"
import { SchemaNotInstalled } from "./migrationError.ts"
import { type Installed, libraryPrefix } from "./migrationPlan.ts"
import { errorText, sqlState } from "./sqlState.ts"

export { installed }

/** A source of the library's, `holdfast/<name>`, out of the files that `scripts/embed-sql.ts` has embedded. */
export const librarySource = (
  name: string,
  files: ReadonlyArray<{ readonly name: string; readonly text: string }>
): Source =>
  makeSource(`${libraryPrefix}${name}`, files.map((file) => ({ name: file.name, sql: file.text })), {
    schema: "holdfast"
  })

type Reason = SchemaNotInstalled["reason"]

const refuse = (source: Source, reason: Reason, problem: string, found?: string | undefined): SchemaNotInstalled =>
  new SchemaNotInstalled({
    source: source.name,
    expected: source.files.at(-1)?.name ?? "no files",
    reason,
    problem,
    ...(found === undefined ? {} : { found })
  })

const refuseSqlError = (source: Source, client: PgClient.PgClient) => (error: SqlError) =>
  sqlState(error) === "42501" && !isConnectDenied(error)
    ? refuse(source, "notPermitted", errorText(error))
    : fromSqlError(error, targetOf(client.config))

/** No CONNECT has the SQLSTATE of a missing privilege on a table: only its text tells. */
const isConnectDenied = (error: SqlError): boolean => error.reason.operation === "connect"

const nothing: Installed = { applied: [], missing: [], changed: [], newest: undefined }

/** What of a source is applied in a client's database, with the content that the library has. */
const unchanged = Effect.fnUntraced(
  function*(
    source: Source,
    client: PgClient.PgClient
  ): Effect.fn.Return<Installed, SchemaNotInstalled | ConnectionFailed> {
    const state = yield* installed(client, source).pipe(
      Effect.catchIf(
        (error) => sqlState(error) === "42P01" || sqlState(error) === "3F000",
        () => Effect.succeed({ ...nothing, missing: source.files.map((file) => file.name) })
      ),
      Effect.mapError(refuseSqlError(source, client))
    )
    if (state.changed.length > 0) {
      const names = state.changed.join(", ")
      const problem = `${names} was applied with other content than this version of the library has`
      return yield* refuse(source, "changed", problem, state.newest)
    }
    return state
  }
)

/** Succeeds where all files of this source are applied in the client's database. Installs nothing. */
export const requireInstalled = Effect.fnUntraced(
  function*(source: Source): Effect.fn.Return<void, SchemaNotInstalled | ConnectionFailed, PgClient.PgClient> {
    const { missing, newest } = yield* unchanged(source, yield* PgClient.PgClient)
    if (missing.length > 0) return yield* refuse(source, "notInstalled", `${missing.join(", ")} missing`, newest)
  }
)

/**
 * Succeeds once all files of this source are applied in the client's database: at once, with one statement, when they are
 * already; after installing them when this role may create them; else fails and says what is to be done. A database that does not
 * answer is `ConnectionFailed`. Any number of processes may do so at once.
 */
export const ensureInstalled = Effect.fnUntraced(
  function*(source: Source): Effect.fn.Return<void, SchemaNotInstalled | ConnectionFailed, PgClient.PgClient> {
    const client = yield* PgClient.PgClient
    const state = yield* unchanged(source, client)
    if (state.missing.length === 0) {
      return
    }
    const sql = client.withoutTransforms()
    const [may] = yield* sql<{ readonly create: boolean; readonly role: string; readonly owner: string | null }>`
      SELECT current_user::text AS role,
        coalesce(
          (SELECT has_schema_privilege(n.oid, 'CREATE') FROM pg_namespace n WHERE n.nspname = 'holdfast'),
          has_database_privilege(current_database(), 'CREATE')
        ) AS create,
        (SELECT r.rolname::text FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba
          WHERE d.datname = current_database() AND pg_has_role(current_user, r.oid, 'MEMBER')
            AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = 'holdfast' AND n.nspowner <> r.oid)) AS owner`
      .pipe(Effect.mapError(refuseSqlError(source, client)))
    if (may?.create !== true) {
      const problem = `${state.missing.join(", ")} missing, and role ${JSON.stringify(may?.role)} may not install it`
      return yield* refuse(source, "notInstalled", problem, state.newest)
    }
    // As the owner of the database where this role may act as such: it is the owner who upgrades them later.
    yield* apply(client, [source], may.owner === null ? {} : { role: may.owner }).pipe(
      Effect.catch((error) =>
        error._tag === "SqlError"
          ? Effect.fail(refuseSqlError(source, client)(error))
          : Effect.fail(
            refuse(source, error._tag === "MigrationChanged" ? "changed" : "failed", error.message, state.newest)
          )
      )
    )
  }
)
