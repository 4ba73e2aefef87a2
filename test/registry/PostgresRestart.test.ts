/**
 * Postgres is stopped as if its machine had failed, and started again: at no time has a profile two holders, and all profiles
 * come back.
 *
 * On a server of its own, with `fsync=on`.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, References } from "effect"
import { Member } from "holdfast/member"
import { ProfileRegistry } from "holdfast/registry"
import * as EmbeddedPostgres from "../../src/testing/EmbeddedPostgres.ts"
import * as Nodes from "../support/Nodes.ts"

class Held extends ProfileRegistry.Service<Held, object>()("test/held") {}

const leaseMillis = 1500

const join = Effect.gen(function*() {
  const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
  const context = yield* Layer.build(Layer.fresh(Held.layerPostgres.pipe(Layer.provide(Layer.mergeAll(
    PgClient.layer({ url, maxConnections: 2 }),
    Layer.succeed(References.MinimumLogLevel, "None"),
    Layer.succeed(Member.MemberOptions, { lease: leaseMillis, statementTimeout: "10 seconds", name: "test" })
  )))))
  return Context.get(context, Held)
})

layer(EmbeddedPostgres.layer(), { excludeTestServices: true, timeout: 60_000 })("PostgresRestart", (it) => {
  it.effect(
    "no profile has two holders at any time, and all come back, after a short stop and after a long one",
    () =>
      Effect.gen(function*() {
        const postgres = yield* EmbeddedPostgres.EmbeddedPostgres
        const nodes = [yield* join, yield* join]
        const profiles = Array.from({ length: 40 }, (_, n) => `profile ${n}`)
        /** How many connections each profile has at this moment, in both. */
        const open = new Map<string, number>()
        let most = 0
        const acquire = (profile: string) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              const now = (open.get(profile) ?? 0) + 1
              open.set(profile, now)
              most = Math.max(most, now)
              return {}
            }),
            () => Effect.sync(() => open.set(profile, (open.get(profile) ?? 0) - 1))
          )
        // Both want all of them, all the time: whoever is refused asks again.
        yield* Effect.forEach(nodes, (registry, index) =>
          Effect.forEach(profiles, (profile, n) =>
            registry.supervised(profile, acquire(profile)).pipe(
              Effect.ignore,
              Effect.andThen(Effect.sleep(50 + (n + index) % 7)),
              Effect.forever,
              Effect.forkScoped
            )))
        const allConnected = Nodes.within(
          "30 seconds",
          Effect.repeat(Effect.sleep("10 millis"), {
            until: () =>
              profiles.every((profile) =>
                open.get(profile) === 1
              )
          })
        )
        yield* allConnected
        for (const pause of [100, 2 * leaseMillis]) {
          yield* postgres.stop("immediate")
          yield* Effect.sleep(pause)
          // Nothing is held on to past the lease.
          if (pause > leaseMillis) {
            assert.isTrue(profiles.every((profile) => open.get(profile) === 0))
          }
          yield* postgres.start
          yield* allConnected
        }
        assert.strictEqual(most, 1)
      }),
    90_000
  )
})
