/**
 * The options by which servers are run: `cache: false` behaves the same, and leaves nothing in memory; `reset` begins anew.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { DurableServer } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"
import { Journal, makeWorld, Tank, tankLive } from "./fixtures/servers.ts"

const journalLive = (options: DurableServer.Options) =>
  Journal.toLayer({
    init: () => ({ entries: [] }),
    handlers: {
      Write: ({ noReply, payload, state }) => noReply({ entries: [...state.entries, payload.entry] }),
      WriteSlowly: ({ payload, reply, state }) =>
        Effect.as(
          Effect.sleep(payload.millis),
          reply(state.entries.length + 1, { entries: [...state.entries, payload.entry] })
        ),
      Read: ({ reply, state }) => reply(state.entries)
    }
  }, options)

const uncached = journalLive({ cache: false })
const anew = journalLive({ reset: true })
const asItWas = journalLive({})

for (const [name, storeLayer] of Nodes.stores) {
  layer(storeLayer, { excludeTestServices: true })(`Server options, ${name}`, (it) => {
    it.effect("without a cache, every call sees what was done before, and servers leave memory in between", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: uncached })
        const journal = (yield* node.run(Journal.client()))("uncached")
        const expected: Array<string> = []
        for (let round = 0; round < 20; round++) {
          yield* journal.cast.Write({ entry: `${round}` })
          expected.push(`${round}`)
          assert.deepStrictEqual(yield* journal.call.Read(), expected)
        }
        yield* Effect.forEach([1, 2, 3], (n) => journal.call.WriteSlowly({ entry: `slow ${n}`, millis: 5 }), {
          concurrency: 3
        })
        assert.strictEqual((yield* journal.call.Read()).length, 23)
        yield* Nodes.within(
          "4 seconds",
          Effect.repeat(Effect.delay(node.residents, "2 millis"), { until: (count) => count === 0 })
        )
        yield* node.close
      }))

    it.effect("without a cache, two processes take turns, and see each other's writes at once", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const nodes = [yield* store.start({ servers: uncached }), yield* store.start({ servers: uncached })]
        const journals = yield* Effect.forEach(nodes, (node) => node.run(Journal.client()))
        const expected: Array<string> = []
        for (let round = 0; round < 20; round++) {
          const journal = journals[round % 2]?.("turns")
          yield* journal!.call.Write({ entry: `${round}` })
          expected.push(`${round}`)
          assert.deepStrictEqual(yield* journals[(round + 1) % 2]!("turns").call.Read(), expected)
        }
        for (const node of nodes) yield* node.close
      }))

    it.effect("with reset, a process begins anew with each server, once, and another one without goes on", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const run = Effect.fnUntraced(function*(servers: typeof anew, entry: string) {
          const node = yield* store.start({ servers })
          const journal = (yield* node.run(Journal.client()))("reset")
          const found = yield* journal.call.Read()
          yield* journal.call.Write({ entry })
          const left = yield* journal.call.Read()
          yield* node.close
          return [found, left]
        })
        assert.deepStrictEqual(yield* run(asItWas, "a"), [[], ["a"]])
        assert.deepStrictEqual(yield* run(anew, "b"), [[], ["b"]])
        assert.deepStrictEqual(yield* run(asItWas, "c"), [["b"], ["b", "c"]])
        assert.deepStrictEqual(yield* run(anew, "d"), [[], ["d"]])
      }))

    it.effect("with reset, a server that left memory meanwhile does not begin anew again", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: journalLive({ reset: true, cache: false }) })
        const journal = (yield* node.run(Journal.client()))("once")
        for (const entry of ["a", "b", "c"]) {
          yield* journal.call.Write({ entry })
          yield* Nodes.within(
            "4 seconds",
            Effect.repeat(Effect.delay(node.residents, "2 millis"), { until: (count) => count === 0 })
          )
        }
        assert.deepStrictEqual(yield* journal.call.Read(), ["a", "b", "c"])
        yield* node.close
      }))

    it.effect("with reset, what waits in line is handled on the new state; what goes on under a lock goes on with the old", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const first = yield* store.start({ servers: asItWas })
        yield* (yield* first.run(Journal.client()))("line").call.Write({ entry: "old" })
        yield* first.close
        const producer = yield* store.start()
        yield* (yield* producer.run(Journal.client()))("line").cast.Write({ entry: "in line" })
        const next = yield* store.start({ servers: anew })
        assert.deepStrictEqual(yield* (yield* next.run(Journal.client()))("line").call.Read(), ["in line"])
        yield* next.close

        const world = makeWorld()
        const locker = yield* store.start({ servers: tankLive(world), node: { drainTimeout: "10 millis" } })
        const tank = (yield* locker.run(Tank.client()))("locked")
        yield* tank.call.Add({ what: "before" })
        yield* tank.cast.Fill({ what: "under the lock", millis: 300 })
        yield* locker.close
        const other = yield* store.start({ servers: tankLive(world, { reset: true }) })
        const found = yield* Nodes.within("8 seconds", (yield* other.run(Tank.client()))("locked").call.Look())
        assert.deepStrictEqual(found.full, ["before", "under the lock"])
        yield* other.close
        yield* producer.close
      }))
  })
}
