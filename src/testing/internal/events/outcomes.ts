/**
 * What is promised of appends in the handlers of durable servers: they are committed with the handler's state, or not at all.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Rpc from "effect/rpc/Rpc"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import assert from "node:assert/strict"
import type { DurableNode } from "../../../durable/DurableNode.ts"
import * as DurableServer from "../../../durable/DurableServer.ts"
import type { DurableServerError } from "../../../durable/DurableServerError.ts"
import { EventStore } from "../../../events/EventStore.ts"
import type { EventStoreError } from "../../../events/EventStoreError.ts"
import { counted, numbersOf, range, reasonOf } from "./cases.ts"

/** One promise, and what shows whether it is kept: it dies where it is not. */
export interface Case {
  readonly name: string
  readonly effect: Effect.Effect<void, EventStoreError, EventStore | DurableNode>
}

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}

type Failures = EventStoreError | Declined

/** What a handler does, besides counting; what it gives is the answer. */
type Deed = (count: number) => Effect.Effect<string, Failures>

interface Given {
  readonly events: EventStore["Service"]
  /** The id of a store that is there and empty. */
  readonly store: string
  /** Has the server of that name do something, and tells what it answers. */
  readonly perform: (name: string, deed: Deed) => Effect.Effect<string, Failures | DurableServerError>
  /** How often a server has done something. */
  readonly count: (name: string) => Effect.Effect<number, DurableServerError>
}

/** Servers that do what they are told, of a kind that no other case has. */
const servers = Effect.fnUntraced(function*(name: string) {
  const deeds: Array<Deed> = []
  class Doer extends DurableServer.make(`Doer ${name}`, {
    state: Schema.Struct({ count: Schema.Int }),
    protocol: [
      Rpc.make("Do", { payload: { deed: Schema.Int }, success: Schema.String, error: Declined }),
      Rpc.make("Count", { success: Schema.Int })
    ]
  }) {}
  const live = Doer.toLayer({
    init: () => ({ count: 0 }),
    handlers: {
      Do: ({ payload, reply, state }) =>
        Effect.map(
          deeds[payload.deed]?.(state.count) ?? Effect.die(new Error("no such deed")),
          (said) => reply(said, { count: state.count + 1 })
        ),
      Count: ({ reply, state }) => reply(state.count)
    }
  }, { defectRetryPolicy: Schedule.recurs(1) })
  // Most of these cases make things fail on purpose.
  yield* Layer.build(Layer.provide(live, Layer.succeed(References.MinimumLogLevel, "None")))
  const doer = yield* Doer.client()
  return {
    perform: (name: string, deed: Deed) =>
      Effect.suspend(() => doer(name).call.Do({ deed: deeds.push(deed) - 1 }, { timeout: "30 seconds" })),
    count: (name: string) => doer(name).call.Count()
  }
})

const promise = (
  name: string,
  test: (
    given: Given
  ) => Generator<Effect.Effect<unknown, unknown, Scope.Scope>, void, never>
): Case => ({
  name,
  effect: Effect.gen(function*() {
    const events = yield* EventStore
    const unused = `${yield* Random.nextIntBetween(0, 2 ** 31)}_${yield* Random.nextIntBetween(0, 2 ** 31)}`
    const store = `suite_${unused}`
    yield* events.createStore(store)
    const { count, perform } = yield* servers(unused)
    yield* Effect.orDie(Effect.gen(() => test({ events, store, perform, count })))
    yield* events.removeStore(store, { purge: true })
  }).pipe(Effect.scoped)
})

