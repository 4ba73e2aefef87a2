/**
 * Statements of which one knows how many rows they give, and statements that belong together.
 *
 * A statement is a list of rows to Effect, whatever it is meant to be. `queryForOne` and its kin say what is meant, and
 * fail with {@link UnexpectedRowCount} when the database disagrees; given a schema, they decode what they return.
 * {@link transaction} runs statements together, in such a way that a lost connection is an ordinary failure.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Statement } from "effect/sql/Statement"
import { withTransaction } from "./internal/lostConnection.ts"

/**
 * A statement gave another number of rows than the one that was asked for.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnexpectedRowCount
  extends Schema.TaggedError<UnexpectedRowCount>("holdfast/datastore/UnexpectedRowCount")("UnexpectedRowCount", {
    /** Rows that were asked for: 0 or 1. */
    expected: Schema.Int,
    /** Rows that came. */
    actual: Schema.Int,
    /** The text of the statement, without its parameters. */
    statement: Schema.String
  })
{
  override get message() {
    return `expected ${this.expected === 0 ? "no row" : "one row"} and got ${this.actual} from: ${this.statement}`
  }
}

// The three functions below have two forms each: `as never`, since the compiler does not relate one body to overloads.

const checkCount = (statement: Statement<unknown>, expected: number, actual: number) =>
  actual === expected
    ? Effect.void
    : Effect.fail(
      new UnexpectedRowCount({
        expected,
        actual,
        statement: statement.compile()[0].replaceAll(/\s+/g, " ").trim()
      })
    )

/**
 * Runs a statement that gives no rows.
 *
 * @since 0.1.0
 * @category queries
 */
export const queryForNone = Effect.fn("DatastoreQuery.queryForNone")(
  function*(statement: Statement<unknown>): Effect.fn.Return<void, SqlError | UnexpectedRowCount> {
    yield* checkCount(statement, 0, (yield* statement).length)
  }
)

/**
 * Runs a statement that gives exactly one row, and returns it, decoded when there is a schema.
 *
 * **Example** (One row, decoded)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { DatastoreQuery } from "holdfast/datastore"
 *
 * const Account = Schema.Struct({ id: Schema.Int, email: Schema.String })
 *
 * const account = Effect.fn("account")(function*(id: number) {
 *   const sql = yield* SqlClient.SqlClient
 *   return yield* DatastoreQuery.queryForOne(sql`SELECT id, email FROM account WHERE id = ${id}`, Account)
 * })
 * ```
 *
 * @since 0.1.0
 * @category queries
 */
export const queryForOne: {
  <A>(statement: Statement<A>): Effect.Effect<A, SqlError | UnexpectedRowCount>
  <S extends Schema.Constraint>(
    statement: Statement<unknown>,
    schema: S
  ): Effect.Effect<S["Type"], SqlError | UnexpectedRowCount | Schema.SchemaError, S["DecodingServices"]>
} = Effect.fn("DatastoreQuery.queryForOne")(function*(statement: Statement<unknown>, schema?: Schema.Constraint) {
  const rows = yield* statement
  yield* checkCount(statement, 1, rows.length)
  return schema === undefined ? rows[0] : yield* Schema.decodeUnknownEffect(schema)(rows[0])
}) as never

/**
 * Runs a statement that gives exactly one row, and returns its first column, decoded when there is a schema.
 *
 * @since 0.1.0
 * @category queries
 */
export const queryForValue: {
  (statement: Statement<unknown>): Effect.Effect<unknown, SqlError | UnexpectedRowCount>
  <S extends Schema.Constraint>(
    statement: Statement<unknown>,
    schema: S
  ): Effect.Effect<S["Type"], SqlError | UnexpectedRowCount | Schema.SchemaError, S["DecodingServices"]>
} = Effect.fn("DatastoreQuery.queryForValue")(function*(statement: Statement<unknown>, schema?: Schema.Constraint) {
  const rows = yield* statement.values
  yield* checkCount(statement, 1, rows.length)
  const value = rows[0]?.[0]
  return schema === undefined ? value : yield* Schema.decodeUnknownEffect(schema)(value)
}) as never

/**
 * Runs a statement that gives any number of rows, and returns them, decoded when there is a schema.
 *
 * @since 0.1.0
 * @category queries
 */
export const queryForMany: {
  <A>(statement: Statement<A>): Effect.Effect<ReadonlyArray<A>, SqlError>
  <S extends Schema.Constraint>(
    statement: Statement<unknown>,
    schema: S
  ): Effect.Effect<ReadonlyArray<S["Type"]>, SqlError | Schema.SchemaError, S["DecodingServices"]>
} = Effect.fn("DatastoreQuery.queryForMany")(function*(statement: Statement<unknown>, schema?: Schema.Constraint) {
  const rows = yield* statement
  return schema === undefined ? rows : yield* Schema.decodeUnknownEffect(Schema.Array(schema))(rows)
}) as never

/**
 * How many rows a table or view has that this role can see. The name may be `schema.table`.
 *
 * @since 0.1.0
 * @category queries
 */
export const recordCount = Effect.fn("DatastoreQuery.recordCount")(
  function*(table: string): Effect.fn.Return<number, SqlError, SqlClient.SqlClient> {
    const sql = (yield* SqlClient.SqlClient).withoutTransforms()
    const [row] = yield* sql<{ readonly count: number }>`SELECT count(*)::float8 AS count FROM ${sql(table)}`
    return row?.count ?? 0
  }
)

/**
 * Runs an effect in a transaction of the current context; inside one, in a savepoint of it.
 *
 * **Details**
 *
 * Commits when the effect succeeds, rolls back when it fails or is interrupted. Differs from `sql.withTransaction` in that
 * a connection which is lost on the way is a typed `SqlError` and not a defect, so that `Effect.retry` sees it.
 *
 * **Example** (Two statements or none)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { DatastoreQuery } from "holdfast/datastore"
 *
 * const move = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`UPDATE account SET balance = balance - 1 WHERE id = 1`
 *   yield* sql`UPDATE account SET balance = balance + 1 WHERE id = 2`
 * }).pipe(DatastoreQuery.transaction)
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const transaction = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R | SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => withTransaction(sql)(self))

/**
 * Whether a transaction of the current context is open here.
 *
 * @since 0.1.0
 * @category getters
 */
export const inTransaction: Effect.Effect<boolean, never, SqlClient.SqlClient> = Effect.contextWith(
  (context: Context.Context<SqlClient.SqlClient>) => {
    const sql = Context.get(context, SqlClient.SqlClient)
    return Effect.succeed(Context.getOrUndefined(context, sql.transactionService) !== undefined)
  }
)
