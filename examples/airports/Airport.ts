/**
 * An airport as a durable server: its state, the messages it understands, and what it does with each. The key is the
 * airport's code, such as `SEA`; the state is a tally that outlives every process that ever held it.
 */
import { Effect, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer } from "holdfast/durable"
import { Departed, Departures } from "./Departures.ts"

/** What a flight is to an airport. `flight` says which one: a flight that was counted is not counted again. */
const Leg = Schema.Struct({ flight: Schema.String, delay: Schema.Int, distance: Schema.Int })

/** A flight that leaves: what the departures board wants to know of it besides. */
const Departure = Schema.Struct({ ...Leg.fields, date: Schema.String, destination: Schema.String })

/** What an airport knows of its traffic. Minutes and miles are of departures and arrivals together. */
export class Tally extends Schema.Class<Tally>("Tally")({
  departures: Schema.Int,
  arrivals: Schema.Int,
  minutesLate: Schema.Int,
  miles: Schema.Int
}) {
  static readonly zero = new Tally({ departures: 0, arrivals: 0, minutesLate: 0, miles: 0 })

  get flights(): number {
    return this.departures + this.arrivals
  }

  get averageDelay(): number {
    return this.flights === 0 ? 0 : this.minutesLate / this.flights
  }

  departed(leg: typeof Leg.Type): Tally {
    return new Tally({ ...this.with(leg), departures: this.departures + 1 })
  }

  arrived(leg: typeof Leg.Type): Tally {
    return new Tally({ ...this.with(leg), arrivals: this.arrivals + 1 })
  }

  private with({ delay, distance }: typeof Leg.Type) {
    return { ...this, minutesLate: this.minutesLate + delay, miles: this.miles + distance }
  }
}

/** The definition. A process that only sends messages needs no more than this. */
export class Airport extends DurableServer.make("Airport", {
  state: Tally,
  protocol: [
    Rpc.make("Departed", { payload: Departure.fields, primaryKey: ({ flight }) => flight }),
    Rpc.make("Arrived", { payload: Leg.fields, primaryKey: ({ flight }) => flight }),
    Rpc.make("Current", { success: Tally })
  ]
}) {}

/**
 * The handlers. Whichever process provides this layer may hold airports; at any time one process holds each. A departure is counted
 * and written to the event store in one step: the state and the event are there together, or neither is.
 */
export const AirportLive = Airport.toLayer(Effect.map(Departures.client(), (departures) =>
  Airport.of({
    init: () => Tally.zero,
    handlers: {
      Departed: ({ key, noReply, payload, state }) =>
        Effect.as(departures.appendEvents(key, [Departed.make(payload)]), noReply(state.departed(payload))),
      Arrived: ({ noReply, payload, state }) => noReply(state.arrived(payload)),
      Current: ({ reply, state }) => reply(state)
    }
  })))
