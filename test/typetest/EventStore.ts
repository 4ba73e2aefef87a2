// @effect-diagnostics missingEffectError:off floatingEffect:off
/**
 * What the compiler must refuse of event stores, and on which line: checked by `npm run check`, which fails when a line marked
 * here is accepted. Nothing of this is run.
 */
import type { PgClient } from "@effect/sql-pg"
import { Effect, Schema, type Stream } from "effect"
import { SqlClient } from "effect/sql"
import { EventStore, type EventStoreError, PostgresEventStore, type Subscription } from "holdfast/events"

const Departed = Schema.TaggedStruct("Departed", { delay: Schema.Int })
type Departed = typeof Departed.Type
const Landed = Schema.TaggedStruct("Landed", { runway: Schema.String })
type Landed = typeof Landed.Type

class Flights extends EventStore.make("flights", { events: [Departed, Landed] }) {}

/** Needs the service and nothing else, and never fails. */
export const client: Effect.Effect<EventStore.Store<typeof Flights>, never, EventStore.EventStore> = Flights.client()

export const appending = Effect.gen(function*() {
  const flights = yield* Flights.client()
  yield* flights.appendEvents("AS 1", [Departed.make({ delay: 4 }), { _tag: "Landed", runway: "34L" }])
  yield* flights.appendEvents("AS 1", [EventStore.envelope(Departed.make({ delay: 4 }), { metadata: { user: "ada" } })])
  // @ts-expect-error: the data has a type
  yield* flights.appendEvents("AS 1", [{ _tag: "Landed", runway: 34 }])
  // @ts-expect-error: there is no such event
  yield* flights.appendEvents("AS 1", [{ _tag: "Diverted" }])
  // @ts-expect-error: an expectation is a number or one of three words
  yield* flights.appendEvents("AS 1", [], { expectedVersion: "nothing" })
})

export const reading = Effect.gen(function*() {
  const flights = yield* Flights.client()
  const [first] = yield* flights.getEvents("AS 1", 0, 1)
  if (first?.eventType === "Departed") {
    const delay: number = first.data.delay
    // @ts-expect-error: the type of the event says which data it has
    return [delay, first.data.runway]
  }
  return first?.data.runway
})

export const subscribing = Effect.gen(function*() {
  const flights = yield* Flights.client()
  const landed: Stream.Stream<
    Subscription.Delivery<EventStore.Recorded<Landed>>,
    EventStoreError.EventStoreError
  > = flights.subscribe({ eventType: "Landed" })
  const both: Stream.Stream<
    Subscription.Delivery<EventStore.Recorded<Departed | Landed>>,
    EventStoreError.EventStoreError
  > = flights.subscribe({ name: "board" })
  // @ts-expect-error: there is no such event
  flights.subscribe({ eventType: "Diverted" })
  return [landed, both]
})

/** The store gives the handler its client, and only a store in Postgres can. */
export const transactional: Effect.Effect<
  never,
  EventStoreError.EventStoreError | "no",
  EventStore.EventStore | PostgresEventStore.PostgresEventStore
> = PostgresEventStore.runTransactional("flights", { name: "board" }, () =>
  Effect.gen(function*() {
    yield* Effect.service(SqlClient.SqlClient)
    return yield* Effect.fail("no" as const)
  }))

// @ts-expect-error: a transactional subscription has a name
PostgresEventStore.runTransactional("flights", {}, () => Effect.void)

// @ts-expect-error: an event has a tag
EventStore.make("untagged", { events: [Schema.Struct({ delay: Schema.Int })] })

export type Used = PgClient.PgClient
