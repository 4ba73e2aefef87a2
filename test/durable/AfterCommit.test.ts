/**
 * What a handler wants done after its commit: it happens once the outcome is on disk and not before, in order, with the state
 * that was committed. And `stop`: the server leaves memory with its state stored.
 */
import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer, Outcome } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

/** Where actions say what they were given. */
class Log extends Context.Service<Log, { readonly lines: Array<string> }>()("test/Log") {}

class Lamp extends DurableServer.make("Lamp", {
  state: Schema.Struct({ on: Schema.Int }),
  protocol: [
    Rpc.make("Switch", { success: Schema.Int }),
    Rpc.make("SwitchQuietly", { payload: { how: Schema.String } }),
    Rpc.make("Stop", { payload: { reason: Schema.String }, success: Schema.String }),
    Rpc.make("StopQuietly"),
    Rpc.make("Look", { success: Schema.Int }),
    Rpc.make("Inits", { success: Schema.Int })
  ]
}) {}

const lampLive = (lines: Array<string>) => {
  const say = (text: string) => Effect.map(Log, (log) => log.lines.push(text))
  let inits = 0
  return Lamp.toLayer({
    init: () => {
      inits++
      return { on: 0 }
    },
    handlers: {
      Switch: ({ reply, state }) =>
        reply(state.on + 1, { on: state.on + 1 })
          .afterCommit(({ on }) => say(`first ${on}`))
          .afterCommit(({ on }) => say(`second ${on}`)),
      SwitchQuietly: ({ noReply, payload, state }) =>
        Effect.succeed(
          noReply({ on: state.on + 1 })
            .afterCommit(({ on }) => Effect.as(say(`${payload.how} ${on}`), payload.how === "halt" ? Outcome.halt : 0))
            .afterCommit(() => payload.how === "die" ? Effect.die(new Error("in an action")) : Effect.void)
            .afterCommit(({ on }) => say(`last ${on}`))
        ),
      Stop: ({ payload, state, stop }) =>
        stop({ reason: payload.reason, reply: "stopped", state: { on: state.on + 10 } })
          .afterCommit(({ on }) => say(`stopped at ${on}`)),
      StopQuietly: ({ stop }) => stop({ reason: "normal" }),
      Look: ({ reply, state }) => reply(state.on).afterCommit(({ on }) => say(`looked at ${on}`)),
      Inits: ({ reply }) => reply(inits)
    }
  }).pipe(Layer.provide(Layer.succeed(Log, { lines })))
}

const until = (lines: ReadonlyArray<string>, count: number) =>
  Nodes.within(
    "4 seconds",
    Effect.repeat(Effect.delay(Effect.sync(() => lines.length), "1 millis"), {
      until: (length) => length >= count
    })
  )

