/**
 * Which registry serves: the default one, one that is named, one that is given; and that whatever serves is what decides.
 */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Option, Schema, type Scope } from "effect"
import { Datastore, type DatastoreContext } from "holdfast/datastore"
import { ProfileRegistry, RegistryBackend } from "holdfast/registry"
import { makeInput, runtime, withDatastore } from "../datastore/support.ts"

class Sockets extends ProfileRegistry.Service<Sockets, unknown>()("test/Sockets") {}

it.effect("nothing is the default registry, which lives as long as the process", () =>
  Effect.gen(function*() {
    const registry = yield* ProfileRegistry.resolve()
    assert.strictEqual(yield* ProfileRegistry.resolve(undefined), registry)
    assert.strictEqual(yield* ProfileRegistry.Default, registry)
    const holder = {}
    yield* Effect.scoped(Effect.gen(function*() {
      yield* registry.register("ann", holder)
      const entry = yield* (yield* ProfileRegistry.resolve()).whereis("ann")
      assert.isTrue(Option.isSome(entry) && entry.value._tag === "Here" && entry.value.holder === holder)
    }))
    assert.isTrue(Option.isNone(yield* registry.whereis("ann")))
  }))

it.effect("the default is replaced where another one is provided", () =>
  Effect.gen(function*() {
    const sockets = yield* Sockets
    const resolved = yield* ProfileRegistry.resolve().pipe(
      Effect.provideService(ProfileRegistry.Default, sockets)
    )
    assert.strictEqual(resolved, sockets)
    assert.notStrictEqual(yield* ProfileRegistry.resolve(), sockets)
  }).pipe(Effect.provide(Sockets.layer)))

it.effect("a service class names the registry of its layer, and a registry is itself", () =>
  Effect.gen(function*() {
    const sockets = yield* Sockets
    assert.strictEqual(yield* ProfileRegistry.resolve(Sockets), sockets)
    assert.strictEqual(yield* ProfileRegistry.resolve(sockets), sockets)
    yield* sockets.register("ann", {})
    assert.isTrue(Option.isNone(yield* (yield* ProfileRegistry.resolve()).whereis("ann")))
  }).pipe(Effect.provide(Sockets.layer)))

it.effect("a backend of somebody else's decides everything, and the default is untouched", () =>
  Effect.gen(function*() {
    const asked: Array<string> = []
    const elsewhere: RegistryBackend.Remote = { node: "moon", token: 7n, address: "tranquility" }
    const backend = RegistryBackend.RegistryBackend.of({
      open: ({ registry }) =>
        Effect.succeed({
          node: () => "earth",
          claim: ({ key }) =>
            Effect.sync(() => {
              asked.push(`claim ${registry} ${key}`)
              return key === "taken"
                ? { _tag: "Held", by: elsewhere }
                : {
                  _tag: "Granted",
                  token: 42n,
                  release: Effect.sync(() => {
                    asked.push(`release ${key}`)
                  })
                }
            }),
          lookup: (key) => Effect.succeed(key === "taken" ? elsewhere : undefined),
          list: Effect.succeed([["taken", elsewhere]])
        })
    })
    const context = yield* Layer.build(
      Layer.provide(Sockets.layerBackend, Layer.succeed(RegistryBackend.RegistryBackend, backend))
    )
    const sockets = Context.get(context, Sockets)
    assert.strictEqual(yield* sockets.node, "earth")
    const registration = yield* Effect.scoped(sockets.register("free", {}))
    assert.strictEqual(registration.token, 42n)
    yield* sockets.supervised("kept", Effect.succeed({}))
    yield* sockets.stop("kept")
    const refused = yield* Effect.flip(Effect.scoped(sockets.register("taken", {})))
    const supervised = yield* Effect.flip(sockets.supervised("taken", Effect.succeed({})))
    for (const error of [refused, supervised]) {
      assert.isTrue(
        error._tag === "AlreadyRegistered" && error.winner._tag === "Elsewhere" && error.winner.node === "moon" &&
          error.winner.address === "tranquility"
      )
    }
    assert.strictEqual((yield* Effect.flip(sockets.via("taken").holder))._tag, "HeldElsewhere")
    assert.deepStrictEqual((yield* sockets.list).map(([profile]) => profile), ["taken"])
    assert.deepStrictEqual(asked, [
      "claim test/Sockets free",
      "release free",
      "claim test/Sockets kept",
      "release kept",
      "claim test/Sockets taken",
      "claim test/Sockets taken"
    ])
    assert.deepStrictEqual(yield* (yield* ProfileRegistry.resolve()).list, [])
  }))

it.effect("a profile that its schema refuses, or that is too long, is an error that says so", () =>
  Effect.gen(function*() {
    class Numbered extends ProfileRegistry.Service<Numbered, object>()("test/Numbered", {
      profile: Schema.Int.check(Schema.isGreaterThan(0))
    }) {}
    const context = yield* Layer.build(Layer.merge(Numbered.layer, Sockets.layer))
    const numbered = Context.get(context, Numbered)
    const sockets = Context.get(context, Sockets)
    const attempts: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }, Scope.Scope>> = [
      numbered.register(-1, {}),
      numbered.whereis(-1),
      numbered.via(-1).wait,
      numbered.stop(-1),
      sockets.register("", {}),
      sockets.register("x".repeat(513), {}),
      sockets.register("a\0b", {}),
      sockets.register("\ud800", {})
    ]
    for (const attempt of attempts) {
      const error = yield* Effect.flip(attempt)
      assert.strictEqual(error._tag, "InvalidProfile")
    }
    const address = yield* Effect.flip(sockets.register("ann", {}, { address: "x".repeat(5000) }))
    assert.isTrue(address._tag === "InvalidProfile" && address.field === "address")
    yield* sockets.register("é".repeat(256), {})
  }))

it("a registry's id has to be a name", () => {
  assert.throws(() => ProfileRegistry.Service<Sockets, object>()(""), /id/)
})

it.live("a registry serves as the context registry of datastores", () =>
  Effect.gen(function*() {
    class Contexts extends ProfileRegistry.Service<Contexts, DatastoreContext.DatastoreContext["Service"]>()(
      "test/Contexts"
    ) {}
    const contexts = Context.get(yield* Layer.build(Contexts.layer), Contexts)
    const input = makeInput()
    yield* withDatastore(input, () =>
      Effect.gen(function*() {
        const Live = Datastore.layer(runtime(input), { contextRegistry: contexts })
        yield* Effect.gen(function*() {
          const datastore = yield* Datastore.Datastore
          assert.deepStrictEqual((yield* contexts.list).map(([name]) => name), ["app", "audit"])
          const { sql } = yield* contexts.via("app").holder
          assert.strictEqual(sql, (yield* datastore.context("app")).sql)
          const again = yield* Effect.flip(Effect.scoped(Layer.build(Layer.fresh(Live))))
          assert.strictEqual(again._tag, "AlreadyRegistered")
        }).pipe(Effect.provide(Live))
        assert.deepStrictEqual(yield* contexts.list, [])
      }))
  }))
