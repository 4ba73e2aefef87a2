/**
 * What is promised of a registry that several nodes have, any of which may hold any profile.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { RegistryBackend } from "../../../registry/RegistryBackend.ts"
import type { Case } from "../../Conformance.ts"
import { define, eventually, same } from "../cases.ts"
import { joinTwo, profile, registerIn, tagOf } from "./nodes.ts"

export const together: ReadonlyArray<Case<RegistryBackend>> = [
  define(
    "a second node is refused, sees the first, and is granted the profile when it is given back",
    Effect.gen(function*() {
      const [one, two] = yield* joinTwo
      const { registration, release } = yield* registerIn(one.registry, 1, {})
      const refused = yield* Effect.flip(two.registry.register(profile(1), {}))
      yield* same("refused", refused._tag, "AlreadyRegistered")
      const winner = refused._tag === "AlreadyRegistered" ? refused.winner : undefined
      yield* same("by", winner?._tag === "Elsewhere" && winner.node, yield* one.registry.node)
      yield* same("under", winner?.token, registration.token)
      yield* eventually("seen", tagOf(two.registry, 1), (tag) => tag === "Elsewhere")
      yield* same(
        "used there",
        (yield* Effect.flip(two.registry.via(profile(1)).use(Effect.succeed)))._tag,
        "HeldElsewhere"
      )
      yield* same("stopped there", (yield* Effect.flip(two.registry.stop(profile(1))))._tag, "HeldElsewhere")
      yield* release
      const next = yield* two.registry.register(profile(1), {})
      yield* same("a greater token", next.token > registration.token, true)
      yield* eventually("seen by the first", tagOf(one.registry, 1), (tag) => tag === "Elsewhere")
    })
  ),

  define(
    "of two nodes with twenty-five racing on each one wins, and all see the same winner",
    Effect.gen(function*() {
      const nodes = yield* joinTwo
      const results = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, index) => nodes[index % 2]!),
        ({ registry }) => Effect.result(registry.register(profile(1), {})),
        { concurrency: "unbounded" }
      )
      yield* same("winners", results.filter((result) => result._tag === "Success").length, 1)
      const tokens = new Set(results.map((result) =>
        result._tag === "Success"
          ? result.success.token
          : result.failure._tag === "AlreadyRegistered"
          ? result.failure.winner.token
          : undefined
      ))
      yield* same("what they see", tokens.size, 1)
    })
  ),

  define(
    "a node that leaves frees what it held, and others hear of it",
    Effect.gen(function*() {
      const [one, two] = yield* joinTwo
      for (let n = 0; n < 20; n++) yield* one.registry.register(profile(n), {})
      yield* eventually("seen", two.registry.list, (list) => list.length === 20)
      yield* one.close
      yield* eventually("gone", two.registry.list, (list) => list.length === 0)
      for (let n = 0; n < 20; n++) yield* two.registry.register(profile(n), {})
    })
  ),

  define(
    "whoever waits for a profile is told when it appears elsewhere",
    Effect.gen(function*() {
      const [one, two] = yield* joinTwo
      const waiting = yield* Effect.forkChild(Effect.flip(two.registry.via(profile(1)).wait))
      yield* Effect.yieldNow
      yield* one.registry.register(profile(1), {})
      yield* same("told", (yield* Fiber.join(waiting))._tag, "HeldElsewhere")
    })
  )
]
