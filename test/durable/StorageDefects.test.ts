/**
 * A storage that does what it never should, and dies: what was under way is done all the same, once, nobody waits for ever, and
 * other servers go on.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Nodes from "../support/Nodes.ts"
import { Counter, CounterLive } from "./fixtures/servers.ts"

for (const [name, storeLayer] of Nodes.stores) {
  layer(storeLayer, { excludeTestServices: true })(`StorageDefects, ${name}`, (it) => {
    for (const what of ["a call", "a cast", "casts sent together"] as const) {
      it.effect(`${what} whose group the storage dies of is done once, and its server goes on`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          let dies = false
          const node = yield* store.start({
            servers: CounterLive,
            node: { pollInterval: "50 millis" },
            storage: ({ commit }) => ({
              commit: (group) =>
                Effect.suspend(() => {
                  if (!dies) return commit(group)
                  dies = false
                  return Effect.die(new Error("the disk is on fire"))
                })
            })
          })
          const counter = yield* node.run(Counter.client())
          yield* counter(what).call.Add({ by: 1 })
          yield* counter(`beside ${what}`).call.Add({ by: 1 })
          dies = true
          const sent = {
            "a call": counter(what).call.Add({ by: 1 }),
            "a cast": counter(what).cast.Add({ by: 1 }),
            "casts sent together": counter(what).castAll((cast) => [cast.Add({ by: 1 })])
          }
          yield* Nodes.within("15 seconds", sent[what])
          assert.isFalse(dies)
          assert.strictEqual(yield* Nodes.within("15 seconds", counter(what).call.AddAndGet({ by: 1 })), 3)
          assert.strictEqual(yield* Nodes.within("15 seconds", counter(`beside ${what}`).call.Get()), 1)
        }))
    }
  })
}
