/**
 * What cannot be sent is refused where it is made, with an error that names the field, and leaves nothing behind.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer, type DurableServerError } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"
import { Counter, CounterLive } from "./fixtures/servers.ts"

class Numbered extends DurableServer.make("Numbered", {
  state: Schema.Struct({}),
  key: Schema.FiniteFromString.check(Schema.isInt()),
  protocol: [Rpc.make("Touch")]
}) {}

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`InvalidMessages: ${name}`, (it) => {
    it.effect("a payload, a key or a primary key that is wrong is named, and nothing is sent", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: CounterLive })
        const counter = yield* node.run(Counter.client())
        const numbered = yield* node.run(Numbered.client())
        const wrong = {
          "payload, by": counter("a").call.Add({ by: 0.5 }),
          "payload, a cast": counter("a").cast.Add({ by: Number.NaN }),
          "payload, nothing": counter("a").cast.Add(undefined as never),
          "payload, castAll": counter("a").castAll((cast) => [cast.Add({ by: 1 }), cast.Add({ by: 0.5 })]),
          "key, empty": counter("").call.Add({ by: 1 }),
          "key, with NUL": counter("a\0b").cast.Add({ by: 1 }),
          "key, too long": counter("x".repeat(513)).call.Add({ by: 1 }),
          "key, too long in bytes": counter("ä".repeat(257)).call.Add({ by: 1 }),
          "key, half a character": counter("\ud800").call.Add({ by: 1 }),
          "key, in castAll": counter("").castAll((cast) => [cast.Add({ by: 1 })]),
          "key, not of its schema": numbered(0.5).call.Touch(),
          "primaryKey, with NUL": counter("a").call.AddOnce({ id: "\0", by: 1 }),
          "primaryKey, too long": counter("a").cast.AddOnce({ id: "x".repeat(512), by: 1 })
        }
        for (const [what, effect] of Object.entries(wrong)) {
          const { reason } = yield* Effect.flip(
            Effect.asVoid(effect as Effect.Effect<unknown, DurableServerError.DurableServerError>)
          )
          if (reason._tag !== "InvalidMessage") return assert.fail(`${what}: ${reason._tag}`)
          assert.strictEqual(reason.field, what.split(",")[0], what)
          assert.isAbove(reason.issue.length, 10, what)
          // Where in the payload, too.
          if (reason.field === "payload" && what !== "payload, nothing") assert.include(reason.issue, "[\"by\"]", what)
        }
        assert.strictEqual(yield* node.residents, 0)
        assert.strictEqual(yield* counter("a").call.Get(), 0)
      }))

    it.effect("keys of 512 bytes and of any characters are keys", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: CounterLive })
        const producer = yield* store.start()
        const counter = yield* node.run(Counter.client())
        const sent = yield* producer.run(Counter.client())
        const keys = ["x".repeat(512), "ä".repeat(256), "😀 '\"\\%_;--", " ", "\n\t", "a\u0301", "á", "{}", "null"]
        for (const [index, key] of keys.entries()) {
          yield* sent(key).cast.AddOnce({ id: key.slice(0, 250), by: index })
          assert.strictEqual(yield* counter(key).call.Get(), index)
        }
      }))
  })
}
