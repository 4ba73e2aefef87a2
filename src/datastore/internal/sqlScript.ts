/**
 * Whole scripts, and transactions by hand, on one reserved connection.
 *
 * The wire protocol takes one statement at a time, and cutting a script into statements needs a parser of SQL: quotes,
 * dollar quotes and comments nest. The server has that parser. A script is handed over as a setting that lasts until the
 * end of the transaction, and PL/pgSQL executes it as it stands: several statements, functions with dollar quotes, bare
 * SELECTs. What cannot run inside a transaction (`CREATE INDEX CONCURRENTLY`, `COMMIT`) is refused by the server.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"

/** The rows of one statement, names and values as the server sent them. */
export const rows = <Row>(
  connection: Connection,
  statement: string,
  parameters: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Row>, SqlError> => connection.executeUnprepared(statement, parameters, undefined)

/** One statement, its result dropped. */
export const run = (
  connection: Connection,
  statement: string,
  parameters: ReadonlyArray<unknown> = []
): Effect.Effect<void, SqlError> => Effect.asVoid(connection.executeUnprepared(statement, parameters, undefined))

/** A whole script. Must be inside a transaction. */
export const runScript = (connection: Connection, script: string): Effect.Effect<void, SqlError> =>
  run(connection, "SELECT set_config('holdfast.script', $1, true)", [script]).pipe(
    Effect.andThen(run(connection, "DO $$ BEGIN EXECUTE current_setting('holdfast.script'); END $$"))
  )

/**
 * Runs an effect between BEGIN and COMMIT on this connection. Unlike `sql.withTransaction`, a ROLLBACK that fails because
 * the connection is gone leaves the failure as it was.
 */
export const inTransaction = <A, E, R>(
  connection: Connection,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  Effect.uninterruptibleMask((restore) =>
    run(connection, "BEGIN").pipe(
      Effect.andThen(Effect.onExit(restore(self), (exit) =>
        Exit.isSuccess(exit)
          ? run(connection, "COMMIT")
          : Effect.ignore(run(connection, "ROLLBACK"))))
    )
  )
