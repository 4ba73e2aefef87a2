/**
 * A stored state that today's schema does not read: an error that names the server and the field, for whoever calls it. The
 * server stands still, with everything that was sent to it, until the state can be read; all other servers go on.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Counter, CounterLive } from "./fixtures/servers.ts"

const store = Effect.fnUntraced(function*(key: string, state: string) {
  const sql = yield* PgClient.PgClient
  yield* sql`UPDATE holdfast.server SET state = ${state}, version = version + 1 WHERE kind = 'Counter' AND key = ${key}`
})

layer(TestPostgres.layer, { excludeTestServices: true })("UndecodableState", (it) => {
  for (
    const [what, state, named] of [
      ["of another type", "{\"count\":\"many\"}", "count"],
      ["missing", "{}", "count"],
      ["no JSON at all", "{", "JSON"]
    ] as const
  ) {
    it.effect(`a call of a server whose state has a field ${what} is told which, and of which server`, () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.TestDatabase
        const first = yield* Nodes.start({ url, servers: CounterLive })
        const key = `broken ${what}`
        yield* (yield* first.run(Counter.client()))(key).call.Add({ by: 1 })
        yield* first.close
        yield* store(key, state)
        const node = yield* Nodes.start({ url, servers: CounterLive })
        const counter = yield* node.run(Counter.client())
        for (let n = 0; n < 2; n++) {
          const { reason } = yield* Effect.flip(counter(key).call.Add({ by: 1 }))
          if (reason._tag !== "StateUndecodable") return assert.fail(reason._tag)
          assert.deepStrictEqual([reason.kind, reason.key], ["Counter", key])
          assert.include(reason.issue, named)
        }
        // Not one of the other servers is the worse for it.
        assert.strictEqual(yield* counter(`fine ${what}`).call.AddAndGet({ by: 1 }), 1)
        const [row] = yield* Effect.flatMap(
          PgClient.PgClient,
          (sql) => sql<{ readonly state: string }>`SELECT state FROM holdfast.server WHERE key = ${key}`
        )
        assert.strictEqual(row?.state, state)
      }))
  }

  it.effect("what was sent to it meanwhile is handled once its state can be read", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const first = yield* Nodes.start({ url, servers: CounterLive })
      yield* (yield* first.run(Counter.client()))("mended").call.Add({ by: 1 })
      yield* first.close
      yield* store("mended", "{\"count\":\"one\"}")
      const node = yield* Nodes.start({ url, servers: CounterLive })
      const producer = yield* Nodes.start({ url })
      const counter = yield* node.run(Counter.client())
      yield* Effect.flip(counter("mended").call.Get())
      yield* counter("mended").cast.Add({ by: 1 })
      yield* (yield* producer.run(Counter.client()))("mended").cast.Add({ by: 1 })
      yield* store("mended", "{\"count\":1}")
      yield* node.close
      yield* Nodes.start({ url, servers: CounterLive })
      const sent = (yield* producer.run(Counter.client()))("mended")
      assert.strictEqual(yield* sent.call.Get(undefined, { timeout: "20 seconds" }), 3)
    }))

  it.effect("a caller in another process is told as well", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const first = yield* Nodes.start({ url, servers: CounterLive })
      yield* (yield* first.run(Counter.client()))("elsewhere").call.Add({ by: 1 })
      yield* first.close
      yield* store("elsewhere", "{\"count\":\"one\"}")
      yield* Nodes.start({ url, servers: CounterLive })
      const producer = yield* Nodes.start({ url })
      const counter = yield* producer.run(Counter.client())
      const { reason } = yield* Effect.flip(counter("elsewhere").call.Get(undefined, { timeout: "2 seconds" }))
      if (reason._tag !== "StateUndecodable") return assert.fail(reason._tag)
      assert.deepStrictEqual([reason.kind, reason.key], ["Counter", "elsewhere"])
      assert.include(reason.issue, "count")
    }))
})
