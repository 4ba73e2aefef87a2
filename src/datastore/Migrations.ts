/**
 * Migrations: SQL files that bring a database from one version to the next, and what can be wrong with them.
 *
 * A {@link Source} is an ordered list of SQL files with a name: an application has one, each part of this library has one.
 * `DatastoreAdmin.upgrade` applies the files of its sources that a database has not seen, in order, each in a transaction
 * of its own, and enters every file in the ledger `holdfast.migration` with the SHA-256 of its content. From then on a file
 * is history: it may not change, and no file may be put in before it. Mend things with a new file.
 *
 * A source is a folder of SQL files ({@link fromDirectory}), files kept in code ({@link make}), or what {@link build} has
 * made of build plans ({@link load}): plans say of which files each version is made, and may take in the plans of others.
 *
 * A file is real SQL, run as it stands: several statements, functions with dollar quotes, bare SELECTs. The one thing that is
 * replaced in it are placeholders, `${name}`, by the quoted name of a role or another object: `upgrade` binds `owner`,
 * `database` and the name of every context, and whatever else it is given. `\${` is a text that is no placeholder.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import { expand } from "./internal/buildPlan.ts"
import {
  type Applied,
  BuildDiffers,
  type BuildPlanInvalid,
  SourceInvalid,
  StrayMigration
} from "./internal/migrationError.ts"
import { compareNames } from "./internal/migrationName.ts"
import { isType, parseBuiltName } from "./internal/migrationVersion.ts"

export {
  /**
   * @since 0.1.0
   * @category schemas
   */
  Applied,
  /**
   * @since 0.1.0
   * @category errors
   */
  BindingInvalid,
  /**
   * @since 0.1.0
   * @category errors
   */
  BindingMissing,
  /**
   * @since 0.1.0
   * @category errors
   */
  BuildDiffers,
  /**
   * @since 0.1.0
   * @category errors
   */
  BuildPlanInvalid,
  /**
   * @since 0.1.0
   * @category schemas
   */
  BuildPlanReason,
  /**
   * @since 0.1.0
   * @category errors
   */
  MigrationChanged,
  /**
   * @since 0.1.0
   * @category errors
   */
  type MigrationError,
  /**
   * @since 0.1.0
   * @category errors
   */
  MigrationFailed,
  /**
   * @since 0.1.0
   * @category errors
   */
  MigrationOutOfOrder,
  /**
   * @since 0.1.0
   * @category errors
   */
  MigrationTypeDiffers,
  /**
   * @since 0.1.0
   * @category errors
   */
  SchemaNotInstalled,
  /**
   * @since 0.1.0
   * @category errors
   */
  SourceInvalid,
  /**
   * @since 0.1.0
   * @category errors
   */
  StrayMigration
} from "./internal/migrationError.ts"

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
 * everything in that schema, and placeholders mean nothing in its files.
 *
 * `built` marks built migrations: the name of the source is their type, and a database takes those of one type only.
 *
 * @since 0.1.0
 * @category models
 */
export interface Source {
  readonly name: string
  readonly files: ReadonlyArray<MigrationFile>
  readonly schema?: string | undefined
  readonly built?: boolean | undefined
}

/**
 * What placeholders in migrations stand for: names of roles, schemas, tables. They are quoted where they are put in.
 *
 * @since 0.1.0
 * @category models
 */
export type Bindings = { readonly [name: string]: string }

/**
 * A file that is to be applied.
 *
 * @since 0.1.0
 * @category models
 */
export interface Planned extends Applied {
  /** SHA-256 of its content, in hexadecimal. */
  readonly sha256: string
}

/**
 * How an upgrade goes on: another one holds the lock and is waited for; a file is begun; a file is done, after so many
 * milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export type Progress =
  | { readonly _tag: "Waiting" }
  | { readonly _tag: "Applying"; readonly file: Applied; readonly index: number; readonly total: number }
  | {
    readonly _tag: "Applied"
    readonly file: Applied
    readonly index: number
    readonly total: number
    readonly millis: number
  }

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
  options?: { readonly schema?: string | undefined; readonly built?: boolean | undefined }
): Source => ({
  name,
  files: [...files].sort((a, b) => compareNames(a.name, b.name)),
  ...(options?.schema === undefined ? {} : { schema: options.schema }),
  ...(options?.built === undefined ? {} : { built: options.built })
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
    return make(name, yield* readSqlFiles(directory, names))
  }
)

/** The `.sql` files of a directory with their content. */
const readSqlFiles = Effect.fnUntraced(function*(directory: string, names: ReadonlyArray<string>) {
  const fileSystem = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  return yield* Effect.forEach(
    names,
    (name) => Effect.map(fileSystem.readFileString(path.join(directory, name)), (sql) => ({ name, sql })),
    { concurrency: 8 }
  )
})

/**
 * What a build did.
 *
 * @since 0.1.0
 * @category models
 */
export interface Build {
  /** The files it wrote. */
  readonly built: ReadonlyArray<string>
  /** The files that were there already, with the same content. */
  readonly kept: ReadonlyArray<string>
  /** Built files of this type that the plan does not have, or has no more. They are left alone, and still apply. */
  readonly unplanned: ReadonlyArray<string>
}

