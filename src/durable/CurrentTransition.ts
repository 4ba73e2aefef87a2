/**
 * The transition that the running handler belongs to. It is there inside handlers and nowhere else.
 *
 * What a handler sends to other servers joins it: the messages are put in line by the very commit that stores the handler's
 * state, or not at all. Nothing has to be said for that: a plain `cast` made inside a handler finds the transition by itself,
 * and so do `DurableServer.replyTo`, `castAfter` and `castAt`, `DurableServer.cancel`, and the appends of an event store.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type {
  Append,
  AppendRefusal,
  OpenTransaction,
  Outgoing,
  Reply,
  ScheduledId,
  Scheduling
} from "./DurableStorage.ts"

/**
 * An answer to the sender of an earlier message.
 *
 * @since 0.1.0
 * @category models
 */
export interface LateReply extends Reply {
  /** Nobody waits for the answer to a cast, but it may be recorded. */
  readonly mode: "call" | "cast"
  /** The key that it is to be recorded under. */
  readonly primaryKey: string | undefined
}

/**
 * A message for later.
 *
 * @since 0.1.0
 * @category models
 */
export interface LaterCast extends Scheduling {
  /** When it was made, in milliseconds by a clock that only goes forward: a delay counts from then. */
  readonly madeAt: number
}

/**
 * What becomes of an append inside a handler. `version` is the number that its last event will have, where that is known before
 * the commit. `Elsewhere`: the store is not kept where the server is, so nothing can be appended with its step.
 *
 * @since 0.1.0
 * @category models
 */
export type Staging =
  | { readonly _tag: "Staged"; readonly version: number | undefined }
  | { readonly _tag: "Elsewhere" }
  | AppendRefusal

/**
 * The running handler's transition, as a service that only handlers have.
 *
 * @since 0.1.0
 * @category services
 */
export class CurrentTransition extends Context.Service<CurrentTransition, {
  /** The server whose handler runs. */
  readonly kind: string
  readonly key: string
  /** Whether the handler still runs. What it left running in the background no longer belongs to it. */
  readonly isOpen: () => boolean
  /** Adds messages to what the transition sends: all of them, or none, and `false`, where the handler runs no more. */
  readonly stage: (outgoing: ReadonlyArray<Outgoing>) => boolean
  /** Adds an answer to the sender of an earlier message. */
  readonly answer: (reply: LateReply) => void
  /** The transaction that the handler has opened, for its step to be committed in. */
  readonly transaction: () => OpenTransaction | undefined
  /** Makes it that one, or none again; `false` where the handler runs no more. */
  readonly within: (transaction: OpenTransaction | undefined) => boolean
  /** Adds a message for later; `false` where the handler runs no more. */
  readonly schedule: (cast: LaterCast) => boolean
  /**
   * Takes a message for later back, and tells whether that comes in time: should it turn out at the commit that it does not,
   * the handler is run again and told so. `undefined` where the handler runs no more.
   */
  readonly cancel: (id: ScheduledId) => boolean | undefined
  /**
   * Adds events to what the transition appends, unless it is known that they cannot be. Should that turn out at the commit, the
   * handler is run again and told so. `undefined` where the handler runs no more.
   */
  readonly append: (append: Append) => Staging | undefined
}>()("holdfast/durable/CurrentTransition") {}
