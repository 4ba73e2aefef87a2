/**
 * The datastore of this example: one database with two roles. The owner owns everything in it and never logs in; `app`
 * is what the worker, the feeder and the main program work as. The server's administrator is needed to make it, and only
 * the main program knows that one.
 */
import { Config, Effect, Layer, Redacted } from "effect"
import { Datastore, DatastoreAdmin, DatastoreContext, type DatastoreOptions } from "holdfast/datastore"
import { DurableNode, PostgresStorage } from "holdfast/durable"
import { PostgresEventStore } from "holdfast/events"
import { Member } from "holdfast/member"
import { EmbeddedPostgres } from "holdfast/testing/EmbeddedPostgres"
import { randomBytes } from "node:crypto"
import { Departures } from "./Departures.ts"

/** All that a process needs to know to work on the datastore. */
export interface Access {
  readonly host: string
  readonly port: number
  readonly databaseName: string
  readonly password: Redacted.Redacted
}

/** As it comes to the worker and the feeder: through the environment, which other users of the machine cannot read. */
export const AccessConfig: Config.Config<Access> = Config.all({
  host: Config.String("AIRPORTS_HOST"),
  port: Config.Int("AIRPORTS_PORT"),
  databaseName: Config.String("AIRPORTS_DATABASE"),
  password: Config.Redacted("AIRPORTS_PASSWORD")
})

/** The environment that `AccessConfig` reads. */
export const toEnvironment = (access: Access) => ({
  AIRPORTS_HOST: access.host,
  AIRPORTS_PORT: `${access.port}`,
  AIRPORTS_DATABASE: access.databaseName,
  AIRPORTS_PASSWORD: access.password,
  // The administrator's credentials, where they were given, are not for them.
  HOLDFAST_DATABASE_URL: undefined
})

const options = ({ databaseName, host, password, port }: Access): DatastoreOptions.Input => ({
  databaseName,
  dbServer: { host, port },
  owner: { databaseRole: `${databaseName}_owner` },
  contexts: { app: { databaseRole: `${databaseName}_app`, databasePassword: password } }
})

/** Makes the datastore, or whatever is missing of it. The password of `app` is a new one in each run. */
export const prepare = Effect.fn("database.prepare")(function*(databaseName: string, keep: boolean) {
  const server = yield* EmbeddedPostgres
  const access: Access = {
    host: server.host,
    port: server.port,
    databaseName,
    password: Redacted.make(randomBytes(24).toString("base64url"))
  }
  const admin = DatastoreAdmin.layer({
    ...options(access),
    admin: {
      databaseRole: server.username,
      ...(Redacted.value(server.password) === "" ? {} : { databasePassword: server.password }),
      maintenanceDatabase: server.database
    }
  })
  const withAdmin = <A, E>(use: (admin: DatastoreAdmin.DatastoreAdmin["Service"]) => Effect.Effect<A, E>) =>
    Effect.provide(DatastoreAdmin.DatastoreAdmin.use(use), admin)

  if (!keep) {
    yield* Effect.addFinalizer(() => Effect.ignore(withAdmin((admin) => admin.drop({ force: true, ifExists: true }))))
  }
  const created = yield* withAdmin((admin) =>
    Effect.tap(
      admin.create,
      admin.upgrade([Member.migrations, PostgresStorage.migrations, PostgresEventStore.migrations])
    )
  )
  return { access, isNew: created.database }
})

/** The datastore, as `app`. */
export const layer = (access: Access) => Layer.provide(DatastoreContext.layer("app"), Datastore.layer(options(access)))

/** How long a process counts as alive without a sign of it: how long its airports rest when it is killed. */
export const lease = "2 seconds"

/**
 * How the processes of this example take part in durable servers. What was answered under a primary key is kept for ever,
 * or as good as: a flight must still be known in a run a year later.
 */
export const nodeOptions = (name: string) =>
  Layer.mergeAll(
    Layer.succeed(Member.MemberOptions, { name, lease, statementTimeout: "30 seconds" }),
    Layer.succeed(DurableNode.DurableNodeOptions, {
      ...DurableNode.defaults,
      drainTimeout: "1 second",
      outcomeRetention: "36500 days"
    })
  )

/** The event store that airports write to, kept where they are. */
export const layerDepartures = Departures.layer.pipe(Layer.provideMerge(PostgresEventStore.layer))

/** This process as a node on the datastore, as `app`. */
export const layerNode = (name: string, access: Access) =>
  DurableNode.layerPostgres.pipe(
    Layer.provide(nodeOptions(name)),
    Layer.provide(layer(access))
  )

/** The same, with the event store. */
export const layerNodeWithDepartures = (name: string, access: Access) =>
  Layer.merge(DurableNode.layerPostgres, layerDepartures).pipe(
    Layer.provide(nodeOptions(name)),
    Layer.provide(layer(access))
  )
