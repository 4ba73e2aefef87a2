/**
 * Where to connect, as whom: the one place in which options become the driver's configuration and a password is handed on.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type ConnectionFailed, fromSqlError } from "../ConnectionFailed.ts"
import type { DatastoreOptions } from "../DatastoreOptions.ts"

/** A role at a database. */
export interface Login {
  readonly databaseName: string
  readonly databaseRole: string
  readonly databasePassword?: Redacted.Redacted | undefined
  readonly applicationName: string
}

const config = (server: DatastoreOptions["dbServer"], login: Login): PgClient.PgClientConfig => ({
  host: server.host,
  port: server.port,
  database: login.databaseName,
  username: login.databaseRole,
  connectTimeout: server.connectTimeoutMillis,
  applicationName: login.applicationName,
  ...(server.ssl === undefined ? {} : { ssl: typeof server.ssl === "boolean" ? server.ssl : { ...server.ssl } }),
  ...(login.databasePassword === undefined ? {} : { password: login.databasePassword })
})

const target = (server: DatastoreOptions["dbServer"], login: Login) => ({
  host: server.host,
  port: server.port,
  databaseName: login.databaseName,
  databaseRole: login.databaseRole
})

/** One connection, made at once and closed with the scope. */
export const connect = (
  server: DatastoreOptions["dbServer"],
  login: Login
): Effect.Effect<PgClient.PgClient, ConnectionFailed, Scope.Scope> =>
  PgClient.makeClient(config(server, login)).pipe(
    Effect.mapError((error) => fromSqlError(error, target(server, login))),
    Effect.provide(Reactivity.layer)
  )

/**
 * A pool of up to `size` connections, of which one has been tried, closed with the scope. When that one cannot be made,
 * nothing is left open.
 */
export const connectPool = (
  server: DatastoreOptions["dbServer"],
  login: Login,
  size: number
): Effect.Effect<PgClient.PgClient, ConnectionFailed, Scope.Scope | Reactivity.Reactivity> =>
  PgClient.make({ ...config(server, login), maxConnections: size }).pipe(
    Effect.tap((client) =>
      Effect.scoped(Effect.flatMap(client.reserve, (connection) => connection.execute("SELECT 1", [], undefined)))
    ),
    Effect.mapError((error) => fromSqlError(error, target(server, login)))
  )

/** Where a client that somebody else configured connects to, as far as its settings say. Never the password. */
export const targetOf = (config: PgClient.PgClientConfig) => {
  const url = config.url === undefined ? undefined : URL.parse(Redacted.value(config.url))
  return {
    host: config.host ?? config.path ?? (url?.hostname || "localhost"),
    port: config.port ?? (Number(url?.port) || 5432),
    databaseName: config.database ?? decodeURIComponent(url?.pathname.slice(1) ?? ""),
    databaseRole: config.username ?? decodeURIComponent(url?.username ?? "")
  }
}
