/**
 * What is promised of snapshots and of stores.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import assert from "node:assert/strict"
import { type Case, counted, numbersOf, promise, range, reasonOf } from "./cases.ts"

export const keeping: ReadonlyArray<Case> = [
  promise("a snapshot is read back at once: a version, or the latest", function*({ events, store }) {
    yield* events.recordSnapshot(store, "tally", "s", 9, { flights: 9 })
    yield* events.recordSnapshot(store, "tally", "s", 10, { flights: 10 })
    yield* events.recordSnapshot(store, "tally", "s", 2, { flights: 2 })
    assert.deepEqual((yield* events.readSnapshot(store, "tally", "s")).record, { flights: 10 })
    assert.deepEqual((yield* events.readSnapshot(store, "tally", "s", 9)).record, { flights: 9 })
    yield* events.recordSnapshot(store, "tally", "s", 9, "anew")
    assert.equal((yield* events.readSnapshot(store, "tally", "s", 9)).record, "anew")
    const { sourceId } = yield* reasonOf(events.readSnapshot(store, "other", "s"), "SnapshotNotFound")
    assert.equal(sourceId, "other")
    assert.equal((yield* reasonOf(events.readSnapshot(store, "tally", "s", 3), "SnapshotNotFound")).version, 3)
    yield* reasonOf(events.recordSnapshot(store, "tally", "s", -1, {}), "InvalidArgument")
    yield* reasonOf(events.readSnapshot(store, "a\0b", "s"), "InvalidArgument")
  }),
  promise("snapshots are listed: all, by source, by source and stream", function*({ events, store }) {
    for (const [source, stream, version] of [["a", "s", 1], ["a", "s", 2], ["a", "t", 1], ["b", "s", 5]] as const) {
      yield* events.recordSnapshot(store, source, stream, version, version)
    }
    const listed = (sourceId?: string, eventStreamId?: string) =>
      Effect.map(
        events.listSnapshots(store, sourceId, eventStreamId),
        (all) => all.map(({ eventStreamId, sourceId, version }) => `${sourceId}/${eventStreamId}/${version}`)
      )
    assert.deepEqual(yield* listed(), ["a/s/2", "a/s/1", "a/t/1", "b/s/5"])
    assert.deepEqual(yield* listed("a"), ["a/s/2", "a/s/1", "a/t/1"])
    assert.deepEqual(yield* listed("a", "t"), ["a/t/1"])
  }),
  promise("a snapshot that was deleted is gone, the others are not", function*({ events, store }) {
    yield* events.recordSnapshot(store, "a", "s", 1, 1)
    yield* events.recordSnapshot(store, "a", "s", 2, 2)
    yield* events.deleteSnapshot(store, "a", "s", 2)
    assert.equal((yield* events.readSnapshot(store, "a", "s")).version, 1)
    yield* reasonOf(events.deleteSnapshot(store, "a", "s", 2), "SnapshotNotFound")
  }),
  promise("a store that is there is listed, and cannot be made again", function*({ events, store }) {
    assert.ok((yield* events.listStores).includes(store))
    yield* reasonOf(events.createStore(store), "AlreadyExists")
    assert.deepEqual(yield* events.getStoreConfig(store), { hardDeletes: true })
    yield* events.appendEvents(store, "s", counted(0, 3))
    yield* events.saveSubscription(store, "sub")
    const { globalPosition, store: id, streams, subscriptions } = yield* events.getStoreStatus(store)
    assert.deepEqual([id, globalPosition, streams, subscriptions], [store, 2, 1, 1])
  }, { hardDeletes: true }),
  promise("a store that was removed is not found, and comes back as it was", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 3))
    yield* events.removeStore(store)
    assert.ok(!(yield* events.listStores).includes(store))
    yield* reasonOf(events.removeStore(store), "StoreNotFound")
    yield* reasonOf(events.appendEvents(store, "s", counted(0, 1)), "StoreNotFound")
    yield* reasonOf(events.getEvents(store, "s", 0, 1), "StoreNotFound")
    yield* reasonOf(events.getVersion(store, "s"), "StoreNotFound")
    yield* reasonOf(events.getStoreStatus(store), "StoreNotFound")
    yield* reasonOf(events.getStoreConfig(store), "StoreNotFound")
    yield* reasonOf(Stream.runHead(events.subscribe(store)), "StoreNotFound")
    yield* reasonOf(Stream.runHead(events.subscribe(store, { name: "sub" })), "StoreNotFound")
    yield* events.createStore(store)
    assert.deepEqual(numbersOf(yield* events.getEvents(store, "s", 0, 10)), range(0, 3))
  }),
  promise("a store that was purged is new when it is made again", function*({ events, store }) {
    yield* events.appendEvents(store, "s", counted(0, 3))
    yield* events.removeStore(store, { purge: true })
    yield* events.createStore(store)
    assert.equal(yield* events.getVersion(store, "$all"), -1)
    assert.equal(yield* events.appendEvents(store, "s", counted(0, 1), { expectedVersion: "noStream" }), 0)
  }),
  promise("of many that make a store at once, one does", function*({ events, store }) {
    yield* events.removeStore(store, { purge: true })
    const results = yield* Effect.forEach(range(0, 8), () => Effect.result(events.createStore(store)), {
      concurrency: "unbounded"
    })
    assert.equal(results.filter(Result.isSuccess).length, 1)
    assert.ok(
      results.every((result) => Result.isSuccess(result) || result.failure.reason._tag === "AlreadyExists")
    )
    yield* events.appendEvents(store, "s", counted(0, 1))
  }),
  promise("stores know nothing of each other", function*({ events, store }) {
    const other = `${store}x`.slice(0, 40)
    yield* events.createStore(other)
    const event = { eventType: "A", data: 1, eventId: "00000000-0000-7000-8000-00000000000a" }
    yield* events.appendEvents(store, "s", [event])
    yield* events.appendEvents(other, "s", [event])
    assert.equal(yield* events.getVersion(store, "$all"), 0)
    yield* events.removeStore(other, { purge: true })
    assert.equal(yield* events.getVersion(store, "s"), 0)
  }),
  promise("ids of stores that cannot be are refused when made, and not found otherwise", function*({ events }) {
    for (const id of ["", "A", "1a", "a-b", "a b", "x".repeat(41), "a;drop schema"]) {
      yield* reasonOf(events.createStore(id), "InvalidArgument")
      yield* reasonOf(events.getVersion(id, "s"), "StoreNotFound")
    }
  })
]
