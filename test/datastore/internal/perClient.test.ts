import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { perClient } from "../../../src/datastore/internal/perClient.ts"

class Name extends Context.Service<Name, string>()("test/Name") {}
class First extends Context.Service<First, string>()("test/First") {}
class Second extends Context.Service<Second, string>()("test/Second") {}

// The pool opens lazily: nothing is connected to.
const client = (username: string) =>
  PgClient.make({ username, password: Redacted.make("") }).pipe(Effect.provide(Reactivity.layer))

describe("perClient", () => {
  it.effect("is built once for each client, closed with its scope, and built again afterwards", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const named = perClient((client) =>
        Layer.effect(
          Name,
          Effect.acquireRelease(
            Effect.sync(() => {
              log.push(`open ${client.config.username}`)
              return client.config.username ?? ""
            }),
            (name) => Effect.sync(() => log.push(`close ${name}`))
          )
        )
      )
      const app = Layer.succeed(PgClient.PgClient, yield* client("app"))
      const audit = Layer.succeed(PgClient.PgClient, yield* client("audit"))
      const first = Layer.effect(First, Name).pipe(Layer.provide(named))
      const second = Layer.effect(Second, Name).pipe(Layer.provide(named))
      const names = Effect.all([First, Second])

      const two = Layer.mergeAll(first.pipe(Layer.provide(app)), second.pipe(Layer.provide(audit)))
      assert.deepStrictEqual(yield* Effect.provide(names, two), ["app", "audit"])
      assert.sameMembers(log.splice(0), ["open app", "open audit", "close app", "close audit"])

      const one = Layer.mergeAll(first, second).pipe(Layer.provide(app))
      assert.deepStrictEqual(yield* Effect.provide(names, one), ["app", "app"])
      assert.deepStrictEqual(log.splice(0), ["open app", "close app"])
    }))

  it.effect("a constant layer is not: this is the trap it is for", () =>
    Effect.gen(function*() {
      const named = Layer.effect(Name, Effect.map(PgClient.PgClient, (client) => client.config.username ?? ""))
      const app = Layer.succeed(PgClient.PgClient, yield* client("app"))
      const audit = Layer.succeed(PgClient.PgClient, yield* client("audit"))
      const two = Layer.mergeAll(
        Layer.effect(First, Name).pipe(Layer.provide(named), Layer.provide(app)),
        Layer.effect(Second, Name).pipe(Layer.provide(named), Layer.provide(audit))
      )
      const [a, b] = yield* Effect.provide(Effect.all([First, Second]), two)
      assert.strictEqual(a, b)
    }))
})
