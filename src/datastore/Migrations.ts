/**
 * Migrations: SQL files that bring a database from one version to the next, and what can be wrong with them.
 *
 * A {@link Source} is an ordered list of SQL files with a name: an application has one, each part of this library has one.
 * `DatastoreAdmin.upgrade` applies the files of its sources that a database has not seen, in order, each in a transaction
 * of its own, and enters every file in the ledger `holdfast.migration` with the SHA-256 of its content. From then on a file
 * is history: it may not change, and no file may be put in before it. Mend things with a new file.
 *
 * A file is real SQL, run as it stands: several statements, functions with dollar quotes, bare SELECTs.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import * as Schema from "effect/Schema"
import { compareNames } from "./internal/migrationName.ts"

/**
 * One file of SQL. Files are applied in the byte order of their names, so numbers need leading zeros: `0001_accounts.sql`.
 *
 * @since 0.1.0
 * @category models
 */
export interface MigrationFile {
  readonly name: string
  readonly sql: string
}

/**
 * A named list of SQL files.
 *
 * **Details**
 *
 * `schema` marks a source of this library: the schema its objects lie in. Roles whose context has `libraryAccess` may use
 * everything in that schema.
 *
 * @since 0.1.0
 * @category models
 */
export interface Source {
  readonly name: string
  readonly files: ReadonlyArray<MigrationFile>
  readonly schema?: string | undefined
}

/**
 * A file that was applied, and the source it belongs to.
 *
 * @since 0.1.0
 * @category models
 */
export const Applied = Schema.Struct({ source: Schema.String, file: Schema.String })

/**
 * A file that was applied, and the source it belongs to.
 *
 * @since 0.1.0
 * @category models
 */
export type Applied = typeof Applied.Type

const MigrationFields = {
  /** The name of the source. */
  source: Schema.String,
  /** The name of the file. */
  file: Schema.String
}

/**
 * A source that cannot be applied whatever the database holds: no name, or one of the library's (`holdfast/…`), the same file
 * twice, two sources of one name.
 *
 * @since 0.1.0
 * @category errors
 */
export class SourceInvalid extends Schema.TaggedError<SourceInvalid>("holdfast/datastore/SourceInvalid")(
  "SourceInvalid",
  { source: Schema.String, problem: Schema.String }
) {
  override get message() {
    return `migration source ${JSON.stringify(this.source)}: ${this.problem}`
  }
}

/**
 * A file that was applied has other content now. Nothing was applied.
 *
 * @since 0.1.0
 * @category errors
 */
export class MigrationChanged extends Schema.TaggedError<MigrationChanged>("holdfast/datastore/MigrationChanged")(
  "MigrationChanged",
  {
    ...MigrationFields,
    /** SHA-256 of the content that was applied, in hexadecimal. */
    appliedSha256: Schema.String,
    /** SHA-256 of the content it has now. */
    sha256: Schema.String
  }
) {
  override get message() {
    return `migration ${this.source}/${this.file} was applied with other content (sha-256 ${
      this.appliedSha256.slice(0, 12)
    }, now ${this.sha256.slice(0, 12)}): restore the file as it was, and put the change into a new one`
  }
}

/**
 * A file that was not applied sorts before one that was. Nothing was applied.
 *
 * @since 0.1.0
 * @category errors
 */
export class MigrationOutOfOrder extends Schema.TaggedError<MigrationOutOfOrder>(
  "holdfast/datastore/MigrationOutOfOrder"
)("MigrationOutOfOrder", {
  ...MigrationFields,
  /** The newest file of this source that the database has. */
  newestApplied: Schema.String
}) {
  override get message() {
    return `migration ${this.source}/${this.file} comes too late: ${this.newestApplied} was applied already. Give it a name ` +
      `that sorts after ${this.newestApplied}`
  }
}

/**
 * A file failed, and was rolled back. The files before it stay applied.
 *
 * @since 0.1.0
 * @category errors
 */
