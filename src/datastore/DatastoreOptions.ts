/**
 * How a datastore is described: its database, the server it lies on, its owner role, and its contexts by name.
 *
 * A *datastore* is one Postgres database with its roles. Its *owner* owns everything in it and never logs in. A *context*
 * is one login role's access, under a name: application code says `"app"`, and only these options know which role and
 * password that is. They are plain values; the layers check them before anything is opened, and fail with
 * {@link InvalidOptions}, which names each field at fault and its limit. Passwords are `Redacted` throughout.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { isIdentifier, maxIdentifierBytes } from "./internal/identifier.ts"

const name = (what: string) =>
  Schema.String.check(
    Schema.makeFilter((value: string) => isIdentifier(value) || `must be ${what} of 1 to ${maxIdentifierBytes} bytes`)
  )

const databaseName = name("a database name").check(
  Schema.makeFilter((value: string) =>
    !["template0", "template1"].includes(value) || "must not be a template database of Postgres"
  )
)

const databaseRole = name("a role name").check(
  Schema.makeFilter((value: string) =>
    !value.startsWith("pg_") && !["public", "none"].includes(value) ||
    "must not be a name that Postgres keeps for itself (pg_…, public, none)"
  )
)

// The check is on the outside: what is inside a `Redacted` is hidden from the messages of checks, too.
const password = Schema.Redacted(Schema.String).check(
  Schema.makeFilter((value: Redacted.Redacted) =>
    !/^$|\0/.test(Redacted.value(value)) || "must not be empty or contain a NUL character"
  )
)

const flag = Schema.Boolean.pipe(Schema.withConstructorDefault(Effect.succeed(true)))

/**
 * The server that a database lies on.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DbServer = Schema.Struct({
  /** Host name, address, or the folder of a unix socket (from `/`). */
  host: Schema.String.check(Schema.makeFilter((value: string) => value.length > 0 || "must be a host name or address")),
  /** 1 to 65535. Default 5432. */
  port: Schema.Int.check(
    Schema.makeFilter((value: number) => value >= 1 && value <= 65535 || "must be a port number, 1 to 65535")
  ).pipe(Schema.withConstructorDefault(Effect.succeed(5432))),
  /** Whether to require TLS, and how to verify the server. Default: none. */
  ssl: Schema.optionalKey(Schema.Union([
    Schema.Boolean,
    Schema.Struct({
      ca: Schema.optionalKey(Schema.String),
      rejectUnauthorized: Schema.optionalKey(Schema.Boolean),
      servername: Schema.optionalKey(Schema.String)
    })
  ])),
  /** How long a connection may take to be made, in milliseconds. Default 5000. */
  connectTimeoutMillis: Schema.Int.check(
    Schema.makeFilter((value: number) => value >= 1 || "must be at least 1 millisecond")
  ).pipe(Schema.withConstructorDefault(Effect.succeed(5000)))
})

/**
 * The role that owns the database and everything in it. It never logs in: only an administrator takes it on.
 *
 * @since 0.1.0
 * @category schemas
 */
export const OwnerOptions = Schema.Struct({
  databaseRole,
  /** Becomes the comment on the role. */
  description: Schema.optionalKey(Schema.String)
})

/**
 * One role's access to the database.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ContextOptions = Schema.Struct({
  databaseRole,
  /** Required when the role logs in. */
  databasePassword: Schema.optionalKey(password),
  /** Becomes the comment on the role. */
  description: Schema.optionalKey(Schema.String),
  /** How many connections the pool of the context may hold, 1 to 1000. They are opened when needed. Default 5. */
  startingPoolSize: Schema.Int.check(
    Schema.makeFilter((value: number) => value >= 1 && value <= 1000 || "must be a number of connections, 1 to 1000")
  ).pipe(Schema.withConstructorDefault(Effect.succeed(5))),
  /** Whether `Datastore.layer` starts it. Default true. */
  startContext: flag,
  /** Whether the role logs in. Default true; otherwise it is a role to grant privileges to. */
  loginContext: flag,
  /** Whether the role may use the tables of this library. Default true. */
  libraryAccess: flag
})

