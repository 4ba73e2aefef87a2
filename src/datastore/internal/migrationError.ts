/**
 * What can be wrong with migrations: in their plans, in their files, in a database. `Migrations` shows these.
 */
import * as Schema from "effect/Schema"

/**
 * A file that was applied, and the source it belongs to.
 *
 * @since 0.1.0
 * @category models
 */
export const Applied = Schema.Struct({
  source: Schema.String,
  file: Schema.String,
  /** Of built migrations: release, version, update, sponsor and modification, as in the name of the file. */
  version: Schema.optionalKey(Schema.String)
})

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
 * Each part of the library has tables of its own, and only those that were asked for are installed: the message says how to ask for
 * these. `reason` is why: `"notInstalled"` they are missing and this role may not create them; `"notPermitted"` the role may not
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
      `${this.problem}. With the privileged role, run DatastoreAdmin.upgrade with its migrations among the sources, or ` +
      `holdfast db upgrade with ${JSON.stringify(this.source.replace(/^holdfast\//, ""))} in [migrations] library`
  }
}

/**
 * Built migrations of another type were applied to this database. Nothing was applied.
 *
 * @since 0.1.0
 * @category errors
 */
export class MigrationTypeDiffers extends Schema.TaggedError<MigrationTypeDiffers>(
  "holdfast/datastore/MigrationTypeDiffers"
)("MigrationTypeDiffers", {
  /** The type that was to be applied. */
  type: Schema.String,
  /** The type that the database has. */
  recorded: Schema.String
}) {
  override get message() {
    return `this database is of type ${JSON.stringify(this.recorded)}, and migrations of type ${
      JSON.stringify(this.type)
    } are not for it: upgrade it with type ${JSON.stringify(this.recorded)}, or make another datastore`
  }
}

/**
 * A file has a placeholder, `${name}`, that nothing is bound to. Nothing was applied.
 *
 * @since 0.1.0
 * @category errors
 */
export class BindingMissing extends Schema.TaggedError<BindingMissing>("holdfast/datastore/BindingMissing")(
  "BindingMissing",
  {
    ...MigrationFields,
    /** The names of the placeholders. */
    missing: Schema.Array(Schema.String),
    /** The names that are bound. */
    bound: Schema.Array(Schema.String)
  }
) {
  override get message() {
    return `migration ${this.source}/${this.file} has placeholders that nothing is bound to: ${
      this.missing.map((name) => `\${${name}}`).join(", ")
    }. Bound are ${this.bound.join(", ")}; write \\\${ for a text that is no placeholder`
  }
}

/**
 * A value that was bound to a placeholder is not the name of anything. Nothing was applied.
 *
 * @since 0.1.0
 * @category errors
 */
export class BindingInvalid extends Schema.TaggedError<BindingInvalid>("holdfast/datastore/BindingInvalid")(
  "BindingInvalid",
  {
    /** The name of the binding. */
    binding: Schema.String,
    problem: Schema.String
  }
) {
  override get message() {
    return `binding ${JSON.stringify(this.binding)}: ${this.problem}`
  }
}

/**
 * A file lies among built migrations and is none. It would be left out silently.
 *
 * @since 0.1.0
 * @category errors
 */
export class StrayMigration extends Schema.TaggedError<StrayMigration>("holdfast/datastore/StrayMigration")(
  "StrayMigration",
  { directory: Schema.String, file: Schema.String }
) {
  override get message() {
    return `${this.file} in ${this.directory} is not the name of a built migration (<type>.RR.VV.UUU.SSSSSS.MMM.sql): move ` +
      "it away, or put it into a build plan"
  }
}

/**
 * Why a build plan cannot be built.
 *
 * @since 0.1.0
 * @category schemas
 */
export const BuildPlanReason = Schema.Literals([
  "unreadable",
  "syntax",
  "invalidField",
  "pathOutsideRoot",
  "missingFile",
  "cycle",
  "noMatchingEntry",
  "duplicateVersion"
])

/**
 * Why a build plan cannot be built.
 *
 * @since 0.1.0
 * @category models
 */
export type BuildPlanReason = typeof BuildPlanReason.Type

/**
 * A build plan is wrong. Nothing was written.
 *
 * @since 0.1.0
 * @category errors
 */
export class BuildPlanInvalid extends Schema.TaggedError<BuildPlanInvalid>("holdfast/datastore/BuildPlanInvalid")(
  "BuildPlanInvalid",
  {
    reason: BuildPlanReason,
    /** The plan file, relative to the source root. */
    planFile: Schema.String,
    /** The entry at fault: its place, from 1, and its version where it has one. */
    entry: Schema.optionalKey(Schema.String),
    problem: Schema.String
  }
) {
  override get message() {
    const entry = this.entry === undefined ? "" : `, ${this.entry}`
    return `build plan ${this.planFile}${entry}: ${this.problem}`
  }
}

/**
 * A migration that was built before would have other content now. Nothing was written.
 *
 * @since 0.1.0
 * @category errors
 */
export class BuildDiffers extends Schema.TaggedError<BuildDiffers>("holdfast/datastore/BuildDiffers")(
  "BuildDiffers",
  { directory: Schema.String, files: Schema.Array(Schema.String) }
) {
  override get message() {
    return `built before with other content, in ${this.directory}: ${
      this.files.join(", ")
    }. Put the change into a new ` +
      "version; or build with replace, if no database has these files yet"
  }
}

/**
 * Everything that can be wrong with migrations, apart from the connection.
 *
 * @since 0.1.0
 * @category errors
 */
export type MigrationError =
  | SourceInvalid
  | MigrationChanged
  | MigrationOutOfOrder
  | MigrationTypeDiffers
  | BindingMissing
  | BindingInvalid
  | MigrationFailed
