/**
 * The service that stands for one context of a datastore, and what is wrong when there is none.
 *
 * It lies apart from its two users: `Datastore` makes contexts, and `DatastoreContext.layer` looks them up in a
 * `Datastore`.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import { ConnectionFailed } from "../ConnectionFailed.ts"

/**
 * One context: a role's access to the database of a datastore.
 *
 * @since 0.1.0
 * @category services
 */
export class DatastoreContext extends Context.Service<DatastoreContext, {
  /** The name under which the options have it. */
  readonly contextName: string
  readonly databaseName: string
  /** The client of this context: the same object for as long as the datastore lives. */
  readonly sql: PgClient.PgClient
}>()("holdfast/datastore/DatastoreContext") {}

/**
 * The datastore has no context of this name.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContextNotFound extends Schema.TaggedError<ContextNotFound>("holdfast/datastore/ContextNotFound")(
  "ContextNotFound",
  {
    databaseName: Schema.String,
    contextName: Schema.String,
    /** The names that there are. */
    contextNames: Schema.Array(Schema.String)
  }
) {
  override get message() {
    return `datastore ${JSON.stringify(this.databaseName)} has no context ${JSON.stringify(this.contextName)}, only ` +
      this.contextNames.map((name) => JSON.stringify(name)).join(", ")
  }
}

/**
 * The context is there, but cannot be used now: its database does not answer, or it has not been started.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContextNotStarted extends Schema.TaggedError<ContextNotStarted>("holdfast/datastore/ContextNotStarted")(
  "ContextNotStarted",
  {
    databaseName: Schema.String,
    contextName: Schema.String,
    /** Why; absent when nobody has started it, or somebody has stopped it. */
    cause: Schema.optionalKey(ConnectionFailed)
  }
) {
  override get message() {
    const why = this.cause === undefined ? "it was not to be started, or has been stopped" : this.cause.message
    return `context ${JSON.stringify(this.contextName)} of datastore ${
      JSON.stringify(this.databaseName)
    } is not started: ${why}`
  }
}
