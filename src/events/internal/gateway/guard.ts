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
import {
  AccessDenied,
  type EventStoreError,
  Overloaded,
  StoreNotFound,
  StoreUnavailable
} from "../../EventStoreError.ts"
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

/** Runs what is asked within its bounds; one of the rights will do. */
export const guard = ({ breaker, clock, sessionOf, stores }: Guarding) =>
<A, R>(
  { client }: Caller,
  store: string,
  rights: ReadonlyArray<Right>,
  operation: string,
  effect: (session: Session) => Effect.Effect<A, EventStoreError, R>
): Effect.Effect<A, EventStoreError, R> =>
  Effect.suspend(() => {
    const session = sessionOf(client.id)
    if (session === undefined) return Effect.interrupt
    if (!allows(session.claims, store, rights)) return Effect.fail(failure(new AccessDenied({ store, rights })))
    if (stores !== undefined && !stores.includes(store)) {
      return Effect.fail(failure(new StoreNotFound({ store })))
    }
    const busy = session.enter(store)
    if (busy !== undefined) return Effect.fail(busy)
    if (!breaker.admits(store, clock.currentTimeMillisUnsafe())) {
      session.exit(store)
      return Effect.fail(failure(new Overloaded({ what: "store" })))
    }
    const typed = Effect.catchDefect(effect(session), (defect) =>
      Effect.andThen(
        Effect.logError(`${operation} has failed`, Cause.die(defect)),
        Effect.fail(
          failure(new StoreUnavailable({ store, operation, detail: "the worker has failed", mayBeDone: true }))
        )
      ))
    return Effect.onExit(typed, (exit) => {
      session.exit(store)
      record(breaker, store, clock.currentTimeMillisUnsafe(), exit)
      return Effect.void
    })
  })
