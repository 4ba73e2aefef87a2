/**
 * The appends of one request at a worker: each is let in, looked at and decided alone. They are many, so none of them has a fiber
 * where the storage can do without.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { EventStoreError } from "../../EventStoreError.ts"
import type { Append as WireAppend, Appended } from "../../GatewayRpcs.ts"
import { checkAppended, checkExpectedVersion, checkStore, checkStream } from "../checks.ts"
import type { Append, EventStorage } from "../storage.ts"
import type { Caller, Guard } from "./guard.ts"
import * as wire from "./wire.ts"

/** An append as the storage takes it, or what is wrong with it. */
export const checked = (
  store: string,
  [eventStreamId, expectedVersion, wired]: WireAppend
): Append | EventStoreError => {
  const events = wired.map(wire.fromWire)
  return checkStore(store) ?? checkStream(eventStreamId) ?? checkExpectedVersion(expectedVersion) ??
    checkAppended(store, eventStreamId, events) ?? { eventStreamId, expectedVersion, events }
}

/** Begins appends, and tells of each when it is decided. With the scope, whoever still waits does so no longer. */
export const beginning = (
  { admit, explained, leave }: Guard,
  storage: Pick<EventStorage, "append" | "beginAppend">
) =>
  Effect.fnUntraced(function*(
    caller: Caller,
    store: string,
    appends: ReadonlyArray<WireAppend>,
    decided: (result: typeof Appended.Type) => void
  ): Effect.fn.Return<void, never, Scope.Scope> {
    const context = yield* Effect.context<never>()
    const underWay = new Set<{ stop: () => void }>()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const { stop } of underWay) stop()
      })
    )

    const begin = (wired: WireAppend, index: number): void => {
      const session = admit(caller, store, ["append"])
      if (session === undefined) return
      if (session instanceof EventStoreError) return decided([index, session])
      const pending = { stop: (): void => {} }
      const run = (answer: Effect.Effect<number, EventStoreError>): () => void => {
        const fiber = Effect.runForkWith(context)(explained(store, "appendEvents", answer))
        fiber.addObserver(over)
        return () => fiber.interruptUnsafe()
      }
      const over = (exit: Exit.Exit<number, EventStoreError>): void => {
        if (!underWay.delete(pending)) return
        leave(session, store, exit)
        if (Exit.isSuccess(exit)) return decided([index, exit.value])
        const error = Cause.findErrorOption(exit.cause)
        if (Option.isSome(error)) decided([index, error.value])
      }
      const settle = (exit: Exit.Exit<number, EventStoreError>): void => {
        if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) run(exit)
        else over(exit)
      }
      underWay.add(pending)
      const append = checked(store, wired)
      if (append instanceof EventStoreError) return over(Exit.fail(append))
      const stop = storage.beginAppend?.(store, append, settle) ??
        run(Effect.suspend(() => storage.append(store, append)))
      pending.stop = () => {
        stop()
        over(Exit.interrupt())
      }
    }

    appends.forEach(begin)
  })
