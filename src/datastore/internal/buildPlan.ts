/**
 * Build plans: TOML files that say of which SQL files each version of a database is made.
 *
 * An entry lists files by their path from the source root, in order. One of them may be another plan, which contributes its
 * entry of the same version, to any depth: a component keeps its own plan, and the application's plan says when it is in.
 */
import * as Effect from "effect/Effect"
import * as Toml from "effect/encoding/Toml"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { BuildPlanInvalid, type BuildPlanReason } from "./migrationError.ts"
import { builtFileName, type Version, versionFields, versionNumbers, versionText } from "./migrationVersion.ts"

const LoadFile = Schema.Union([
  Schema.NonEmptyString,
  Schema.Struct({ type: Schema.Literals(["sql", "plan"]), file: Schema.NonEmptyString })
])

const Entry = Schema.Struct({ ...versionFields, load_files: Schema.Array(LoadFile) })

type Entry = typeof Entry.Type

const decodePlan = Schema.decodeUnknownEffect(Schema.Struct({ build_plan: Schema.Array(Entry) }), {
  errors: "first",
  onExcessProperty: "error"
})

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/** One migration, as it is to be written. */
export interface Built {
  readonly name: string
  readonly version: Version
  readonly text: string
}

const place = (index: number, entry?: Entry): string =>
  `entry ${index + 1}${entry === undefined ? "" : ` (${versionNumbers(entry)})`}`

const invalid = (reason: BuildPlanReason, planFile: string, entry: string | undefined, problem: string) =>
  new BuildPlanInvalid({ reason, planFile, problem, ...(entry === undefined ? {} : { entry }) })

/** The same bytes on every system: what a checkout does to the ends of lines is no change. */
const normalise = (text: string): string => text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n")

/** Ends a file so that the next one begins a statement of its own, whatever the last line of this one is. */
const section = (file: string, text: string): string => {
  const body = text.endsWith("\n") || text === "" ? text : `${text}\n`
  return `-- ${file}\n${body}${/;\s*$/.test(body) ? "" : ";\n"}`
}

/** All migrations of a type, in the order of their versions. */
export const expand = Effect.fnUntraced(
  function*(
    root: string,
    type: string
  ): Effect.fn.Return<ReadonlyArray<Built>, BuildPlanInvalid, FileSystem.FileSystem | Path.Path> {
    const fileSystem = yield* FileSystem.FileSystem
    const path = yield* Path.Path

    /** The path under the root that a plan means, if it is one. */
    const inside = (file: string): string | undefined => {
      const normal = path.normalize(file).replaceAll("\\", "/")
      return path.isAbsolute(file) || normal === ".." || normal.startsWith("../") ? undefined : normal
    }

    const readPlan = Effect.fnUntraced(function*(planFile: string) {
      const text = yield* fileSystem.readFileString(path.join(root, planFile)).pipe(
        Effect.mapError((error) => invalid("unreadable", planFile, undefined, error.message))
      )
      const toml = Toml.parse(text)
      if (Result.isFailure(toml)) {
        return yield* invalid("syntax", planFile, undefined, toml.failure.message)
      }
      const { build_plan: entries } = yield* Effect.mapError(decodePlan(toml.success), ({ issue }) => {
        const first = formatIssue(issue).issues[0]
        const at = (first?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part))
        const [head, index, ...field] = at
        return head === "build_plan" && index !== undefined
          ? invalid(
            "invalidField",
            planFile,
            place(Number(index)),
            `${field.join(".")}: ${first?.message ?? "is wrong"}`
          )
          : invalid("invalidField", planFile, undefined, `${at.join(".")}: ${first?.message ?? "is wrong"}`)
      })
      const seen = new Map<string, number>()
      for (const [index, entry] of entries.entries()) {
        const before = seen.get(versionText(entry))
        if (before !== undefined) {
          const problem = `the version is that of entry ${before + 1} too`
          return yield* invalid("duplicateVersion", planFile, place(index, entry), problem)
        }
        seen.set(versionText(entry), index)
      }
      return entries
    })

    const plans = new Map<string, ReadonlyArray<Entry>>()
    const planOf = Effect.fnUntraced(function*(planFile: string) {
      const known = plans.get(planFile) ?? (yield* readPlan(planFile))
      plans.set(planFile, known)
      return known
    })

    const textOf: (
      planFile: string,
      index: number,
      entry: Entry,
      above: ReadonlyArray<string>
    ) => Effect.Effect<string, BuildPlanInvalid> = Effect.fnUntraced(function*(planFile, index, entry, above) {
      const at = place(index, entry)
      const sections: Array<string> = []
      for (const load of entry.load_files) {
        const { file, type } = typeof load === "string" ? { file: load, type: "sql" as const } : load
        const normal = inside(file)
        if (normal === undefined) {
          return yield* invalid("pathOutsideRoot", planFile, at, `${file} does not lie under the source root`)
        }
        if (type === "sql") {
          const text = yield* fileSystem.readFileString(path.join(root, normal)).pipe(
            Effect.mapError((error) => invalid("missingFile", planFile, at, `${normal}: ${error.message}`))
          )
          sections.push(section(normal, normalise(text)))
          continue
        }
        const chain = [...above, planFile]
        if (chain.includes(normal)) {
          return yield* invalid("cycle", planFile, at, `the plan loads itself: ${[...chain, normal].join(" → ")}`)
        }
        if (!(yield* Effect.orElseSucceed(fileSystem.exists(path.join(root, normal)), () => false))) {
          return yield* invalid("missingFile", planFile, at, `there is no plan ${normal}`)
        }
        const entries = yield* planOf(normal)
        const matching = entries.findIndex((other) => versionText(other) === versionText(entry))
        const found = entries[matching]
        if (found === undefined) {
          return yield* invalid("noMatchingEntry", planFile, at, `plan ${normal} has no entry of this version`)
        }
        sections.push(yield* textOf(normal, matching, found, chain))
      }
      return sections.join("\n")
    })

    const top = `buildplans.${type}.toml`
    const entries = yield* planOf(top)
    const built = yield* Effect.forEach(
      entries,
      (entry, index) =>
        Effect.map(textOf(top, index, entry, []), (text): Built => ({
          name: builtFileName(type, entry),
          version: entry,
          text
        }))
    )
    return built.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }
)
