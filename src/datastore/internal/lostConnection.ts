/**
 * What a lost connection looks like, and transactions in which losing one is an ordinary failure.
 *
 * When a connection dies inside `sql.withTransaction`, the ROLLBACK that follows dies as well, and turns the typed failure
 * into a defect: `Effect.retry` round a transaction never sees it. `withTransaction` here gives back what the body really
 * ended with; `lostConnectionToFailure` does what can be done for an effect that is already built.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { sqlState } from "./sqlState.ts"

/** Conditions under which the server itself ends a session: shut down, crash, start-up, and its time limits. */
const endedByServer: ReadonlySet<string> = new Set(["57P01", "57P02", "57P03", "57P05", "25P03", "25P04"])

/**
 * Whether this error says that the connection is gone, or could not be made, so that the same statement may well succeed
 * on another one. It does not say whether the statement ran.
 */
export const isConnectionLost = (error: SqlError): boolean => {
  if (error.reason._tag === "ConnectionError") {
    return true
  }
  const code = sqlState(error)
  return code !== undefined && (code.startsWith("08") || endedByServer.has(code))
}

const findSqlDefect = (cause: Cause.Cause<unknown>): SqlError | undefined => {
  let found: SqlError | undefined
  for (const reason of cause.reasons) {
    if (Cause.isDieReason(reason) && isSqlError(reason.defect)) {
      if (isConnectionLost(reason.defect)) {
        return reason.defect
      }
      found ??= reason.defect
    }
  }
  return found
}

/**
 * Turns a defect that is an `SqlError` back into a typed failure.
 *
 * Where the connection was lost while another failure was on its way, that other failure has become a defect too and is
 * given up for the `SqlError`. `withTransaction` is exact where this has to guess.
 */
export const lostConnectionToFailure = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
  Effect.catchCause(self, (cause): Effect.Effect<never, E | SqlError> => {
    const error = findSqlDefect(cause)
    return error === undefined || Cause.hasInterrupts(cause) ? Effect.failCause(cause) : Effect.fail(error)
  })

/**
 * Runs an effect in a transaction of this client, or in a savepoint when one is open already.
 *
 * As `sql.withTransaction`, but a ROLLBACK that cannot be carried out (the connection is gone, and with it the
 * transaction) never hides what the effect ended with: its typed failure stays typed, an interruption an interruption.
 */
export const withTransaction =
  (sql: Pick<SqlClient.SqlClient, "withTransaction">) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    // Handlers of an interrupted fiber run only where it cannot be interrupted: hence the mask, which is taken off again
    // for the transaction itself.
    Effect.uninterruptibleMask((restore) => {
      let ended: Exit.Exit<A, E> | undefined
      const observed = Effect.onExit(self, (exit) =>
        Effect.sync(() => {
          ended = exit
        }))
      return Effect.catchCause(restore(sql.withTransaction(observed)), (cause): Effect.Effect<never, E | SqlError> => {
        const error = findSqlDefect(cause)
        if (error === undefined) {
          return Effect.failCause(cause)
        }
        return ended !== undefined && Exit.isFailure(ended) ? Effect.failCause(ended.cause) : Effect.fail(error)
      })
    })
