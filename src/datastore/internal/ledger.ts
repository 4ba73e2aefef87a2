/**
 * Applying migrations, and the ledger that remembers which.
 *
 * One run holds an advisory lock of the database's from beginning to end: two processes that upgrade at once do so one
 * after the other, and the second finds nothing to do. The plan is made under that lock and is checked as a whole before
 * anything runs; then every file is one transaction together with its row in the ledger.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import { make as makeSource, type Planned, type Progress, type Source } from "../Migrations.ts"
import { type Bindings, checkBindings } from "./bindings.ts"
import { identifier } from "./identifier.ts"
import { migrationMillis } from "./metrics.ts"
import { type Applied, type MigrationError, MigrationFailed } from "./migrationError.ts"
import {
  checkSources,
  compare,
  entry,
  type Installed,
  type LedgerRow,
  libraryPrefix,
  type Pending,
  planOf,
  versionOf
} from "./migrationPlan.ts"
import { sql as ownFiles } from "./sql.gen.ts"
import { inTransaction, rows, run, runScript } from "./sqlScript.ts"
import { errorText, serverError } from "./sqlState.ts"

const ledgerScript = ownFiles.find((file) => file.name === "ledger.sql")?.text ?? ""

/** The datastore's own objects in schema `holdfast`: the functions that any migration may use. */
export const datastoreSource: Source = makeSource(
  `${libraryPrefix}datastore`,
  ownFiles.filter((file) => file.name !== "ledger.sql").map((file) => ({ name: file.name, sql: file.text })),
  { schema: "holdfast" }
)

/** Of 'hold', and 1 for migrations. */
const lockKey = "1752132708, 1"

/** What a statement on the ledger fails with when there is none: no such table, no such schema. */
const isAbsent = (error: SqlError): boolean => {
  const code = serverError(error)?.code
  return code === "42P01" || code === "3F000"
}

/**
 * Which files of a source this client's database has: one statement, one round trip. Fails as the statement does when
 * there is no ledger (42P01), or when this role may not read it (42501).
 */
export const installed = (client: PgClient.PgClient, source: Source): Effect.Effect<Installed, SqlError> => {
  const sql = client.withoutTransforms()
  return Effect.map(
    sql<LedgerRow>`SELECT source, file, sha256, version FROM holdfast.migration WHERE source = ${source.name}`,
    (ledger) => compare(source, ledger)
  )
}

/** As `installed` for several sources; `undefined` when the database has no ledger. */
export const inspect = (
  client: PgClient.PgClient,
  sources: ReadonlyArray<Source>
): Effect.Effect<ReadonlyMap<string, Installed> | undefined, SqlError> => {
  const sql = client.withoutTransforms()
  return sql.unsafe<LedgerRow>(readLedger).pipe(
    Effect.map((ledger) => new Map(sources.map((source) => [source.name, compare(source, ledger)]))),
    Effect.catchIf(isAbsent, () => Effect.succeed(undefined))
  )
}

const readLedger = "SELECT source, file, sha256, version FROM holdfast.migration"

/** What an upgrade would apply, in order, without doing anything. */
export const plan = Effect.fnUntraced(
  function*(
    client: PgClient.PgClient,
    sources: ReadonlyArray<Source>,
    bindings: Bindings
  ): Effect.fn.Return<ReadonlyArray<Planned>, MigrationError | SqlError> {
    yield* checkSources(sources)
    yield* checkBindings(bindings)
    const ledger = yield* client.withoutTransforms().unsafe<LedgerRow>(readLedger).pipe(
      Effect.catchIf(isAbsent, () => Effect.succeed([]))
    )
    return (yield* planOf(ledger, sources, bindings)).map(({ file, sha256, source }) => ({
      ...entry(source, file.name),
      sha256
    }))
  }
)

/** The newest file of every source in the ledger, by the name of the source. */
export const newest = (client: PgClient.PgClient): Effect.Effect<ReadonlyArray<Applied>, SqlError> =>
  client.withoutTransforms()<LedgerRow>`
    SELECT DISTINCT ON (source) source, file, version FROM holdfast.migration ORDER BY source, file DESC`.pipe(
    Effect.map((rows) => rows.map((row) => entry({ name: row.source, built: row.version !== null }, row.file))),
    Effect.catchIf(isAbsent, () => Effect.succeed([]))
  )

/** Line and column of a position in a script, both from 1; positions count characters, not UTF-16 units. */
const placeOf = (script: string, position: number): { readonly line: number; readonly column: number } => {
  const before = Array.from(script).slice(0, position - 1)
  return {
    line: before.filter((character) => character === "\n").length + 1,
    column: before.length - before.lastIndexOf("\n")
  }
}

const failed = (step: Pending, applied: ReadonlyArray<Applied>) => (error: SqlError): MigrationFailed => {
  const said = serverError(error)
  const position = Number(said?.internalPosition)
  const placed = said?.internalQuery === step.script && Number.isInteger(position) && position > 0
  return new MigrationFailed({
    source: step.source.name,
    file: step.file.name,
    problem: errorText(error),
    applied: [...applied],
    ...(said === undefined ? {} : { sqlState: said.code }),
    ...(said?.detail ? { detail: said.detail } : {}),
    ...(said?.hint ? { hint: said.hint } : {}),
    ...(placed ? placeOf(step.script, position) : {})
  })
}

