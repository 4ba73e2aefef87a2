/**
 * Running a handler once: with the services its layer was built with, a scope of its own, and the transition it belongs to.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { traced } from "../../member/internal/tracing.ts"
import { FailedAttemptTypeId } from "../Behaviour.ts"
import { CurrentTransition, type LateReply } from "../CurrentTransition.ts"
import { DurableServerError } from "../DurableServerError.ts"
import type { Append, Journal, OpenTransaction, Outgoing, ScheduledId } from "../DurableStorage.ts"
import { Appending, type Refused } from "./appending.ts"
import type { Definition, Operation } from "./definition.ts"
import { LaterWrites } from "./later.ts"
import type { Message } from "./message.ts"
import { HandlerLock, HandlerOutcome, HandlerRequest, InfoRequest } from "./outcome.ts"

/** A kind of server with its handlers, as this process runs it. */
export interface Registration {
  readonly definition: Definition
  readonly init: (key: unknown) => unknown
  readonly handlers: Readonly<Record<string, (request: HandlerRequest) => unknown>>
  readonly handleLocked: Readonly<Record<string, (request: HandlerRequest) => unknown>>
  /** What is done about what `info` tells, where anything is. */
  readonly handleInfo: ((request: InfoRequest) => unknown) | undefined
  readonly context: Context.Context<never>
  readonly maxIdleMillis: number
  readonly maxBatch: number
  /** Whether servers stay in memory between their messages. */
  readonly staysInMemory: boolean
  /** The ids of the servers that have begun anew here; `undefined` where none has to. */
  readonly begunAnew: Set<number> | undefined
  readonly defectRetryPolicy: Schedule.Schedule<unknown, unknown>
}

/** What an attempt came to. */
export type Handled =
  | { readonly _tag: "Outcome"; readonly outcome: HandlerOutcome; readonly staged: Staged }
  | { readonly _tag: "Lock"; readonly lock: HandlerLock; readonly staged: Staged }
  /** The handler failed as its protocol declares: an answer like any other. */
  | { readonly _tag: "Failure"; readonly error: unknown }
  /** Anything else: to be tried again. */
  | { readonly _tag: "Defect"; readonly cause: Cause.Cause<unknown> }

/** What a handler sends with its commit. */
export interface Staged {
  readonly outgoing: ReadonlyArray<Outgoing>
  readonly lateReplies: ReadonlyArray<LateReply>
  /** What it has to be committed in. */
  readonly transaction: OpenTransaction | undefined
  /** What it does about messages for later, where it does anything. */
  readonly later: LaterWrites | undefined
  /** What it appends to event stores. */
  readonly appends: ReadonlyArray<Append>
}

export const nothingStaged: Staged = {
  outgoing: [],
  lateReplies: [],
  transaction: undefined,
  later: undefined,
  appends: []
}

/** What an attempt knows beforehand of what the commit would refuse. */
export interface Foreknown {
  /** Whether a message for later may still be there. */
  readonly mayCancel: (id: ScheduledId) => boolean
  /** Whether its step can append to an event store. */
  readonly appendsTo: (journal: Journal) => boolean
  /** What could not be appended for the message. */
  readonly refused: Refused | undefined
}

/** The state stays, and nobody is told anything. */
const ignored = new HandlerOutcome(undefined, undefined)

const isAnswer = (value: unknown): value is HandlerOutcome | HandlerLock =>
  value instanceof HandlerOutcome || value instanceof HandlerLock

const ofOutcome = (value: unknown, staged: Staged): Handled =>
  value instanceof HandlerOutcome
    ? { _tag: "Outcome", outcome: value, staged }
    : value instanceof HandlerLock
    ? { _tag: "Lock", lock: value, staged }
    : {
      _tag: "Defect",
      cause: Cause.die(new Error("a handler answers an outcome, as its request makes them, and nothing else"))
    }

const ofExit = (exit: Exit.Exit<unknown, unknown>, staged: Staged, { error }: Operation): Handled => {
  if (Exit.isSuccess(exit)) return ofOutcome(exit.value, staged)
  const reasons = exit.cause.reasons
  const first = reasons[0]
  return reasons.length === 1 && first !== undefined && Cause.isFailReason(first) && isAnswerable(first.error, error)
    ? { _tag: "Failure", error: first.error }
    : { _tag: "Defect", cause: exit.cause }
}

/** Whether a failure is one for the caller: the machinery's own is not, nor is that of an event store unless it is declared. */
const isAnswerable = (failure: unknown, declared: Operation["error"]): boolean =>
  !(failure instanceof DurableServerError) &&
  (!Predicate.hasProperty(failure, FailedAttemptTypeId) || declared.encode(failure).ok)

/** Runs an Effect of the user's with a scope of its own. Answers at once where it does not have to wait. */
const run = <A>(
  context: Context.Context<never>,
  effect: Effect.Effect<unknown, unknown, never>,
  convert: (exit: Exit.Exit<unknown, unknown>) => A,
  started: (fiber: Fiber.Fiber<unknown, unknown>) => void,
  done: (result: A) => void
): A | undefined => {
  const scope = Scope.makeUnsafe()
  const fiber = Effect.runForkWith(Context.add(context, Scope.Scope, scope))(
    Effect.onExit(effect, (exit) => Scope.close(scope, exit))
  )
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) return convert(exit)
  started(fiber)
  fiber.addObserver((exit) => done(convert(exit)))
  return undefined
}

