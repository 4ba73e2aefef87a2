/**
 * The appends of one request: each is let in, decided and told alone, whatever becomes of the others.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, DateTime, Effect, Exit, Logger, Redacted, Scope } from "effect"
import { Rpc } from "effect/rpc"
import { EventStoreError, StreamDeleted } from "../../../../src/events/EventStoreError.ts"
import type { Append, Appended } from "../../../../src/events/GatewayRpcs.ts"
import type { Claims } from "../../../../src/events/GatewayToken.ts"
import { beginning } from "../../../../src/events/internal/gateway/appending.ts"
import { Breaker } from "../../../../src/events/internal/gateway/breaker.ts"
import { Clients } from "../../../../src/events/internal/gateway/clients.ts"
import { guard } from "../../../../src/events/internal/gateway/guard.ts"
import type { EventStorage } from "../../../../src/events/internal/storage.ts"
import { wired } from "../../gateway/support.ts"

const limits = { requestBytes: 1024, requests: 100, storeRequests: 3, subscriptions: 1 }

/** A request of these appends over a storage, and what was told of them so far. */
const request = Effect.fnUntraced(function*(
  storage: Pick<EventStorage, "append" | "beginAppend">,
  appends: ReadonlyArray<Append>
) {
  const claims: Claims = {
    client: "test",
    grants: [{ store: "flights", rights: ["append"] }],
    expires: DateTime.makeUnsafe("2100-01-01"),
    key: "test"
  }
  const clients = new Clients(() => Effect.succeed(claims), limits)
  const session = yield* clients.enter("a token", Redacted.make("a token"), true)
  const guarding = guard({
    breaker: new Breaker({ failures: 5, openMillis: 1000, maxOpenMillis: 1000 }),
    clock: yield* Clock.Clock,
    sessionOf: () => session,
    stores: undefined
  })
  const told: Array<typeof Appended.Type> = []
  const scope = yield* Scope.make()
  yield* Scope.provide(
    beginning(guarding, storage)({ client: new Rpc.ServerClient(0) }, "flights", appends, (result) => {
      told.push(result)
    }),
    scope
  )
  return {
    told: () => told.map(([place, what]) => [place, what instanceof EventStoreError ? what.reason._tag : what]),
    close: Scope.close(scope, Exit.void),
    /** How many of the client's requests for the store are under way. */
    underWay: () => session.usage.stores.get("flights") ?? 0
  }
})

/** A storage that begins appends and decides none of them until it is told to. */
const slow = () => {
  const begun = new Map<string, (exit: Exit.Exit<number, EventStoreError>) => void>()
  const stopped: Array<string> = []
  return {
    begun,
    stopped,
    append: () => Effect.die(new Error("it was begun already")),
    beginAppend: ((_, { eventStreamId }, settle) => {
      begun.set(eventStreamId, settle)
      return () => stopped.push(eventStreamId)
    }) satisfies EventStorage["beginAppend"]
  }
}

describe("the appends of one request", () => {
  it.effect("each is told when it is decided, in whichever order", () =>
    Effect.gen(function*() {
      const storage = slow()
      const { told, underWay } = yield* request(storage, [wired("a"), wired("b"), wired("c")])
      assert.deepStrictEqual([told(), underWay()], [[], 3])
      storage.begun.get("c")?.(Exit.succeed(7))
      assert.deepStrictEqual([told(), underWay()], [[[2, 7]], 2])
      const reason = new StreamDeleted({ store: "flights", eventStreamId: "a" })
      storage.begun.get("a")?.(Exit.fail(new EventStoreError({ reason })))
      storage.begun.get("b")?.(Exit.succeed(0))
      assert.deepStrictEqual([told(), underWay()], [[[2, 7], [0, "StreamDeleted"], [1, 0]], 0])
    }))

  it.effect("what is wrong, and what is too much, is told at once; the others go on", () =>
    Effect.gen(function*() {
      const storage = slow()
      const appends = [wired("a"), wired("b", "{"), wired("$c"), ...["d", "e", "f"].map((stream) => wired(stream))]
      const { told, underWay } = yield* request(storage, appends)
      assert.deepStrictEqual(told(), [[1, "InvalidEvent"], [2, "InvalidArgument"], [5, "Overloaded"]])
      assert.deepStrictEqual([Array.from(storage.begun.keys()), underWay()], [["a", "d", "e"], 3])
    }))

  it.effect("a storage that fails in a way nobody expected is told as one that does not answer", () =>
    Effect.gen(function*() {
      const storage = slow()
      const { told, underWay } = yield* request(storage, [wired("a"), wired("b")])
      storage.begun.get("a")?.(Exit.die(new Error("a secret of the storage")))
      storage.begun.get("b")?.(Exit.succeed(1))
      yield* Effect.yieldNow
      assert.deepStrictEqual(told().sort(), [[0, "StoreUnavailable"], [1, 1]])
      assert.strictEqual(underWay(), 0)
    }))

  it.effect("where not even the log takes what happened it is over all the same, and takes no place", () => {
    let lines = 0
    const broken = Logger.make(() => {
      lines++
      throw new Error("the disk is full")
    })
    return Effect.gen(function*() {
      const storage = slow()
      const { underWay } = yield* request(storage, [wired("a")])
      storage.begun.get("a")?.(Exit.die(new Error("the storage is broken")))
      assert.deepStrictEqual([underWay(), lines], [0, 1])
    }).pipe(Effect.provide(Logger.layer([broken])))
  })

  it.effect("a storage that throws is told as one that does not answer, and the others go on", () =>
    Effect.gen(function*() {
      const append: EventStorage["append"] = (_, { eventStreamId }) => {
        if (eventStreamId === "a") throw new Error("the storage is broken")
        return Effect.succeed(1)
      }
      const { told, underWay } = yield* request({ append }, [wired("a"), wired("b")])
      yield* Effect.yieldNow
      assert.deepStrictEqual(told().sort(), [[0, "StoreUnavailable"], [1, 1]])
      assert.strictEqual(underWay(), 0)
    }))

  it.effect("once nobody waits any more nothing is told, nothing is waited for, and no place is taken", () =>
    Effect.gen(function*() {
      const storage = slow()
      const { close, told, underWay } = yield* request(storage, [wired("a"), wired("b"), wired("c")])
      storage.begun.get("b")?.(Exit.succeed(3))
      yield* close
      assert.deepStrictEqual([storage.stopped, underWay()], [["a", "c"], 0])
      storage.begun.get("a")?.(Exit.succeed(4))
      assert.deepStrictEqual([told(), underWay()], [[[1, 3]], 0])
    }))

  it.effect("a storage that begins none appends each in a fiber of its own, which ends with the request", () =>
    Effect.gen(function*() {
      const interrupted: Array<string> = []
      const append: EventStorage["append"] = (_, { eventStreamId }) =>
        eventStreamId === "b"
          ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push(eventStreamId)))
          : Effect.delay(Effect.succeed(5), 0)
      const begun = yield* request({ append, beginAppend: () => undefined }, [wired("a"), wired("b")])
      const alone = yield* request({ append }, [wired("c")])
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      yield* begun.close
      yield* Effect.yieldNow
      assert.deepStrictEqual([begun.told(), begun.underWay(), alone.told()], [[[0, 5]], 0, [[0, 5]]])
      assert.deepStrictEqual(interrupted, ["b"])
    }))
})
