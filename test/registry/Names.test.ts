/**
 * Names for durable servers: a registry says which server has a name, and whoever calls it by its name reaches the one that has it
 * then, from whichever process, whether that runs its handlers or not.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, type Redacted, Scope } from "effect"
import { DurableNode, type DurableStorage, MemoryStorage, type Ref } from "holdfast/durable"
import { ProfileRegistry, RegistryBackend } from "holdfast/registry"
import { Counter, CounterLive } from "../durable/fixtures/servers.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

class Names extends ProfileRegistry.Service<Names, Ref.Ref<typeof Counter>>()("test/Names") {}

const handlers = { consumer: CounterLive, producer: Layer.empty }
type Kind = keyof typeof handlers

const inMemory =
  (shared: Context.Context<DurableStorage.DurableStorage | RegistryBackend.RegistryBackend>) => (kind: Kind) =>
    Layer.merge(Layer.provideMerge(handlers[kind], DurableNode.layer), Names.layerBackend).pipe(
      Layer.provide(Layer.succeedContext(shared))
    )

const onPostgres = (url: Redacted.Redacted) => (kind: Kind) =>
  Layer.merge(Layer.provideMerge(handlers[kind], DurableNode.layerPostgres), Names.layerPostgres).pipe(
    Layer.provide(PgClient.layer({ url, maxConnections: 2 }))
  )

/** A process, as far as its names and servers go. */
const join = Effect.fnUntraced(function*<E>(layer: Layer.Layer<DurableNode.DurableNode | Names, E>) {
  const context = yield* Effect.orDie(Layer.build(Layer.fresh(layer)))
  const counter = yield* Effect.provide(Counter.client(), context)
  return { names: Context.get(context, Names), counter }
})

const proof = Effect.fnUntraced(function*<E>(
  layer: (kind: Kind) => Layer.Layer<DurableNode.DurableNode | Names, E>
) {
  const here = yield* join(layer("consumer"))
  const there = yield* join(layer("producer"))
  const scope = yield* Scope.make()
  const byName = there.names.via("current", { elsewhere: there.counter })

  const unknown = yield* Effect.flip(byName.use((server) => server.call.Get()))
  assert.strictEqual(unknown._tag, "ProfileNotFound")

  // Whoever waits for a name reaches the server once it has it.
  const waiting = yield* Effect.forkChild(Effect.flatMap(byName.wait, (server) => server.call.AddAndGet({ by: 1 })))
  yield* Effect.yieldNow
  yield* Scope.provide(here.names.register("current", here.counter("first"), { address: "first" }), scope)
  assert.strictEqual(yield* Nodes.within("20 seconds", Fiber.join(waiting)), 1)

  // Here by the holder itself, there by one that is made of its address: the same server.
  assert.strictEqual(yield* here.names.via("current").use((server) => server.call.AddAndGet({ by: 1 })), 2)
  assert.strictEqual(yield* byName.use((server) => server.call.AddAndGet({ by: 1 })), 3)
  const entry = Option.getOrThrow(yield* there.names.whereis("current"))
  assert.strictEqual(entry._tag === "Elsewhere" && entry.address, "first")
  // Where nothing makes a holder of it, it is held elsewhere.
  const plain = yield* Effect.flip(there.names.via("current").use((server) => server.call.Get()))
  assert.strictEqual(plain._tag, "HeldElsewhere")

  // The name goes to another server, and handles taken before with it.
  yield* Scope.close(scope, Exit.void)
  yield* there.names.register("current", there.counter("second"), { address: "second" })
  assert.strictEqual(yield* byName.use((server) => server.call.AddAndGet({ by: 10 })), 10)
  const fromHere = here.names.via("current", { elsewhere: here.counter })
  const keys = Effect.result(fromHere.use((server) => Effect.succeed(server.key)))
  yield* Nodes.within(
    "20 seconds",
    Effect.repeat(Effect.delay(keys, "5 millis"), {
      until: (key) => key._tag === "Success" && key.success === "second"
    })
  )
  assert.strictEqual(yield* fromHere.use((server) => server.call.Get()), 10)
  assert.strictEqual(yield* here.counter("first").call.Get(), 3)
})

describe("Names", () => {
  it.live("in one process", () =>
    Effect.flatMap(
      Layer.build(Layer.fresh(Layer.merge(MemoryStorage.layer, RegistryBackend.layerMemory))),
      (shared) => proof(inMemory(shared))
    ))

  it.live("among processes on one database", () =>
    Effect.flatMap(TestPostgres.make, ({ url }) => proof(onPostgres(url))))
})
