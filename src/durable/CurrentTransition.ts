/**
 * The transition that the running handler belongs to. It is there inside handlers and nowhere else.
 *
 * What a handler sends to other servers joins it: the messages are put in line by the very commit that stores the handler's
 * state, or not at all. Nothing has to be said for that: a plain `cast` made inside a handler finds the transition by itself,
 * and so does `DurableServer.replyTo`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { OpenTransaction, Outgoing, Reply } from "./DurableStorage.ts"

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
}>()("holdfast/durable/CurrentTransition") {}
