/**
 * Versions of a state: what an older version of a definition stored is read by the newer one, what a newer one stored is left
 * alone by the older one, and nothing is written by reading.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

const protocol = [
  Rpc.make("Fill", { payload: { amount: Schema.Int } }),
  Rpc.make("Level", { success: Schema.Finite })
] as const

const One = Schema.Struct({ litres: Schema.Finite })
const Two = Schema.Struct({ amount: Schema.Finite })
class Three extends Schema.Class<Three>("Three")({ amount: Schema.Int, since: Schema.DateTimeUtcFromString }) {}

const since = Schema.decodeSync(Schema.DateTimeUtcFromString)("2026-01-01T00:00:00.000Z")

/** The three versions that an application had one after the other. */
class First extends DurableServer.make("Barrel", { state: One, protocol }) {}
class Second extends DurableServer.make("Barrel", {
  state: Two,
  stateVersion: 2,
  migrate: { 1: DurableServer.migration(One, Two, ({ litres }) => ({ amount: litres })) },
  protocol
}) {}
class Third extends DurableServer.make("Barrel", {
  state: Three,
  stateVersion: 3,
  migrate: {
    1: DurableServer.migration(One, Two, ({ litres }) => ({ amount: litres })),
    // Millilitres from now on.
    2: DurableServer.migration(Two, Three, ({ amount }) => new Three({ amount: Math.round(amount * 1000), since }))
  },
  protocol
}) {}

const FirstLive = First.toLayer({
  init: () => ({ litres: 0 }),
  handlers: {
    Fill: ({ noReply, payload, state }) => noReply({ litres: state.litres + payload.amount }),
    Level: ({ reply, state }) => reply(state.litres)
  }
})
const SecondLive = Second.toLayer({
  init: () => ({ amount: 0 }),
  handlers: {
    Fill: ({ noReply, payload, state }) => noReply({ amount: state.amount + payload.amount }),
    Level: ({ reply, state }) => reply(state.amount)
  }
})
const ThirdLive = Third.toLayer({
  init: () => new Three({ amount: 0, since }),
  handlers: {
    Fill: ({ noReply, payload, state }) => noReply(new Three({ ...state, amount: state.amount + payload.amount })),
    Level: ({ reply, state }) => reply(state.amount)
  }
})

