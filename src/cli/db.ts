/**
 * `holdfast db`: makes, migrates, shows and drops the datastore that a configuration file describes. Thin: everything is done
 * by `DatastoreAdmin` and `Migrations`.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as DatastoreAdmin from "../datastore/DatastoreAdmin.ts"
import * as Migrations from "../datastore/Migrations.ts"
import { migrations as durable } from "../durable/PostgresStorage.ts"
import { migrations as events } from "../events/PostgresEventStore.ts"
import { migrations as member } from "../member/Member.ts"
import { migrations as registry } from "../registry/PostgresBackend.ts"
import { type Configuration, ConfigurationInvalid, defaultFile, read } from "./configuration.ts"
import { confirm, yes } from "./confirmation.ts"
import { Ended, exitCodes, progress, reportFailures, result } from "./output.ts"

const shared = {
  config: Flag.String("config").pipe(
    Flag.withAlias("c"),
    Flag.withDescription(`The configuration file (default: ${defaultFile})`),
    Flag.withDefault(defaultFile)
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Print the result as one JSON value"),
    Flag.withDefault(false)
  )
}

const example = `A datastore in holdfast.toml:

  databaseName = "airports"

  [dbServer]                          # or HOLDFAST_DATABASE_URL in the environment, for server and admin
  host = "localhost"

  [admin]
  databaseRole = "airports_admin"
  databasePassword = { env = "ADMIN_PASSWORD" }

  [owner]
  databaseRole = "airports_owner"

  [contexts.app]
  databaseRole = "airports_app"
  databasePassword = { env = "APP_PASSWORD" }

  [migrations]
  type = "airports"                   # of build plans; without it, directory has ordered .sql files
  source = "database"                 # database/buildplans.airports.toml
  directory = "migrations"            # where they are built, and applied from
  library = ["durable", "events"]     # whose tables are installed, of durable, events, registry: durable by default`

const db = Command.make("db").pipe(
  Command.withSharedFlags(shared),
  Command.withShortDescription("Make, migrate, show and drop a datastore"),
  Command.withDescription(
    `Makes, migrates, shows and drops the datastore that a configuration file describes.\n\n${
      example.replaceAll(/^(?=.)/gm, "  ")
    }`
  )
)

type Admin = DatastoreAdmin.DatastoreAdmin["Service"]

/** Runs a command with its configuration, and reports what fails. */
const configured = <A, E, R>(
  run: (
    given: { readonly configuration: Configuration; readonly json: boolean; readonly file: string }
  ) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const { config: file, json } = yield* db
    return yield* reportFailures(json)(
      Effect.flatMap(read(file), (configuration) => run({ configuration, json, file }))
    )
  })

/** As `configured`, with an administrator of the datastore. */
const administered = <A, E, R>(
  run: (given: {
    readonly admin: Admin
    readonly configuration: Configuration
    readonly json: boolean
    readonly file: string
  }) => Effect.Effect<A, E, R>
) =>
  configured((given) =>
    Effect.flatMap(
      given.configuration.options,
      (options) =>
        DatastoreAdmin.DatastoreAdmin.use((admin) => run({ ...given, admin })).pipe(
          Effect.provide(DatastoreAdmin.layer(options))
        )
    )
  )

/** The migrations that the configuration means, the library's own first. */
const sources = Effect.fnUntraced(function*({ migrations }: Configuration) {
  const { library: rooms } = migrations
  const library = [
    ...(rooms.length === 0 ? [] : [member]),
    ...(rooms.includes("durable") ? [durable] : []),
    ...(rooms.includes("events") ? [events] : []),
    ...(rooms.includes("registry") ? [registry] : [])
  ]
  if (!migrations.present) {
    return library
  }
  const own = migrations.type === undefined
    ? Migrations.fromDirectory(migrations.directory, { name: migrations.name })
    : Migrations.load(migrations.directory, { type: migrations.type })
  return [...library, yield* own]
})

const named = (file: Migrations.Planned | { readonly source: string; readonly file: string }) =>
  `${file.source}/${file.file}`

const counted = ({ length }: ReadonlyArray<unknown>): string => length === 1 ? "1 migration" : `${length} migrations`

const lines = (title: string, items: ReadonlyArray<string>): string =>
  [title, ...items.map((item) => `  ${item}`)].join("\n")

const showProgress = (event: Migrations.Progress): Effect.Effect<void> => {
  switch (event._tag) {
    case "Waiting":
      return progress("waiting for another upgrade of this database to end …")
    case "Applying":
      return progress(`[${event.index + 1}/${event.total}] ${named(event.file)} …`)
    case "Applied":
      return progress(`[${event.index + 1}/${event.total}] ${named(event.file)} done in ${Math.round(event.millis)} ms`)
  }
}

const upgradeWith = Effect.fnUntraced(function*(admin: Admin, configuration: Configuration) {
  return yield* admin.upgrade(yield* sources(configuration), {
    bindings: configuration.migrations.bindings,
    onProgress: showProgress
  })
})

const bootstrap = Command.make(
  "bootstrap",
  {
    superuser: Flag.String("superuser").pipe(
      Flag.withDescription("The superuser to connect as; its password is in HOLDFAST_SUPERUSER_PASSWORD"),
      Flag.withDefault("postgres")
    )
  },
  ({ superuser }) =>
    administered(({ admin, json }) =>
      Effect.gen(function*() {
        const password = yield* Config.option(Config.Redacted("HOLDFAST_SUPERUSER_PASSWORD"))
        const { roleCreated } = yield* admin.bootstrap({
          databaseRole: superuser,
          ...(Option.isSome(password) ? { databasePassword: password.value } : {})
        })
        yield* result(json, { roleCreated }, roleCreated ? "the privileged role was made" : "the server is ready")
      })
    )
).pipe(
  Command.withShortDescription("Make the privileged role of a server, once"),
  Command.withDescription(
    "Once for each server: makes the privileged role (admin in the configuration), which is no superuser, and the groups that the roles of datastores are in. May be run again."
  )
)

