/**
 * Stores seen from several processes at once: of those that make one at the same moment one does, and what one of them does is
 * what all of them find, without a word between them.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as TestPostgres from "../support/TestPostgres.ts"
import { counted, open, range, tagOf } from "./support.ts"

layer(TestPostgres.layer, { excludeTestServices: true })("Stores", (it) => {
  it.effect("of several processes that make a store at once one does, and all can use it", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const processes = yield* Effect.all(range(0, 4).map(() => open({ url })), { concurrency: 4 })
      for (const round of range(0, 5)) {
        const store = `race_${round}`
        const made = yield* Effect.forEach(processes, ({ events }) => Effect.result(events.createStore(store)), {
          concurrency: 4
        })
        assert.strictEqual(made.filter(Result.isSuccess).length, 1)
        for (const one of made) if (Result.isFailure(one)) assert.strictEqual(one.failure.reason._tag, "AlreadyExists")
        yield* Effect.forEach(processes, ({ events }, n) => events.appendEvents(store, "s", counted(n, n + 1)), {
          concurrency: 4
        })
        assert.strictEqual(yield* processes[0]?.events.getVersion(store, "s") ?? Effect.succeed(0), 3)
      }
    }))

  it.effect("a store that one process removes is gone for all at once, and back for all", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const [first, second] = [yield* open({ url }), yield* open({ url })]
      yield* first.events.createStore("seen")
      for (const { events } of [first, second]) {
        yield* events.appendEvents("seen", "s", counted(0, 1))
        yield* events.getEvents("seen", "s", 0, 1)
        yield* events.getStoreStatus("seen")
      }
      for (const purge of [false, true]) {
        yield* first.events.removeStore("seen", { purge })
        const { events } = second
        assert.strictEqual(yield* tagOf(events.getEvents("seen", "s", 0, 1)), "StoreNotFound")
        assert.strictEqual(yield* tagOf(events.appendEvents("seen", "s", counted(0, 1))), "StoreNotFound")
        // In a transaction too; which has failed thereby, as with any statement that fails.
        let tag = ""
        yield* Effect.exit(second.sql.withTransaction(Effect.map(
          tagOf(events.appendEvents("seen", "s", counted(0, 1))),
          (found) => {
            tag = found
          }
        )))
        assert.strictEqual(tag, "StoreNotFound")
        assert.strictEqual(yield* tagOf(events.getStoreStatus("seen")), "StoreNotFound")
        assert.notInclude(yield* events.listStores, "seen")
        yield* first.events.createStore("seen")
        assert.strictEqual(yield* events.getVersion("seen", "$all"), purge ? -1 : 1)
        assert.strictEqual(yield* events.appendEvents("seen", "s", counted(1, 2)), purge ? 0 : 2)
      }
    }))
})
