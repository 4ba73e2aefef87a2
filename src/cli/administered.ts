/**
 * The database whose durable servers a command is about, and its `DurableAdmin`.
 *
 * A datastore that a configuration file describes is reached as one of its contexts: what an operator does needs no more than
 * what the application may. Without a configuration file, it is the database that `HOLDFAST_DATABASE_URL` names.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ConnectionFailed from "../datastore/ConnectionFailed.ts"
import * as Datastore from "../datastore/Datastore.ts"
import * as DatastoreContext from "../datastore/DatastoreContext.ts"
import * as DurableAdmin from "../durable/DurableAdmin.ts"
import { databaseOfUrl, defaultFile, read } from "./configuration.ts"
import { reportFailures } from "./output.ts"

/** What every command about durable servers may be told. */
export const flags = {
  config: Flag.String("config").pipe(
    Flag.withAlias("c"),
    Flag.withDescription(
      `The configuration file (default: ${defaultFile}; where there is none, HOLDFAST_DATABASE_URL names the database)`
    ),
    Flag.optional
  ),
  context: Flag.String("context").pipe(
    Flag.withDescription("The context to connect as (default: the first one with access to the library's tables)"),
    Flag.optional
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Print the result as one JSON value"),
    Flag.withDefault(false)
  )
}

/** The values of these flags. */
export interface Given {
  readonly config: Option.Option<string>
  readonly context: Option.Option<string>
  readonly json: boolean
}

/** The administrator, of the database that the command line, the file and the environment say. */
const administrator = Effect.fnUntraced(function*({ config, context }: Given) {
  const fileSystem = yield* FileSystem.FileSystem
  const isGiven = Option.isSome(config) || Option.isSome(context)
  const url = isGiven || (yield* Effect.orElseSucceed(fileSystem.exists(defaultFile), () => false))
    ? undefined
    : yield* databaseOfUrl
  if (url !== undefined) {
    const { target, ...settings } = url
    const ClientLive = Layer.effectContext(
      Effect.mapError(
        Layer.build(PgClient.layer({ ...settings, applicationName: "holdfast command", maxConnections: 2 })),
        (error) => ConnectionFailed.fromSqlError(error, target)
      )
    )
    return Layer.provide(DurableAdmin.layerPostgres, ClientLive)
  }
  const configuration = yield* read(Option.getOrElse(config, () => defaultFile))
  const { input, name } = yield* configuration.asContext(Option.getOrUndefined(context))
  return DurableAdmin.layerPostgres.pipe(
    Layer.provide(DatastoreContext.layer(name)),
    Layer.provide(Datastore.layer(input))
  )
})

/** Runs a command with the administrator of the durable servers there are, and reports what fails. */
export const administered = <A, E, R>(
  given: Given,
  run: (admin: DurableAdmin.DurableAdmin["Service"]) => Effect.Effect<A, E, R>
) =>
  reportFailures(given.json)(
    Effect.provide(DurableAdmin.DurableAdmin.use(run), Layer.unwrap(administrator(given)))
  )
