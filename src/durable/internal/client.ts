/**
 * Refs: what callers hold of a server. The facades (`call`, `cast`, …) are built once for each definition, as prototypes;
 * a ref itself is one small object.
 */
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { millisOf } from "../../member/internal/options.ts"
import type { CurrentTransition } from "../CurrentTransition.ts"
import { DurableNode } from "../DurableNode.ts"
import { CallTimeout, DurableServerError } from "../DurableServerError.ts"
import type { Due } from "../DurableStorage.ts"
import type { Checked } from "./checked.ts"
import { checkName, type Definition, type Operation } from "./definition.ts"
import { kill } from "./killing.ts"
import { after, at } from "./later.ts"
import { type Inside, insideOf } from "./nodes.ts"
import type { Key, Prepared } from "./residency.ts"
import { schedule } from "./scheduling.ts"
import { invalid, openTransition, prepare, Ref, sentSpan, WaitingFiber } from "./sending.ts"

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
        waiting.deadline = residency.deadlines.add(timeoutMillis, () => {
          const detail = residency.waitsFor(definition.kind, key.text)
          waiting.settle({
            _tag: "Broken",
            error: residency.tooNew(definition.kind, key.text) ?? new DurableServerError({
              reason: new CallTimeout({
                kind: definition.kind,
                key: key.text,
                rpc: operation.tag,
                timeoutMillis,
                ...(detail === undefined ? {} : { detail })
              })
            })
          })
        })
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

/** Sends what nobody waits for and nobody keeps. */
const tell = ({ definition, inside, key }: Ref, input: unknown): Effect.Effect<void, DurableServerError> => {
  if (!key.ok) return Effect.fail(invalid(definition.kind, "info", "key", key.issue))
  const message = prepare(definition.info, input)
  if (!message.ok) return Effect.fail(invalid(definition.kind, "info", "payload", message.issue))
  let refused: DurableServerError | undefined
  inside.residency.send(definition, key.value, "cast", message.value, false, {
    gone: false,
    settle: (answer) => {
      if (answer._tag === "Broken") refused = answer.error
    }
  })
  return refused === undefined ? Effect.void : Effect.fail(refused)
}

type Facade = Readonly<Record<string, (...args: ReadonlyArray<unknown>) => unknown>>
type FacadeOf<On> = new(on: On) => Facade

/** What messages for later are sent by: a ref, and when they are due. */
interface LaterRef {
  readonly ref: Ref
  readonly field: "duration" | "time"
  readonly due: () => Checked<Due>
}

/** Builds a facade: a class with one method for each operation. */
const facade = <On>(
  definition: Definition,
  method: (operation: Operation) => (on: On, payload: unknown, options: unknown) => unknown
): FacadeOf<On> => {
  // An operation may have any name: nothing else of a facade has one.
  class OperationsOf {
    readonly #on: On
    constructor(on: On) {
      this.#on = on
    }
    static {
      for (const operation of definition.operations.values()) {
        const run = method(operation)
        Object.defineProperty(OperationsOf.prototype, operation.tag, {
          value(this: OperationsOf, payload: unknown, options: unknown) {
            return run(this.#on, payload, options)
          }
        })
      }
    }
  }
  return OperationsOf as unknown as FacadeOf<On>
}

const timeoutOf = (inside: Inside, options: unknown): number => {
  const timeout = (options as { readonly timeout?: Duration.Input } | undefined)?.timeout
  return timeout === undefined ? inside.callMillis : millisOf("timeout", timeout, { endless: true })
}

/** Compiles the refs of a definition, once. */
const refsOf = (definition: Definition) => {
  const calls = (priority: boolean) =>
    facade<Ref>(
      definition,
      (operation) => (ref, payload, options) =>
        Effect.suspend(() => send(ref, "call", priority, operation, payload, timeoutOf(ref.inside, options)))
    )
  const casts = (priority: boolean) =>
    facade<Ref>(
      definition,
      (operation) => (ref, payload) => send(ref, "cast", priority, operation, payload, Number.POSITIVE_INFINITY)
    )
  const Calls = calls(false)
  const Casts = casts(false)
  const PriorityCalls = calls(true)
  const PriorityCasts = casts(true)
  const LaterCasts = facade<LaterRef>(
    definition,
    (operation) => ({ due, field, ref }, payload) =>
      Effect.suspend(() => schedule(ref, field, due(), operation, payload))
  )
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
    castAfter(duration: Duration.Input): Facade {
      return new LaterCasts({ ref: this.#ref, field: "duration", due: () => after(duration) })
    }
    castAt(time: DateTime.DateTime | Date): Facade {
      return new LaterCasts({ ref: this.#ref, field: "time", due: () => at(time) })
    }
    info(message: unknown) {
      return Effect.suspend(() => tell(this.#ref, message))
    }
    kill(because: string) {
      return Effect.suspend(() => kill(this.#ref, because))
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