/** What an upgrade does beside running files. */
export interface ApplyOptions {
  /** The role that runs the files and owns what they make; absent, whoever the connection belongs to. */
  readonly role?: string | undefined
  /** Gives roles their access to the schemas of library sources; runs as `role`, in the transaction of each such file. */
  readonly grantAccess?: ((connection: Connection, schema: string) => Effect.Effect<void, SqlError>) | undefined
  readonly bindings?: Bindings | undefined
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

/**
 * Applies what is missing of these sources, in their order, and returns what it applied.
 *
 * Holds one connection of the client for itself. Files that were applied before a failure stay; the error names them.
 */
export const apply = Effect.fnUntraced(
  function*(
    client: PgClient.PgClient,
    sources: ReadonlyArray<Source>,
    options: ApplyOptions = {}
  ): Effect.fn.Return<ReadonlyArray<Applied>, MigrationError | SqlError> {
    const { bindings = {}, onProgress = () => Effect.void } = options
    yield* checkSources(sources)
    yield* checkBindings(bindings)
    return yield* Effect.scoped(Effect.gen(function*() {
      const connection = yield* client.reserve
      const asRole = <A, E>(self: Effect.Effect<A, E>) =>
        inTransaction(
          connection,
          options.role === undefined
            ? self
            : Effect.andThen(run(connection, `SET LOCAL ROLE ${identifier(options.role)}`), self)
        )
      // Freed when the session ends, too. A script may leave settings behind: the connection goes back to a pool.
      yield* Effect.acquireRelease(
        takeLock(connection, onProgress({ _tag: "Waiting" })),
        () =>
          run(connection, `SELECT pg_advisory_unlock(${lockKey})`).pipe(
            Effect.andThen(run(connection, "RESET SESSION AUTHORIZATION")),
            Effect.andThen(run(connection, "RESET ALL")),
            Effect.ignore
          ),
        { interruptible: true }
      )
      yield* asRole(ensureLedger(connection))
      const ledger = yield* asRole(rows<LedgerRow>(connection, readLedger))
      const pending = yield* planOf(ledger, sources, bindings)
      const applied: Array<Applied> = []
      for (const [index, step] of pending.entries()) {
        const progress = { file: entry(step.source, step.file.name), index, total: pending.length }
        yield* onProgress({ _tag: "Applying", ...progress })
        const [took] = yield* Effect.timed(
          asRole(applyFile(connection, step, options)).pipe(Effect.mapError(failed(step, applied)))
        )
        applied.push(progress.file)
        yield* Metric.update(migrationMillis, Duration.toMillis(took))
        yield* onProgress({ _tag: "Applied", ...progress, millis: Duration.toMillis(took) })
      }
      const { grantAccess } = options
      if (grantAccess !== undefined) {
        // Once more for all: contexts may have come or changed since the files were applied.
        const schemas = new Set(sources.flatMap((source) => source.schema === undefined ? [] : [source.schema]))
        yield* asRole(Effect.forEach(schemas, (schema) => grantAccess(connection, schema), { discard: true }))
      }
      return applied
    }))
  }
)

/** Says so first where another upgrade has the lock. */
const takeLock = Effect.fnUntraced(function*(connection: Connection, waiting: Effect.Effect<void>) {
  const [lock] = yield* rows<{ readonly taken: boolean }>(
    connection,
    `SELECT pg_try_advisory_lock(${lockKey}) AS taken`
  )
  if (lock?.taken !== true) {
    yield* waiting
    yield* run(connection, `SELECT pg_advisory_lock(${lockKey})`)
  }
})

/** Asks first: `IF NOT EXISTS` would still want the right to create schemas. */
const ensureLedger = Effect.fnUntraced(function*(connection: Connection) {
  const [found] = yield* rows<{ readonly there: boolean }>(
    connection,
    "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace " +
      "WHERE n.nspname = 'holdfast' AND c.relname = 'migration') AS there"
  )
  if (found?.there !== true) {
    yield* runScript(connection, ledgerScript)
  }
})

const applyFile = Effect.fnUntraced(function*(connection: Connection, step: Pending, options: ApplyOptions) {
  const schema = step.source.schema
  const built = versionOf(step.source.built === true, step.file.name)
  const [clock] = yield* rows<{ readonly started: string }>(connection, "SELECT clock_timestamp()::text AS started")
  yield* runScript(connection, step.script)
  if (schema !== undefined && options.grantAccess !== undefined) {
    yield* options.grantAccess(connection, schema)
  }
  yield* run(
    connection,
    "INSERT INTO holdfast.migration (source, file, sha256, role, started, finished, version, release_number, " +
      "version_number, update_number, sponsor, sponsor_modification) VALUES ($1, $2, $3, current_user, $4::timestamptz, " +
      "clock_timestamp(), $5, $6::int, $7::int, $8::int, $9::bigint, $10::int)",
    [
      step.source.name,
      step.file.name,
      step.sha256,
      clock?.started,
      built?.text ?? null,
      built?.version.release ?? null,
      built?.version.version ?? null,
      built?.version.update ?? null,
      built === undefined ? null : String(built.version.sponsor),
      built?.version.sponsor_modification ?? null
    ]
  )
})
