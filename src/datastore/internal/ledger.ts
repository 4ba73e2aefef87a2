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
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import { createHash } from "node:crypto"
import { make as makeSource, type MigrationFile, type Planned, type Progress, type Source } from "../Migrations.ts"
import { bind, type Bindings, checkBindings, placeholders } from "./bindings.ts"
import { identifier } from "./identifier.ts"
import {
  type Applied,
  BindingMissing,
  MigrationChanged,
  type MigrationError,
  MigrationFailed,
  MigrationOutOfOrder,
  MigrationTypeDiffers,
  SourceInvalid
} from "./migrationError.ts"
import { compareNames } from "./migrationName.ts"
import { parseBuiltName } from "./migrationVersion.ts"
import { sql as ownFiles } from "./sql.gen.ts"
import { inTransaction, rows, run, runScript } from "./sqlScript.ts"
import { errorText, serverError } from "./sqlState.ts"

const ledgerScript = ownFiles.find((file) => file.name === "ledger.sql")?.text ?? ""

/** What the names of the library's own sources begin with, so that no source of an application has the same. */
export const libraryPrefix = "holdfast/"

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

interface LedgerRow {
  readonly source: string
  readonly file: string
  readonly sha256: string
  /** Null but for built migrations. */
  readonly version: string | null
}

interface Pending {
  readonly source: Source
  readonly file: MigrationFile
  readonly sha256: string
  /** What is run: the file with its placeholders replaced. */
  readonly script: string
}

/** The version in the name of a built file. */
const versionOf = (built: boolean, file: string) => built ? parseBuiltName(file) : undefined

const entry = (source: Pick<Source, "name" | "built">, file: string): Applied => {
  const version = versionOf(source.built === true, file)?.text
  return { source: source.name, file, ...(version === undefined ? {} : { version }) }
}

const hashes = new WeakMap<MigrationFile, string>()

const sha256 = (file: MigrationFile): string => {
  let hash = hashes.get(file)
  if (hash === undefined) {
    hashes.set(file, hash = createHash("sha256").update(file.sql, "utf8").digest("hex"))
  }
  return hash
}

/** How a database stands to one source. */
export interface Installed {
  /** Files of the source that are in the ledger with the content they have now, in order. */
  readonly applied: ReadonlyArray<string>
  /** Files of the source that are not in the ledger. */
  readonly missing: ReadonlyArray<string>
  /** Files whose content is not the one that was applied. */
  readonly changed: ReadonlyArray<string>
  /** The newest file in the ledger, which a newer version of the source may have put there. */
  readonly newest: string | undefined
}

const compare = (source: Source, ledger: ReadonlyArray<LedgerRow>): Installed => {
  const recorded = new Map<string, string>()
  for (const row of ledger) {
    if (row.source === source.name) {
      recorded.set(row.file, row.sha256)
    }
  }
  const applied: Array<string> = []
  const missing: Array<string> = []
  const changed: Array<string> = []
  for (const file of source.files) {
    const hash = recorded.get(file.name)
    ;(hash === undefined ? missing : hash === sha256(file) ? applied : changed).push(file.name)
  }
  const newest = Array.from(recorded.keys()).sort(compareNames).at(-1)
  return { applied, missing, changed, newest }
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

const checkSources = Effect.fnUntraced(function*(sources: ReadonlyArray<Source>) {
  const seen = new Set<string>()
  for (const source of sources) {
    const invalid = (problem: string) => new SourceInvalid({ source: source.name, problem })
    if (source.name.length === 0) {
      return yield* invalid("has no name")
    }
    if (source.name.startsWith(libraryPrefix) && source.schema === undefined) {
      return yield* invalid(`names that begin with ${libraryPrefix} are the library's`)
    }
    if (seen.has(source.name)) {
      return yield* invalid("is given twice")
    }
    seen.add(source.name)
    if (source.built === true && sources.find((other) => other.built === true) !== source) {
      return yield* invalid("a database takes built migrations of one type only, and another type is given too")
    }
    const files = new Set<string>()
    for (const file of source.files) {
      if (file.name.length === 0 || file.name.includes("\0")) {
        return yield* invalid(`${JSON.stringify(file.name)} is not the name of a file`)
      }
      if (files.has(file.name)) {
        return yield* invalid(`the file ${file.name} is there twice`)
      }
      if (source.built === true && parseBuiltName(file.name)?.type !== source.name) {
        return yield* invalid(`${file.name} is not the name of a built migration of this type`)
      }
      if (file.sql.includes("\0")) {
        return yield* invalid(`the file ${file.name} has a NUL character in it, which Postgres does not take`)
      }
      files.add(file.name)
    }
  }
})

/** The type of the built migrations that a ledger has: the source whose files have the names of such. */
const recordedType = (ledger: ReadonlyArray<LedgerRow>): string | undefined =>
  ledger.find((row) => row.version !== null)?.source

/** What is to be applied, in order, once all of it has been found to be right. */
const planOf = Effect.fnUntraced(
  function*(
    ledger: ReadonlyArray<LedgerRow>,
    sources: ReadonlyArray<Source>,
    bindings: Bindings
  ): Effect.fn.Return<ReadonlyArray<Pending>, MigrationError> {
    const pending: Array<Pending> = []
    for (const source of sources) {
      // Again in order: a source need not have been made by `Migrations.make`.
      const ordered = makeSource(source.name, source.files, source)
      const recorded = recordedType(ledger)
      if (source.built === true && recorded !== undefined && recorded !== source.name) {
        return yield* new MigrationTypeDiffers({ type: source.name, recorded })
      }
      const state = compare(ordered, ledger)
      const missing = new Set(state.missing)
      const changed = new Set(state.changed)
      for (const file of ordered.files) {
        if (changed.has(file.name)) {
          const row = ledger.find((row) => row.source === source.name && row.file === file.name)
          return yield* new MigrationChanged({
            source: source.name,
            file: file.name,
            appliedSha256: row?.sha256 ?? "",
            sha256: sha256(file)
          })
        }
        if (!missing.has(file.name)) {
          continue
        }
        // Late when anything that is applied sorts after it, whether or not the source still has that file.
        if (state.newest !== undefined && compareNames(file.name, state.newest) < 0) {
          return yield* new MigrationOutOfOrder({ source: source.name, file: file.name, newestApplied: state.newest })
        }
        const unbound = source.schema === undefined
          ? Array.from(placeholders(file.sql)).filter((name) => !Object.hasOwn(bindings, name))
          : []
        if (unbound.length > 0) {
          return yield* new BindingMissing({
            source: source.name,
            file: file.name,
            missing: unbound,
            bound: Object.keys(bindings)
          })
        }
        const script = source.schema === undefined ? bind(file.sql, bindings) : file.sql
        pending.push({ source: ordered, file, sha256: sha256(file), script })
      }
    }
    return pending
  }
)

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