export class MigrationFailed extends Schema.TaggedError<MigrationFailed>("holdfast/datastore/MigrationFailed")(
  "MigrationFailed",
  {
    ...MigrationFields,
    /** What the server said, or that the connection was lost. */
    problem: Schema.String,
    /** Absent when it was not the server that failed. */
    sqlState: Schema.optionalKey(Schema.String),
    detail: Schema.optionalKey(Schema.String),
    hint: Schema.optionalKey(Schema.String),
    /** The line of the file, from 1, where the server names a place. */
    line: Schema.optionalKey(Schema.Int),
    /** The column in that line, in characters from 1. */
    column: Schema.optionalKey(Schema.Int),
    /** What this run had applied before. */
    applied: Schema.Array(Applied)
  }
) {
  override get message() {
    const place = this.line === undefined ? "" : `:${this.line}${this.column === undefined ? "" : `:${this.column}`}`
    const code = this.sqlState === undefined ? "" : ` (SQLSTATE ${this.sqlState})`
    const more = (this.detail === undefined ? "" : `. ${this.detail}`) +
      (this.hint === undefined ? "" : `. ${this.hint}`)
    const before = this.applied.length === 0
      ? "nothing was applied before it"
      : `applied before it: ${this.applied.map((_) => `${_.source}/${_.file}`).join(", ")}`
    return `migration ${this.source}/${this.file}${place} failed and was rolled back: ${this.problem}${code}${more}; ${before}`
  }
}

/**
 * The tables that a part of this library needs are not in the database as they should be, and could not be put there.
 *
 * **Details**
 *
 * `reason` is why: `"notInstalled"` they are missing and this role may not create them; `"notPermitted"` the role may not
 * use them; `"changed"` a file that was applied has other content in this version of the library; `"failed"` installing
 * them failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class SchemaNotInstalled extends Schema.TaggedError<SchemaNotInstalled>("holdfast/datastore/SchemaNotInstalled")(
  "SchemaNotInstalled",
  {
    /** The part of the library whose tables they are. */
    source: Schema.String,
    /** The newest file of this source that the library has. */
    expected: Schema.String,
    /** The newest file that the database has; absent when it has none or could not be asked. */
    found: Schema.optionalKey(Schema.String),
    reason: Schema.Literals(["notInstalled", "notPermitted", "changed", "failed"]),
    /** What exactly is wrong. */
    problem: Schema.String
  }
) {
  override get message() {
    const found = this.found === undefined ? "nothing" : this.found
    return `the tables of ${this.source} are not ready in this database (expected ${this.expected}, found ${found}): ` +
      this.problem + ". Run DatastoreAdmin.upgrade with the privileged role"
  }
}

/**
 * Everything that can be wrong with migrations, apart from the connection.
 *
 * @since 0.1.0
 * @category errors
 */
export type MigrationError = SourceInvalid | MigrationChanged | MigrationOutOfOrder | MigrationFailed

/**
 * A source of these files, in the order in which they are applied.
 *
 * **Example** (Migrations kept in code)
 *
 * ```ts
 * import { Migrations } from "holdfast/datastore"
 *
 * const schema = Migrations.make("airports", [
 *   { name: "0001_airport.sql", sql: "CREATE TABLE airport (code text PRIMARY KEY)" }
 * ])
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  name: string,
  files: ReadonlyArray<MigrationFile>,
  options?: { readonly schema?: string | undefined }
): Source => ({
  name,
  files: [...files].sort((a, b) => compareNames(a.name, b.name)),
  ...(options?.schema === undefined ? {} : { schema: options.schema })
})

/**
 * The `*.sql` files of one directory (not of those below it) as a source.
 *
 * **Details**
 *
 * The source is named after the directory, or as `options.name` says. The name is part of the ledger: moving the directory
 * under another name makes every file new. Fails with {@link SourceInvalid} when there is no SQL file in it.
 *
 * **Example** (Migrations in a folder)
 *
 * ```ts
 * import { NodeServices } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { DatastoreAdmin, Migrations } from "holdfast/datastore"
 *
 * const upgrade = Effect.gen(function*() {
 *   const admin = yield* DatastoreAdmin.DatastoreAdmin
 *   const source = yield* Migrations.fromDirectory("migrations", { name: "airports" })
 *   return yield* admin.upgrade([source])
 * }).pipe(Effect.provide(NodeServices.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromDirectory = Effect.fn("Migrations.fromDirectory")(
  function*(
    directory: string,
    options?: { readonly name?: string | undefined }
  ): Effect.fn.Return<Source, SourceInvalid | PlatformError, FileSystem.FileSystem | Path.Path> {
    const fileSystem = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const name = options?.name ?? path.basename(path.resolve(directory))
    const names = (yield* fileSystem.readDirectory(directory)).filter((file) => file.endsWith(".sql"))
    if (names.length === 0) {
      return yield* new SourceInvalid({ source: name, problem: `there is no .sql file in ${directory}` })
    }
    const files = yield* Effect.forEach(
      names,
      (file) => Effect.map(fileSystem.readFileString(path.join(directory, file)), (sql) => ({ name: file, sql })),
      {
        concurrency: 8
      }
    )
    return make(name, files)
  }
)
