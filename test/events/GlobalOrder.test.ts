/**
 * The order of a store, under writers from two processes that append in groups, in handlers of durable servers, in transactions
 * that take their time, and roll back: positions are dense, a reader who follows the end never sees one before the one in front of it, and the order
 * of each stream is that of the store. When it fails it prints its seed.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Random, Stream } from "effect"
import { randomInt } from "node:crypto"
import process from "node:process"
import * as TestPostgres from "../support/TestPostgres.ts"
import { start, store } from "./fixtures/ledger.ts"
import { counted } from "./support.ts"

const writers = 50
const writes = Number(process.env["HOLDFAST_TEST_WRITES"] ?? 25)

layer(TestPostgres.layer, { excludeTestServices: true })("GlobalOrder", (it) => {
  it.effect("50 writers, random rollbacks and slow commits: dense, and never n + 1 before n", () => {
    const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
    return Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const stores = [yield* start(url), yield* start(url)]
      const [first] = stores
      assert.isDefined(first)
      if (first === undefined) return

      let expected = 0
      let rolledBack = 0
      let handled = 0
      const write = Effect.fnUntraced(function*(writer: number) {
        const { events, ledger, sql } = stores[writer % 2] ?? first
        for (let n = 0; n < writes; n++) {
          const count = yield* Random.nextIntBetween(1, 5)
          const append = Effect.flatMap(
            Random.nextIntBetween(0, 19),
            (stream) => events.appendEvents(store, `s${stream}`, counted(0, count))
          )
          const way = yield* Random.nextIntBetween(0, 12)
          if (way < 4) {
            yield* append
            expected += count
            continue
          }
          if (way > 9) {
            // Of many servers, which both processes call, each runs in one of them.
            const one = ledger(`ledger ${yield* Random.nextIntBetween(0, 30)}`)
            const stream = `s${yield* Random.nextIntBetween(0, 19)}`
            const inTransaction = (yield* Random.nextIntBetween(0, 3)) === 0
            yield* one.call.Book(
              inTransaction ? { n, stream, way: "round a transaction" } : { n, stream },
              { timeout: "1 minute" }
            )
            expected += inTransaction ? 3 : 1
            handled++
            continue
          }
          const pause = Effect.sleep(yield* Random.nextIntBetween(0, 20))
          const rollsBack = way > 7
          const transaction = sql.withTransaction(
            append.pipe(Effect.andThen(pause), Effect.andThen(rollsBack ? Effect.fail("rolled back") : Effect.void))
          )
          // A transaction on a stream that another one has made and rolled back, or two that wait for each other: retried by nobody.
          const done = yield* Effect.exit(transaction)
          if (done._tag === "Success") expected += count
          else rolledBack++
        }
      })
      const seen: Array<number> = []
      const numbers = new Map<string, number>()
      const tail = yield* first.events.subscribe(store, { startFrom: "origin" }).pipe(
        Stream.runForEach(({ event }) =>
          Effect.sync(() => {
            assert.strictEqual(event.globalPosition, seen.length)
            assert.strictEqual(event.eventNumber, numbers.get(event.eventStreamId) ?? 0)
            numbers.set(event.eventStreamId, event.eventNumber + 1)
            seen.push(event.globalPosition)
          })
        ),
        Effect.forkChild
      )
      // Another one, that does not go by hints: it reads the end again and again, as fast as it can.
      let next = 0
      const poll = yield* Effect.gen(function*() {
        const events = yield* (stores[1] ?? first).events.getEvents(store, "$all", next, 100)
        for (const event of events) assert.strictEqual(event.globalPosition, next++)
      }).pipe(Effect.forever, Effect.forkChild)

      yield* Effect.forEach(Array.from({ length: writers }, (_, writer) => writer), write, {
        concurrency: "unbounded",
        discard: true
      })
      const head = yield* first.events.getVersion(store, "$all")
      assert.strictEqual(head + 1, expected)
      yield* Effect.sleep("5 millis").pipe(
        Effect.repeat({ while: () => seen.length < expected || next < expected }),
        Effect.timeoutOption(40_000 + 200 * writes)
      )
      assert.strictEqual(seen.length, expected)
      assert.strictEqual(next, expected)
      assert.isAbove(rolledBack, 10)
      assert.isAbove(handled, 100)
      assert.isAbove(expected, 500)
      yield* Fiber.interruptAll([tail, poll])
    }).pipe(Random.withSeed(seed), Effect.onError(() => Effect.log(`HOLDFAST_TEST_SEED=${seed}`)))
  }, 90_000 + 2000 * writes)
})
