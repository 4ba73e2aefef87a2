/**
 * Connections are cut at random, all the time, while many callers go on: whoever was told that something is done finds it
 * done, once, and nothing else was done. When it fails it prints its seed.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Random } from "effect"
import { randomInt } from "node:crypto"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive } from "./fixtures/servers.ts"

const seconds = 5
const callers = 32
const servers = 8

layer(TestPostgres.layer, { excludeTestServices: true })("RandomCuts", (it) => {
  it.effect("every acknowledged increment is there exactly once, and no caller is told of a failure", () => {
    const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
    return Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const proxies = yield* Effect.all([CuttableProxy.make(database), CuttableProxy.make(database)])
      const nodes = yield* Effect.forEach(
        proxies,
        (proxy) =>
          Nodes.start({ url: proxy.through(database.url), servers: CounterLive, member: { lease: "2 seconds" } })
      )
      const producer = yield* Nodes.start({ url: proxies[0]?.through(database.url) ?? database.url })
      const acknowledged = new Map<string, number>()
      const ends = performance.now() + seconds * 1000
      const working = yield* Effect.forEach(
        Array.from({ length: callers }, (_, index) => [...nodes, producer][index % 3] ?? producer),
        (node) =>
          Effect.flatMap(node.run(Counter.client()), (counter) =>
            Effect.gen(function*() {
              while (performance.now() < ends) {
                const key = `cut ${yield* Random.nextIntBetween(0, servers - 1)}`
                const by = yield* Random.nextIntBetween(1, 3)
                const ref = counter(key)
                yield* [
                  Effect.asVoid(ref.call.AddAndGet({ by }, { timeout: "30 seconds" })),
                  ref.cast.Add({ by }),
                  ref.castAll((cast) => Array.from({ length: by }, () => cast.Add({ by: 1 }))),
                  Effect.asVoid(ref.call.AddOnce({ id: `${yield* Random.nextInt}`, by }, { timeout: "30 seconds" }))
                ][yield* Random.nextIntBetween(0, 3)] ?? Effect.void
                acknowledged.set(key, (acknowledged.get(key) ?? 0) + by)
              }
            })).pipe(Effect.forkChild)
      )
      let cuts = 0
      const sessions = ["commit", "commit", "commit", "read", "heartbeat", "listen"].map((name) => `holdfast ${name}`)
      const cutting = yield* Effect.gen(function*() {
        const proxy = proxies[yield* Random.nextIntBetween(0, 1)]
        const session = sessions[yield* Random.nextIntBetween(0, sessions.length - 1)]
        yield* Effect.sleep(yield* Random.nextIntBetween(1, 60))
        cuts += (yield* proxy?.cut(session) ?? Effect.succeed(0)) ?? 0
      }).pipe(Effect.forever, Effect.forkChild)
      yield* Effect.forEach(working, (fiber) => Nodes.within("40 seconds", Fiber.join(fiber)), { discard: true })
      yield* Fiber.interrupt(cutting)
      const counter = yield* producer.run(Counter.client())
      for (const [key, expected] of acknowledged) {
        assert.strictEqual(yield* counter(key).call.Get(undefined, { timeout: "20 seconds" }), expected, key)
      }
      const total = Array.from(acknowledged.values()).reduce((sum, count) => sum + count, 0)
      assert.isAbove(cuts, 20)
      assert.isAbove(total, 200)
      // Lines are dense and consumed, and nothing is left of what was answered.
      const rows = yield* sql<{ readonly left: number; readonly taken: number; readonly pushed: number }>`
        SELECT s.taken::float8 AS taken, b.pushed::float8 AS pushed,
          (SELECT count(*) FROM holdfast.message m WHERE m.server_id = s.id)::float8 AS left
        FROM holdfast.server s JOIN holdfast.inbox b ON b.id = s.id`
      for (const row of rows) assert.deepStrictEqual(row, { left: 0, taken: row.pushed, pushed: row.pushed })
    }).pipe(
      Random.withSeed(seed),
      Effect.tapCause(() => Effect.sync(() => console.error(`HOLDFAST_TEST_SEED=${seed}`)))
    )
  }, 60_000)
})
