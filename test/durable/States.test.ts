/**
 * What a handler gives as the next state is the state, whatever way it was made: what the next handler sees is what is stored,
 * and what is there when the server wakes again.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer } from "holdfast/durable"
import * as Nodes from "../support/Nodes.ts"

/** Changes its list in place, as one should not, and gives it back. */
class List extends DurableServer.make("List", {
  state: Schema.Struct({ items: Schema.mutable(Schema.Array(Schema.String)) }),
  protocol: [
    Rpc.make("Push", { payload: { item: Schema.String } }),
    Rpc.make("Items", { success: Schema.Array(Schema.String) })
  ]
}) {}

const ListLive = List.toLayer({
  init: () => ({ items: [] }),
  handlers: {
    Push: ({ noReply, payload, state }) => {
      state.items.push(payload.item)
      return noReply(state)
    },
    Items: ({ reply, state }) => reply(state.items)
  }
}, { maxIdleTime: "20 millis" })

class Score extends Schema.Class<Score>("Score")({ points: Schema.Int }) {}

/** Gives plain objects where its state is a class. */
class Game extends DurableServer.make("Game", {
  state: Score,
  protocol: [
    Rpc.make("Set", { payload: { points: Schema.Int } }),
    Rpc.make("SetNonsense"),
    Rpc.make("IsScore", { success: Schema.Boolean }),
    Rpc.make("Points", { success: Schema.Int })
  ]
}) {}

const GameLive = Game.toLayer({
  init: () => ({ points: 0 }),
  handlers: {
    Set: ({ noReply, payload, state }) => noReply({ ...state, points: payload.points }),
    SetNonsense: ({ noReply }) => noReply({ points: 0.5 }),
    IsScore: ({ reply, state }) => reply(state instanceof Score),
    Points: ({ reply, state }) => reply(state.points)
  }
}, { defectRetryPolicy: Schedule.recurs(0) })

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`States: ${name}`, (it) => {
    it.effect("a state that was changed in place and given back is stored as any other", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: ListLive, node: { clientIdleTime: "20 millis" } })
        const list = (yield* node.run(List.client()))("in place")
        const asleep = Effect.repeat(Effect.delay(node.residents, "5 millis"), {
          until: (residents) => residents === 0,
          times: 400
        })
        const expected: Array<string> = []
        for (const item of ["a", "b", "c"]) {
          expected.push(item)
          yield* list.call.Push({ item })
          assert.deepStrictEqual(yield* list.call.Items(), expected)
          assert.strictEqual(yield* asleep, 0)
          assert.deepStrictEqual(yield* list.call.Items(), expected, "woken again")
        }
        // Several in one step.
        yield* Effect.forEach(["d", "e"], (item) => list.call.Push({ item }), { concurrency: "unbounded" })
        assert.strictEqual(yield* asleep, 0)
        assert.deepStrictEqual(yield* list.call.Items(), [...expected, "d", "e"])
      }))

    it.effect("where the state is a class, every handler sees an instance of it, though others give plain objects", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: GameLive })
        const game = (yield* node.run(Game.client()))("class")
        assert.isTrue(yield* game.call.IsScore(), "made by init")
        // In the same step as the one that gives it, and in the next.
        const [, isScore] = yield* Effect.all([game.call.Set({ points: 5 }), game.call.IsScore()], {
          concurrency: "unbounded"
        })
        assert.isTrue(isScore)
        assert.isTrue(yield* game.call.IsScore())
        assert.strictEqual(yield* game.call.Points(), 5)
      }))

    it.effect("a plain object that is none of the class's instances is a failed attempt, and the state stays", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: GameLive })
        const game = (yield* node.run(Game.client()))("no instance")
        yield* game.call.Set({ points: 5 })
        const { reason } = yield* Effect.flip(game.call.SetNonsense())
        if (reason._tag !== "MessageParked") return assert.fail(reason._tag)
        assert.include(reason.failure, "the next state is none")
        assert.strictEqual(yield* game.call.Points(), 5)
      }))
  })
}
