/**
 * The store that airports write their departures to: an event for each, in the stream of its airport, all in one order.
 */
import { Schema } from "effect"
import { EventStore } from "holdfast/events"

export const Departed = Schema.TaggedStruct("Departed", {
  flight: Schema.String,
  date: Schema.String,
  destination: Schema.String,
  delay: Schema.Int
})

export class Departures extends EventStore.make("departures", { events: [Departed] }) {}
