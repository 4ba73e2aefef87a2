/**
 * `holdfast gateway`, run as an operator runs it: a key, a worker, tokens, and a client that has nothing but one of them.
 */
import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Redacted } from "effect"
import { client } from "../events/gateway/support.ts"
import { tagOf } from "../events/support.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { commandIn } from "./command.ts"

layer(NodeServices.layer, { excludeTestServices: true })("holdfast gateway", (it) => {
  it.effect("makes a key, serves with it, issues tokens, and shows the workers", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.make
      const plain = yield* commandIn({})
      const secret = (yield* plain.run("gateway", "token", "--new-key")).out.trim()
      assert.isAtLeast(secret.length, 40)

      const env = { HOLDFAST_DATABASE_URL: database.url, HOLDFAST_GATEWAY_KEYS: `a:${secret}` }
      const command = yield* commandIn(env)
      const at = yield* Deferred.make<string>()
      let said = ""
      yield* Effect.forkScoped(command.follow(["gateway", "serve", "--port", "0"], (_, from, text) => {
        if (from !== "err") return
        said += text
        const url = /at (http:\S+)/.exec(said)?.[1]
        if (url !== undefined) Deferred.doneUnsafe(at, Effect.succeed(url))
      }))
      const issue = (...args: ReadonlyArray<string>) => command.run("gateway", "token", ...args)
      const token = (yield* issue("--client", "ops", "--grant", "*=read,append,subscribe,admin")).out.trim()
      const reader = (yield* issue("--client", "board", "-g", "flights=read", "--lifetime", "1h")).out.trim()
      const url = yield* Effect.timeout(Deferred.await(at), "60 seconds")
      assert.notInclude(said, secret)

      const ops = yield* client([url], { token: Redacted.make(token) })
      yield* ops.events.createStore("flights")
      yield* ops.events.appendEvents("flights", "SEA", [{ eventType: "Departed", data: { delay: 4 } }])
      const board = yield* client([url], { token: Redacted.make(reader) })
      assert.strictEqual(yield* board.events.getVersion("flights", "SEA"), 0)
      assert.strictEqual(
        yield* tagOf(board.events.appendEvents("flights", "SEA", [{ eventType: "A", data: 1 }])),
        "AccessDenied"
      )

      const asker = yield* commandIn({ HOLDFAST_GATEWAY_TOKEN: token })
      const { value } = yield* asker.json("gateway", "status", "--worker", url)
      assert.deepStrictEqual([value.ok, value.workers.length, value.workers[0].url], [true, 1, url])
      assert.include((yield* asker.run("gateway", "status", "--worker", url)).out, url)

      const wrong = yield* commandIn({ HOLDFAST_GATEWAY_TOKEN: "x" })
      const refused = yield* wrong.run("gateway", "status", "--worker", url)
      assert.deepStrictEqual([refused.code, refused.out], [1, ""])
      assert.include(refused.err, "the gateway did not issue this token")
      for (
        const [args, problem] of [
          [["--grant", "a=read"], "--client is missing"],
          [["--client", "a"], "--grant is missing"],
          [["--client", "a", "--grant", "a=write"], "--grant must be such as"],
          [["--client", "a", "--grant", "A=read"], "the id of a store, or *"],
          [["--client", "a", "--grant", "a=read", "--lifetime", "ever"], "--lifetime must be such as"]
        ] as const
      ) {
        const ran = yield* issue(...args)
        assert.strictEqual(ran.code, 2)
        assert.include(ran.err, problem)
      }
      const bare = yield* plain.run("gateway", "serve")
      assert.strictEqual(bare.code, 2)
      assert.include(bare.err, "HOLDFAST_GATEWAY_KEYS is not set")
    }), 240_000)
})
