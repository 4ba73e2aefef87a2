/**
 * What a request has to get past at a gateway worker before anything is done for it: the rights of the client's token, the stores
 * that the worker serves, how much of the client's is under way for that store, and whether the store answers at all.
 *
 * A right is looked for before anything else is, so that whoever has none is told the same of every store, there or not.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import { AccessDenied, EventStoreError, Overloaded, StoreNotFound, StoreUnavailable } from "../../EventStoreError.ts"
import { allows, type Right } from "../../GatewayToken.ts"
import { failure } from "../checks.ts"
import type { Breaker } from "./breaker.ts"
import type { Session } from "./clients.ts"

export interface Caller {
  readonly client: Rpc.ServerClient
}

export interface Guarding {
  /** The stores that this worker serves; all of them where it does not say. */
  readonly stores: ReadonlyArray<string> | undefined
  readonly breaker: Breaker
  readonly clock: Clock.Clock
  readonly sessionOf: (clientId: number) => Session | undefined
}

/** What came of a request, as the breaker sees it: whether the store has answered, whatever it said. */
const record = (breaker: Breaker, store: string, now: number, exit: Exit.Exit<unknown, EventStoreError>): void => {
  if (Exit.isSuccess(exit)) return breaker.succeeded(store)
  if (Cause.hasInterruptsOnly(exit.cause)) return breaker.forgotten(store)
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  if (error?.reason._tag === "Overloaded") return breaker.forgotten(store)
  return error === undefined || error.reason._tag === "StoreUnavailable"
    ? breaker.failed(store, now)
    : breaker.succeeded(store)
}

export const guard = ({ breaker, clock, sessionOf, stores }: Guarding) => {
  /** Lets a request in, or says why not: one of the rights will do. `undefined`: the client has gone. */
  const admit = (
    { client }: Caller,
    store: string,
    rights: ReadonlyArray<Right>
  ): Session | EventStoreError | undefined => {
    const session = sessionOf(client.id)
    if (session === undefined) return undefined
    if (!allows(session.claims, store, rights)) return failure(new AccessDenied({ store, rights }))
    if (stores !== undefined && !stores.includes(store)) return failure(new StoreNotFound({ store }))
    const busy = session.enter(store)
    if (busy !== undefined) return busy
    if (breaker.admits(store, clock.currentTimeMillisUnsafe())) return session
    session.exit(store)
    return failure(new Overloaded({ what: "store" }))
  }

  /** What was let in is over. */
  const leave = (session: Session, store: string, exit: Exit.Exit<unknown, EventStoreError>): void => {
    session.exit(store)
    record(breaker, store, clock.currentTimeMillisUnsafe(), exit)
  }

  /** What is said where an answer is a defect. */
  const explained = <A, R>(store: string, operation: string, answer: Effect.Effect<A, EventStoreError, R>) =>
    Effect.catchDefect(answer, (defect) =>
      Effect.andThen(
        Effect.logError(`${operation} has failed`, Cause.die(defect)),
        Effect.fail(
          failure(new StoreUnavailable({ store, operation, detail: "the worker has failed", mayBeDone: true }))
        )
      ))

  /** Runs what is asked within its bounds. */
  const within = <A, R>(
    caller: Caller,
    store: string,
    rights: ReadonlyArray<Right>,
    operation: string,
    effect: (session: Session) => Effect.Effect<A, EventStoreError, R>
  ): Effect.Effect<A, EventStoreError, R> =>
    Effect.suspend(() => {
      const session = admit(caller, store, rights)
      if (session === undefined) return Effect.interrupt
      if (session instanceof EventStoreError) return Effect.fail(session)
      return Effect.onExit(explained(store, operation, Effect.suspend(() => effect(session))), (exit) => {
        leave(session, store, exit)
        return Effect.void
      })
    })

  return { admit, leave, explained, within }
}

export type Guard = ReturnType<typeof guard>
