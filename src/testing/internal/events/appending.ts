/**
 * What is promised of appends.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import assert from "node:assert/strict"
import { type Case, counted, numbersOf, promise, range, reasonOf } from "./cases.ts"

const id = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`

export const appending: ReadonlyArray<Case> = [
  promise("a new stream begins at 0, and its events come back as they were given", function*({ events, store }) {
    const metadata = { correlationId: "c", causationId: "d", user: { name: "Ada" } }
    const version = yield* events.appendEvents(store, "s", [
      {
        eventType: "A",
        data: { text: "ünï — 日本 \u0000 \ud83d\ude00", list: [1, 2.5, null, true] },
        metadata,
        eventId: id(1)
      },
      { eventType: "B", data: null, dataContentType: "text/x-note", metadataContentType: "text/x-meta" }
    ])
    assert.equal(version, 1)
    const [a, b] = yield* events.getEvents(store, "s", 0, 10)
    assert.ok(a !== undefined && b !== undefined)
    assert.deepEqual(a.data, { text: "ünï — 日本 \u0000 \ud83d\ude00", list: [1, 2.5, null, true] })
    assert.deepEqual(a.metadata, metadata)
    assert.deepEqual([a.eventStreamId, a.eventNumber, a.globalPosition, a.eventId, a.eventType], [
      "s",
      0,
      0,
      id(1),
      "A"
    ])
    assert.deepEqual([a.dataContentType, a.metadataContentType], ["application/json", "application/json"])
    assert.deepEqual([b.eventNumber, b.globalPosition, b.data, b.metadata], [1, 1, null, {}])
    assert.deepEqual([b.dataContentType, b.metadataContentType], ["text/x-note", "text/x-meta"])
    assert.match(b.eventId, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
    assert.equal(Math.floor(a.createdEpoch / 1000), a.created.epochMilliseconds)
    assert.ok(b.createdEpoch >= a.createdEpoch)
  }),
  promise("an existing stream goes on where it was", function*({ events, store }) {
    assert.equal(yield* events.appendEvents(store, "s", counted(0, 3)), 2)
    assert.equal(yield* events.appendEvents(store, "s", counted(3, 5)), 4)
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 0, 10)), range(0, 5))
  }),
  promise("no events: the current version, and no stream comes to be", function*({ events, store }) {
    assert.equal(yield* events.appendEvents(store, "s", []), -1)
    yield* reasonOf(events.streamInfo(store, "s"), "StreamNotFound")
    yield* events.appendEvents(store, "s", counted(0, 2))
    assert.equal(yield* events.appendEvents(store, "s", []), 1)
    yield* reasonOf(events.appendEvents(store, "s", [], { expectedVersion: "noStream" }), "WrongExpectedVersion")
  }),
  promise("noStream makes a stream, and is refused where there is one", function*({ events, store }) {
    assert.equal(yield* events.appendEvents(store, "s", counted(0, 1), { expectedVersion: "noStream" }), 0)
    const again = events.appendEvents(store, "s", counted(0, 1), { expectedVersion: "noStream" })
    const { currentVersion, expectedVersion } = yield* reasonOf(again, "WrongExpectedVersion")
    assert.deepEqual([currentVersion, expectedVersion], [0, "noStream"])
  }),
  promise("an exact version is taken, its neighbours are refused with the current one", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 3))
    for (const expectedVersion of [1, 3, -1]) {
      const refused = events.appendEvents(store, "s", counted(0, 1), { expectedVersion })
      assert.equal((yield* reasonOf(refused, "WrongExpectedVersion")).currentVersion, 2)
    }
    assert.equal(yield* events.appendEvents(store, "s", counted(3, 4), { expectedVersion: 2 }), 3)
    assert.equal(yield* events.appendEvents(store, "t", counted(0, 1), { expectedVersion: -1 }), 0)
    const missing = events.appendEvents(store, "u", counted(0, 1), { expectedVersion: 5 })
    assert.equal((yield* reasonOf(missing, "WrongExpectedVersion")).currentVersion, -1)
    yield* reasonOf(events.streamInfo(store, "u"), "StreamNotFound")
  }),
  promise("streamExists wants a stream", function*({ events, store }) {
    const append = events.appendEvents(store, "s", counted(0, 1), { expectedVersion: "streamExists" })
    assert.equal((yield* reasonOf(append, "WrongExpectedVersion")).currentVersion, -1)
    yield* events.appendEvents(store, "s", counted(0, 1), { expectedVersion: "any" })
    assert.equal(yield* append, 1)
  }),
  promise("of 20 with one expectation one wins", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 1))
    const results = yield* Effect.forEach(
      range(0, 20),
      (n) => Effect.result(events.appendEvents(store, "s", counted(n, n + 1), { expectedVersion: 0 })),
      { concurrency: "unbounded" }
    )
    assert.equal(results.filter(Result.isSuccess).length, 1)
    assert.equal(yield* events.getVersion(store, "s"), 1)
  }),
  promise("20 at once with any expectation all get in, without gaps", function*({ events, store }) {
    const versions = yield* Effect.forEach(
      range(0, 20),
      (n) => events.appendEvents(store, "s", counted(n * 2, n * 2 + 2)),
      { concurrency: "unbounded" }
    )
    assert.deepEqual([...versions].sort((a, b) => a - b), range(0, 20).map((n) => n * 2 + 1))
    const recorded = yield* events.getEvents(store, "s", 0, 100)
    assert.deepEqual(recorded.map(({ eventNumber }) => eventNumber), range(0, 40))
    // What came together stays together.
    const numbers = numbersOf(recorded)
    for (let index = 0; index < 40; index += 2) assert.equal(numbers[index + 1], (numbers[index] ?? 0) + 1)
  }),
  promise("appends to many streams at once are all there, in one dense order", function*({ events, store }) {
    yield* Effect.forEach(
      range(0, 200),
      (n) => events.appendEvents(store, `s${n % 17}`, counted(n, n + 1)),
      { concurrency: "unbounded" }
    )
    const recorded = yield* events.getEvents(store, "$all", 0, 1000)
    assert.deepEqual(recorded.map(({ globalPosition }) => globalPosition), range(0, 200))
    assert.deepEqual([...numbersOf(recorded)].sort((a, b) => a - b), range(0, 200))
    const next = new Map<string, number>()
    for (const { eventNumber, eventStreamId } of recorded) {
      assert.equal(eventNumber, next.get(eventStreamId) ?? 0)
      next.set(eventStreamId, eventNumber + 1)
    }
  }),
  promise("an id that is known is refused, and nothing of its batch is appended", function*({ events, store }) {
    yield* events.appendEvents(store, "s", [{ eventType: "A", data: 1, eventId: id(7) }])
    const batch = [...counted(0, 2), { eventType: "A", data: 1, eventId: id(7).toUpperCase() }]
    const known = yield* reasonOf(events.appendEvents(store, "t", batch), "DuplicateEvent")
    assert.deepEqual([known.eventStreamId, known.eventNumber, known.eventId], ["s", 0, id(7)])
    yield* reasonOf(events.streamInfo(store, "t"), "StreamNotFound")
    const twice = [{ eventType: "A", data: 1, eventId: id(8) }, { eventType: "A", data: 2, eventId: id(8) }]
    yield* reasonOf(events.appendEvents(store, "t", twice), "DuplicateEvent")
    assert.equal(yield* events.appendEvents(store, "t", counted(0, 1)), 0)
    assert.equal(yield* events.getVersion(store, "$all"), 1)
  }),
  promise("of many with one id one wins", function*({ events, store }) {
    const results = yield* Effect.forEach(
      range(0, 20),
      (n) => Effect.result(events.appendEvents(store, `s${n}`, [{ eventType: "A", data: n, eventId: id(9) }])),
      { concurrency: "unbounded" }
    )
    assert.equal(results.filter(Result.isSuccess).length, 1)
    assert.equal(yield* events.getVersion(store, "$all"), 0)
  }),
  promise("a batch of 8,001 events, and an event of a megabyte", function*({ events, store }) {
    assert.equal(yield* events.appendEvents(store, "s", counted(0, 8001)), 8000)
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 7990, 100)), range(7990, 8001))
    const large = "x".repeat(1024 * 1024)
    yield* events.appendEvents(store, "s", [{ eventType: "Large", data: large }])
    const [last] = yield* events.getEvents(store, "s", 8001, 1)
    assert.equal(last?.data, large)
  }),
  promise("ids that are reserved, empty, too long or no text are refused", function*({ events, store }) {
    for (const stream of ["$all", "$mine", "", "x".repeat(513), "é".repeat(257), "a\0b", "\ud800"]) {
      assert.equal(
        (yield* reasonOf(events.appendEvents(store, stream, counted(0, 1)), "InvalidArgument")).field,
        "eventStreamId"
      )
    }
    assert.equal(yield* events.appendEvents(store, "x".repeat(512), counted(0, 1)), 0)
    for (const event of [{ eventType: "", data: 1 }, { eventType: "A", data: 1, eventId: "7" }]) {
      yield* reasonOf(events.appendEvents(store, "s", [event]), "InvalidEvent")
    }
    for (const expectedVersion of [-2, 0.5, Number.NaN]) {
      yield* reasonOf(events.appendEvents(store, "s", counted(0, 1), { expectedVersion }), "InvalidArgument")
    }
  })
]