const fields = {
  databaseName,
  dbServer: DbServer,
  owner: OwnerOptions,
  contexts: Schema.Record(Schema.String, ContextOptions)
}

const checkRoles = Schema.makeFilter((options: DatastoreOptions): ReadonlyArray<Schema.FilterIssue> => {
  const issues: Array<Schema.FilterIssue> = []
  const contexts = Object.entries(options.contexts)
  if (contexts.length === 0) {
    issues.push({ path: ["contexts"], issue: "must name at least one context" })
  }
  const roles = new Map([[options.owner.databaseRole, "the owner"]])
  for (const [contextName, context] of contexts) {
    if (contextName.length === 0) {
      issues.push({ path: ["contexts", contextName], issue: "a context must have a name" })
    }
    const other = roles.get(context.databaseRole)
    if (other !== undefined) {
      issues.push({ path: ["contexts", contextName, "databaseRole"], issue: `must not be the role of ${other}` })
    }
    roles.set(context.databaseRole, `context ${JSON.stringify(contextName)}`)
    if (context.loginContext && context.databasePassword === undefined) {
      issues.push({
        path: ["contexts", contextName, "databasePassword"],
        issue: "is required for a context that logs in"
      })
    }
  }
  return issues
})

/**
 * A datastore, as the running application knows it.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DatastoreOptions = Schema.Struct(fields).check(checkRoles)

/**
 * A datastore, as the running application knows it, with every default filled in.
 *
 * @since 0.1.0
 * @category models
 */
export interface DatastoreOptions {
  readonly databaseName: string
  readonly dbServer: typeof DbServer.Type
  readonly owner: typeof OwnerOptions.Type
  readonly contexts: { readonly [name: string]: typeof ContextOptions.Type }
}

/**
 * The privileged role that an administrator works with: it may create roles and databases.
 *
 * @since 0.1.0
 * @category schemas
 */
export const PrivilegedRole = Schema.Struct({
  databaseRole: name("a role name"),
  /** Absent where the server asks for none. */
  databasePassword: Schema.optionalKey(password),
  /** The database to connect to while the datastore's own is made or dropped. Default `postgres`. */
  maintenanceDatabase: name("a database name").pipe(Schema.withConstructorDefault(Effect.succeed("postgres")))
})

/**
 * A datastore as its administrator knows it. The running application never holds these.
 *
 * @since 0.1.0
 * @category schemas
 */
export const AdminOptions = Schema.Struct({ ...fields, admin: PrivilegedRole }).check(checkRoles)

/**
 * A datastore as its administrator knows it, with every default filled in.
 *
 * @since 0.1.0
 * @category models
 */
export interface AdminOptions extends DatastoreOptions {
  readonly admin: typeof PrivilegedRole.Type
}

/**
 * What one gives for a server: see {@link DbServer} for the defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface DbServerInput {
  readonly host: string
  readonly port?: number
  readonly ssl?: boolean | {
    readonly ca?: string
    readonly rejectUnauthorized?: boolean
    readonly servername?: string
  }
  readonly connectTimeoutMillis?: number
}

/**
 * What one gives for an owner.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnerInput {
  readonly databaseRole: string
  readonly description?: string
}

/**
 * What one gives for a context: see {@link ContextOptions} for the defaults.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContextInput {
  readonly databaseRole: string
  readonly databasePassword?: Redacted.Redacted
  readonly description?: string
  readonly startingPoolSize?: number
  readonly startContext?: boolean
  readonly loginContext?: boolean
  readonly libraryAccess?: boolean
}

/**
 * What one gives to `Datastore.layer`.
 *
 * **Example** (A datastore with one context)
 *
 * ```ts
 * import { Redacted } from "effect"
 * import type { DatastoreOptions } from "holdfast/datastore"
 *
 * const airports: DatastoreOptions.Input = {
 *   databaseName: "airports",
 *   dbServer: { host: "localhost" },
 *   owner: { databaseRole: "airports_owner" },
 *   contexts: { app: { databaseRole: "airports_app", databasePassword: Redacted.make("…") } }
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Input {
  readonly databaseName: string
  readonly dbServer: DbServerInput
  readonly owner: OwnerInput
  readonly contexts: { readonly [name: string]: ContextInput }
}

/**
 * What one gives to `DatastoreAdmin.layer`.
 *
 * @since 0.1.0
 * @category models
 */
