// @effect-diagnostics missingEffectError:off
/**
 * What the compiler must refuse of durable servers, and on which line: checked by `npm run check`, which fails when a line
 * marked here is accepted. Nothing of this is run.
 */
import { Context, Effect, type Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { CurrentTransition, type DurableNode, DurableServer, type DurableServerError } from "holdfast/durable"

class Tally extends Schema.Class<Tally>("Tally")({ code: Schema.String, flights: Schema.Int }) {
  departed() {
    return new Tally({ ...this, flights: this.flights + 1 })
  }
}

class Closed extends Schema.TaggedError<Closed>()("Closed", { code: Schema.String }) {}

class Weather extends Context.Service<Weather, { readonly isFine: Effect.Effect<boolean> }>()("test/Weather") {}

class Airport extends DurableServer.make("Airport", {
  state: Tally,
  protocol: [
    Rpc.make("Departed", { payload: { delay: Schema.Int } }),
    Rpc.make("Current", { success: Tally }),
    Rpc.make("Close", { error: Closed })
  ]
}) {}

const init = (code: string) => new Tally({ code, flights: 0 })

/** What a call may answer is what its operation declares, and the one error of the machinery. */
export const refs = Effect.gen(function*() {
  const airport = yield* Airport.client()
  const sea = airport("SEA")
  yield* sea.cast.Departed({ delay: 4 })
  const tally: Tally = yield* sea.call.Current()
  yield* sea.call.Current(undefined, { timeout: "1 second" })
  const closed: Effect.Effect<void, Closed | DurableServerError.DurableServerError> = sea.call.Close()
  yield* sea.castAll((cast) => [cast.Departed({ delay: 1 }), cast.Close()])
  // @ts-expect-error: the payload has a type
  yield* sea.cast.Departed({ delay: "4" })
  // @ts-expect-error: the payload is not optional
  yield* sea.cast.Departed()
  // @ts-expect-error: nothing of that name is declared
  yield* sea.call.Depart({ delay: 4 })
  // @ts-expect-error: a cast has no answer
  const none: Tally = yield* sea.cast.Current()
  // @ts-expect-error: the key of this kind is a string
  airport(1)
  return { closed, none, tally }
})

/** A layer asks for what its handlers use, and for nothing that only handlers have. */
export const live: Layer.Layer<never, never, DurableNode.DurableNode | Weather> = Airport.toLayer({
  init,
  handlers: {
    Departed: ({ noReply, state }) => noReply(state.departed()),
    Current: ({ reply, state }) =>
      Effect.gen(function*() {
        const transition = yield* CurrentTransition.CurrentTransition
        const weather = yield* Weather
        return (yield* weather.isFine) && transition.isOpen() ? reply(state) : reply(state, state.departed())
      }),
    Close: ({ state }) => Effect.fail(new Closed({ code: state.code }))
  }
})

export const missing = Airport.toLayer({
  init,
  // @ts-expect-error: `Close` has no handler
  handlers: {
    Departed: ({ noReply, state }) => noReply(state.departed()),
    Current: ({ reply, state }) => reply(state)
  }
})

export const undeclared = Airport.toLayer({
  init,
  handlers: {
    Departed: ({ noReply }) => noReply(),
    Current: ({ reply, state }) => reply(state),
    Close: ({ noReply }) => noReply(),
    // @ts-expect-error: nothing of that name is declared
    Open: () => 1
  }
})

export const wrongReply = Airport.toLayer({
  init,
  handlers: {
    Departed: ({ noReply }) => noReply(),
    // @ts-expect-error: the reply is a Tally
    Current: ({ reply }) => reply(3),
    Close: ({ noReply }) => noReply()
  }
})

export const wrongState = Airport.toLayer({
  init,
  handlers: {
    // @ts-expect-error: the state is a Tally
    Departed: ({ noReply, state }) => noReply(state.flights),
    Current: ({ reply, state }) => reply(state),
    Close: ({ noReply }) => noReply()
  }
})

export const withoutReply = Airport.toLayer({
  init,
  handlers: {
    Departed: ({ noReply }) => noReply(),
    // @ts-expect-error: this operation declares a success, so it has to be given
    Current: ({ noReply }) => noReply(),
    Close: ({ noReply }) => noReply()
  }
})

export const undeclaredError = Airport.toLayer({
  init,
  handlers: {
    // @ts-expect-error: this operation declares no error
    Departed: ({ state }) => Effect.fail(new Closed({ code: state.code })),
    Current: ({ reply, state }) => reply(state),
    Close: ({ noReply }) => noReply()
  }
})

export const wrongInit = Airport.toLayer({
  // @ts-expect-error: the state is a Tally
  init: (code) => ({ code }),
  handlers: {
    Departed: ({ noReply }) => noReply(),
    Current: ({ reply, state }) => reply(state),
    Close: ({ noReply }) => noReply()
  }
})

/** What actions after the commit use is asked for as well. */
export const actions: Layer.Layer<never, never, DurableNode.DurableNode | Weather> = Airport.toLayer({
  init,
  handlers: {
    Departed: ({ noReply }) => noReply().afterCommit((tally) => Effect.andThen(Weather, Effect.succeed(tally.flights))),
    Current: ({ replyLater }) => replyLater(),
    Close: ({ noReply }) => noReply()
  }
})

export const stops = Airport.toLayer({
  init,
  handlers: {
    Departed: ({ stop }) => stop({ reason: "normal" }),
    // @ts-expect-error: this operation declares a success, so it has to be given
    Current: ({ stop }) => stop({ reason: "normal" }),
    Close: ({ state, stop }) => stop({ reason: "closed", state })
  }
})

/** A handler that may lock has its `handleLocked`, whose next state is an update of the latest one. */
export const locks: Layer.Layer<never, never, DurableNode.DurableNode | Weather> = Airport.toLayer({
  init,
  handlers: {
    Departed: ({ lock, noReply, payload, state }) => payload.delay > 60 ? lock() : noReply(state.departed()),
    Current: ({ lock }) => Effect.succeed(lock()),
    Close: ({ noReply }) => noReply()
  },
  handleLocked: {
    Departed: ({ noReply }) => noReply((latest) => latest.departed()),
    Current: Effect.fnUntraced(function*({ reply, state }) {
      const weather = yield* Weather
      return (yield* weather.isFine) ? reply(state) : reply(state, (latest) => latest.departed())
    })
  }
})

export const locksAlone = Airport.toLayer(
  // @ts-expect-error: `Departed` may lock and has no `handleLocked`
  {
    init,
    handlers: {
      Departed: ({ lock, noReply, payload }) => payload.delay > 60 ? lock() : noReply(),
      Current: ({ reply, state }) => reply(state),
      Close: ({ noReply }) => noReply()
    }
  }
)

export const locksAnother = Airport.toLayer({
  init,
  handlers: {
    Departed: ({ lock }) => lock(),
    Current: ({ reply, state }) => reply(state),
    Close: ({ noReply }) => noReply()
  },
  // @ts-expect-error: `Departed` may lock and has no `handleLocked`, `Close` has one
  handleLocked: { Close: ({ noReply }) => noReply() }
})

export const wrongUpdate = Airport.toLayer({
  init,
  handlers: {
    Departed: ({ lock }) => lock(),
    Current: ({ reply, state }) => reply(state),
    Close: ({ noReply }) => noReply()
  },
  // @ts-expect-error: an update gives a Tally
  handleLocked: { Departed: ({ noReply }) => noReply((latest) => latest.flights) }
})

const Current = Rpc.make("Current", { success: Tally, error: Closed })
const current = Schema.decodeSync(DurableServer.From(Current))("call 1.2")

/** Late replies are made by handlers and by nobody else, and are what the operation declares. */
export const late: Effect.Effect<void, never, CurrentTransition.CurrentTransition> = DurableServer.replyTo(
  current,
  init("SEA")
)
// @ts-expect-error: the reply is a Tally
export const lateWrong = DurableServer.replyTo(current, 3)
// @ts-expect-error: the failure is a Closed
export const lateFailure = DurableServer.failTo(current, new Error("no"))

// @ts-expect-error: a key encodes to a string
export const wrongKey = DurableServer.make("Wrong", { state: Tally, protocol: [], key: Schema.Int })

/** Keys may be of several parts, as long as they encode to a string. */
export class Seat extends DurableServer.make("Seat", {
  state: Schema.Struct({ taken: Schema.Boolean }),
  protocol: [Rpc.make("Take", { success: Schema.Boolean })],
  key: Schema.TemplateLiteralParser([Schema.String, "/", Schema.FiniteFromString])
}) {}

export const seat = Effect.map(Seat.client(), (seat) => seat(["LH400", "/", 12]).call.Take())

const departed = Rpc.make("Departed")

/** States are stored field by field where their schema has fields: a class or a struct. */
export class Tallies extends DurableServer.make("Tallies", {
  state: Tally,
  protocol: [departed],
  persistence: "incremental"
}) {}
export class Gates extends DurableServer.make("Gates", {
  state: Schema.Struct({ gates: Schema.Array(Schema.Struct({ id: Schema.String })) }),
  protocol: [departed],
  persistence: "incremental"
}) {}
export class Totals extends DurableServer.make("Totals", {
  state: Schema.Int,
  protocol: [departed],
  persistence: "whole"
}) {}
export const withoutFields = DurableServer.make("Total", {
  state: Schema.Int,
  protocol: [departed],
  // @ts-expect-error: a number has no fields
  persistence: "incremental"
})
export const unionOfFields = DurableServer.make("Either", {
  state: Schema.Union([Tally, Schema.Struct({ closed: Schema.Boolean })]),
  protocol: [departed],
  // @ts-expect-error: which fields it has depends
  persistence: "incremental"
})
export const otherPersistence = DurableServer.make("Other", {
  state: Tally,
  protocol: [departed],
  // @ts-expect-error: there is no such way
  persistence: "partial"
})
/** Messages for later give an id, which a state can keep, and take what their operations take. */
export const later = Effect.gen(function*() {
  const sea = (yield* Airport.client())("SEA")
  const timer: DurableServer.Scheduled = yield* sea.castAfter("1 hour").Departed({ delay: 4 })
  yield* sea.castAt(new Date(0)).Close()
  const inTime: boolean = yield* DurableServer.cancel(timer)
  const failure: Effect.Effect<DurableServer.Scheduled, DurableServerError.DurableServerError> = sea.castAfter(1)
    .Close()
  // @ts-expect-error: the payload has a type
  yield* sea.castAfter("1 hour").Departed({ delay: "4" })
  // @ts-expect-error: nothing of that name is declared
  yield* sea.castAfter("1 hour").Depart({ delay: 4 })
  // @ts-expect-error: this is no duration
  yield* sea.castAfter("an hour").Close()
  // @ts-expect-error: this is no time
  yield* sea.castAt("tomorrow").Close()
  // @ts-expect-error: a text that is not known to be an id is none
  yield* DurableServer.cancel("1.2.3")
  return { failure, inTime }
})

export const Timed = Schema.Struct({ timer: Schema.NullOr(DurableServer.Scheduled) })

const Flown = Schema.Struct({ flown: Schema.Int })
const same: DurableServer.Migration = (old) => old

/** Each version has its step; the earliest may be missing, the last may not. */
export class Versioned extends DurableServer.make("Versioned", {
  state: Tally,
  stateVersion: 3,
  migrate: {
    1: same,
    2: DurableServer.migration(Flown, Tally, ({ flown }) => new Tally({ code: "", flights: flown }))
  },
  protocol: []
}) {}

export class Shortened extends DurableServer.make("Shortened", {
  state: Tally,
  stateVersion: 4,
  migrate: { 3: same },
  protocol: []
}) {}

export class FirstVersion extends DurableServer.make("FirstVersion", { state: Tally, stateVersion: 1, protocol: [] }) {}

export const lastStepMissing = DurableServer.make("Wrong", {
  state: Tally,
  stateVersion: 3,
  // @ts-expect-error: there is no step from version 2
  migrate: { 1: same },
  protocol: []
})

// @ts-expect-error: there is no step from version 1
export const noSteps = DurableServer.make("Wrong", { state: Tally, stateVersion: 2, protocol: [] })

export const stepTooFar = DurableServer.make("Wrong", {
  state: Tally,
  stateVersion: 2,
  // @ts-expect-error: a step from version 2 leads nowhere
  migrate: { 1: same, 2: same },
  protocol: []
})

export const noVersion = DurableServer.make("Wrong", {
  state: Tally,
  // @ts-expect-error: there is one version, and no step to it
  migrate: { 1: same },
  protocol: []
})

// @ts-expect-error: the step gives a Tally
export const wrongStep = DurableServer.migration(Flown, Tally, ({ flown }) => flown)
