/**
 * Priority: such a message goes before all that have none, and is handled under a lock; for everything else it is a message like
 * any other. It is done once, it is on disk when it is acknowledged, and whoever comes later sees what it did.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Nodes from "../support/Nodes.ts"
import { Journal, JournalLive, makeWorld, Tank, tankLive } from "./fixtures/servers.ts"

const start = { startImmediately: true }
const entries = (from: string, count: number) => Array.from({ length: count }, (_, n) => `${from}${n}`)

for (const [name, storeLayer] of Nodes.stores) {
  layer(storeLayer, { excludeTestServices: true })(`Priority, ${name}`, (it) => {
    for (const where of ["here", "in another process"] as const) {
      it.effect(`what has priority is handled under a lock, sent from ${where}, and nothing of it is overwritten`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const holder = yield* store.start({ servers: tankLive(makeWorld()) })
          const other = where === "here" ? holder : yield* store.start()
          const tank = (yield* other.run(Tank.client()))(`lock ${where}`)
          yield* (yield* holder.run(Tank.client()))(`lock ${where}`).call.Look()
          const filling = yield* Effect.forkChild(tank.call.Fill({ what: "filled", millis: 300 }), start)
          const standard = yield* Effect.forkChild(tank.cast.Add({ what: "standard" }), start)
          yield* Effect.repeat(tank.priorityCall.Look(), { until: ({ filling }) => filling === 1 })
          yield* tank.priorityCall.Add({ what: "urgent call" })
          yield* tank.priorityCast.Add({ what: "urgent cast" })
          assert.deepStrictEqual((yield* tank.priorityCall.Look()).full, ["urgent call", "urgent cast"])
          assert.isUndefined(filling.pollUnsafe())
          yield* Effect.all([Fiber.join(filling), Fiber.join(standard)])
          assert.deepStrictEqual(yield* tank.call.Look(), {
            filling: 0,
            full: ["urgent call", "urgent cast", "filled", "standard"]
          })
          yield* holder.close
          if (other !== holder) yield* other.close
        }))

      it.effect(`what has priority goes before what waits, sent from ${where}, and keeps its own order`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const holder = yield* store.start({ servers: JournalLive })
          const other = where === "here" ? holder : yield* store.start()
          const held = (yield* holder.run(Journal.client()))(`before ${where}`)
          const journal = (yield* other.run(Journal.client()))(`before ${where}`)
          yield* held.call.Read()
          const slow = yield* Effect.forkChild(held.call.WriteSlowly({ entry: "slow", millis: 150 }), start)
          yield* Effect.sleep("20 millis")
          // Far more than is read of a line at once, so that those with priority stand behind what is not read yet.
          const standard = yield* Effect.forkChild(
            journal.castAll((cast) => entries("s", 600).map((entry) => cast.Write({ entry }))),
            start
          )
          if (where === "in another process") yield* Fiber.join(standard)
          const urgent = yield* Effect.forEach(
            entries("u", 5),
            (entry) => Effect.forkChild(journal.priorityCall.Write({ entry }), start)
          )
          yield* Effect.all([Fiber.join(slow), Fiber.join(standard), ...urgent.map((one) => Fiber.join(one))])
          const written = yield* journal.call.Read()
          assert.deepStrictEqual(
            written.filter((entry) => entry.startsWith("s") && entry !== "slow"),
            entries("s", 600)
          )
          assert.deepStrictEqual(written.filter((entry) => entry.startsWith("u")), entries("u", 5))
          assert.strictEqual(written.length, 606)
          if (where === "here") assert.strictEqual(written[0], "slow")
          assert.isBelow(written.indexOf("u4"), 600)
          yield* holder.close
          if (other !== holder) yield* other.close
        }))
    }

    it.effect("an acknowledged cast with priority is seen by every later call, of either kind and from anywhere", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const holder = yield* store.start({ servers: JournalLive, node: { pollInterval: "1 minute" } })
        const producer = yield* store.start()
        const here = (yield* holder.run(Journal.client()))("seen")
        const there = (yield* producer.run(Journal.client()))("seen")
        yield* here.call.Read()
        for (let n = 0; n < 40; n++) {
          yield* (n % 2 === 0 ? there.priorityCast : there.cast).Write({ entry: `${n}` })
          const [read, other] = yield* Effect.all([
            (n % 4 < 2 ? here.call : here.priorityCall).Read(),
            (n % 4 === 1 ? here.priorityCall : here.call).Read()
          ])
          const seen = n % 2 === 0 ? read : other
          assert.include(n % 4 === 3 ? (yield* here.call.Read()) : seen, `${n}`)
        }
        assert.strictEqual((yield* there.call.Read()).length, 40)
        yield* holder.close
        yield* producer.close
      }))

    it.effect("what was sent with priority and not handled when its holder left is handled by the next, once", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const producer = yield* store.start()
        const journal = (yield* producer.run(Journal.client()))("next")
        yield* journal.cast.Write({ entry: "a" })
        yield* journal.priorityCast.Write({ entry: "urgent" })
        yield* journal.cast.Write({ entry: "b" })
        for (let n = 0; n < 3; n++) {
          const node = yield* store.start({ servers: JournalLive })
          assert.deepStrictEqual(yield* journal.call.Read(), ["urgent", "a", "b"])
          yield* (yield* node.run(Journal.client()))("next").priorityCall.Read()
          yield* node.close
        }
        yield* producer.close
      }))
  })
}
