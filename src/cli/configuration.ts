/**
 * The file that the command reads: a datastore and where its migrations are, in TOML, with the field names of the options.
 *
 * Passwords are not in it: in the place of one stands the name of an environment variable, `{ env = "APP_PASSWORD" }`. Where
 * `HOLDFAST_DATABASE_URL` is set, server and privileged role are what it says, so that one file serves every environment.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Toml from "effect/encoding/Toml"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { type AdminInput, checkAdmin, DbServer, type Input } from "../datastore/DatastoreOptions.ts"

/** The command line or the configuration file is wrong. */
export class ConfigurationInvalid extends Schema.TaggedError<ConfigurationInvalid>("holdfast/cli/ConfigurationInvalid")(
  "ConfigurationInvalid",
  { file: Schema.String, problem: Schema.String }
) {
  override get message() {
    return `${this.file}: ${this.problem}`
  }
}

const FromEnvironment = Schema.Struct({ env: Schema.NonEmptyString })

const Role = Schema.Struct({ databaseRole: Schema.String, description: Schema.optionalKey(Schema.String) })

const Context = Schema.Struct({
  ...Role.fields,
  databasePassword: Schema.optionalKey(FromEnvironment),
  startingPoolSize: Schema.optionalKey(Schema.Int),
  startContext: Schema.optionalKey(Schema.Boolean),
  loginContext: Schema.optionalKey(Schema.Boolean),
  libraryAccess: Schema.optionalKey(Schema.Boolean)
})

/** A part of this library that has tables. */
const LibraryPart = Schema.Literals(["durable", "events", "registry"])

const ConfigurationFile = Schema.Struct({
  databaseName: Schema.String,
  dbServer: Schema.optionalKey(Schema.Struct({
    ...DbServer.fields,
    port: Schema.optionalKey(Schema.Int),
    connectTimeoutMillis: Schema.optionalKey(Schema.Int)
  })),
  owner: Role,
  contexts: Schema.Record(Schema.String, Context),
  admin: Schema.optionalKey(Schema.Struct({
    databaseRole: Schema.String,
    databasePassword: Schema.optionalKey(FromEnvironment),
    maintenanceDatabase: Schema.optionalKey(Schema.String)
  })),
  migrations: Schema.optionalKey(Schema.Struct({
    /** The type of built migrations; without it, `directory` is a folder of ordered SQL files. */
    type: Schema.optionalKey(Schema.NonEmptyString),
    /** The folder of the build plans. */
    source: Schema.optionalKey(Schema.NonEmptyString),
    /** The folder of the SQL files that are applied. */
    directory: Schema.optionalKey(Schema.NonEmptyString),
    /** The name of the source in the ledger, where there is no type. */
    name: Schema.optionalKey(Schema.NonEmptyString),
    bindings: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
    /**
     * The parts of this library whose tables are installed. A part that is not used is better left out: what is installed, the roles
     * with access to the library may use.
     */
    library: Schema.optionalKey(Schema.Array(LibraryPart))
  }))
})

type ConfigurationFile = typeof ConfigurationFile.Type

/** The file that is read where none is named. */
export const defaultFile = "holdfast.toml"

/** Where migrations come from, with paths that are good from where the command runs. */
export interface MigrationSettings {
  readonly type: string | undefined
  readonly source: string
  readonly directory: string
  /** Whether the file says anything about migrations of the application's own. */
  readonly present: boolean
  readonly name: string
  readonly bindings: Readonly<Record<string, string>>
  readonly library: ReadonlyArray<typeof LibraryPart.Type>
}

export interface Configuration {
  readonly options: Effect.Effect<AdminInput, ConfigurationInvalid>
  /**
   * The datastore with one of its contexts and nothing else, no other password among it: the context of that name, or the first
   * one that may log in and use the library's tables.
   */
  readonly asContext: (
    name: string | undefined
  ) => Effect.Effect<{ readonly name: string; readonly input: Input }, ConfigurationInvalid>
  readonly databaseName: string
  readonly migrations: MigrationSettings
}