for (const [name, storeLayer] of Nodes.stores) {
  layer(storeLayer, { excludeTestServices: true })(`AfterCommit, ${name}`, (it) => {
    it.effect("actions run in order, of one message and of many, with the state committed by their own", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const lines: Array<string> = []
        const node = yield* store.start({ servers: lampLive(lines) })
        const producer = yield* store.start()
        const lamp = (yield* node.run(Lamp.client()))("order")
        yield* Effect.all([lamp.call.Switch(), lamp.cast.Switch(), lamp.call.Switch()], { concurrency: "unbounded" })
        yield* (yield* producer.run(Lamp.client()))("order").call.Switch()
        yield* lamp.call.Look()
        yield* until(lines, 9)
        assert.deepStrictEqual(lines, [
          ...[1, 2, 3, 4].flatMap((on) => [`first ${on}`, `second ${on}`]),
          "looked at 4"
        ])
        yield* node.close
        yield* producer.close
      }))

    it.effect("`halt` ends the actions of one outcome, a defect only itself", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const lines: Array<string> = []
        const node = yield* store.start({ servers: lampLive(lines) })
        const lamp = (yield* node.run(Lamp.client()))("halt")
        yield* lamp.call.SwitchQuietly({ how: "halt" })
        yield* lamp.call.SwitchQuietly({ how: "die" })
        yield* lamp.call.SwitchQuietly({ how: "go on" })
        yield* until(lines, 5)
        assert.deepStrictEqual(lines, ["halt 1", "die 2", "last 2", "go on 3", "last 3"])
        yield* node.close
      }))

    it.effect("`stop` stores the state, and the next message finds it, in this process or another", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const lines: Array<string> = []
        const node = yield* store.start({ servers: lampLive(lines) })
        const lamp = (yield* node.run(Lamp.client()))("stop")
        yield* lamp.call.Switch()
        assert.strictEqual(yield* node.residents, 1)
        assert.strictEqual(yield* lamp.call.Stop({ reason: "enough" }), "stopped")
        yield* Nodes.within(
          "4 seconds",
          Effect.repeat(Effect.delay(node.residents, "1 millis"), { until: (n) => n === 0 })
        )
        assert.strictEqual(yield* lamp.call.Look(), 11)
        yield* lamp.cast.StopQuietly()
        // Sent right behind it, together, while it leaves: nothing is lost, and they keep their order.
        const sent: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          lamp.cast.Stop({ reason: "normal" }),
          ...Array.from({ length: 5 }, () => lamp.call.Switch())
        ]
        const [, ...counted] = yield* Effect.all(sent, { concurrency: "unbounded" })
        assert.deepStrictEqual(counted, [22, 23, 24, 25, 26])
        yield* lamp.call.StopQuietly()
        const other = yield* store.start({ servers: lampLive([]) })
        const elsewhere = (yield* other.run(Lamp.client()))("stop")
        yield* Nodes.within(
          "4 seconds",
          Effect.repeat(Effect.delay(node.residents, "1 millis"), { until: (n) => n === 0 })
        )
        assert.strictEqual(yield* elsewhere.call.Look(), 26)
        assert.strictEqual(yield* other.residents, 1)
        assert.strictEqual(yield* elsewhere.call.Inits(), 0)
        assert.include(lines, "stopped at 11")
        yield* node.close
        yield* other.close
      }))

    it.effect("a node that closes finishes the actions of what it has committed", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const lines: Array<string> = []
        const slow = Lamp.toLayer({
          init: () => ({ on: 0 }),
          handlers: {
            Switch: ({ reply }) =>
              reply(1, { on: 1 }).afterCommit(() =>
                Effect.andThen(Effect.sleep("100 millis"), Effect.sync(() => lines.push("done")))
              ),
            SwitchQuietly: ({ noReply }) => noReply(),
            Stop: ({ reply }) => reply(""),
            StopQuietly: ({ noReply }) => noReply(),
            Look: ({ reply, state }) => reply(state.on),
            Inits: ({ reply }) => reply(0)
          }
        })
        const node = yield* store.start({ servers: slow })
        yield* (yield* node.run(Lamp.client()))("close").call.Switch()
        yield* node.close
        assert.deepStrictEqual(lines, ["done"])
      }))
  })
}

layer(TestPostgres.layer, { excludeTestServices: true })("AfterCommit", (it) => {
  it.effect("nothing happens before the commit, and once the commit is known it happens once", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const lines: Array<string> = []
      const node = yield* Nodes.start({ url: proxy.through(database.url), servers: lampLive(lines) })
      const lamp = (yield* node.run(Lamp.client()))("lost answer")
      yield* lamp.call.Switch()
      yield* until(lines, 2)
      const caught = yield* proxy.catchAnswer(/commit_step/)
      const told = yield* Deferred.make<number>()
      yield* Effect.forkScoped(Effect.flatMap(lamp.call.Switch(), (on) => Deferred.succeed(told, on)))
      yield* caught.arrived
      yield* Effect.sleep("50 millis")
      assert.strictEqual(lines.length, 2)
      yield* caught.cutNode
      assert.strictEqual(yield* Nodes.within("8 seconds", Deferred.await(told)), 2)
      yield* until(lines, 4)
      assert.deepStrictEqual(lines.slice(2), ["first 2", "second 2"])
      yield* caught.release
    }))
})
