/**
 * Refs: what callers hold of a server. The facades (`call`, `cast`, …) are built once for each definition, as prototypes;
 * a ref itself is one small object.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { millisOf } from "../../member/internal/options.ts"
import { traced } from "../../member/internal/tracing.ts"
import { CurrentTransition } from "../CurrentTransition.ts"
import { DurableNode } from "../DurableNode.ts"
import { CallTimeout, DurableServerError, InvalidMessage } from "../DurableServerError.ts"
import * as Answer from "./answer.ts"
import type { Deadline } from "./deadlines.ts"
import { type Checked, checkName, type Definition, type Operation, primaryKeyOf } from "./definition.ts"
import type { Caller } from "./message.ts"
import { type Inside, insideOf } from "./nodes.ts"
import type { Key, Prepared } from "./residency.ts"

/** A fiber that waits for its message. */
class WaitingFiber implements Caller {
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
    this.#inside.residency.awaited.delete(this.call)
  }
}

const invalid = (kind: string, rpc: string, field: "payload" | "key" | "primaryKey", issue: string) =>
  new DurableServerError({ reason: new InvalidMessage({ kind, rpc, field, issue }) })

const prepare = (
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
const openTransition = (fiber: Fiber.Fiber<unknown, unknown>): CurrentTransition["Service"] | undefined => {
  const transition = Context.getOrUndefined(fiber.context, CurrentTransition)
  return transition?.isOpen() === true ? transition : undefined
}

/** A span for what is sent. */
const sentSpan = <A, E>(
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

const send = (
  ref: Ref,
  mode: "call" | "cast",
  priority: boolean,
  operation: Operation,
  input: unknown,
  timeoutMillis: number
): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const { definition, inside, key } = ref
    if (!key.ok) return Effect.fail(invalid(definition.kind, operation.tag, "key", key.issue))
    const message = prepare(operation, input)
    if (!message.ok) {
      return Effect.fail(invalid(definition.kind, operation.tag, message.field ?? "payload", message.issue))
    }
    const transition = openTransition(fiber)
    const sent = sending(ref, key.value, mode, priority, message.value, timeoutMillis)
    if (transition !== undefined) {
      if (mode === "cast") return stage(inside, transition, definition, key.value, [message.value], priority, sent)
      if (transition.kind === definition.kind && transition.key === key.value.text) {
        return Effect.die(
          new Error(`a handler of ${definition.kind} "${transition.key}" calls itself, and would wait for ever`)
        )
      }
    }
    return sent
  })

/** Sends a message, and waits for what becomes of it. */
const sending = (
  ref: Ref,
  key: Key,
  mode: "call" | "cast",
  priority: boolean,
  message: Prepared,
  timeoutMillis: number
): Effect.Effect<unknown, unknown> => {
  const { definition, inside } = ref
  const { operation } = message
  return sentSpan(
    ref,
    operation.tag,
    mode,
    Effect.callback<unknown, unknown>((resume) => {
      const { residency } = inside
      const waiting = new WaitingFiber(inside, resume)
      if (mode === "call" && timeoutMillis < Number.POSITIVE_INFINITY) {
        waiting.deadline = residency.deadlines.add(timeoutMillis, () =>
          waiting.settle({
            _tag: "Broken",
            error: new DurableServerError({
              reason: new CallTimeout({
                kind: definition.kind,
                key: key.text,
                rpc: operation.tag,
                timeoutMillis,
                ...(residency.storage.trouble() === undefined ? {} : { detail: residency.storage.trouble() ?? "" })
              })
            })
          }))
      }
      waiting.call = residency.send(definition, key, mode, message, priority, waiting)
      return Effect.sync(() => waiting.leave())
    })
  )
}

/** Inside a handler: the messages go out with the handler's own commit, if that is still to come; else by themselves. */
const stage = (
  { residency }: Inside,
  transition: CurrentTransition["Service"],
  definition: Definition,
  key: Key,
  messages: ReadonlyArray<Prepared>,
  priority: boolean,
  otherwise: Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> =>
  // A node that was lost meanwhile makes the attempt void, whatever the handler does about it.
  Effect.flatMap(Effect.orDie(residency.locatedId(definition.kind, key)), (id) => {
    const outgoing = messages.map((message) => ({
      id,
      message: {
        mode: "cast" as const,
        rpc: message.operation.tag,
        payload: message.text,
        primaryKey: message.primaryKey,
        priority,
        node: residency.storage.node(),
        call: residency.nextNumber()
      }
    }))
    return transition.stage(outgoing) ? Effect.void : otherwise
  })

const sendAll = (
  ref: Ref,
  casts: ReadonlyArray<{ readonly rpc: string; readonly payload: unknown }>
): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const { definition, inside, key } = ref
    const messages: Array<Prepared> = []
    for (const { payload, rpc } of casts) {
      const operation = definition.operations.get(rpc)
      if (!key.ok) return Effect.fail(invalid(definition.kind, rpc, "key", key.issue))
      if (operation === undefined) return Effect.die(new Error(`${definition.kind} declares no "${rpc}"`))
      const message = prepare(operation, payload)
      if (!message.ok) return Effect.fail(invalid(definition.kind, rpc, message.field ?? "payload", message.issue))
      messages.push(message.value)
    }
    if (!key.ok || messages.length === 0) return Effect.void
    const address = key.value
    const sent = sentSpan(
      ref,
      "castAll",
      "cast",
      Effect.callback<unknown, unknown>((resume) => {
        const waiting = new WaitingFiber(inside, resume)
        inside.residency.sendAll(definition, address, messages, waiting)
        return Effect.sync(() => waiting.leave())
      })
    )
    const transition = openTransition(fiber)
    return transition === undefined ? sent : stage(inside, transition, definition, address, messages, false, sent)
  })

