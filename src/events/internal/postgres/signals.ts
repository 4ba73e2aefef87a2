/**
 * What has changed in the stores, here and in other processes: those who wait for events, or for a subscription to get free, are
 * woken. Other processes are told by hints, which may get lost: what no hint told of is found by looking.
 *
 * A hint wakes every process that is there, which costs more than an append. So a few are sent at once, and where they follow each
 * other faster, what comes in the next milliseconds is told of together.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Member from "../../../member/Member.ts"
import * as pacing from "../pacing.ts"
import { Signal } from "../signal.ts"
import type { Reader } from "./reader.ts"

export interface Signals {
  /** New events of a store. */
  readonly eventsOf: (store: string) => Signal
  /** Subscriptions of a store that have or may get another owner. */
  readonly ownersOf: (store: string) => Signal
  /** Tells this process, and all others. */
  readonly tell: (what: "events" | "subscriptions", store: string) => void
}

/** So many hints at once, and one in so many milliseconds in the long run. */
const pace = { periodMillis: 5, burst: 4 }

export const make = Effect.fnUntraced(function*(options: {
  readonly engine: Member.Engine
  readonly reader: Reader
  readonly pollMillis: number
}): Effect.fn.Return<Signals, never, Scope.Scope> {
  const { engine, pollMillis, reader } = options
  const events = new Map<string, Signal>()
  const owners = new Map<string, Signal>()
  const signalIn = (signals: Map<string, Signal>) => (store: string): Signal => {
    const known = signals.get(store) ?? new Signal()
    signals.set(store, known)
    return known
  }

  const hint = yield* pacing.make(pace, (payloads) => {
    for (const payload of payloads) engine.hint({ to: "everyone", payload: `${payload}:${engine.id()}` })
  })

  yield* engine.onHint((payload) => {
    if (payload === "missed") {
      for (const signals of [events, owners]) for (const signal of signals.values()) signal.changed()
      return
    }
    const [what, store = "", from] = payload.split(":")
    if (Number(from) === engine.id()) return
    if (what === "events") events.get(store)?.changed()
    if (what === "subscriptions") owners.get(store)?.changed()
  })

  // For as long as anybody waits for it.
  const lookedAt = new Map<string, number>()
  yield* Effect.sleep(Duration.millis(pollMillis)).pipe(
    Effect.andThen(Effect.suspend(() =>
      Effect.forEach(
        Array.from(events).filter(([, signal]) => signal.isAwaited),
        ([store, signal]) =>
          reader.call(store, "poll", "changes", "head(NULL)", []).pipe(
            Effect.matchEffect({
              // Whoever waits finds out what the matter is.
              onFailure: () => Effect.sync(() => signal.changed()),
              onSuccess: ([row]) =>
                Effect.sync(() => {
                  const changes = Number(row?.[0])
                  if (lookedAt.get(store) !== changes) signal.changed()
                  lookedAt.set(store, changes)
                })
            })
          ),
        { discard: true }
      )
    )),
    Effect.forever,
    Effect.forkScoped
  )

  return {
    eventsOf: signalIn(events),
    ownersOf: signalIn(owners),
    tell: (what, store) => {
      const signals = what === "events" ? events : owners
      signals.get(store)?.changed()
      hint(`${what}:${store}`)
    }
  }
})
