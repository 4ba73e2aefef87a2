/**
 * What can go wrong between a caller and a durable server, apart from the errors the server's own protocol declares.
 *
 * There is one error, `DurableServerError`, and its `reason` says which of a few things happened, as with `SqlError`. Catch
 * one of them with `Effect.catchReason("DurableServerError", "CallTimeout", …)`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const ServerFields = {
  /** The kind of the server, as its definition names it. */
  kind: Schema.String,
  /** The key of the server, encoded. */
  key: Schema.String
}

/**
 * No answer came in time. The message was not withdrawn: it may still be executed, and its reply is then dropped.
 *
 * @since 0.1.0
 * @category errors
 */
export class CallTimeout extends Schema.TaggedError<CallTimeout>("holdfast/durable/CallTimeout")("CallTimeout", {
  ...ServerFields,
  rpc: Schema.String,
  /** How long was waited, in milliseconds. */
  timeoutMillis: Schema.Finite,
  /**
   * What the node was waiting for, where it knows: that the database cannot be reached, that the server is locked, or which of its
   * handlers runs, or that nobody runs it.
   */
  detail: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    const why = this.detail === undefined ? "" : ` (${this.detail})`
    return `${this.kind} "${this.key}" did not answer ${this.rpc} within ${this.timeoutMillis} ms${why}`
  }
}

/**
 * The handler of this message failed at every attempt, so the message was taken out of the line and set aside.
 *
 * @since 0.1.0
 * @category errors
 */
export class MessageParked extends Schema.TaggedError<MessageParked>("holdfast/durable/MessageParked")(
  "MessageParked",
  {
    ...ServerFields,
    rpc: Schema.String,
    messageId: Schema.String,
    attempts: Schema.Int,
    /** The last failure, rendered. */
    failure: Schema.String
  }
) {
  override get message() {
    return `${this.rpc} to ${this.kind} "${this.key}" was parked after ${this.attempts} failed attempts: ${this.failure}`
  }
}

/**
 * The stored state cannot be read with the schema that the server now has. Nothing in its line is consumed until it can; a
 * call that came from another process is told, and still is handled then.
 *
 * @since 0.1.0
 * @category errors
 */
export class StateUndecodable extends Schema.TaggedError<StateUndecodable>("holdfast/durable/StateUndecodable")(
  "StateUndecodable",
  {
    ...ServerFields,
    /** Where in the state, and what was expected there. */
    issue: Schema.String
  }
) {
  override get message() {
    return `the stored state of ${this.kind} "${this.key}" does not decode: ${this.issue}`
  }
}

/**
 * The stored state is of a newer version of the server's definition than this process has, as it happens while an application is
 * being replaced. This process leaves the server as it is: what is sent to it is put in line, and handled by a process that
 * can read the state. This is what a call is told when none has in its time.
 *
 * @since 0.1.0
 * @category errors
 */
export class StateTooNew extends Schema.TaggedError<StateTooNew>("holdfast/durable/StateTooNew")("StateTooNew", {
  ...ServerFields,
  /** The version that the state was stored by. */
  storedVersion: Schema.Int,
  /** The newest one that this process can read. */
  knownVersion: Schema.Int
}) {
  override get message() {
    return `the stored state of ${this.kind} "${this.key}" is of version ${this.storedVersion}, and the handlers of this ` +
      `process know versions up to ${this.knownVersion}: a process with newer ones has to run it`
  }
}

/**
 * A payload or a key that its schema refuses, or one that is too large, or a time that is none. Nothing was sent.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidMessage extends Schema.TaggedError<InvalidMessage>("holdfast/durable/InvalidMessage")(
  "InvalidMessage",
  {
    kind: Schema.String,
    rpc: Schema.String,
    /** `payload`, `key` or `primaryKey`; `duration` of `castAfter`, `time` of `castAt`; `reason` of `kill`. */
    field: Schema.Literals(["payload", "key", "primaryKey", "duration", "time", "reason"]),
    issue: Schema.String
  }
) {
  override get message() {
    return `the ${this.field} of ${this.rpc} to ${this.kind} was refused: ${this.issue}`
  }
}

/**
 * The node, this process's part in durable servers, was closed while the message was under way. It may have been executed.
 *
 * @since 0.1.0
 * @category errors
 */
export class NodeClosed extends Schema.TaggedError<NodeClosed>("holdfast/durable/NodeClosed")("NodeClosed", {
  ...ServerFields,
  rpc: Schema.String
}) {
  override get message() {
    return `the node was closed before ${this.rpc} to ${this.kind} "${this.key}" was known to be done`
  }
}

/**
 * The reply that another process gave does not decode here: the two have different versions of the protocol.
 *
 * @since 0.1.0
 * @category errors
 */
export class ReplyUndecodable extends Schema.TaggedError<ReplyUndecodable>("holdfast/durable/ReplyUndecodable")(
  "ReplyUndecodable",
  { ...ServerFields, rpc: Schema.String, issue: Schema.String }
) {
  override get message() {
    return `the reply of ${this.kind} "${this.key}" to ${this.rpc} does not decode: ${this.issue}`
  }
}

/**
 * As many messages to this server wait in this process as may. Nothing was sent: send again when some of them are done.
 *
 * @since 0.1.0
 * @category errors
 */
export class Overloaded extends Schema.TaggedError<Overloaded>("holdfast/durable/Overloaded")("Overloaded", {
  ...ServerFields,
  rpc: Schema.String,
  /** How many messages may wait: the node's `mailboxCapacity`. */
  capacity: Schema.Int
}) {
  override get message() {
    return `${this.rpc} to ${this.kind} "${this.key}" was refused: ${this.capacity} messages to it wait already`
  }
}

/**
 * The server was killed, by `kill` on a ref to it, while the message waited. It was not executed, or its effect is gone.
 *
 * @since 0.1.0
 * @category errors
 */
export class ServerKilled extends Schema.TaggedError<ServerKilled>("holdfast/durable/ServerKilled")("ServerKilled", {
  ...ServerFields,
  /** What whoever killed it gave as the reason. */
  because: Schema.String
}) {
  override get message() {
    return `${this.kind} "${this.key}" was killed: ${this.because}`
  }
}

const Reason = Schema.Union([
  CallTimeout,
  MessageParked,
  StateUndecodable,
  StateTooNew,
  InvalidMessage,
  NodeClosed,
  Overloaded,
  ReplyUndecodable,
  ServerKilled
])

/**
 * Everything that the machinery between a caller and a durable server may answer.
 *
 * @since 0.1.0
 * @category models
 */
export type DurableServerErrorReason = typeof Reason.Type

/**
 * The one error that calls and casts add to what a protocol declares.
 *
 * **Example** (Living without an answer)
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { DurableServerError } from "holdfast/durable"
 *
 * declare const call: Effect.Effect<number, DurableServerError.DurableServerError>
 *
 * export const orZero = call.pipe(
 *   Effect.catchReason("DurableServerError", "CallTimeout", () => Effect.succeed(0))
 * )
 * ```
 *
 * @since 0.1.0
 * @category errors
 */
export class DurableServerError extends Schema.TaggedError<DurableServerError>("holdfast/durable/DurableServerError")(
  "DurableServerError",
  { reason: Reason }
) {
  override get message() {
    return this.reason.message
  }
}
