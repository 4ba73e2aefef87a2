/**
 * What the cases of the suite for event stores have in common: a store of their own each, events to append, and the errors
 * that they expect.
 */
import * as Effect from "effect/Effect"
import { EventStore } from "../../../events/EventStore.ts"
import type { EventStoreError, EventStoreErrorReason } from "../../../events/EventStoreError.ts"
import type { NewEvent, RecordedEvent } from "../../../events/RecordedEvent.ts"
import type * as Conformance from "../../Conformance.ts"
import { defineTimeless, unused } from "../cases.ts"

export type Case = Conformance.Case<EventStore>

/** What a case works with. */
export interface Given {
  readonly events: EventStore["Service"]
  /** The id of a store that is there and empty. */
  readonly store: string
}

/** A promise about a store, each time with a new one. */
export const promise = (
  name: string,
  test: (given: Given) => Generator<Effect.Effect<unknown, EventStoreError, never>, void, never>,
  config: { readonly hardDeletes?: boolean } = {}
): Case =>
  defineTimeless(
    name,
    Effect.gen(function*() {
      const events = yield* EventStore
      const store = `suite_${yield* unused}`
      const purge = events.removeStore(store, { purge: true })
      yield* events.createStore(store, config)
      yield* Effect.onError(Effect.gen(() => test({ events, store })), () => Effect.ignore(purge))
      yield* purge
    })
  )

/** Events of type `Counted` with the numbers from one to before another. */
export const counted = (from: number, to: number): ReadonlyArray<NewEvent> =>
  Array.from({ length: to - from }, (_, index) => ({ eventType: "Counted", data: { n: from + index } }))

/** The number that a counted event bears. */
export const numberOf = ({ data }: Pick<RecordedEvent, "data">): number =>
  typeof data === "object" && data !== null && "n" in data ? Number(data.n) : Number.NaN

export const numbersOf = (events: ReadonlyArray<RecordedEvent>): ReadonlyArray<number> => events.map(numberOf)

export const range = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: to - from }, (_, index) => from + index)

type Tag = EventStoreErrorReason["_tag"]

/** The reason for which something fails. Dies where it succeeds, or fails for another one. */
export const reasonOf = <A, T extends Tag>(
  effect: Effect.Effect<A, EventStoreError>,
  tag: T
): Effect.Effect<Extract<EventStoreErrorReason, { readonly _tag: T }>> =>
  Effect.matchEffect(effect, {
    onSuccess: () => Effect.die(new Error(`succeeded, where ${tag} was expected`)),
    onFailure: ({ reason }) =>
      isOf(reason, tag) ? Effect.succeed(reason) : Effect.die(new Error(`${reason._tag}, where ${tag} was expected`))
  })

const isOf = <T extends Tag>(
  reason: EventStoreErrorReason,
  tag: T
): reason is Extract<EventStoreErrorReason, { readonly _tag: T }> => reason._tag === tag