/** One in which a state of the first version cannot become one of the second. */
const failing = (migrate: DurableServer.Migration) => {
  class Failing extends DurableServer.make("Barrel", {
    state: Two,
    stateVersion: 3,
    migrate: { 2: migrate },
    protocol
  }) {}
  return Failing.toLayer({
    init: () => ({ amount: 0 }),
    handlers: {
      Fill: ({ noReply, payload, state }) => noReply({ amount: state.amount + payload.amount }),
      Level: ({ reply, state }) => reply(state.amount)
    }
  })
}

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`StateVersions: ${name}`, (it) => {
    it.effect("a state of an older version is taken through every step, and again until one of today's is stored", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const first = yield* store.start({ servers: FirstLive })
        yield* (yield* first.run(First.client()))("chain").call.Fill({ amount: 2 })
        yield* first.close
        for (let n = 0; n < 2; n++) {
          const third = yield* store.start({ servers: ThirdLive })
          assert.strictEqual(yield* (yield* third.run(Third.client()))("chain").call.Level(), 2000)
          yield* third.close
        }
        const third = yield* store.start({ servers: ThirdLive })
        const barrel = (yield* third.run(Third.client()))("chain")
        yield* barrel.call.Fill({ amount: 500 })
        yield* third.close
        const again = yield* store.start({ servers: ThirdLive })
        assert.strictEqual(yield* (yield* again.run(Third.client()))("chain").call.Level(), 2500)
        yield* again.close
      }))

    it.effect("a state whose text was the same in an older version is not taken for unchanged", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        // The same schema, in litres and then in millilitres.
        class Millis extends DurableServer.make("Barrel", {
          state: One,
          stateVersion: 2,
          migrate: { 1: DurableServer.migration(One, One, ({ litres }) => ({ litres: litres * 1000 })) },
          protocol
        }) {}
        const MillisLive = Millis.toLayer({
          init: () => ({ litres: 0 }),
          handlers: {
            Fill: ({ noReply, payload }) => noReply({ litres: payload.amount }),
            Level: ({ reply, state }) => reply(state.litres)
          }
        })
        const first = yield* store.start({ servers: FirstLive })
        yield* (yield* first.run(First.client()))("same text").call.Fill({ amount: 7 })
        yield* first.close
        const second = yield* store.start({ servers: MillisLive })
        yield* (yield* second.run(Millis.client()))("same text").call.Fill({ amount: 7 })
        yield* second.close
        const third = yield* store.start({ servers: MillisLive })
        assert.strictEqual(yield* (yield* third.run(Millis.client()))("same text").call.Level(), 7)
        yield* third.close
      }))

    it.effect("what an old process is sent for a server of a newer version is handled by the new one", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const old = yield* store.start({ servers: FirstLive })
        const older = (yield* old.run(First.client()))("rolling")
        yield* older.call.Fill({ amount: 1 })
        const renewed = yield* store.start({ servers: ThirdLive })
        const newer = (yield* renewed.run(Third.client()))("rolling")
        // As long as the old one holds it, it is the old one's.
        assert.strictEqual(yield* newer.call.Level(), 1)
        yield* old.close
        yield* newer.call.Fill({ amount: 1 })
        yield* renewed.close
        const late = yield* store.start({ servers: FirstLive })
        const sentLate = (yield* late.run(First.client()))("rolling")
        // Nobody who can read it is there: a cast waits in line, a call is told why nobody answers.
        yield* sentLate.cast.Fill({ amount: 5 })
        const { reason } = yield* Effect.flip(sentLate.call.Level(undefined, { timeout: "300 millis" }))
        if (reason._tag !== "StateTooNew") return assert.fail(reason._tag)
        assert.deepStrictEqual(
          [reason.kind, reason.key, reason.storedVersion, reason.knownVersion],
          ["Barrel", "rolling", 3, 1]
        )
        // And then somebody comes, while a call waits.
        const waiting = sentLate.call.Level(undefined, { timeout: "20 seconds" })
        const level = yield* Effect.all([
          waiting,
          Effect.delay(store.start({ servers: ThirdLive }), "100 millis")
        ], { concurrency: "unbounded" })
        assert.strictEqual(level[0], 1006)
        // The old one's other servers are its own.
        yield* (yield* late.run(First.client()))("another").call.Fill({ amount: 1 })
      }))

    for (
      const [what, migrate, named] of [
        ["fails", () => {
          throw new Error("no way from there")
        }, "no way from there"],
        ["gives no state", () => ({ amount: "a lot" }), "amount"]
      ] as const
    ) {
      it.effect(`where a migration ${what}, the server stands still, and whoever calls it is told which and where`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const second = yield* store.start({ servers: SecondLive })
          yield* (yield* second.run(Second.client()))(what).call.Fill({ amount: 2 })
          yield* second.close
          const third = yield* store.start({ servers: failing(migrate) })
          const barrel = (yield* third.run(Third.client()))(what)
          const { reason } = yield* Effect.flip(barrel.call.Level())
          if (reason._tag !== "StateUndecodable") return assert.fail(reason._tag)
          assert.deepStrictEqual([reason.kind, reason.key], ["Barrel", what])
          assert.include(reason.issue, named)
          assert.include(reason.issue, "version 2")
          yield* barrel.cast.Fill({ amount: 3 })
          yield* third.close
          // Mended, it goes on with everything that was sent.
          const mended = yield* store.start({ servers: ThirdLive })
          assert.strictEqual(yield* (yield* mended.run(Third.client()))(what).call.Level(), 2003)
          yield* mended.close
        }))
    }

    it.effect("a server that was killed begins anew in whichever version there is", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const third = yield* store.start({ servers: ThirdLive })
        const barrel = (yield* third.run(Third.client()))("killed")
        yield* barrel.call.Fill({ amount: 2 })
        yield* barrel.kill("it is time")
        yield* third.close
        const first = yield* store.start({ servers: FirstLive })
        const older = (yield* first.run(First.client()))("killed")
        yield* older.call.Fill({ amount: 3 })
        assert.strictEqual(yield* older.call.Level(), 3)
        yield* first.close
        const again = yield* store.start({ servers: ThirdLive })
        assert.strictEqual(yield* (yield* again.run(Third.client()))("killed").call.Level(), 3000)
        yield* again.close
      }))

    it.effect("a version from which no step starts any more is named", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const first = yield* store.start({ servers: FirstLive })
        yield* (yield* first.run(First.client()))("dropped").call.Fill({ amount: 2 })
        yield* first.close
        const third = yield* store.start({ servers: failing((old) => old) })
        const { reason } = yield* Effect.flip((yield* third.run(Third.client()))("dropped").call.Level())
        if (reason._tag !== "StateUndecodable") return assert.fail(reason._tag)
        assert.include(reason.issue, "version 1")
        yield* third.close
      }))
  })
}

