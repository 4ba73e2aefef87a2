/**
 * What waits in a process is bounded: a sender that is faster than the server hears of it at once, and nothing is lost.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Nodes from "../support/Nodes.ts"
import { Journal, JournalLive } from "./fixtures/servers.ts"

for (const [name, storeLayer] of Nodes.stores) {
  layer(storeLayer, { excludeTestServices: true })(`Overload, ${name}`, (it) => {
    it.effect("what is sent beyond the capacity is refused at once, and what was taken in is done", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: JournalLive, node: { mailboxCapacity: 10 } })
        const journal = yield* node.run(Journal.client())
        yield* journal("full").call.Read()
        const start = { startImmediately: true }
        const slow = yield* Effect.forkChild(journal("full").call.WriteSlowly({ entry: "slow", millis: 200 }), start)
        const sent = yield* Effect.forEach(
          Array.from({ length: 30 }, (_, n) => `${n}`),
          (entry) => Effect.forkChild(Effect.result(journal("full").call.Write({ entry })), start)
        )
        const all = yield* Effect.forkChild(
          Effect.result(journal("full").castAll((cast) => [cast.Write({ entry: "all" })])),
          start
        )
        // Others have mailboxes of their own.
        yield* journal("another").call.Write({ entry: "fine" })
        assert.isUndefined(slow.pollUnsafe())
        yield* Fiber.join(slow)
        const results = [...(yield* Fiber.joinAll(sent)), yield* Fiber.join(all)]
        const refused = results.flatMap((result) => result._tag === "Failure" ? [result.failure] : [])
        assert.strictEqual(refused.length, 21)
        for (const error of refused) {
          assert.strictEqual(error.reason._tag, "Overloaded")
          assert.include(error.message, "to Journal \"full\" was refused: 10 messages to it wait already")
        }
        assert.deepStrictEqual(yield* journal("full").call.Read(), [
          "slow",
          ...Array.from({ length: 10 }, (_, n) => `${n}`)
        ])
        yield* node.close
      }))
  })
}
