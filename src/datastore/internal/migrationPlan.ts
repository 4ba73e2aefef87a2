/**
 * What an upgrade has to do: the files of its sources beside the ledger of a database. Nothing here touches a database.
 */
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { make as makeSource, type MigrationFile, type Source } from "../Migrations.ts"
import { bind, type Bindings, placeholders } from "./bindings.ts"
import {
  type Applied,
  BindingMissing,
  MigrationChanged,
  type MigrationError,
  MigrationOutOfOrder,
  MigrationTypeDiffers,
  SourceInvalid
} from "./migrationError.ts"
import { compareNames } from "./migrationName.ts"
import { parseBuiltName } from "./migrationVersion.ts"

/** What the names of the library's own sources begin with, so that no source of an application has the same. */
export const libraryPrefix = "holdfast/"

/** A row of the ledger, as far as it is compared. */
export interface LedgerRow {
  readonly source: string
  readonly file: string
  readonly sha256: string
  /** Null but for built migrations. */
  readonly version: string | null
}

/** A file that is to be applied. */
export interface Pending {
  readonly source: Source
  readonly file: MigrationFile
  readonly sha256: string
  /** What is run: the file with its placeholders replaced. */
  readonly script: string
}

/** The version in the name of a built file. */
export const versionOf = (built: boolean, file: string) => built ? parseBuiltName(file) : undefined

/** A file, as results and errors name it. */
export const entry = (source: Pick<Source, "name" | "built">, file: string): Applied => {
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

/** How the ledger stands to a source. */
export const compare = (source: Source, ledger: ReadonlyArray<LedgerRow>): Installed => {
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

/** Refuses sources that make no sense, whatever the ledger has. */
export const checkSources = Effect.fnUntraced(function*(sources: ReadonlyArray<Source>) {
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
export const planOf = Effect.fnUntraced(
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