layer(TestPostgres.layer, { excludeTestServices: true })("StateVersions, in rows", (it) => {
  const row = Effect.fnUntraced(function*(key: string) {
    const sql = yield* PgClient.PgClient
    const [row] = yield* sql<{ readonly state: string; readonly state_version: number; readonly version: number }>`
      SELECT state, state_version, version::float8 AS version FROM holdfast.server WHERE key = ${key}`
    return row
  })

  it.effect("a read writes nothing; the first step that changes the state writes its version with it", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const first = yield* Nodes.start({ url, servers: FirstLive })
      yield* (yield* first.run(First.client()))("rows").call.Fill({ amount: 2 })
      yield* first.close
      assert.deepInclude(yield* row("rows"), { state: "{\"litres\":2}", state_version: 1 })
      const third = yield* Nodes.start({ url, servers: ThirdLive })
      const barrel = (yield* third.run(Third.client()))("rows")
      yield* barrel.call.Level()
      const loaded = yield* row("rows")
      yield* barrel.call.Level()
      assert.deepStrictEqual(yield* row("rows"), loaded)
      assert.deepInclude(loaded, { state: "{\"litres\":2}", state_version: 1 })
      // A step that leaves the state as it is leaves it as it is stored.
      yield* barrel.call.Fill({ amount: 0 })
      assert.deepInclude(yield* row("rows"), { state: "{\"litres\":2}", state_version: 1 })
      for (const amount of [1, 2]) {
        yield* barrel.call.Fill({ amount })
        assert.deepInclude(yield* row("rows"), { state_version: 3 })
      }
      assert.strictEqual(
        (yield* row("rows"))?.state,
        "{\"amount\":2003,\"since\":\"2026-01-01T00:00:00.000Z\"}"
      )
      const fresh = (yield* third.run(Third.client()))("new")
      yield* fresh.call.Level()
      assert.deepInclude(yield* row("new"), { state_version: 3 })
    }))

  it.effect("a process that cannot read a state does not touch its row", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const third = yield* Nodes.start({ url, servers: ThirdLive })
      yield* (yield* third.run(Third.client()))("untouched").call.Fill({ amount: 2 })
      yield* third.close
      const before = yield* row("untouched")
      const first = yield* Nodes.start({ url, servers: FirstLive, node: { pollInterval: "50 millis" } })
      const barrel = (yield* first.run(First.client()))("untouched")
      yield* barrel.cast.Fill({ amount: 1 })
      yield* Effect.flip(barrel.call.Level(undefined, { timeout: "300 millis" }))
      assert.deepStrictEqual(yield* row("untouched"), before)
    }))
})

describe("StateVersions, refused by make", () => {
  const make = (stateVersion: number | undefined, migrate: Record<string, unknown> | undefined) =>
    DurableServer.make("Wrong", { state: One, protocol, stateVersion, migrate } as never)
  const same = (old: unknown) => old

  for (
    const [what, stateVersion, migrate, sentence] of [
      ["version 0", 0, undefined, "stateVersion is a whole number from 1 on, and not 0"],
      ["half a version", 1.5, undefined, "stateVersion is a whole number"],
      ["no number", "2", undefined, "stateVersion is a whole number"],
      ["no steps", 2, undefined, "no step from version 1"],
      ["steps without a version", undefined, { 1: same }, "stateVersion is 1"],
      ["the last step missing", 3, { 1: same }, "no step from version 2"],
      ["a gap", 4, { 1: same, 3: same }, "no step from version 2"],
      ["a step too far", 2, { 1: same, 2: same }, "a step from version 2"],
      ["a step from nowhere", 2, { 1: same, first: same }, "version first"],
      ["what is no step", 2, { 1: "same" }, "is not a function"]
    ] as const
  ) {
    it(`${what} is refused with a sentence`, () => {
      assert.throws(() => make(stateVersion as number, migrate), sentence)
      assert.throws(() => make(stateVersion as number, migrate), "Wrong")
    })
  }
})
