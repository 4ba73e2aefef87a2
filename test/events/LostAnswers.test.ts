/**
 * The answer to a commit gets lost, or the commit itself: what was appended is there once, and whoever waits is told what
 * became of it. And where nothing answers at all, that is an error, never an empty list.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Result, Stream } from "effect"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { counted, open, range, tagOf } from "./support.ts"

const store = "lost"

const setUp = Effect.fnUntraced(function*(name: string, timeout?: "1 second") {
  const database = yield* TestPostgres.TestDatabase
  const proxy = yield* CuttableProxy.make(database)
  const { events } = yield* open({
    url: proxy.through(database.url),
    ...(timeout === undefined ? {} : { events: { timeout } })
  })
  yield* events.createStore(name)
  yield* events.appendEvents(name, "s", counted(0, 3))
  return { database, proxy, events }
})

layer(TestPostgres.layer, { excludeTestServices: true })("LostAnswers", (it) => {
  for (const way of ["catchAnswer", "catchRequest"] as const) {
    it.effect(`appends, a link and a deletion are done once, however they get lost (${way})`, () =>
      Effect.gen(function*() {
        const name = `${store}_${way.toLowerCase()}`
        const { events, proxy } = yield* setUp(name)
        const losing = <A, E>(statement: RegExp, effect: Effect.Effect<A, E>) =>
          Effect.gen(function*() {
            const caught = yield* proxy[way](statement)
            const fiber = yield* Effect.forkChild(effect)
            yield* caught.arrived
            yield* caught.cut
            return yield* Fiber.join(fiber)
          })
        assert.strictEqual(yield* losing(/append_(group|any)/, events.appendEvents(name, "s", counted(3, 5))), 4)
        const versions = yield* losing(
          /append_(group|any)/,
          Effect.forEach(
            range(0, 20),
            (n) =>
              Effect.result(
                events.appendEvents(name, `t${n}`, counted(n, n + 1), { expectedVersion: n % 2 === 0 ? -1 : 5 })
              ),
            { concurrency: "unbounded" }
          )
        )
        versions.forEach((version, n) => {
          if (n % 2 === 0) assert.strictEqual(Result.isSuccess(version) ? version.success : "failed", 0)
          else assert.strictEqual(Result.isFailure(version) && version.failure.reason._tag, "WrongExpectedVersion")
        })
        const ids = (yield* events.getEvents(name, "s", 0, 10)).map(({ eventId }) => eventId)
        assert.strictEqual(yield* losing(/link_events/, events.linkToStream(name, "links", ids)), 4)
        yield* losing(/delete_stream/, events.deleteStream(name, "s"))
        assert.strictEqual(yield* tagOf(events.getVersion(name, "s")), "StreamDeleted")
        const all = yield* events.getEvents(name, "$all", 0, 100)
        assert.deepStrictEqual(all.map(({ globalPosition }) => globalPosition), range(0, 15))
      }))
  }

  it.effect("a known id tells a caller who repeats an append that it was done", () =>
    Effect.gen(function*() {
      const { events } = yield* setUp("repeated")
      const eventId = "00000000-0000-7000-8000-000000000001"
      const append = events.appendEvents("repeated", "s", [{ eventType: "A", data: 1, eventId }])
      const version = yield* append
      const repeated = Effect.catchReason(
        append,
        "EventStoreError",
        "DuplicateEvent",
        ({ eventNumber }) => Effect.succeed(eventNumber)
      )
      assert.strictEqual(yield* repeated, version)
    }))

  it.effect("a database that is down is an error for everybody who waits, and forgotten when it is back", () =>
    Effect.gen(function*() {
      const { events, proxy } = yield* setUp("down", "1 second")
      yield* proxy.welcome("cut")
      yield* proxy.cut()
      const tags = yield* Effect.all([
        tagOf(events.getEvents("down", "s", 0, 10)),
        tagOf(events.getVersion("down", "s")),
        tagOf(events.getStreams("down")),
        tagOf(events.listStores),
        tagOf(events.appendEvents("down", "s", counted(3, 4))),
        tagOf(Stream.runCollect(events.readAll("down"))),
        tagOf(events.readSnapshot("down", "a", "s")),
        tagOf(events.getStoreStatus("down"))
      ], { concurrency: "unbounded" })
      assert.deepStrictEqual(new Set(tags), new Set(["StoreUnavailable"]))
      yield* proxy.welcome("accept")
      assert.isAtLeast(
        yield* Effect.retry(events.getVersion("down", "s"), { times: 20 }),
        2
      )
      yield* Effect.retry(events.appendEvents("down", "s", counted(4, 5)), { times: 20 })
      const numbers = (yield* events.getEvents("down", "s", 0, 10)).map(({ eventNumber }) => eventNumber)
      assert.deepStrictEqual(numbers, range(0, numbers.length))
    }))
})
