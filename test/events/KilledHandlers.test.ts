/**
 * Processes whose handlers append, stopped and killed at random under load: for each message its state and its events are there,
 * once, and in order. When it fails it prints its seed.
 *
 * It takes some seconds; HOLDFAST_TEST_SECONDS=60 makes it a minute.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Random, Redacted, type Scope } from "effect"
import { DurableNode } from "holdfast/durable"
import { randomInt } from "node:crypto"
import process from "node:process"
import * as Processes from "../support/Processes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Ledger, store } from "./fixtures/ledger.ts"
import { open, range } from "./support.ts"

const seconds = Number(process.env["HOLDFAST_TEST_SECONDS"] ?? 5)
const program = new URL("./fixtures/ledgers.ts", import.meta.url)
const servers = 20

layer(TestPostgres.layer, { excludeTestServices: true })("KilledHandlers", (it) => {
  it.effect("state and events are there once, and in order", () => {
    const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
    return Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const { events, sql } = yield* open({ url, member: { lease: "1 second" } })
      yield* events.createStore(store)
      yield* sql`CREATE TABLE booking (ledger text NOT NULL, n integer NOT NULL)`
      const node = yield* Layer.build(Layer.fresh(
        Layer.provide(DurableNode.layerPostgres, PgClient.layer({ url, maxConnections: 2 }))
      ))
      const ledger = yield* Effect.provide(Ledger.client(), node)

      const ends = performance.now() + seconds * 1000
      const booked = range(0, servers).map(() => 0)
      const book = Effect.fnUntraced(function*(server: number) {
        // Some of each, however slow the machine is.
        for (let n = 0; n < 3 || performance.now() < ends; n++) {
          const inTransaction = (yield* Random.nextIntBetween(0, 4)) === 0
          const payload = inTransaction ? { n, way: "in a transaction" as const } : { n }
          yield* ledger(`server ${server}`).call.Book(payload, { timeout: "2 minutes" })
          booked[server] = n + 1
        }
      })
      const env = { DATABASE_URL: Redacted.value(url) }
      let kills = 0
      const killed = Effect.fnUntraced(function*(): Effect.fn.Return<void, never, Scope.Scope> {
        while (performance.now() < ends) {
          yield* Effect.scoped(Effect.gen(function*() {
            const child = yield* Processes.start(program, [], env)
            yield* child.line("ready")
            yield* Effect.sleep(yield* Random.nextIntBetween(300, 3000))
            if (kills++ % 3 === 1) {
              // Stopped past its lease it is given up, and goes on as if nothing had been.
              yield* child.signal("SIGSTOP")
              yield* Effect.sleep("1500 millis")
              yield* child.signal("SIGCONT")
              yield* Effect.sleep("300 millis")
            }
            yield* child.signal("SIGKILL")
            yield* child.ended
          }))
        }
        // Somebody has to answer what is still in line.
        const last = yield* Processes.start(program, [], env)
        yield* last.line("ready")
      })
      yield* Effect.all([Effect.forEach(range(0, servers), book, { concurrency: "unbounded" }), killed(), killed()], {
        concurrency: "unbounded"
      })

      for (const server of range(0, servers)) {
        const key = `server ${server}`
        const recorded = yield* events.getEvents(store, key, 0, 100_000)
        assert.deepStrictEqual(
          recorded.map(({ data }) => (data as { readonly n: number }).n),
          range(0, booked[server] ?? 0)
        )
        assert.strictEqual(yield* ledger(key).call.Booked(undefined, { timeout: "2 minutes" }), recorded.length)
      }
      const total = booked.reduce((sum, n) => sum + n, 0)
      assert.strictEqual(yield* events.getVersion(store, "$all"), total - 1)
      assert.isAtLeast(kills, 2)
      if (seconds > 5) yield* Effect.log(`${kills} kills, ${total} bookings`)
    }).pipe(Random.withSeed(seed), Effect.onError(() => Effect.log(`HOLDFAST_TEST_SEED=${seed}`)))
  }, 200_000 + seconds * 1000)
})