const id = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`

/** What is told of an append: its version, or the tag of the reason for which it fails. */
const tell = (append: Effect.Effect<number, EventStoreError>): Effect.Effect<string> =>
  Effect.match(append, { onSuccess: String, onFailure: ({ reason }) => reason._tag })

/** The tag of what something fails with, or of the reason. */
const failureOf = (effect: Effect.Effect<unknown, Failures | DurableServerError>): Effect.Effect<string> =>
  Effect.match(effect, {
    onSuccess: () => "none",
    onFailure: (error) => error._tag === "Declined" ? error._tag : error.reason._tag
  })

export const outcomes: ReadonlyArray<Case> = [
  promise("what a handler appends is there with its state", function*({ count, events, perform, store }) {
    const deed: Deed = (n) => tell(events.appendEvents(store, "s", counted(n, n + 1)))
    for (let n = 0; n < 5; n++) {
      yield* perform("a", deed)
      assert.equal(yield* events.getVersion(store, "s"), n)
    }
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 0, 10)), range(0, 5))
    assert.equal(yield* count("a"), 5)
  }),
  promise("until then nobody sees it, the handler neither", function*({ events, perform, store }) {
    const said = yield* perform("a", () =>
      Effect.gen(function*() {
        yield* events.appendEvents(store, "s", counted(0, 3))
        return String(yield* events.getVersion(store, "s"))
      }))
    assert.equal(said, "-1")
    assert.equal(yield* events.getVersion(store, "s"), 2)
  }),
  promise("a handler that fails or dies has appended nothing", function*({ count, events, perform, store }) {
    const append = events.appendEvents(store, "s", counted(0, 1))
    const declining = perform("a", () => Effect.andThen(append, Effect.fail(new Declined())))
    assert.equal(yield* failureOf(declining), "Declined")
    let attempts = 0
    yield* perform(
      "a",
      () => Effect.andThen(append, Effect.suspend(() => attempts++ === 0 ? Effect.die("dies") : Effect.succeed("done")))
    )
    assert.equal(attempts, 2)
    assert.equal(yield* events.getVersion(store, "s"), 0)
    assert.equal(yield* count("a"), 1)
  }),
  promise("what is expected of a stream tells the version before the commit", function*({ events, perform, store }) {
    const first = events.appendEvents(store, "s", counted(0, 2), { expectedVersion: "noStream" })
    assert.equal(yield* perform("a", () => tell(first)), "1")
    const second = events.appendEvents(store, "s", counted(2, 3), { expectedVersion: 1 })
    assert.equal(yield* perform("a", () => tell(second)), "2")
    const any = events.appendEvents(store, "s", counted(3, 4))
    assert.equal(yield* perform("a", () => tell(any)), "NaN")
    const there = events.appendEvents(store, "s", counted(4, 5), { expectedVersion: "streamExists" })
    assert.equal(yield* perform("a", () => tell(there)), "NaN")
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 0, 10)), range(0, 5))
  }),
  promise("several appends of a handler to a stream count on", function*({ events, perform, store }) {
    const at = (n: number, expectedVersion: number | "any" | "noStream" | "streamExists") =>
      tell(events.appendEvents(store, "s", counted(n, n + 1), { expectedVersion }))
    const deed: Deed = () =>
      Effect.map(Effect.all([at(0, "noStream"), at(1, 0), at(2, "streamExists"), at(3, 0), at(3, "any")]), String)
    assert.equal(yield* perform("a", deed), "0,1,2,WrongExpectedVersion,3")
    // What is said later of where the stream is holds for where it was before.
    assert.equal(yield* perform("a", () => Effect.map(Effect.all([at(4, "any"), at(5, 4)]), String)), "NaN,5")
    assert.equal(
      yield* perform("a", () => Effect.map(Effect.all([at(6, "any"), at(7, 9)]), String)),
      "NaN,WrongExpectedVersion"
    )
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 0, 10)), range(0, 7))
  }),
  promise("a wrong expectation: the handler is run again and told", function*({ count, events, perform, store }) {
    yield* events.appendEvents(store, "s", counted(0, 3))
    let runs = 0
    const said = yield* perform("a", () => {
      runs++
      return events.appendEvents(store, "s", counted(3, 4), { expectedVersion: 7 }).pipe(
        Effect.catchReason(
          "EventStoreError",
          "WrongExpectedVersion",
          ({ currentVersion, expectedVersion }) =>
            Effect.as(
              events.appendEvents(store, "s", counted(3, 4), { expectedVersion: currentVersion }),
              expectedVersion
            )
        ),
        Effect.map(String)
      )
    })
    assert.equal(said, "7")
    assert.equal(runs, 2)
    assert.equal(yield* count("a"), 1)
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 0, 10)), range(0, 4))
  }),
  promise("who does not catch it has a failed attempt, and is parked at last", function*(given) {
    const { count, events, perform, store } = given
    yield* events.appendEvents(store, "s", counted(0, 3))
    let runs = 0
    const append = events.appendEvents(store, "s", counted(3, 4), { expectedVersion: "noStream" })
    const deed: Deed = () => Effect.suspend(() => (runs++, Effect.map(append, String)))
    assert.equal(yield* failureOf(perform("a", deed)), "MessageParked")
    // Two attempts, each of which the commit refused before it was told.
    assert.equal(runs, 4)
    assert.equal(yield* count("a"), 0)
    assert.equal(yield* events.getVersion(store, "s"), 2)
  }),
  promise("a deleted stream, a known id and a store that is gone are told", function*({ events, perform, store }) {
    yield* events.appendEvents(store, "s", [{ eventType: "A", data: 1, eventId: id(1) }])
    const known = events.appendEvents(store, "t", [{ eventType: "A", data: 2, eventId: id(1) }])
    const place = yield* perform("a", () =>
      Effect.map(
        reasonOf(known, "DuplicateEvent"),
        ({ eventNumber, eventStreamId }) => `${eventStreamId} ${eventNumber}`
      ).pipe(Effect.catchDefect(() => Effect.succeed("staged"))))
    assert.equal(place, "s 0")
    yield* events.deleteStream(store, "s")
    assert.equal(yield* perform("a", () => tell(events.appendEvents(store, "s", counted(0, 1)))), "StreamDeleted")
    const twice = events.appendEvents(store, "t", [{ eventType: "A", data: 2, eventId: id(2) }])
    assert.equal(
      yield* perform("a", () => Effect.map(Effect.all([tell(twice), tell(twice)]), String)),
      "NaN,DuplicateEvent"
    )
    assert.equal(yield* perform("b", () => tell(twice)), "DuplicateEvent")
    yield* reasonOf(events.getVersion(store, "s"), "StreamDeleted")
    assert.equal(yield* events.getVersion(store, "$all"), 1)
    const other = `${store.slice(0, 30)}_b`
    yield* events.createStore(other)
    const gone = events.appendEvents(other, "s", counted(0, 1))
    yield* perform("a", () => tell(gone))
    yield* events.removeStore(other, { purge: true })
    assert.equal(yield* perform("a", () => tell(gone)), "StoreNotFound")
  }),
  promise("one that is refused sinks nobody else", function*({ count, events, perform, store }) {
    yield* events.appendEvents(store, "s0", counted(0, 1))
    const deed = (n: number): Deed => () =>
      Effect.map(
        Effect.all([
          events.appendEvents(store, `s${n}`, counted(1, 2), { expectedVersion: "noStream" }),
          events.appendEvents(store, "all", counted(n, n + 1))
        ]),
        String
      )
    const results = yield* Effect.forEach(
      range(0, 40),
      (n) => Effect.result(perform(`server ${n}`, deed(n % 2 === 0 ? 0 : n))),
      { concurrency: "unbounded" }
    )
    results.forEach((result, n) => assert.equal(Result.isSuccess(result), n % 2 === 1, `server ${n}`))
    assert.deepEqual(
      [...numbersOf(yield* events.getEvents(store, "all", 0, 100))].sort((a, b) => a - b),
      range(0, 40).filter((n) => n % 2 === 1)
    )
    for (const n of [0, 1, 2, 3]) assert.equal(yield* count(`server ${n}`), n % 2)
    assert.equal(yield* events.getVersion(store, "s0"), 0)
  }),
  promise("of 20 servers with one expectation one wins", function*({ events, perform, store }) {
    const append = events.appendEvents(store, "s", counted(0, 1), { expectedVersion: "noStream" })
    const said = yield* Effect.forEach(range(0, 20), (n) => perform(`server ${n}`, () => tell(append)), {
      concurrency: "unbounded"
    })
    assert.deepEqual([...said].sort(), ["0", ...Array.from({ length: 19 }, () => "WrongExpectedVersion")])
    assert.equal(yield* events.getVersion(store, "s"), 0)
  }),
  promise("of 20 servers with one id one wins", function*({ events, perform, store }) {
    const append = events.appendEvents(store, "s", [{ eventType: "A", data: 1, eventId: id(3) }])
    const said = yield* Effect.forEach(range(0, 20), (n) => perform(`server ${n}`, () => tell(append)), {
      concurrency: "unbounded"
    })
    assert.deepEqual([...said].sort(), [...Array.from({ length: 19 }, () => "DuplicateEvent"), "NaN"])
    assert.equal(yield* events.getVersion(store, "$all"), 0)
  }),
  promise("messages of one server, each of which counts on from the one before", function*(given) {
    const { count, events, perform, store } = given
    const deed: Deed = (n) =>
      Effect.map(events.appendEvents(store, "s", counted(n, n + 1), { expectedVersion: n - 1 }), String)
    const said = yield* Effect.forEach(range(0, 50), () => perform("a", deed), { concurrency: "unbounded" })
    assert.deepEqual(said, range(0, 50).map(String))
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 0, 100)), range(0, 50))
    assert.equal(yield* count("a"), 50)
  }),
  promise("many servers and many plain appends at once: all of it once, in one dense order", function*(given) {
    const { events, perform, store } = given
    const deed = (n: number): Deed => () =>
      Effect.map(
        Effect.all([
          events.appendEvents(store, `s${n % 7}`, counted(n, n + 1)),
          events.appendEvents(store, `t${n % 5}`, counted(n, n + 1))
        ]),
        String
      )
    yield* Effect.forEach(
      range(0, 200),
      (n) =>
        n % 2 === 0
          ? Effect.asVoid(perform(`server ${n % 23}`, deed(n)))
          : Effect.asVoid(events.appendEvents(store, `s${n % 7}`, [...counted(n, n + 1), ...counted(n, n + 1)])),
      { concurrency: "unbounded" }
    )
    const recorded = yield* events.getEvents(store, "$all", 0, 1000)
    assert.deepEqual(recorded.map(({ globalPosition }) => globalPosition), range(0, 400))
    assert.deepEqual([...numbersOf(recorded)].sort((a, b) => a - b), range(0, 400).map((n) => Math.floor(n / 2)))
    const next = new Map<string, number>()
    for (const { eventNumber, eventStreamId } of recorded) {
      assert.equal(eventNumber, next.get(eventStreamId) ?? 0)
      next.set(eventStreamId, eventNumber + 1)
    }
    // What a handler appends stands in the order in which it was appended, with nothing in between.
    recorded.forEach(({ eventStreamId }, index) => {
      if (eventStreamId.startsWith("t")) assert.match(recorded[index - 1]?.eventStreamId ?? "", /^s/)
    })
  }),
  promise("a subscription is given what handlers append", function*({ events, perform, store }) {
    const seen = yield* events.subscribe(store, { startFrom: "origin" }).pipe(
      Stream.take(3),
      Stream.runCollect,
      Effect.forkScoped
    )
    for (let n = 0; n < 3; n++) {
      yield* perform("a", (count) => tell(events.appendEvents(store, "s", counted(count, count + 1))))
    }
    assert.deepEqual(numbersOf((yield* Fiber.join(seen)).map(({ event }) => event)), range(0, 3))
  }),
  promise("what a handler has left running appends on its own", function*({ events, perform, store }) {
    let left: Fiber.Fiber<number, EventStoreError> | undefined
    yield* perform("a", () =>
      Effect.gen(function*() {
        const append = events.appendEvents(store, "s", counted(0, 1))
        left = yield* Effect.forkDetach(Effect.andThen(Effect.yieldNow.pipe(Effect.repeat({ times: 200 })), append))
        return "left"
      }))
    assert.ok(left !== undefined)
    assert.equal(yield* Fiber.join(left), 0)
  })
]
