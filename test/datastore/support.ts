/**
 * What the tests of this room share: datastores with names of their own on the test server, and a superuser to look behind
 * the scenes.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { type Datastore, DatastoreAdmin, type DatastoreOptions } from "holdfast/datastore"
import { randomBytes } from "node:crypto"
import * as TestPostgres from "../support/TestPostgres.ts"

export { TestPostgres }

const { host, password, port, username } = TestPostgres.server()

export const dbServer = { host, port }

export const admin = { databaseRole: username, databasePassword: password }

/** A name nobody else has, since roles and databases belong to the whole server. */
export const unique = (prefix: string): string => `${prefix}_${randomBytes(5).toString("hex")}`

export const secret = (): Redacted.Redacted => Redacted.make(randomBytes(12).toString("base64url"))

/** Options of a datastore with two contexts: `app` may use the library's tables, `audit` may not. */
export const makeInput = (prefix = unique("ds")) => ({
  databaseName: `${prefix}_db`,
  dbServer,
  owner: { databaseRole: `${prefix}_owner` },
  contexts: {
    app: { databaseRole: `${prefix}_app`, databasePassword: secret() },
    audit: { databaseRole: `${prefix}_audit`, databasePassword: secret(), libraryAccess: false }
  },
  admin
})

export type TestInput = ReturnType<typeof makeInput>

/** The options that the running application is given. */
export const runtime = (
  { admin: _admin, ...input }: DatastoreOptions.AdminInput
): Parameters<typeof Datastore.layer>[0] => input

/** One connection to a database as some role, for as long as the scope. */
export const connectAs = (databaseName: string, role: string, password?: Redacted.Redacted | undefined) =>
  PgClient.makeClient({
    ...dbServer,
    database: databaseName,
    username: role,
    ...(password === undefined ? {} : { password })
  }).pipe(Effect.provide(Reactivity.layer))

export const connectAsSuperuser = (databaseName = "postgres") =>
  connectAs(databaseName, admin.databaseRole, admin.databasePassword)

/** Gives the effect an administrator, and drops the datastore afterwards whatever happened. */
export const withAdmin = <A, E, R>(
  input: DatastoreOptions.AdminInput,
  self: (admin: DatastoreAdmin.DatastoreAdmin["Service"]) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const service = yield* DatastoreAdmin.DatastoreAdmin
    return yield* Effect.ensuring(self(service), Effect.orDie(service.drop({ force: true, ifExists: true })))
  }).pipe(Effect.provide(DatastoreAdmin.layer(input)))

/** As `withAdmin`, with the datastore made. */
export const withDatastore = <A, E, R>(
  input: DatastoreOptions.AdminInput,
  self: (admin: DatastoreAdmin.DatastoreAdmin["Service"]) => Effect.Effect<A, E, R>
) => withAdmin(input, (service) => Effect.andThen(service.create, self(service)))
