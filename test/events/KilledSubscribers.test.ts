/**
 * Processes with persistent subscriptions, stopped, killed and restarted at random while others append: every event is handled, in
 * order; and by the transactional ones exactly once, as the rows that they wrote tell. When it fails it prints its seed.
 *
 * It takes some seconds; HOLDFAST_TEST_SECONDS=60 makes it a minute.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Random, Redacted, type Scope } from "effect"
import { randomInt } from "node:crypto"
import * as Processes from "../support/Processes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { counted, open, range } from "./support.ts"

const seconds = Number(process.env["HOLDFAST_TEST_SECONDS"] ?? 5)
const program = new URL("./fixtures/subscriber.ts", import.meta.url)

layer(TestPostgres.layer, { excludeTestServices: true })("KilledSubscribers", (it) => {
  it.effect("every event is handled, in order, and in a transaction exactly once", () => {
    const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
    return Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const { events, sql } = yield* open({ url, member: { lease: "1 second" } })
      yield* events.createStore("killed")
      yield* sql`CREATE TABLE plain (id bigserial PRIMARY KEY, position bigint)`
      yield* sql`CREATE TABLE exact (id bigserial PRIMARY KEY, position bigint)`

      const ends = performance.now() + seconds * 1000
      let appended = 0
      const append = Effect.gen(function*() {
        while (performance.now() < ends) {
          const count = yield* Random.nextIntBetween(1, 10)
          yield* events.appendEvents("killed", `s${yield* Random.nextIntBetween(0, 9)}`, counted(0, count))
          appended += count
          yield* Effect.sleep(yield* Random.nextIntBetween(0, 10))
        }
      })
      const env = { DATABASE_URL: Redacted.value(url) }
      let kills = 0
      const killed = Effect.fnUntraced(function*(): Effect.fn.Return<void, never, Scope.Scope> {
        while (performance.now() < ends) {
          yield* Effect.scoped(Effect.gen(function*() {
            const child = yield* Processes.start(program, ["killed", String(yield* Random.nextIntBetween(1, 5))], env)
            yield* child.line("ready")
            yield* Effect.sleep(yield* Random.nextIntBetween(100, 1500))
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
      })
      yield* Effect.all([append, killed(), killed()], { concurrency: "unbounded" })

      // One that is left alone gets to the end of it.
      const last = yield* Processes.start(program, ["killed", "5"], env)
      yield* last.line("ready")
      const positions = (table: string) =>
        Effect.map(
          sql.unsafe<{ readonly position: number }>(`SELECT position::float8 FROM ${table} ORDER BY id`),
          (rows) => rows.map(({ position }) => position)
        )
      const isDone = Effect.map(
        Effect.all([positions("plain"), positions("exact")]),
        (tables) => tables.every((rows) => rows.includes(appended - 1))
      )
      yield* Effect.sleep("100 millis").pipe(
        Effect.andThen(isDone),
        Effect.repeat({ until: (done) => done }),
        Effect.timeout(60_000 + 2000 * seconds)
      )
      assert.deepStrictEqual(yield* positions("exact"), range(0, appended))
      // The others were handled at least once, and each for the first time in order.
      const firsts = [...new Set(yield* positions("plain"))]
      assert.deepStrictEqual(firsts, range(0, appended))
      assert.isAtLeast(kills, 2)
      if (seconds > 5) yield* Effect.log(`${kills} kills, ${appended} events`)
    }).pipe(Random.withSeed(seed), Effect.onError(() => Effect.log(`HOLDFAST_TEST_SEED=${seed}`)))
  }, 100_000 + 4000 * seconds)
})