/** Where a running attempt reports: when it has to wait, and when it is done. */
export interface Running<A> {
  readonly started: (fiber: Fiber.Fiber<unknown, unknown>) => void
  readonly done: (result: A) => void
}

/** What the handler of a message gives. */
const answerTo = (registration: Registration, message: Message, state: unknown, key: unknown): unknown => {
  const { definition, handleInfo, handlers } = registration
  if (message.operation === definition.info) {
    return handleInfo === undefined ? ignored : handleInfo(new InfoRequest(message, state, key))
  }
  const handler = handlers[message.operation.tag]
  if (handler === undefined) throw new Error(`${definition.kind} has no handler for "${message.operation.tag}"`)
  return handler(new HandlerRequest(message, state, key))
}

/**
 * Runs the handler of a message over a state. Answers at once where the handler does, else through `running`.
 */
export const handle = (
  registration: Registration,
  server: { readonly id: number; readonly kind: string; readonly key: string; readonly decodedKey: unknown },
  message: Message,
  state: unknown,
  { appendsTo, mayCancel, refused }: Foreknown,
  running: Running<Handled>
): Handled | undefined => {
  let answer: unknown
  try {
    answer = answerTo(registration, message, state, server.decodedKey)
  } catch (error) {
    return { _tag: "Defect", cause: Cause.die(error) }
  }
  if (!Effect.isEffect(answer)) return ofOutcome(answer, nothingStaged)
  const outgoing: Array<Outgoing> = []
  const lateReplies: Array<LateReply> = []
  let transaction: OpenTransaction | undefined
  let later: LaterWrites | undefined
  let appending: Appending | undefined
  let open = true
  const context = Context.add(registration.context, CurrentTransition, {
    kind: server.kind,
    key: server.key,
    isOpen: () => open,
    stage: (messages) => {
      if (open) outgoing.push(...messages)
      return open
    },
    answer: (reply) => {
      lateReplies.push(reply)
    },
    transaction: () => transaction,
    within: (opened) => {
      if (open) transaction = opened
      return open
    },
    schedule: (cast) => {
      if (open) (later ??= new LaterWrites()).schedule(cast)
      return open
    },
    cancel: (id) => {
      if (!open) return undefined
      if (later?.unschedule(id) === true) return true
      if (later?.hasCancelled(id) === true || !mayCancel(id)) return false
      later ??= new LaterWrites()
      later.cancel(id)
      return true
    },
    append: (append) => {
      if (!open) return undefined
      appending ??= new Appending(refused, appendsTo)
      return appending.add(append)
    }
  })
  const answers = Effect.onExit(
    answer as Effect.Effect<unknown, unknown>,
    // What did not come to an outcome has nothing to be committed.
    (exit) => Exit.isSuccess(exit) && isAnswer(exit.value) ? Effect.void : transaction?.close ?? Effect.void
  )
  return run(
    context,
    traced(
      answers,
      `${server.kind}.${message.operation.tag} handler`,
      "consumer",
      () => ({ "holdfast.kind": server.kind, "holdfast.key": server.key, "holdfast.message": message.id })
    ),
    (exit) => {
      open = false
      const appends = appending?.appends ?? nothingStaged.appends
      return ofExit(exit, { outgoing, lateReplies, transaction, later, appends }, message.operation)
    },
    running.started,
    running.done
  )
}

/**
 * Runs what goes on under a lock, over the state that the lock was committed with. It belongs to no transition: what it sends
 * is sent at once. Its outcome has a function of the latest state in the place of the next state.
 */
export const handleLocked = (
  registration: Registration,
  server: { readonly kind: string; readonly key: string; readonly decodedKey: unknown },
  message: Message,
  state: unknown,
  running: Running<Handled>
): Handled | undefined => {
  const handler = registration.handleLocked[message.operation.tag]
  if (handler === undefined) {
    return {
      _tag: "Defect",
      cause: Cause.die(new Error(`${server.kind} has no handleLocked for "${message.operation.tag}"`))
    }
  }
  let answer: unknown
  try {
    answer = handler(new HandlerRequest(message, state, server.decodedKey))
  } catch (error) {
    return { _tag: "Defect", cause: Cause.die(error) }
  }
  if (!Effect.isEffect(answer)) return ofOutcome(answer, nothingStaged)
  return run(
    registration.context,
    traced(
      answer as Effect.Effect<unknown, unknown>,
      `${server.kind}.${message.operation.tag} handleLocked`,
      "consumer",
      () => ({ "holdfast.kind": server.kind, "holdfast.key": server.key, "holdfast.message": message.id })
    ),
    (exit) => ofExit(exit, nothingStaged, message.operation),
    running.started,
    running.done
  )
}

/** Runs `init`. What it gives is the state; a failure is a failed attempt. */
export const initialise = (
  registration: Registration,
  key: unknown,
  running: Running<Exit.Exit<unknown, unknown>>
): Exit.Exit<unknown, unknown> | undefined => {
  let state: unknown
  try {
    state = registration.init(key)
  } catch (error) {
    return Exit.die(error)
  }
  return Effect.isEffect(state)
    ? run(registration.context, state as Effect.Effect<unknown, unknown>, (exit) => exit, running.started, running.done)
    : Exit.succeed(state)
}
