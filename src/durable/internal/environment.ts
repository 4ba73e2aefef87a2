/**
 * What the execution of a server's messages needs: of the server it belongs to, and of the node that this lives in.
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Address, Journal, Reply, StoredMessage } from "../DurableStorage.ts"
import type { Answer } from "./answer.ts"
import type { Attempts } from "./attempts.ts"
import type { Definition } from "./definition.ts"
import type { Caller, Message } from "./message.ts"

/** A caller, and what is to be told it. */
export interface Settlement {
  readonly caller: Caller
  readonly answer: Answer
}

/** What an execution needs of the server it belongs to. */
export interface Server extends Address {
  readonly id: number
  readonly decodedKey: unknown
  /** There is a step to commit. */
  readonly ready: () => void
  /** Something that was waited for is over: messages may be handled again. */
  readonly pump: () => void
  /** Takes back messages that were handled in vain, in their order. */
  readonly putBack: (messages: ReadonlyArray<Message>) => void
  /** Takes a message that was given back from where it waits. */
  readonly take: (message: Message) => void
  /** Takes back a message that came in directly and has to be durable before it is tried again. */
  readonly putInLine: (message: Message) => void
}

/** What an execution needs of the node. */
export interface Environment {
  /** Whether a message was sent by this node, under whichever of its numbers. */
  readonly isLocal: (node: number) => boolean
  /** Waits as the policy says after a failed attempt; `false` when there is no further one. */
  readonly backOff: (
    kind: string,
    attempts: Attempts,
    next: (again: boolean) => void
  ) => Fiber.Fiber<unknown, unknown>
  /** Called for every failed attempt, and for typed failures that nobody hears. */
  readonly attemptFailed: (server: Address, message: Message, cause: Cause.Cause<unknown>, parked: boolean) => void
  readonly castFailed: (server: Address, message: Message, error: unknown) => void
  /** Whether steps can append to an event store. */
  readonly appendsTo: (journal: Journal) => boolean
  /** Milliseconds, by a clock that only goes forward. */
  readonly now: () => number
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** The message that locks a server, as it is kept. */
  readonly fromLock: (definition: Definition, stored: StoredMessage) => Message
  /** Keeps the caller of a message that will be answered later. */
  readonly keepCaller: (server: Address, message: Message) => void
  /** The caller of a message that was sent from here, to be told what a later transition answers; if it still waits. */
  readonly keptCaller: (reply: Reply) => Settlement | undefined
  /** Something came to its end. */
  readonly checkQuiet: () => void
}
