/**
 * What is promised of reading, links and deletions.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Struct from "effect/Struct"
import assert from "node:assert/strict"
import type { RecordedEvent } from "../../../events/RecordedEvent.ts"
import { type Case, counted, numbersOf, promise, range, reasonOf } from "./cases.ts"

const idsOf = (events: ReadonlyArray<RecordedEvent>) => events.map(({ eventId }) => eventId)

export const reading: ReadonlyArray<Case> = [
  promise("forward from a number on, that one included", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 10))
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 3, 4)), [3, 4, 5, 6])
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 8, 100)), [8, 9])
    assert.deepEqual(yield* events.getEvents(store, "s", 10, 5), [])
  }),
  promise("backward, clipped at both ends", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 10))
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 2, 100, "backward")), [2, 1, 0])
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 1000, 2, "backward")), [9, 8])
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "$all", 1000, 2, "backward")), [9, 8])
  }),
  promise("arguments that cannot be meant are refused, by name", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 1))
    const fieldOf = (start: number, count: number) =>
      Effect.map(reasonOf(events.getEvents(store, "s", start, count), "InvalidArgument"), ({ field }) => field)
    assert.equal(yield* fieldOf(-1, 1), "start")
    assert.equal(yield* fieldOf(0.5, 1), "start")
    assert.equal(yield* fieldOf(0, 0), "count")
    assert.equal(yield* fieldOf(0, 1e9), "count")
    yield* reasonOf(events.getEvents(store, "$other", 0, 1), "InvalidArgument")
  }),
  promise("a stream that is not there is not found, and has version -1", function*({ events, store }) {
    assert.equal((yield* reasonOf(events.getEvents(store, "s", 0, 1), "StreamNotFound")).eventStreamId, "s")
    assert.equal(yield* events.getVersion(store, "s"), -1)
    assert.equal(yield* events.getVersion(store, "$all"), -1)
    assert.deepEqual(yield* events.getEvents(store, "$all", 0, 10), [])
    yield* reasonOf(Stream.runDrain(events.streamForward(store, "s")), "StreamNotFound")
    yield* reasonOf(events.streamInfo(store, "s"), "StreamNotFound")
  }),
  promise("streams of pages, in both directions, that may be left early", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 95))
    const forward = events.streamForward(store, "s", { batchSize: 10 })
    assert.deepEqual(numbersOf(yield* Stream.runCollect(forward)), range(0, 95))
    assert.deepEqual(numbersOf(yield* Stream.runCollect(Stream.take(forward, 15))), range(0, 15))
    const backward = events.streamBackward(store, "s", { batchSize: 5, from: 12 })
    assert.deepEqual(numbersOf(yield* Stream.runCollect(backward)), [...range(0, 13)].reverse())
    yield* events.appendEvents(store, "t", counted(95, 100))
    const all = events.readAll(store, { batchSize: 20, from: 90 })
    assert.deepEqual(numbersOf(yield* Stream.runCollect(all)), range(90, 100))
    const down = events.readAll(store, { batchSize: 7, direction: "backward" })
    assert.deepEqual(numbersOf(yield* Stream.runCollect(down)), [...range(0, 100)].reverse())
    for (let index = 0; index < 200; index++) yield* Stream.runDrain(Stream.take(forward, 1))
  }),
  promise("ids may have commas, quotes, spaces and any script", function*({ events, store }) {
    const ids = ["a,b", `"quoted" 'id'`, " leading", "{1,2}", "航班/西雅圖", "a\\b", "🛫", "null"]
    yield* Effect.forEach(ids, (id, n) => events.appendEvents(store, id, counted(n, n + 1)), { concurrency: 4 })
    for (const [n, id] of ids.entries()) {
      assert.deepEqual(numbersOf(yield* events.getEvents(store, id, 0, 5)), [n])
      assert.equal((yield* events.streamInfo(store, id)).eventStreamId, id)
    }
    assert.equal((yield* events.getStreams(store)).length, ids.length)
  }),
  promise("the streams of a store, by pages in the order of their ids", function*({ events, store }) {
    const ids = range(0, 25).map((n) => `s${String(n).padStart(2, "0")}`)
    yield* Effect.forEach(ids, (id) => events.appendEvents(store, id, counted(0, 2)), { concurrency: 8 })
    const seen: Array<string> = []
    for (let page = 0; page < 3; page++) {
      const streams = yield* events.getStreams(store, { after: seen.at(-1), limit: 10 })
      seen.push(...streams.map(({ eventStreamId }) => eventStreamId))
      assert.ok(streams.every(({ deleted, version }) => version === 1 && !deleted))
    }
    assert.deepEqual(seen, ids)
  }),
  promise("a link is the event, at a number of the stream it is linked to", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 3))
    yield* events.appendEvents(store, "t", counted(10, 12))
    const source = yield* events.getEvents(store, "s", 0, 10)
    assert.equal(yield* events.linkToStream(store, "t", idsOf(source), { expectedVersion: 1 }), 4)
    assert.equal(yield* events.appendEvents(store, "t", counted(12, 13), { expectedVersion: 4 }), 5)
    const linked = yield* events.getEvents(store, "t", 0, 10)
    assert.deepEqual(numbersOf(linked), [10, 11, 0, 1, 2, 12])
    assert.deepEqual(linked.map(({ link }) => link?.eventNumber), [undefined, undefined, 2, 3, 4, undefined])
    assert.deepEqual(linked.slice(2, 5).map((event) => Struct.omit(event, ["link"])), source)
    const paged = yield* Stream.runCollect(events.streamForward(store, "t", { batchSize: 2 }))
    assert.deepEqual(numbersOf(paged), [10, 11, 0, 1, 2, 12])
    const back = yield* Stream.runCollect(events.streamBackward(store, "t", { batchSize: 2 }))
    assert.deepEqual(numbersOf(back), [12, 2, 1, 0, 11, 10])
    // In the order of all there is only what was recorded.
    assert.equal(yield* events.getVersion(store, "$all"), 5)
  }),
  promise("a link that is there, or to nothing, or not as expected is refused", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 3))
    const ids = idsOf(yield* events.getEvents(store, "s", 0, 10))
    yield* events.linkToStream(store, "t", ids.slice(0, 1), { expectedVersion: "noStream" })
    yield* reasonOf(events.linkToStream(store, "t", ids), "DuplicateEvent")
    yield* reasonOf(events.linkToStream(store, "s", ids.slice(1)), "DuplicateEvent")
    const nothing = "00000000-0000-7000-8000-000000000001"
    assert.equal((yield* reasonOf(events.linkToStream(store, "t", [nothing]), "EventNotFound")).eventId, nothing)
    yield* reasonOf(
      events.linkToStream(store, "t", ids.slice(1), { expectedVersion: "noStream" }),
      "WrongExpectedVersion"
    )
    assert.equal(yield* events.getVersion(store, "t"), 0)
  }),
  promise("a stream that was deleted is neither read nor appended to, and stays in $all", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 3))
    yield* reasonOf(events.deleteStream(store, "s", { expectedVersion: 1 }), "WrongExpectedVersion")
    yield* events.deleteStream(store, "s", { expectedVersion: 2 })
    yield* reasonOf(events.getEvents(store, "s", 0, 1), "StreamDeleted")
    yield* reasonOf(events.getVersion(store, "s"), "StreamDeleted")
    yield* reasonOf(events.appendEvents(store, "s", counted(3, 4)), "StreamDeleted")
    yield* reasonOf(events.appendEvents(store, "s", []), "StreamDeleted")
    yield* reasonOf(
      events.linkToStream(store, "s", idsOf(yield* events.getEvents(store, "$all", 0, 1))),
      "StreamDeleted"
    )
    yield* reasonOf(events.deleteStream(store, "s"), "StreamDeleted")
    yield* reasonOf(events.deleteStream(store, "t"), "StreamNotFound")
    assert.equal((yield* events.streamInfo(store, "s")).deleted, true)
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "$all", 0, 10)), range(0, 3))
  }),
  promise("hard deletion is refused where the store was not made for it", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 3))
    yield* reasonOf(events.deleteStream(store, "s", { hard: true }), "HardDeletesDisabled")
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 0, 10)), range(0, 3))
  }),
  promise(
    "after a hard deletion the events are gone, links included, and the stream may begin anew",
    function*({ events, store }) {
      yield* events.appendEvents(store, "s", counted(0, 3))
      yield* events.appendEvents(store, "t", counted(3, 4))
      yield* events.linkToStream(store, "t", idsOf(yield* events.getEvents(store, "s", 0, 2)))
      yield* events.deleteStream(store, "s", { hard: true })
      yield* reasonOf(events.getEvents(store, "s", 0, 1), "StreamNotFound")
      assert.deepEqual(numbersOf(yield* events.getEvents(store, "$all", 0, 10)), [3])
      assert.deepEqual(numbersOf(yield* events.getEvents(store, "t", 0, 10)), [3])
      assert.equal(yield* events.appendEvents(store, "s", counted(7, 8), { expectedVersion: "noStream" }), 0)
      assert.equal(yield* events.getVersion(store, "$all"), 4)
    },
    { hardDeletes: true }
  ),
  promise(
    "a deletion among appends: those before it are there, those after it are refused",
    function*({ events, store }) {
      yield* events.appendEvents(store, "s", counted(0, 1))
      const results = yield* Effect.forEach(
        range(1, 30),
        (n) =>
          n === 15
            ? Effect.result(Effect.as(events.deleteStream(store, "s"), 0))
            : Effect.result(events.appendEvents(store, "s", counted(n, n + 1))),
        { concurrency: "unbounded" }
      )
      const appended = results.filter((result, index) => index !== 14 && Result.isSuccess(result)).length
      assert.ok(results.every((result) => Result.isSuccess(result) || result.failure.reason._tag === "StreamDeleted"))
      assert.equal(yield* events.getVersion(store, "$all"), appended)
    }
  )
]