type Facade = Readonly<Record<string, (...args: ReadonlyArray<unknown>) => unknown>>
type FacadeOf = new(ref: Ref) => Facade

/** Builds a facade: a class with one method for each operation. */
const facade = (
  definition: Definition,
  method: (operation: Operation) => (ref: Ref, payload: unknown, options: unknown) => unknown
): FacadeOf => {
  // An operation may have any name: nothing else of a facade has one.
  class OperationsOf {
    readonly #ref: Ref
    constructor(ref: Ref) {
      this.#ref = ref
    }
    static {
      for (const operation of definition.operations.values()) {
        const run = method(operation)
        Object.defineProperty(OperationsOf.prototype, operation.tag, {
          value(this: OperationsOf, payload: unknown, options: unknown) {
            return run(this.#ref, payload, options)
          }
        })
      }
    }
  }
  return OperationsOf as unknown as FacadeOf
}

class Ref {
  readonly definition: Definition
  readonly inside: Inside
  readonly key: Checked<Key>
  constructor(definition: Definition, inside: Inside, key: Checked<Key>) {
    this.definition = definition
    this.inside = inside
    this.key = key
  }
}

const timeoutOf = (inside: Inside, options: unknown): number => {
  const timeout = (options as { readonly timeout?: Duration.Input } | undefined)?.timeout
  return timeout === undefined ? inside.callMillis : millisOf("timeout", timeout, { endless: true })
}

/** Compiles the refs of a definition, once. */
const refsOf = (definition: Definition) => {
  const calls = (priority: boolean) =>
    facade(
      definition,
      (operation) => (ref, payload, options) =>
        Effect.suspend(() => send(ref, "call", priority, operation, payload, timeoutOf(ref.inside, options)))
    )
  const casts = (priority: boolean) =>
    facade(
      definition,
      (operation) => (ref, payload) => send(ref, "cast", priority, operation, payload, Number.POSITIVE_INFINITY)
    )
  const Calls = calls(false)
  const Casts = casts(false)
  const PriorityCalls = calls(true)
  const PriorityCasts = casts(true)
  const describe: Record<string, (payload: unknown) => { readonly rpc: string; readonly payload: unknown }> = {}
  for (const tag of definition.operations.keys()) describe[tag] = (payload) => ({ rpc: tag, payload })

  class PublicRef {
    readonly #ref: Ref
    readonly kind = definition.kind
    constructor(ref: Ref) {
      this.#ref = ref
    }
    get key(): string {
      return this.#ref.key.ok ? this.#ref.key.value.text : ""
    }
    get call(): Facade {
      return new Calls(this.#ref)
    }
    get cast(): Facade {
      return new Casts(this.#ref)
    }
    get priorityCall(): Facade {
      return new PriorityCalls(this.#ref)
    }
    get priorityCast(): Facade {
      return new PriorityCasts(this.#ref)
    }
    castAll(messages: (cast: typeof describe) => ReadonlyArray<{ readonly rpc: string; readonly payload: unknown }>) {
      return Effect.suspend(() => sendAll(this.#ref, messages(describe)))
    }
  }

  return (inside: Inside) => (key: unknown): PublicRef => {
    const encoded = definition.key.encode(key)
    const text = encoded.ok ? checkName(encoded.value) : encoded
    return new PublicRef(
      new Ref(definition, inside, text.ok ? { ok: true, value: { text: text.value, value: key } } : text)
    )
  }
}

const compiled = new WeakMap<Definition, ReturnType<typeof refsOf>>()

/** The refs of a definition, by key, in the node there is. */
export const make = (definition: Definition): Effect.Effect<(key: unknown) => unknown, never, DurableNode> =>
  Effect.map(DurableNode, (service) => {
    let refs = compiled.get(definition)
    if (refs === undefined) compiled.set(definition, refs = refsOf(definition))
    return refs(insideOf(service))
  })
