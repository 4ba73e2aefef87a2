/**
 * Where to connect, as whom: the one place in which options become the driver's configuration and a password is handed on.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Effect from "effect/Effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type ConnectionFailed, fromSqlError } from "../ConnectionFailed.ts"
import type { DatastoreOptions } from "../DatastoreOptions.ts"
import { saslprep } from "./saslprep.ts"

/** A role at a database. */
export interface Login {
  readonly databaseName: string
  readonly databaseRole: string
  readonly databasePassword?: Redacted.Redacted | undefined
  readonly applicationName: string
  readonly types?: PgTypes.Registry | undefined
}

export const config = (server: DatastoreOptions["dbServer"], login: Login): PgClient.PgClientConfig => ({
  host: server.host,
  port: server.port,
  database: login.databaseName,
  username: login.databaseRole,
  connectTimeout: server.connectTimeoutMillis,
  keepAlive: "30 seconds",
  applicationName: login.applicationName,
  ...(server.ssl === undefined ? {} : { ssl: typeof server.ssl === "boolean" ? server.ssl : { ...server.ssl } }),
  ...(login.types === undefined ? {} : { types: login.types }),
  ...(login.databasePassword === undefined ? {} : { password: prepared(login.databasePassword) })
})

/** As the server wants it: the driver sends a password as it is. */
export const prepared = (password: Redacted.Redacted): Redacted.Redacted =>
  Redacted.make(saslprep(Redacted.value(password)))

/** The coordinates that errors name. */
export const target = (server: DatastoreOptions["dbServer"], login: Login) => ({
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

/** Where a client that somebody else configured connects to, as far as its settings say. Never the password. */
export const targetOf = (config: PgClient.PgClientConfig) => {
  const text = config.url === undefined ? "" : Redacted.value(config.url)
  const url = URL.canParse(text) ? new URL(text) : undefined
  return {
    host: config.host ?? config.path ?? (url?.hostname || "localhost"),
    port: config.port ?? (Number(url?.port) || 5432),
    databaseName: config.database ?? decodeURIComponent(url?.pathname.slice(1) ?? ""),
    databaseRole: config.username ?? decodeURIComponent(url?.username ?? "")
  }
}
