/**
 * Why a connection to a database could not be made.
 *
 * An unreachable server, a wrong password and a missing database call for different people. This error tells them apart,
 * names the database, the server and the role, and never holds a password: it keeps what the server said, not what was
 * sent.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import { errorText, sqlState } from "./internal/sqlState.ts"

/**
 * What stood in the way of a connection.
 *
 * **Details**
 *
 * - `"serverUnreachable"`: nothing answers at that host and port, or not in time, or TLS could not be agreed on.
 * - `"passwordRejected"`: wrong password, or no such role. The server does not say which.
 * - `"roleRejected"`: the server lets this role in from nowhere, or not from here.
 * - `"databaseNotFound"`: the server is there, the database is not.
 * - `"connectNotPermitted"`: the role may not connect to this database.
 * - `"serverNotReady"`: the server is starting, stopping, or out of connections.
 * - `"other"`: see `problem`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Reason = Schema.Literals([
  "serverUnreachable",
  "passwordRejected",
  "roleRejected",
  "databaseNotFound",
  "connectNotPermitted",
  "serverNotReady",
  "other"
])

/**
 * What stood in the way of a connection.
 *
 * @since 0.1.0
 * @category models
 */
export type Reason = typeof Reason.Type

const hints: { readonly [R in Reason]: string } = {
  serverUnreachable: "is Postgres running there?",
  passwordRejected: "check the password, and that the role exists",
  roleRejected: "check pg_hba.conf, and that the role may log in",
  databaseNotFound: "create it with DatastoreAdmin.create",
  connectNotPermitted: "the role has no CONNECT on this database",
  serverNotReady: "try again later",
  other: ""
}

/**
 * A connection could not be made.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectionFailed extends Schema.TaggedError<ConnectionFailed>("holdfast/datastore/ConnectionFailed")(
  "ConnectionFailed",
  {
    reason: Reason,
    host: Schema.String,
    port: Schema.Int,
    databaseName: Schema.String,
    databaseRole: Schema.String,
    /** What the server, or the network, said. */
    problem: Schema.String,
    /** Absent when it was not the server that said it. */
    sqlState: Schema.optionalKey(Schema.String)
  }
) {
  override get message() {
    const code = this.sqlState === undefined ? "" : ` (SQLSTATE ${this.sqlState})`
    const hint = hints[this.reason] === "" ? "" : `; ${hints[this.reason]}`
    return `cannot connect to database ${JSON.stringify(this.databaseName)} at ${this.host}:${this.port} as ` +
      `${JSON.stringify(this.databaseRole)}: ${this.problem}${code}${hint}`
  }
}

const reasonOf = (error: SqlError, code: string | undefined): Reason => {
  switch (code) {
    case undefined:
      return error.reason._tag === "ConnectionError" ? "serverUnreachable" : "other"
    case "28P01":
      return "passwordRejected"
    case "28000":
      return "roleRejected"
    case "3D000":
      return "databaseNotFound"
    case "42501":
      return "connectNotPermitted"
    case "53300":
    case "55000":
    case "57P01":
    case "57P02":
    case "57P03":
      return "serverNotReady"
    default:
      return code.startsWith("08") ? "serverUnreachable" : "other"
  }
}

/**
 * Tells what an `SqlError` of a first statement says about the connection.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSqlError = (error: SqlError, to: {
  readonly host: string
  readonly port: number
  readonly databaseName: string
  readonly databaseRole: string
}): ConnectionFailed => {
  const code = sqlState(error)
  return new ConnectionFailed({
    reason: reasonOf(error, code),
    host: to.host,
    port: to.port,
    databaseName: to.databaseName,
    databaseRole: to.databaseRole,
    problem: errorText(error),
    ...(code === undefined ? {} : { sqlState: code })
  })
}
