/** What members count, under the names that dashboards know. */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Metric } from "effect"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

const value = (id: string) =>
  Effect.map(Metric.snapshot, (metrics) => {
    const state = metrics.find((metric) => metric.id === id)?.state
    return state === undefined ? 0 : "count" in state ? Number(state.count) : "value" in state ? Number(state.value) : 0
  })

layer(TestPostgres.layer, { excludeTestServices: true })("Metrics of members", (it) => {
  it.effect("the age of the oldest snapshot, and how often a member was given up", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { url } = yield* TestPostgres.TestDatabase
      const open = yield* Deferred.make<void>()
      const over = yield* Deferred.make<void>()
      const holding = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
        yield* sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`
        yield* sql`SELECT 1`
        yield* Deferred.succeed(open, undefined)
        yield* Deferred.await(over)
      })))
      yield* Deferred.await(open)
      yield* Effect.sleep("150 millis")
      const node = yield* Nodes.start({ url, member: { lease: "300 millis" } })
      const oldest = yield* Effect.repeat(
        Effect.delay(value("holdfast_member_oldest_snapshot_millis"), "5 millis"),
        { until: (millis) => millis > 0, times: 400 }
      )
      assert.isAtLeast(oldest, 150)
      yield* Deferred.succeed(over, undefined)
      yield* Fiber.join(holding)

      const lost = yield* value("holdfast_member_lost")
      const id = yield* node.id
      yield* sql`SELECT holdfast.bury_members(ARRAY[${BigInt(id)}])`
      yield* Effect.repeat(Effect.delay(node.id, "5 millis"), { until: (now) => now !== id, times: 1000 })
      assert.strictEqual(yield* value("holdfast_member_lost"), lost + 1)
    }))
})
