/**
 * What durable servers take of memory is bounded: by the servers that are in memory, and not by what waits in their lines. A tenth of what
 * `npm run bench:memory` measures, in a process that ends where more than 96 MB of its heap would be kept, of which an idle node takes 30.
 */
import { PgConnection } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { DurableNode } from "holdfast/durable"
import { fill, run } from "../../bench/memory/run.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

const megabytes = 96
const idleMillis = 60_000

const cases = [
  { name: "10,000 servers with one message each", servers: 10_000, each: 1 },
  { name: "100,000 messages in one line", servers: 1, each: 100_000 },
  { name: "100,000 messages in 1,000 lines", servers: 1000, each: 100 }
]

layer(DurableNode.layerPostgres.pipe(Layer.provideMerge(TestPostgres.layer)), {
  excludeTestServices: true,
  timeout: 60_000
})("BoundedMemory", (it) => {
  for (const { each, name, servers } of cases) {
    it.effect(`${name} are worked off in little memory`, () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.TestDatabase
        const connection = yield* PgConnection.make({ url })
        yield* fill(connection, name, servers, each)
        const measured = yield* run(url, { what: "drain", amount: servers * each, idleMillis }, megabytes)
        // What was just made and is garbage already comes to it.
        assert.isBelow(measured.peak, 2 * megabytes * 1024 * 1024)
        assert.isAtMost(measured.residents, servers)
      }), 60_000)
  }
})