const decode = Schema.decodeUnknownEffect(ConfigurationFile, { errors: "all", onExcessProperty: "error" })
const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

const describe = (issue: SchemaIssue.Issue): string =>
  formatIssue(issue).issues.map(({ message, path }) =>
    `${(path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".")}: ${message}`
  ).join("; ")

/** `HOLDFAST_DATABASE_URL`, in parts. */
const urlParts = Effect.fnUntraced(function*(invalid: (problem: string) => ConfigurationInvalid) {
  const given = yield* Effect.orDie(Config.option(Config.Redacted("HOLDFAST_DATABASE_URL")))
  if (Option.isNone(given) || Redacted.value(given.value) === "") {
    return undefined
  }
  const wrong = () =>
    invalid("HOLDFAST_DATABASE_URL must be a URL such as postgresql://user:password@host:5432/postgres")
  const parts = yield* Effect.try({ try: () => partsOf(new URL(Redacted.value(given.value))), catch: wrong })
  if (!["postgres:", "postgresql:"].includes(parts.protocol) || parts.host === "" || parts.databaseRole === "") {
    return yield* wrong()
  }
  return { ...parts, url: given.value }
})

/** What `HOLDFAST_DATABASE_URL` says, without its database: that is the file's. */
const fromUrl = Effect.fnUntraced(function*(invalid: (problem: string) => ConfigurationInvalid) {
  const url = yield* urlParts(invalid)
  return url === undefined ? undefined : {
    dbServer: {
      host: url.host,
      ...(url.port === "" ? {} : { port: Number(url.port) }),
      ...(url.requiresTls ? { ssl: true } : {})
    },
    admin: {
      databaseRole: url.databaseRole,
      ...(url.password === "" ? {} : { databasePassword: Redacted.make(url.password) }),
      ...(url.database === "" ? {} : { maintenanceDatabase: url.database })
    }
  }
})

/** The database that `HOLDFAST_DATABASE_URL` names, where it is set; and what errors call it. */
export const databaseOfUrl = Effect.map(
  urlParts((problem) => new ConfigurationInvalid({ file: "environment", problem })),
  (url) =>
    url === undefined ? undefined : {
      url: url.url,
      target: {
        host: url.host,
        port: Number(url.port || 5432),
        databaseName: url.database === "" ? url.databaseRole : url.database,
        databaseRole: url.databaseRole
      }
    }
)

/** Throws where an escape in the URL is none. */
const partsOf = (url: URL) => ({
  protocol: url.protocol,
  host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
  port: url.port,
  requiresTls: url.searchParams.get("sslmode") === "require",
  databaseRole: decodeURIComponent(url.username),
  password: decodeURIComponent(url.password),
  database: decodeURIComponent(url.pathname.slice(1))
})

/** The password that an environment variable holds, where one is named. */
const passwordOf = Effect.fnUntraced(function*(
  invalid: (problem: string) => ConfigurationInvalid,
  field: string,
  from: typeof FromEnvironment.Type | undefined
) {
  if (from === undefined) {
    return {}
  }
  const value = yield* Effect.orDie(Config.option(Config.Redacted(from.env)))
  return Option.isNone(value)
    ? yield* invalid(`${field}: the environment variable ${from.env} is not set`)
    : { databasePassword: value.value }
})

const contextOf = (
  invalid: (problem: string) => ConfigurationInvalid,
  name: string,
  { databasePassword, ...context }: typeof Context.Type
) =>
  Effect.map(
    passwordOf(invalid, `contexts.${name}.databasePassword`, databasePassword),
    (secret) => ({ ...context, ...secret })
  )

