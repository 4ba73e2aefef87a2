/** What is counted, under the names that dashboards know. */
import { assert, layer } from "@effect/vitest"
import { Effect, Metric, Schedule } from "effect"
import * as Nodes from "../support/Nodes.ts"
import { Counter, CounterLive, Fragile, fragileLive, makeWorld, Tank, tankLive } from "./fixtures/servers.ts"

const value = (id: string) =>
  Effect.map(Metric.snapshot, (metrics) => {
    const state = metrics.find((metric) => metric.id === id)?.state
    if (state === undefined) return undefined
    return "count" in state ? Number(state.count) : "value" in state ? Number(state.value) : undefined
  })

layer(Nodes.layerPostgres, { excludeTestServices: true })("Metrics", (it) => {
  it.effect("groups, their sizes and times, refusals, failures and parked messages are counted", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const world = makeWorld()
      const node = yield* store.start({
        servers: CounterLive,
        node: { clientIdleTime: "20 millis" }
      })
      const fragileNode = yield* store.start({
        servers: fragileLive(world, { defectRetryPolicy: Schedule.recurs(1) })
      })
      const producer = yield* store.start()
      const names = [
        "holdfast_durable_groups",
        "holdfast_durable_group_members",
        "holdfast_durable_commit_millis",
        "holdfast_durable_refused",
        "holdfast_durable_failed_attempts",
        "holdfast_durable_parked",
        "holdfast_durable_failed_casts"
      ]
      const before = new Map<string, number>()
      for (const name of names) before.set(name, (yield* value(name)) ?? 0)
      const counter = yield* node.run(Counter.client())
      const sent = yield* producer.run(Counter.client())
      const fragile = (yield* fragileNode.run(Fragile.client()))("metrics")
      yield* Effect.forEach(Array.from({ length: 20 }), (_, n) => counter(`metrics ${n}`).call.Add({ by: 1 }), {
        concurrency: "unbounded"
      })
      // Refused: the second time its key is known.
      yield* counter("metrics").call.AddOnce({ id: "a", by: 1 })
      yield* counter("metrics").call.AddOnce({ id: "a", by: 1 })
      yield* sent("metrics").call.Get()
      world.poison.add("poison")
      yield* Effect.flip(fragile.call.Do({ what: "poison" }))
      yield* (yield* producer.run(Fragile.client()))("metrics").cast.Refuse({ why: "nobody hears" })
      yield* fragile.call.Done()
      const after = new Map<string, number>()
      for (const name of names) after.set(name, (yield* value(name)) ?? 0)
      const grown = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0)
      assert.isAbove(grown("holdfast_durable_groups"), 3)
      assert.strictEqual(grown("holdfast_durable_commit_millis"), grown("holdfast_durable_groups"))
      assert.strictEqual(grown("holdfast_durable_group_members"), grown("holdfast_durable_groups"))
      assert.isAbove(grown("holdfast_durable_refused"), 0)
      assert.strictEqual(grown("holdfast_durable_failed_attempts"), 2)
      assert.strictEqual(grown("holdfast_durable_parked"), 1)
      assert.strictEqual(grown("holdfast_durable_failed_casts"), 1)
      const residents = yield* Effect.repeat(Effect.delay(value("holdfast_durable_residents"), "5 millis"), {
        until: (residents) => (residents ?? 0) > 0,
        times: 200
      })
      assert.isAbove(residents ?? 0, 0)
    }))

  it.effect("what waits in memory and in line is measured", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const world = makeWorld()
      const node = yield* store.start({
        servers: tankLive(world),
        node: { clientIdleTime: "20 millis", drainTimeout: "10 millis" }
      })
      const tank = (yield* node.run(Tank.client()))("depth")
      yield* tank.cast.Fill({ what: "slowly", millis: 3_600_000 })
      for (let n = 0; n < 7; n++) yield* tank.cast.Add({ what: `${n}` })
      // Other nodes in this process say what they have under the same name.
      const depth = yield* Effect.repeat(Effect.delay(value("holdfast_durable_line_depth"), "5 millis"), {
        until: (depth) => depth === 7,
        times: 400
      })
      assert.strictEqual(depth, 7)
      assert.isNumber(yield* value("holdfast_durable_mailbox_depth"))
    }))
})
