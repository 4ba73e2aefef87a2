/**
 * Errors that a database raises on purpose: rules of the domain that are kept by functions, triggers and constraints.
 *
 * A procedure that refuses something raises an error whose SQLSTATE is `PM` and three characters; the function
 * `holdfast.raise(code, message, detail => jsonb, …)`, which comes with every datastore, does so with its details as JSON.
 * {@link refine} turns the `SqlError` that arrives into a {@link DatabaseError} whose `reason` is the tagged error of that
 * code. The mapping is by SQLSTATE alone: it is the same for an error of a function, of a trigger, of a deferred constraint
 * at COMMIT, or inside a nested transaction. Every other `SqlError` stays what it is, with the reasons Effect gives it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { serverError } from "./internal/sqlState.ts"

const ReasonFields = {
  /** The five characters that the database raised. */
  sqlState: Schema.String,
  /** What the database said. */
  message: Schema.String,
  /** Its DETAIL: parsed when it is JSON, else as it was written. */
  detail: Schema.optionalKey(Schema.Json),
  /** Its HINT. */
  hint: Schema.optionalKey(Schema.String),
  schema: Schema.optionalKey(Schema.String),
  table: Schema.optionalKey(Schema.String),
  column: Schema.optionalKey(Schema.String),
  constraint: Schema.optionalKey(Schema.String)
}

/**
 * PM001. A field that may not change was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class DisallowedFieldChange
  extends Schema.TaggedError<DisallowedFieldChange>("holdfast/datastore/DisallowedFieldChange")(
    "DisallowedFieldChange",
    ReasonFields
  )
{}

/**
 * PM002. The operation is not allowed on this thing, or not to this role.
 *
 * @since 0.1.0
 * @category errors
 */
export class DisallowedOperation
  extends Schema.TaggedError<DisallowedOperation>("holdfast/datastore/DisallowedOperation")(
    "DisallowedOperation",
    ReasonFields
  )
{}

/**
 * PM003. The thing belongs to the system and cannot be changed by its users.
 *
 * @since 0.1.0
 * @category errors
 */
export class SystemDefined extends Schema.TaggedError<SystemDefined>("holdfast/datastore/SystemDefined")(
  "SystemDefined",
  ReasonFields
) {}

/**
 * PM101. The same thing is there already, under the rules of the domain.
 *
 * @since 0.1.0
 * @category errors
 */
export class LogicalDuplicate extends Schema.TaggedError<LogicalDuplicate>("holdfast/datastore/LogicalDuplicate")(
  "LogicalDuplicate",
  ReasonFields
) {}

/**
 * PM102. Nothing is left of what the operation needs.
 *
 * @since 0.1.0
 * @category errors
 */
export class ResourceExhausted extends Schema.TaggedError<ResourceExhausted>("holdfast/datastore/ResourceExhausted")(
  "ResourceExhausted",
  ReasonFields
) {}

/**
 * PM103. A value lies outside of what the domain allows.
 *
 * @since 0.1.0
 * @category errors
 */
export class OutOfRange extends Schema.TaggedError<OutOfRange>("holdfast/datastore/OutOfRange")(
  "OutOfRange",
  ReasonFields
) {}

/**
 * PM104. A thing and what it is said to belong to do not fit together.
 *
 * @since 0.1.0
 * @category errors
 */
export class ParentChildMismatch
  extends Schema.TaggedError<ParentChildMismatch>("holdfast/datastore/ParentChildMismatch")(
    "ParentChildMismatch",
    ReasonFields
  )
{}

/**
 * PM105. Something else has to happen first.
 *
 * @since 0.1.0
 * @category errors
 */
export class OutOfOrderPrerequisite
  extends Schema.TaggedError<OutOfOrderPrerequisite>("holdfast/datastore/OutOfOrderPrerequisite")(
    "OutOfOrderPrerequisite",
    ReasonFields
  )
{}

/**
 * PM106. The thing may not be deleted.
 *
 * @since 0.1.0
 * @category errors
 */
export class IneligibleDeletion extends Schema.TaggedError<IneligibleDeletion>("holdfast/datastore/IneligibleDeletion")(
  "IneligibleDeletion",
  ReasonFields
) {}

/**
 * PM107. The change would leave data that contradict each other.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidDataChange extends Schema.TaggedError<InvalidDataChange>("holdfast/datastore/InvalidDataChange")(
  "InvalidDataChange",
  ReasonFields
) {}

/**
 * PM108. The thing cannot go from the state it is in to the one asked for.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidStateChange extends Schema.TaggedError<InvalidStateChange>("holdfast/datastore/InvalidStateChange")(
  "InvalidStateChange",
  ReasonFields
) {}

/**
 * PM109. Something else has to be deleted first.
 *
 * @since 0.1.0
 * @category errors
 */