const build = Command.make(
  "build",
  {
    replace: Flag.Boolean("replace").pipe(
      Flag.withDescription("Write files anew whose content has changed: only while no database has them"),
      Flag.withDefault(false)
    )
  },
  ({ replace }) =>
    configured(({ configuration: { migrations }, file, json }) =>
      Effect.gen(function*() {
        const { directory, source, type } = migrations
        if (type === undefined) {
          return yield* new ConfigurationInvalid({
            file,
            problem: "migrations.type: is missing, so there is nothing to build"
          })
        }
        const built = yield* Migrations.build({ source, type, output: directory, replace })
        for (const name of built.unplanned) {
          yield* progress(`not in the plan: ${name} is left in ${directory}, and still applies`)
        }
        yield* result(
          json,
          { ...built },
          lines(`${built.built.length} built, ${built.kept.length} kept in ${directory}`, built.built)
        )
      })
    )
).pipe(
  Command.withDescription("Builds the migrations of the build plans into files, one for each version. Needs no server.")
)

const created = (made: DatastoreAdmin.Created, databaseName: string) => [
  `database ${databaseName}: ${made.database ? "made" : "was there"}`,
  `roles made: ${made.roles.length === 0 ? "none" : made.roles.join(", ")}`
]

const load = Command.make("load", {}, () =>
  administered(({ admin, configuration, json }) =>
    Effect.gen(function*() {
      // Read before anything is made: what is wrong with the files is known without a database.
      yield* sources(configuration)
      yield* progress(`making datastore ${configuration.databaseName} …`)
      const made = yield* admin.create
      const applied = yield* upgradeWith(admin, configuration)
      yield* result(
        json,
        { created: made, applied },
        [
          ...created(made, configuration.databaseName),
          lines(`${counted(applied)} applied`, applied.map(named))
        ].join("\n")
      )
    })
  )).pipe(
    Command.withDescription(
      "Makes the database, its roles and grants, as far as they are missing, and upgrades it. May be run again."
    )
  )

const upgrade = Command.make(
  "upgrade",
  {},
  () =>
    administered(({ admin, configuration, json }) =>
      Effect.gen(function*() {
        const applied = yield* upgradeWith(admin, configuration)
        yield* result(json, { applied }, lines(`${counted(applied)} applied`, applied.map(named)))
      })
    )
).pipe(
  Command.withDescription("Applies the migrations that the database does not have, each in a transaction of its own.")
)

const plan = Command.make(
  "plan",
  {
    check: Flag.Boolean("check").pipe(
      Flag.withDescription(`End with exit code ${exitCodes.pending} when something is to be applied`),
      Flag.withDefault(false)
    )
  },
  ({ check }) =>
    administered(({ admin, configuration, json }) =>
      Effect.gen(function*() {
        const { bindings } = configuration.migrations
        const planned = yield* admin.plan(yield* sources(configuration), { bindings })
        yield* result(json, { plan: planned }, lines(`${counted(planned)} to apply`, planned.map(named)))
        if (check && planned.length > 0) {
          return yield* new Ended({ exitCode: exitCodes.pending })
        }
      })
    )
).pipe(Command.withDescription("Shows what an upgrade would apply, and whether it could, without doing anything."))

const state = Command.make("state", {}, () =>
  administered(({ admin, configuration, json }) =>
    Effect.gen(function*() {
      const state = yield* admin.state(yield* sources(configuration))
      const versions = state.database === "ready" ? yield* admin.versions : []
      yield* result(
        json,
        { ...state, versions },
        [
          `database ${configuration.databaseName}: ${state.database}`,
          lines("contexts:", Object.entries(state.contexts).map(([name, context]) => `${name}: ${context}`)),
          lines(
            `migrations: ${state.migrations}`,
            versions.map((version) => `newest of ${version.source}: ${version.file}`)
          )
        ].join("\n")
      )
    })
  )).pipe(Command.withDescription("Shows how the database, the contexts and the migrations stand."))

const drop = Command.make(
  "drop",
  {
    yes,
    force: Flag.Boolean("force").pipe(
      Flag.withDescription("End the sessions that are open in the database"),
      Flag.withDefault(false)
    ),
    ifExists: Flag.Boolean("if-exists").pipe(
      Flag.withDescription("It is no failure when there is nothing to drop"),
      Flag.withDefault(false)
    )
  },
  ({ force, ifExists, yes }) =>
    administered(({ admin, configuration, json }) =>
      Effect.gen(function*() {
        const { databaseName } = configuration
        yield* confirm(yes, `Drop database ${databaseName} with everything in it, and its roles?`)
        const dropped = yield* admin.drop({ force, ifExists })
        for (const kept of dropped.rolesKept) {
          yield* progress(`role ${kept.databaseRole} is kept: ${kept.problem}`)
        }
        yield* result(
          json,
          { ...dropped },
          [
            `database ${databaseName}: ${dropped.database ? "dropped" : "was not there"}`,
            `roles dropped: ${dropped.roles.length === 0 ? "none" : dropped.roles.join(", ")}`
          ].join("\n")
        )
      })
    )
).pipe(Command.withDescription("Drops the database and its roles, once it is confirmed. There is no way back."))

/** `holdfast db` and all below it. */
export const command = db.pipe(
  Command.withSubcommands([bootstrap, build, load, upgrade, plan, state, drop])
)