const asContext = Effect.fnUntraced(function*(
  configuration: ConfigurationFile,
  invalid: (problem: string) => ConfigurationInvalid,
  given: string | undefined
) {
  const { contexts, databaseName, owner } = configuration
  const dbServer = (yield* fromUrl(invalid))?.dbServer ?? configuration.dbServer
  if (dbServer === undefined) {
    return yield* invalid("dbServer: is missing, and HOLDFAST_DATABASE_URL is not set")
  }
  const name = given ??
    Object.keys(contexts).find((name) =>
      contexts[name]?.loginContext !== false && contexts[name]?.libraryAccess !== false
    )
  if (name === undefined) {
    return yield* invalid("contexts: none of them may log in and use the library's tables")
  }
  const context = Object.hasOwn(contexts, name) ? contexts[name] : undefined
  if (context === undefined) {
    return yield* invalid(`contexts: there is no ${JSON.stringify(name)}`)
  }
  const input = yield* contextOf(invalid, name, context)
  return {
    name,
    input: {
      databaseName,
      dbServer,
      owner,
      contexts: { [name]: { ...input, startContext: true, startingPoolSize: 1 } }
    }
  }
})

const optionsOf = Effect.fnUntraced(function*(
  configuration: ConfigurationFile,
  invalid: (problem: string) => ConfigurationInvalid
): Effect.fn.Return<AdminInput, ConfigurationInvalid> {
  const url = yield* fromUrl(invalid)
  const { admin, contexts, databaseName, owner } = configuration
  const dbServer = url?.dbServer ?? configuration.dbServer
  if (dbServer === undefined) {
    return yield* invalid("dbServer: is missing, and HOLDFAST_DATABASE_URL is not set")
  }
  if (url === undefined && admin === undefined) {
    return yield* invalid("admin: is missing, and HOLDFAST_DATABASE_URL is not set")
  }
  const contextInputs = yield* Effect.forEach(
    Object.entries(contexts),
    ([name, context]) => Effect.map(contextOf(invalid, name, context), (input) => [name, input] as const)
  )
  const { databasePassword, ...adminRole } = admin ?? { databaseRole: "" }
  return {
    databaseName,
    dbServer,
    owner,
    contexts: Object.fromEntries(contextInputs),
    admin: url?.admin ?? { ...adminRole, ...(yield* passwordOf(invalid, "admin.databasePassword", databasePassword)) }
  }
})

/** Reads the file. The options are checked when they are asked for: not every command needs a server. */
export const read = Effect.fnUntraced(
  function*(
    file: string
  ): Effect.fn.Return<Configuration, ConfigurationInvalid, FileSystem.FileSystem | Path.Path> {
    const fileSystem = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const invalid = (problem: string) => new ConfigurationInvalid({ file, problem })
    const text = yield* Effect.mapError(fileSystem.readFileString(file), (error) =>
      invalid(
        error.reason._tag === "NotFound"
          ? "there is no such file. Say which with --config; holdfast db --help shows what it looks like"
          : error.message
      ))
    const toml = Toml.parse(text)
    if (Result.isFailure(toml)) {
      return yield* invalid(toml.failure.message)
    }
    const configuration = yield* Effect.mapError(decode(toml.success), ({ issue }) => invalid(describe(issue)))
    const { migrations } = configuration
    const below = (folder: string) => path.join(path.dirname(file), folder)
    return {
      databaseName: configuration.databaseName,
      options: Effect.gen(function*() {
        const options = yield* optionsOf(configuration, invalid)
        yield* Effect.mapError(checkAdmin(options), (error) => invalid(error.message))
        return options
      }),
      asContext: (name) => asContext(configuration, invalid, name),
      migrations: {
        type: migrations?.type,
        source: below(migrations?.source ?? "database"),
        directory: below(migrations?.directory ?? "migrations"),
        present: migrations?.type !== undefined || migrations?.directory !== undefined,
        name: migrations?.name ?? configuration.databaseName,
        bindings: migrations?.bindings ?? {},
        library: migrations?.library ?? ["durable"]
      }
    }
  }
)