const refuseType = (type: string): Effect.Effect<void, SourceInvalid> =>
  isType(type)
    ? Effect.void
    : Effect.fail(new SourceInvalid({ source: type, problem: "a type is letters, digits, - and _" }))

/**
 * Builds the migrations of a type out of its build plan, `buildplans.<type>.toml` in the folder `source`, into the folder
 * `output`.
 *
 * **Details**
 *
 * A plan has entries like this one; files are given by their path from `source`, and a `plan` contributes its own entry of
 * the same five numbers:
 *
 * ```toml
 * [[build_plan]]
 * release = 1
 * version = 1
 * update = 5350
 * sponsor = 820
 * sponsor_modification = 0
 * load_files = ["account.sql", { type = "plan", file = "audit/buildplans.audit.toml" }]
 * ```
 *
 * makes `<type>.01.01.44M.0000MS.000.sql`: each number in base 36, so that the order of names is the order of versions.
 * The same sources give the same bytes. All of it is checked before anything is written, every file appears at once or not
 * at all, and what was built before is kept: where it would differ now the build fails with {@link BuildDiffers}, unless
 * `replace`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const build = Effect.fn("Migrations.build")(function*(options: {
  readonly source: string
  readonly type: string
  readonly output: string
  readonly replace?: boolean | undefined
}): Effect.fn.Return<
  Build,
  SourceInvalid | BuildPlanInvalid | BuildDiffers | PlatformError,
  FileSystem.FileSystem | Path.Path
> {
  const { output, replace = false, source, type } = options
  const fileSystem = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  yield* refuseType(type)
  const planned = yield* expand(source, type)
  yield* fileSystem.makeDirectory(output, { recursive: true })
  const names = new Set((yield* fileSystem.readDirectory(output)).filter((name) => parseBuiltName(name)?.type === type))
  const existing = new Map(
    (yield* readSqlFiles(output, planned.map((file) => file.name).filter((name) => names.has(name)))).map((file) => [
      file.name,
      file.sql
    ])
  )
  const differing = planned.filter((file) => existing.has(file.name) && existing.get(file.name) !== file.text)
  if (differing.length > 0 && !replace) {
    return yield* new BuildDiffers({ directory: output, files: differing.map((file) => file.name) })
  }
  const writing = planned.filter((file) => existing.get(file.name) !== file.text)
  yield* Effect.scoped(Effect.gen(function*() {
    if (writing.length > 0) {
      const aside = yield* fileSystem.makeTempDirectoryScoped({ directory: output, prefix: ".building-" })
      yield* Effect.forEach(writing, (file) => fileSystem.writeFileString(path.join(aside, file.name), file.text))
      yield* Effect.forEach(
        writing,
        (file) => fileSystem.rename(path.join(aside, file.name), path.join(output, file.name))
      )
    }
  }))
  const written = new Set(writing.map((file) => file.name))
  const all = new Set(planned.map((file) => file.name))
  return {
    built: Array.from(written),
    kept: planned.map((file) => file.name).filter((name) => !written.has(name)),
    unplanned: Array.from(names).filter((name) => !all.has(name)).sort()
  }
})

/**
 * The built migrations of a type, out of the folder they were built into, as a source of that name.
 *
 * **Details**
 *
 * Migrations of other types in the folder are left out. Fails with {@link StrayMigration} when there is another `.sql` file
 * among them, and with {@link SourceInvalid} when there is none of this type.
 *
 * **Example** (Built and applied)
 *
 * ```ts
 * import { NodeServices } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { DatastoreAdmin, Migrations } from "holdfast/datastore"
 *
 * const upgrade = Effect.gen(function*() {
 *   yield* Migrations.build({ source: "database", type: "airports", output: "migrations" })
 *   const admin = yield* DatastoreAdmin.DatastoreAdmin
 *   const source = yield* Migrations.load("migrations", { type: "airports" })
 *   return yield* admin.upgrade([source], { bindings: { reporting: "airports_reporting" } })
 * }).pipe(Effect.provide(NodeServices.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const load = Effect.fn("Migrations.load")(function*(
  directory: string,
  options: { readonly type: string }
): Effect.fn.Return<
  Source,
  SourceInvalid | StrayMigration | PlatformError,
  FileSystem.FileSystem | Path.Path
> {
  const { type } = options
  yield* refuseType(type)
  const fileSystem = yield* FileSystem.FileSystem
  const names = (yield* fileSystem.readDirectory(directory)).filter((file) => file.endsWith(".sql")).sort()
  const stray = names.find((name) => parseBuiltName(name) === undefined)
  if (stray !== undefined) {
    return yield* new StrayMigration({ directory, file: stray })
  }
  const own = names.filter((name) => parseBuiltName(name)?.type === type)
  if (own.length === 0) {
    return yield* new SourceInvalid({ source: type, problem: `there is no migration of this type in ${directory}` })
  }
  return { ...make(type, yield* readSqlFiles(directory, own)), built: true }
})