export interface AdminInput extends Input {
  readonly admin: {
    readonly databaseRole: string
    readonly databasePassword?: Redacted.Redacted
    readonly maintenanceDatabase?: string
  }
}

/**
 * {@link Input} or {@link AdminInput} with configuration in the place of its values. Contexts are still given by name.
 *
 * @since 0.1.0
 * @category models
 */
export type ConfigInput<I extends Input> =
  | Config.Config<I>
  | ({ readonly [K in Exclude<keyof I, "contexts">]: Config.Wrap<I[K]> } & {
    readonly contexts: { readonly [name: string]: Config.Wrap<ContextInput> } | Config.Config<Input["contexts"]>
  })

/**
 * Whether a context's pool is open in this process.
 *
 * @since 0.1.0
 * @category models
 */
export type RunningState = "notStarted" | "started"

/**
 * What the server has of a context: no such role or no such database; a role that cannot be used yet; all of it.
 *
 * @since 0.1.0
 * @category models
 */
export type ContextState = "notFound" | "notReady" | "ready"

/**
 * Whether the database is there.
 *
 * @since 0.1.0
 * @category models
 */
export type DatabaseState = "notFound" | "ready"

/**
 * How far the migrations of a database are: no ledger yet; something missing or changed; complete.
 *
 * @since 0.1.0
 * @category models
 */
export type MigrationState = "notInitialized" | "notUpdated" | "ready"

/**
 * Options that cannot be used. Nothing was opened.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidOptions extends Schema.TaggedError<InvalidOptions>("holdfast/datastore/InvalidOptions")(
  "InvalidOptions",
  {
    issues: Schema.Array(Schema.Struct({
      /** The path of the field, such as `contexts.app.databasePassword`. */
      field: Schema.String,
      /** What is wrong with it, or what it must be. Never the value. */
      problem: Schema.String
    }))
  }
) {
  override get message() {
    return `invalid options: ${this.issues.map((_) => `${_.field} ${_.problem}`).join("; ")}`
  }
}

const formatter = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    switch (issue._tag) {
      case "MissingKey":
        return "is missing"
      case "UnexpectedKey":
        return "is not an option"
      default:
        return SchemaIssue.defaultLeafHook(issue)
    }
  }
})

const invalidOptions = (issue: SchemaIssue.Issue): InvalidOptions =>
  new InvalidOptions({
    issues: formatter(issue).issues.map(({ message, path }) => ({
      field: path === undefined || path.length === 0
        ? "options"
        : path.map((part) => String(typeof part === "object" ? part.key : part)).join("."),
      problem: message.replace(/^Expected /, "must be ")
    }))
  })

const parseOptions = { errors: "all", onExcessProperty: "error" } as const

/**
 * Checks options and fills in the defaults.
 *
 * @since 0.1.0
 * @category constructors
 */
export const check = (input: Input): Effect.Effect<DatastoreOptions, InvalidOptions> =>
  Effect.mapError(DatastoreOptions.makeEffect(input, { parseOptions }), invalidOptions)

/**
 * Checks an administrator's options and fills in the defaults.
 *
 * @since 0.1.0
 * @category constructors
 */
export const checkAdmin = (input: AdminInput): Effect.Effect<AdminOptions, InvalidOptions> =>
  Effect.mapError(AdminOptions.makeEffect(input, { parseOptions }), invalidOptions)

/**
 * Reads options from configuration; they are not checked yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromConfig = <I extends Input>(config: ConfigInput<I>): Config.Config<I> =>
  // `Wrap` cannot say that a record with any keys holds configuration; at run time it is the same.
  Config.unwrap(config as Config.Wrap<I>)
