/**
 * What can go wrong in an administrator's work, apart from connections and migrations. `DatastoreAdmin` shows these.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { errorText, serverError } from "./sqlState.ts"

const Operation = Schema.Literals([
  "bootstrap",
  "create",
  "createContexts",
  "drop",
  "dropContexts",
  "plan",
  "rotatePassword",
  "state",
  "upgrade",
  "versions"
])

export type Operation = typeof Operation.Type

/**
 * A step failed. What was done before it stays: run the operation again once the cause is gone, and it goes on from there.
 *
 * @since 0.1.0
 * @category errors
 */
export class AdminStepFailed extends Schema.TaggedError<AdminStepFailed>("holdfast/datastore/AdminStepFailed")(
  "AdminStepFailed",
  {
    operation: Operation,
    /** What was being done. */
    step: Schema.String,
    /** The steps that this run had done before. */
    done: Schema.Array(Schema.String),
    /** What the server said, or what was found. */
    problem: Schema.String,
    /** Absent when it was not the server that refused. */
    sqlState: Schema.optionalKey(Schema.String)
  }
) {
  override get message() {
    const code = this.sqlState === undefined ? "" : ` (SQLSTATE ${this.sqlState})`
    const before = this.done.length === 0 ? "nothing was done before it" : `done before it: ${this.done.join(", ")}`
    return `${this.operation}: ${this.step} failed: ${this.problem}${code}; ${before}`
  }
}

/**
 * There is no database of this name on the server.
 *
 * @since 0.1.0
 * @category errors
 */
export class DatabaseNotFound extends Schema.TaggedError<DatabaseNotFound>("holdfast/datastore/DatabaseNotFound")(
  "DatabaseNotFound",
  { databaseName: Schema.String }
) {
  override get message() {
    return `there is no database ${JSON.stringify(this.databaseName)}`
  }
}

/**
 * The database cannot be dropped while sessions are open in it. `drop({ force: true })` ends them.
 *
 * @since 0.1.0
 * @category errors
 */
export class DatabaseInUse extends Schema.TaggedError<DatabaseInUse>("holdfast/datastore/DatabaseInUse")(
  "DatabaseInUse",
  {
    databaseName: Schema.String,
    /** How many, in the words of the server. */
    problem: Schema.String
  }
) {
  override get message() {
    return `database ${JSON.stringify(this.databaseName)} is in use: ${this.problem}`
  }
}

/**
 * The server has no role of this name: the context was not created yet, or was dropped.
 *
 * @since 0.1.0
 * @category errors
 */
export class RoleNotFound extends Schema.TaggedError<RoleNotFound>("holdfast/datastore/RoleNotFound")(
  "RoleNotFound",
  { contextName: Schema.String, databaseRole: Schema.String }
) {
  override get message() {
    return `there is no role ${JSON.stringify(this.databaseRole)} on the server, which context ${
      JSON.stringify(this.contextName)
    } should have: create the context first`
  }
}

/** Runs the steps of one operation, and remembers them for the error of one that fails. */
export const makeSteps = (operation: Operation) => {
  const done: Array<string> = []
  return <A, E, R>(
    step: string,
    self: Effect.Effect<A, E | SqlError, R>
  ): Effect.Effect<A, Exclude<E, SqlError> | AdminStepFailed, R> =>
    self.pipe(
      Effect.tap(() =>
        Effect.suspend(() => {
          done.push(step)
          return Effect.logDebug(`${operation}: ${step}`)
        })
      ),
      Effect.mapError((error) => {
        if (error instanceof AdminStepFailed) {
          return new AdminStepFailed({ ...error, done: [...done] })
        }
        if (!isSqlError(error)) {
          return error as Exclude<E, SqlError>
        }
        const said = serverError(error)
        return new AdminStepFailed({
          operation,
          step,
          done: [...done],
          problem: said?.detail ? `${said.message}. ${said.detail}` : errorText(error),
          ...(said === undefined ? {} : { sqlState: said.code })
        })
      })
    )
}
