/**
 * The server answers, and says that it cannot: no room on its disk, read-only since a fail-over, out of memory. That is nobody's
 * message's fault. Callers wait, nothing fails or is parked, the node goes on as soon as the server does.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive } from "./fixtures/servers.ts"

/** For as long as an effect runs, every write to a table is answered with this error. */
const refusing = <A, E, R>(table: string, operation: string, code: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    yield* sql.unsafe(`
      CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'the server is in trouble' USING ERRCODE = '${code}'; END $$`)
    yield* sql.unsafe(`
      CREATE TRIGGER refuse BEFORE ${operation} ON holdfast.${table} FOR EACH STATEMENT EXECUTE FUNCTION public.refuse()`)
    return yield* Effect.ensuring(effect, Effect.orDie(sql.unsafe(`DROP TRIGGER refuse ON holdfast.${table}`)))
  })

const troubles = {
  "no room on the disk": "53100",
  "read-only": "25006",
  "out of memory": "53200",
  "an I/O error": "58030"
}

layer(TestPostgres.layer, { excludeTestServices: true })("ServerTroubles", (it) => {
  for (const [trouble, code] of Object.entries(troubles)) {
    it.effect(`${trouble}: commits are tried again, and no message is to blame`, () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.TestDatabase
        const sql = yield* PgClient.PgClient
        const node = yield* Nodes.start({ url, servers: CounterLive })
        const producer = yield* Nodes.start({ url })
        const counter = yield* node.run(Counter.client())
        const sent = yield* producer.run(Counter.client())
        const key = `commit ${code}`
        yield* counter(key).call.Add({ by: 1 })
        const callers = yield* refusing(
          "lane",
          "UPDATE",
          code,
          Effect.gen(function*() {
            const callers = yield* Effect.forEach([
              counter(key).call.Add({ by: 1 }),
              counter(key).cast.Add({ by: 1 }),
              counter(`another ${key}`).call.Add({ by: 1 }),
              sent(key).call.Add({ by: 1 }),
              sent(key).cast.Add({ by: 1 })
            ], (effect) => Effect.forkScoped(effect, { startImmediately: true }))
            yield* Effect.sleep("600 millis")
            for (const caller of callers) assert.isUndefined(caller.pollUnsafe())
            return callers
          })
        )
        for (const caller of callers) yield* Nodes.within("15 seconds", Fiber.join(caller))
        assert.strictEqual(yield* counter(key).call.Get(), 5)
        const [parked] = yield* sql<{ readonly count: number }>`SELECT count(*)::int AS count FROM holdfast.parked`
        assert.strictEqual(parked?.count, 0)
      }))
  }

  it.effect("a lookup that is answered with an error is tried again, and the node lives on", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const counter = yield* node.run(Counter.client())
      yield* counter("lookup").call.Add({ by: 1 })
      const caller = yield* refusing(
        "server",
        "INSERT",
        "53100",
        Effect.gen(function*() {
          const caller = yield* Effect.forkScoped(counter("new").call.AddAndGet({ by: 1 }), { startImmediately: true })
          yield* Effect.sleep("300 millis")
          // What is known already goes on meanwhile.
          assert.strictEqual(yield* counter("lookup").call.AddAndGet({ by: 1 }), 2)
          return caller
        })
      )
      assert.strictEqual(yield* Nodes.within("15 seconds", Fiber.join(caller)), 1)
      assert.strictEqual(yield* counter("lookup").call.AddAndGet({ by: 1 }), 3)
    }))
})
