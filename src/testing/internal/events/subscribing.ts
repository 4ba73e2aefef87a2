/**
 * What is promised of subscriptions.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import assert from "node:assert/strict"
import type { EventStoreError } from "../../../events/EventStoreError.ts"
import * as Selector from "../../../events/Selector.ts"
import type { Delivery, Options } from "../../../events/Subscription.ts"
import { type Case, counted, type Given, numberOf, numbersOf, promise, range, reasonOf } from "./cases.ts"

/** The first events of a subscription, each acknowledged. */
const firstOf = ({ events, store }: Given, count: number, options: Options) =>
  Effect.map(
    Stream.runCollect(
      events.subscribe(store, options).pipe(Stream.take(count), Stream.tap((delivery) => delivery.ack))
    ),
    (deliveries) => deliveries.map(({ event }) => event)
  )

/** Deliveries one by one, as a test asks for them, until `close`. */
const open = ({ events, store }: Given, options: Options) =>
  Effect.gen(function*() {
    const deliveries = yield* Queue.unbounded<Delivery, EventStoreError>()
    const fiber = yield* Stream.runForEach(events.subscribe(store, options), (delivery) =>
      Queue.offer(deliveries, delivery))
      .pipe(
        Effect.catch((error) =>
          Queue.fail(deliveries, error)
        ),
        Effect.forkChild({ startImmediately: true })
      )
    return {
      next: Queue.take(deliveries),
      take: (count: number) => Effect.all(Array.from({ length: count }, () => Queue.take(deliveries))),
      waiting: Queue.size(deliveries),
      close: Fiber.interrupt(fiber)
    }
  })

/** Gives others every chance to do what they should not. */
const settle = Effect.repeat(Effect.yieldNow, { times: 50 })

/** A selector with events of which it takes the even ones, each time in the same way. */
const live = (name: string, selector: Selector.Selector) =>
  promise(`live, ${name}: what is selected, as it comes`, function*(given) {
    const { events, store } = given
    const batch = (from: number, to: number) =>
      range(from, to).map((n) => ({
        eventType: n % 2 === 0 ? "Even" : "Odd",
        data: { n, parity: { even: n % 2 === 0, tags: ["x", n % 2 === 0 ? "e" : "o"] } },
        metadata: { parity: n % 2 === 0 ? "even" : "odd" }
      }))
    const append = (from: number, to: number) =>
      Effect.forEach(
        batch(from, to),
        (event) => events.appendEvents(store, event.eventType, [event]),
        { discard: true }
      )
    yield* append(0, 4)
    const fromStart = yield* open(given, { selector, startFrom: "origin" })
    assert.deepEqual((yield* fromStart.take(2)).map(({ event }) => numberOf(event)), [0, 2])
    yield* append(4, 8)
    assert.deepEqual((yield* fromStart.take(2)).map(({ event }) => numberOf(event)), [4, 6])
    yield* fromStart.close
  })

