/**
 * Outcomes as the machinery sees them, and the requests that make them.
 */
import type * as Effect from "effect/Effect"
import type { Lock, Outcome, TypeId } from "../Outcome.ts"
import { type From, fromOf } from "./from.ts"
import type { Message } from "./message.ts"

/** What is to be done once an outcome is on disk, given the state that was committed with it. */
export type Action = (committed: unknown) => Effect.Effect<unknown, never, unknown>

const noActions: ReadonlyArray<Action> = []

/** What a handler answered. `next` is `undefined` where the state stays. */
export class HandlerOutcome implements Outcome<never, never> {
  declare readonly [TypeId]: Outcome<never, never>[TypeId]
  readonly value: unknown
  readonly next: unknown
  /** `later`: the caller hears of it by `replyTo`. `stop`: the server leaves memory. */
  readonly ending: "now" | "later" | { readonly stop: string }
  readonly actions: ReadonlyArray<Action>
  constructor(
    value: unknown,
    next: unknown,
    ending: HandlerOutcome["ending"] = "now",
    actions: ReadonlyArray<Action> = noActions
  ) {
    this.value = value
    this.next = next
    this.ending = ending
    this.actions = actions
  }
  afterCommit<R>(action: (committed: never) => Effect.Effect<unknown, never, R>): HandlerOutcome {
    // What it is given is the state that this very outcome leads to.
    return new HandlerOutcome(this.value, this.next, this.ending, [...this.actions, action as Action])
  }
}

/** A handler's answer that locks the server: what it does next runs outside of any transition. */
export class HandlerLock implements Lock<never> {
  declare readonly "~holdfast/durable/Outcome/Lock": Lock<never>["~holdfast/durable/Outcome/Lock"]
  readonly next: unknown
  readonly actions: ReadonlyArray<Action>
  constructor(next: unknown, actions: ReadonlyArray<Action> = noActions) {
    this.next = next
    this.actions = actions
  }
  afterCommit<R>(action: (committed: never) => Effect.Effect<unknown, never, R>): HandlerLock {
    return new HandlerLock(this.next, [...this.actions, action as Action])
  }
}

/** What a handler is given. The ways to answer lie on the prototype: taking them out costs nothing, and neither do they. */
export class HandlerRequest {
  readonly payload: unknown
  readonly state: unknown
  readonly key: unknown
  readonly event: "call" | "cast"
  readonly attempt: number
  readonly #message: Message
  constructor(message: Message, state: unknown, key: unknown) {
    this.payload = message.payload
    this.state = state
    this.key = key
    this.event = message.mode
    this.attempt = message.attempts + 1
    this.#message = message
  }
  get messageId(): string {
    return this.#message.id
  }
  get from(): From {
    return fromOf(this.#message)
  }
  reply(value: unknown, next?: unknown): HandlerOutcome {
    return new HandlerOutcome(value, next)
  }
  noReply(next?: unknown): HandlerOutcome {
    return new HandlerOutcome(undefined, next)
  }
  replyLater(next?: unknown): HandlerOutcome {
    return new HandlerOutcome(undefined, next, "later")
  }
  lock(next?: unknown): HandlerLock {
    return new HandlerLock(next)
  }
  stop(options: { readonly reason: string; readonly reply?: unknown; readonly state?: unknown }): HandlerOutcome {
    return new HandlerOutcome(options.reply, options.state, { stop: options.reason })
  }
}

/** What a `handleInfo` is given. */
export class InfoRequest extends HandlerRequest {
  get message(): unknown {
    return this.payload
  }
}
