/**
 * What everything that is sent has in common: a ref, a payload that is checked before anything leaves, a fiber that waits, and
 * the transition that it is part of where a handler sends it.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { traced } from "../../member/internal/tracing.ts"
import { CurrentTransition } from "../CurrentTransition.ts"
import { DurableServerError, InvalidMessage } from "../DurableServerError.ts"
import * as Answer from "./answer.ts"
import type { Deadline } from "./deadlines.ts"
import { type Checked, checkName, type Definition, type Operation, primaryKeyOf } from "./definition.ts"
import type { Caller } from "./message.ts"
import type { Inside } from "./nodes.ts"
import type { Key, Prepared } from "./residency.ts"

/** What callers hold of a server, on the inside. */
export class Ref {
  readonly definition: Definition
  readonly inside: Inside
  readonly key: Checked<Key>
  constructor(definition: Definition, inside: Inside, key: Checked<Key>) {
    this.definition = definition
    this.inside = inside
    this.key = key
  }
}

/** A fiber that waits for its message. */
export class WaitingFiber implements Caller {
  gone = false
  call = 0
  deadline: Deadline | undefined
  readonly #inside: Inside
  readonly #resume: (effect: Effect.Effect<unknown, unknown>) => void
  constructor(inside: Inside, resume: (effect: Effect.Effect<unknown, unknown>) => void) {
    this.#inside = inside
    this.#resume = resume
  }
  settle(answer: Answer.Answer): void {
    if (this.gone) return
    this.leave()
    this.#resume(Answer.toEffect(answer))
  }
  leave(): void {
    this.gone = true
    this.deadline?.cancel()
    this.#inside.residency.giveUp(this.call)
  }
}

/** What cannot be sent. */
export const invalid = (kind: string, rpc: string, field: InvalidMessage["field"], issue: string) =>
  new DurableServerError({ reason: new InvalidMessage({ kind, rpc, field, issue }) })

/** Checks and encodes what is to be sent. */
export const prepare = (
  operation: Operation,
  input: unknown
): Checked<Prepared> & { readonly field?: "payload" | "primaryKey" } => {
  const payload = operation.makePayload(input)
  if (!payload.ok) return { ...payload, field: "payload" }
  const text = operation.payload.encode(payload.value)
  if (!text.ok) return { ...text, field: "payload" }
  const own = primaryKeyOf(payload.value)
  if (own === undefined) {
    return { ok: true, value: { operation, payload: payload.value, text: text.value, primaryKey: undefined } }
  }
  const primaryKey = checkName(`${operation.tag}/${own}`)
  return primaryKey.ok
    ? { ok: true, value: { operation, payload: payload.value, text: text.value, primaryKey: primaryKey.value } }
    : { ...primaryKey, field: "primaryKey" }
}

/** The transition of the handler that this fiber runs for, as long as that handler runs. */
export const openTransition = (fiber: Fiber.Fiber<unknown, unknown>): CurrentTransition["Service"] | undefined => {
  const transition = Context.getOrUndefined(fiber.context, CurrentTransition)
  return transition?.isOpen() === true ? transition : undefined
}

/** A span for what is sent. */
export const sentSpan = <A, E>(
  ref: Ref,
  rpc: string,
  mode: "call" | "cast",
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  traced(effect, `${ref.definition.kind}.${rpc}`, mode === "call" ? "client" : "producer", () => ({
    "holdfast.kind": ref.definition.kind,
    "holdfast.key": ref.key.ok ? ref.key.value.text : "",
    "holdfast.mode": mode
  }))