export const subscribing: ReadonlyArray<Case> = [
  live("by stream", Selector.byStream("Even")),
  live("by type", Selector.byEventType("Even", "Never")),
  live("by pattern", Selector.byEventPattern({ eventType: "Even", metadata: { parity: "even" } })),
  live("by payload", Selector.byEventPayload({ parity: { even: true, tags: ["e"] } })),
  promise("live, of all: every event of every stream, in order", function*(given) {
    const subscription = yield* open(given, { startFrom: "origin" })
    for (const n of range(0, 20)) yield* given.events.appendEvents(given.store, `s${n % 3}`, counted(n, n + 1))
    assert.deepEqual((yield* subscription.take(20)).map(({ event }) => event.globalPosition), range(0, 20))
    yield* subscription.close
  }),
  promise("links are delivered in the stream they are in", function*(given) {
    const { events, store } = given
    yield* events.appendEvents(store, "s", counted(0, 3))
    const subscription = yield* open(given, { selector: Selector.byStream("t"), startFrom: "origin" })
    const source = yield* events.getEvents(store, "s", 0, 10)
    yield* events.linkToStream(store, "t", source.map(({ eventId }) => eventId))
    assert.deepEqual((yield* subscription.take(3)).map(({ event }) => numberOf(event)), [0, 1, 2])
    yield* subscription.close
  }),
  promise(
    "selectors that can select nothing are refused when saved, and when subscribed to",
    function*({ events, store }) {
      for (
        const selector of [
          Selector.byStream(""),
          Selector.byStream("$other"),
          Selector.byEventType(""),
          Selector.byEventPattern({}),
          Selector.byEventPattern({ eventId: "7" }),
          Selector.byEventPattern({ eventType: "a\0b" }),
          { ...Selector.byEventType("A"), eventTypes: [] },
          { _tag: "byMagic" }
        ] as ReadonlyArray<Selector.Selector>
      ) {
        yield* reasonOf(events.saveSubscription(store, "sub", { selector }), "InvalidArgument")
        yield* reasonOf(Stream.runHead(events.subscribe(store, { selector })), "InvalidArgument")
      }
      yield* reasonOf(events.saveSubscription(store, "", {}), "InvalidArgument")
      yield* reasonOf(events.saveSubscription(store, "sub", { startFrom: -1 }), "InvalidArgument")
      assert.deepEqual(yield* events.getSubscriptions(store), [])
    }
  ),
  promise("a transient subscription starts where it is told, and leaves nothing", function*(given) {
    yield* given.events.appendEvents(given.store, "s", counted(0, 10))
    assert.deepEqual(numbersOf(yield* firstOf(given, 3, { startFrom: 4 })), [4, 5, 6])
    assert.deepEqual(
      numbersOf(yield* firstOf(given, 3, { startFrom: 4, selector: Selector.byStream("s") })),
      [4, 5, 6]
    )
    const current = yield* open(given, {})
    // It is under way from some moment on, and from then on nothing is missing.
    let n = 10
    while ((yield* current.waiting) === 0) {
      yield* given.events.appendEvents(given.store, "s", counted(n, n + 1))
      n++
      yield* settle
    }
    yield* given.events.appendEvents(given.store, "s", counted(n, n + 5))
    const first = numberOf((yield* current.next).event)
    assert.ok(first >= 10)
    const rest = yield* current.take(n + 4 - first)
    assert.deepEqual(rest.map(({ event }) => numberOf(event)), range(first + 1, n + 5))
    yield* current.close
    assert.deepEqual(yield* given.events.getSubscriptions(given.store), [])
  }),
  promise("from history to what is live, with writers running: no gap, nothing twice", function*(given) {
    const { events, store } = given
    yield* events.appendEvents(store, "s", counted(0, 500))
    const writing = yield* Effect.forkChild(
      Effect.forEach(range(500, 700), (n) => events.appendEvents(store, `s${n % 7}`, counted(n, n + 1)), {
        concurrency: 8
      })
    )
    const seen = yield* firstOf(given, 700, { startFrom: "origin", name: "sub" })
    yield* Fiber.join(writing)
    assert.deepEqual(seen.map(({ globalPosition }) => globalPosition), range(0, 700))
  }),
  promise("a persistent subscription starts where it is told, once, and then goes on", function*(given) {
    const { events, store } = given
    yield* events.appendEvents(store, "s", counted(0, 10))
    assert.deepEqual(numbersOf(yield* firstOf(given, 2, { name: "origin" })), [0, 1])
    assert.deepEqual(numbersOf(yield* firstOf(given, 2, { name: "position", startFrom: 5 })), [5, 6])
    yield* events.saveSubscription(store, "current", { startFrom: "current" })
    yield* events.appendEvents(store, "s", counted(10, 12))
    assert.deepEqual(numbersOf(yield* firstOf(given, 1, { name: "current" })), [10])
    // From now on it is where it was.
    for (const name of ["origin", "position", "current"]) {
      const [next] = numbersOf(yield* firstOf(given, 1, { name, startFrom: "current" }))
      assert.equal(next, { origin: 2, position: 7, current: 11 }[name])
    }
  }),
  promise("no more is in flight than the buffer holds", function*(given) {
    yield* given.events.appendEvents(given.store, "s", counted(0, 50))
    const subscription = yield* open(given, { name: "sub", bufferSize: 3 })
    const [a, b, c] = yield* subscription.take(3)
    assert.ok(a !== undefined && b !== undefined && c !== undefined)
    yield* settle
    assert.equal(yield* subscription.waiting, 0)
    yield* b.ack
    const d = yield* subscription.next
    assert.equal(numberOf(d.event), 3)
    yield* settle
    assert.equal(yield* subscription.waiting, 0)
    yield* d.ackUpTo
    assert.deepEqual((yield* subscription.take(3)).map(({ event }) => numberOf(event)), [4, 5, 6])
    yield* subscription.close
  }),
  promise("the checkpoint moves over what was acknowledged without a gap, and no further", function*(given) {
    const { events, store } = given
    yield* events.appendEvents(store, "s", counted(0, 10))
    const positionOf = Effect.map(events.getSubscriptions(store), ([sub]) => sub?.position)
    const deliver = Effect.fnUntraced(function*(acknowledged: ReadonlyArray<number>) {
      const subscription = yield* open(given, { name: "sub" })
      const [first, ...rest] = yield* subscription.take(10 - ((yield* positionOf) ?? -1) - 1)
      const deliveries = first === undefined ? [] : [first, ...rest]
      for (const delivery of deliveries) {
        if (acknowledged.includes(numberOf(delivery.event))) yield* delivery.ack
      }
      yield* subscription.close
      return deliveries.map(({ event }) => numberOf(event))
    })
    assert.deepEqual(yield* deliver([0, 1, 3, 4]), range(0, 10))
    assert.equal(yield* positionOf, 1)
    // What was not acknowledged comes again, and so does what was behind it.
    assert.deepEqual(yield* deliver([9, 2]), range(2, 10))
    assert.equal(yield* positionOf, 2)
    assert.deepEqual(yield* deliver(range(3, 10)), range(3, 10))
    const [sub] = yield* events.getSubscriptions(store)
    assert.deepEqual([sub?.position, sub?.lag, sub?.active, sub?.parked], [9, 0, false, 0])
  }),
  promise("an event that was not handled comes again, is set aside, or ends its subscriber", function*(given) {
    const { events, store } = given
    yield* events.appendEvents(store, "s", counted(0, 3))
    const subscription = yield* open(given, { name: "sub", bufferSize: 1 })
    const a = yield* subscription.next
    assert.deepEqual([numberOf(a.event), a.attempt], [0, 1])
    yield* a.nack({ action: "retry" })
    const again = yield* subscription.next
    assert.deepEqual([numberOf(again.event), again.attempt], [0, 2])
    yield* again.nack({ action: "park", reason: "no good" })
    const b = yield* subscription.next
    assert.equal(numberOf(b.event), 1)
    yield* b.nack({ action: "stop" })
    yield* subscription.close
    const [sub] = yield* events.getSubscriptions(store)
    assert.deepEqual([sub?.position, sub?.parked], [0, 1])
    assert.deepEqual(numbersOf(yield* firstOf(given, 2, { name: "sub" })), [1, 2])
  }),
  promise("an event may be acknowledged by its id, and by one who has it", function*(given) {
    const { events, store } = given
    yield* events.appendEvents(store, "s", counted(0, 2))
    const subscription = yield* open(given, { name: "sub" })
    const [a, b] = yield* subscription.take(2)
    assert.ok(a !== undefined && b !== undefined)
    yield* events.ackEvent(store, "sub", a.event)
    yield* reasonOf(events.ackEvent(store, "other", b.event), "SubscriptionNotFound")
    yield* subscription.close
    yield* reasonOf(events.ackEvent(store, "sub", b.event), "SubscriptionNotFound")
    yield* reasonOf(b.ack, "SubscriptionLost")
    assert.equal((yield* events.getSubscriptions(store))[0]?.position, 0)
  }),
  promise("subscribers beyond the limit are refused", function*(given) {
    const options = { name: "sub", concurrencyLimit: 2 }
    const first = yield* open(given, options)
    const second = yield* open(given, options)
    yield* given.events.appendEvents(given.store, "s", counted(0, 2))
    yield* first.next
    yield* second.next
    const third = Stream.runHead(given.events.subscribe(given.store, options))
    assert.equal((yield* reasonOf(third, "TooManySubscribers")).concurrencyLimit, 2)
    yield* first.close
    yield* second.close
    for (
      const [options, field] of [[{ bufferSize: 0 }, "bufferSize"], [
        { concurrencyLimit: 0 },
        "concurrencyLimit"
      ]] as const
    ) {
      const refused = Stream.runHead(given.events.subscribe(given.store, { name: "sub", ...options }))
      assert.equal((yield* reasonOf(refused, "InvalidArgument")).field, field)
    }
  }),
  promise("several subscribers take turns, and what one leaves goes to the others first", function*(given) {
    const options = { name: "sub", concurrencyLimit: 2, bufferSize: 2 }
    const first = yield* open(given, options)
    const second = yield* open(given, options)
    yield* given.events.appendEvents(given.store, "s", counted(0, 6))
    const ofFirst = (yield* first.take(2)).map(({ event }) => numberOf(event))
    const deliveries = yield* second.take(2)
    assert.deepEqual([...ofFirst, ...deliveries.map(({ event }) => numberOf(event))].sort(), range(0, 4))
    yield* first.close
    for (const delivery of deliveries) yield* delivery.ack
    assert.deepEqual((yield* second.take(2)).map(({ event }) => numberOf(event)), ofFirst)
    yield* second.close
  }),
  promise("what was not selected moves the checkpoint as well", function*(given) {
    const { events, store } = given
    yield* events.appendEvents(store, "s", counted(0, 20))
    yield* events.appendEvents(store, "s", [{ eventType: "Wanted", data: { n: 20 } }])
    yield* events.appendEvents(store, "s", counted(21, 30))
    const selector = Selector.byEventType("Wanted")
    const subscription = yield* open(given, { name: "sub", selector, checkpointThreshold: 1 })
    yield* Effect.flatMap(subscription.next, ({ ack }) => ack)
    // Closing writes how far it is: everything behind was looked at.
    yield* subscription.close
    const [sub] = yield* events.getSubscriptions(store)
    assert.deepEqual([sub?.position, sub?.lag], [29, 0])
  }),
  promise("a subscription that is removed stops its subscribers at once, and begins anew", function*(given) {
    const { events, store } = given
    yield* events.appendEvents(store, "s", counted(0, 2))
    const subscription = yield* open(given, { name: "sub" })
    const [a] = yield* subscription.take(2)
    yield* a?.ack ?? Effect.void
    yield* events.removeSubscription(store, "sub")
    assert.equal((yield* reasonOf(subscription.next, "SubscriptionNotFound")).name, "sub")
    yield* reasonOf(events.removeSubscription(store, "sub"), "SubscriptionNotFound")
    assert.deepEqual(numbersOf(yield* firstOf(given, 1, { name: "sub" })), [0])
  }),
  promise("the same name with another selector is another subscription", function*(given) {
    const { events, store } = given
    yield* events.appendEvents(store, "s", counted(0, 4))
    const ofStream = Selector.byStream("s")
    const ofType = Selector.byEventPattern({ eventType: "Counted", eventStreamId: "s" })
    assert.deepEqual(numbersOf(yield* firstOf(given, 2, { name: "sub", selector: ofStream })), [0, 1])
    assert.deepEqual(numbersOf(yield* firstOf(given, 1, { name: "sub", selector: ofType })), [0])
    assert.deepEqual(numbersOf(yield* firstOf(given, 1, { name: "sub" })), [0])
    // However its fields are put.
    const same = Selector.byEventPattern({ eventStreamId: "s", eventType: "Counted" })
    assert.deepEqual(numbersOf(yield* firstOf(given, 1, { name: "sub", selector: same })), [1])
    assert.equal((yield* events.getSubscriptions(store)).length, 3)
    yield* events.removeSubscription(store, "sub", ofStream)
    assert.equal((yield* events.getSubscriptions(store)).length, 2)
  })
]
