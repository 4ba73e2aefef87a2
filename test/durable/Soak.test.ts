/**
 * The soak for some seconds: processes and durable servers, and all that can happen to them. `npm run soak` does it for as long as
 * one likes. When it fails it prints its seed, and where the processes' ledgers are.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomInt } from "node:crypto"
import * as EmbeddedPostgres from "../../src/testing/EmbeddedPostgres.ts"
import { soak, summary } from "./soak/supervisor.ts"

const server = EmbeddedPostgres.layer({ settings: { max_connections: "300" } })

layer(server, { excludeTestServices: true, timeout: 60_000 })("Soak", (it) => {
  it.effect(
    "whatever happens to processes, connections and Postgres: what was acknowledged is done, once, in order, and seen by all",
    () =>
      Effect.gen(function*() {
        const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
        const report = yield* soak({ seconds: 5, processes: 3, accounts: 50, seed, progress: () => undefined })
        assert.deepStrictEqual(report.wrong, [], `HOLDFAST_TEST_SEED=${seed}\n${summary(report)}`)
        assert.isAbove(report.kills, 0)
        assert.isAbove(report.restarts, 0)
        assert.isAbove(report.acknowledged, 0)
      }),
    240_000
  )
})