export class OutOfOrderDeletion extends Schema.TaggedError<OutOfOrderDeletion>("holdfast/datastore/OutOfOrderDeletion")(
  "OutOfOrderDeletion",
  ReasonFields
) {}

/**
 * PM110. A parameter that the operation needs was not given.
 *
 * @since 0.1.0
 * @category errors
 */
export class MissingParameter extends Schema.TaggedError<MissingParameter>("holdfast/datastore/MissingParameter")(
  "MissingParameter",
  ReasonFields
) {}

/**
 * A PM code that is none of the above: `sqlState` says which.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnknownDatabaseError extends Schema.TaggedError<UnknownDatabaseError>(
  "holdfast/datastore/UnknownDatabaseError"
)("UnknownDatabaseError", ReasonFields) {}

/**
 * The tagged error of each code.
 *
 * @since 0.1.0
 * @category constants
 */
export const bySqlState = {
  PM001: DisallowedFieldChange,
  PM002: DisallowedOperation,
  PM003: SystemDefined,
  PM101: LogicalDuplicate,
  PM102: ResourceExhausted,
  PM103: OutOfRange,
  PM104: ParentChildMismatch,
  PM105: OutOfOrderPrerequisite,
  PM106: IneligibleDeletion,
  PM107: InvalidDataChange,
  PM108: InvalidStateChange,
  PM109: OutOfOrderDeletion,
  PM110: MissingParameter
} as const

/**
 * What a database may refuse.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DatabaseErrorReason = Schema.Union([
  DisallowedFieldChange,
  DisallowedOperation,
  SystemDefined,
  LogicalDuplicate,
  ResourceExhausted,
  OutOfRange,
  ParentChildMismatch,
  OutOfOrderPrerequisite,
  IneligibleDeletion,
  InvalidDataChange,
  InvalidStateChange,
  OutOfOrderDeletion,
  MissingParameter,
  UnknownDatabaseError
])

/**
 * What a database may refuse.
 *
 * @since 0.1.0
 * @category models
 */
export type DatabaseErrorReason = typeof DatabaseErrorReason.Type

/**
 * The database refused something under a PM code. `reason` says what.
 *
 * @since 0.1.0
 * @category errors
 */
export class DatabaseError extends Schema.TaggedError<DatabaseError>("holdfast/datastore/DatabaseError")(
  "DatabaseError",
  { reason: DatabaseErrorReason }
) {
  override readonly cause = this.reason

  override get message() {
    return this.reason.message
  }
}

const isKnown = (code: string): code is keyof typeof bySqlState => Object.hasOwn(bySqlState, code)

const parseJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Json))

const parseDetail = (detail: string): Schema.Json => Option.getOrElse(parseJson(detail), () => detail)

/**
 * The `DatabaseError` that this `SqlError` is, if its SQLSTATE is a PM code.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromSqlError = (error: SqlError): DatabaseError | undefined => {
  const said = serverError(error)
  if (said === undefined || !said.code.startsWith("PM")) {
    return undefined
  }
  // What is empty was not given: an option of RAISE cannot be null.
  const fields = {
    sqlState: said.code,
    message: said.message,
    ...(said.detail ? { detail: parseDetail(said.detail) } : {}),
    ...(said.hint ? { hint: said.hint } : {}),
    ...(said.schema ? { schema: said.schema } : {}),
    ...(said.table ? { table: said.table } : {}),
    ...(said.column ? { column: said.column } : {}),
    ...(said.constraint ? { constraint: said.constraint } : {})
  }
  const Reason = isKnown(said.code) ? bySqlState[said.code] : UnknownDatabaseError
  return new DatabaseError({ reason: new Reason(fields) })
}

/**
 * Turns an `SqlError` with a PM code into a {@link DatabaseError}. Total: everything else passes as it is.
 *
 * **Example** (A duplicate that is a rule of the domain)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { DatabaseError } from "holdfast/datastore"
 *
 * const register = Effect.fn("register")(function*(email: string) {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`SELECT register(${email})`
 *   return "welcome"
 * }, DatabaseError.refine, Effect.catchReason("DatabaseError", "LogicalDuplicate", () => Effect.succeed("known already")))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const refine = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | DatabaseError, R> =>
  Effect.mapError(self, (error) => isSqlError(error) ? fromSqlError(error) ?? error : error)
