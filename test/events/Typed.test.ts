/**
 * Stores with the types of their events: what goes in is checked, what comes out is decoded, and what was stored long ago is
 * read in its present form.
 */
import { assert, layer } from "@effect/vitest"
import { DateTime, Effect, Layer, Schema, Stream } from "effect"
import { EventStore, MemoryEventStore, Selector } from "holdfast/events"
import { tagOf } from "./support.ts"

const Departed = Schema.TaggedStruct("Departed", { delay: Schema.Int, at: Schema.DateTimeUtc })
class Landed extends Schema.TaggedClass<Landed>("Landed")("Landed", { runway: Schema.String }) {
  get isNorth() {
    return this.runway.startsWith("34")
  }
}

class Flights extends EventStore.make("flights", {
  events: [Departed, Landed],
  upcast: {
    TookOff: ({ data }) => ({ eventType: "Departed", data: { delay: Number(data), at: "2001-01-01T00:00:00.000Z" } })
  }
}) {}

const TestLive = Flights.layer.pipe(Layer.provideMerge(MemoryEventStore.layer))
const at = DateTime.makeUnsafe(0)

layer(TestLive)("Typed", (it) => {
  it.effect("events come back as what they were, and their type tells which they are", () =>
    Effect.gen(function*() {
      const flights = yield* Flights.client()
      const metadata = { correlationId: "c" }
      const eventId = "00000000-0000-7000-8000-000000000001"
      const version = yield* flights.appendEvents("AS 1", [
        Departed.make({ delay: 4, at }),
        EventStore.envelope(new Landed({ runway: "34L" }), { metadata, eventId })
      ], { expectedVersion: "noStream" })
      assert.strictEqual(version, 1)
      const [first, second] = yield* flights.getEvents("AS 1", 0, 10)
      assert.strictEqual(first?.eventType === "Departed" ? first.data.delay : 0, 4)
      assert.deepStrictEqual(first?.eventType === "Departed" ? first.data.at : undefined, at)
      assert.isTrue(second?.eventType === "Landed" && second.data.isNorth)
      assert.deepStrictEqual([second?.metadata, second?.eventId], [metadata, eventId])
      // The tag is the event type, and nothing else.
      const events = yield* EventStore.EventStore
      const [raw] = yield* events.getEvents("flights", "AS 1", 0, 1)
      assert.deepStrictEqual([raw?.eventType, raw?.data], ["Departed", { delay: 4, at: "1970-01-01T00:00:00.000Z" }])
      assert.deepStrictEqual(
        (yield* Stream.runCollect(flights.streamBackward("AS 1"))).map(({ eventNumber }) => eventNumber),
        [1, 0]
      )
    }))

  it.effect("what a schema refuses is not appended, and named", () =>
    Effect.gen(function*() {
      const flights = yield* Flights.client()
      const wrong = { _tag: "Departed" as const, delay: 0.5, at }
      const reason = yield* Effect.flip(flights.appendEvents("AS 2", [Departed.make({ delay: 1, at }), wrong]))
      assert.match(reason.message, /^the data of an event for "AS 2" was refused: .*delay/)
      assert.strictEqual(yield* flights.getVersion("AS 2"), -1)
    }))

  it.effect("what was stored in another form is read in the present one, and subscribed to by its present name", () =>
    Effect.gen(function*() {
      const flights = yield* Flights.client()
      const events = yield* EventStore.EventStore
      yield* events.appendEvents("flights", "AS 3", [{ eventType: "TookOff", data: 7 }])
      yield* flights.appendEvents("AS 3", [new Landed({ runway: "16R" }), Departed.make({ delay: 1, at })])
      const [first] = yield* flights.getEvents("AS 3", 0, 1)
      assert.deepStrictEqual(first?.data, Departed.make({ delay: 7, at: DateTime.makeUnsafe("2001-01-01T00:00:00Z") }))
      const departed = yield* Stream.runCollect(
        flights.subscribe({ eventType: "Departed", startFrom: first?.globalPosition }).pipe(Stream.take(2))
      )
      assert.deepStrictEqual(departed.map(({ event }) => event.data.delay), [7, 1])
      const landed = yield* Stream.runCollect(
        flights.subscribe({ eventType: ["Landed"], name: "landed" }).pipe(Stream.take(2), Stream.tap(({ ack }) => ack))
      )
      assert.deepStrictEqual(landed.map(({ event }) => event.data.runway), ["34L", "16R"])
      const both = flights.subscribe({ eventType: "Landed", selector: Selector.all })
      assert.strictEqual(yield* tagOf(Stream.runHead(both)), "InvalidArgument")
    }))

  it.effect("what does not decode is an error that says which event and why", () =>
    Effect.gen(function*() {
      const flights = yield* Flights.client()
      const events = yield* EventStore.EventStore
      yield* events.appendEvents("flights", "AS 4", [{ eventType: "Landed", data: { runway: 34 } }])
      yield* events.appendEvents("flights", "AS 5", [{ eventType: "Diverted", data: {} }])
      const error = yield* Effect.flip(flights.getEvents("AS 4", 0, 1))
      assert.match(error.message, /^event 0 of "AS 4" \(Landed\) does not decode: .*runway/)
      assert.strictEqual(yield* tagOf(flights.getEvents("AS 5", 0, 1)), "EventUndecodable")
    }))
})
