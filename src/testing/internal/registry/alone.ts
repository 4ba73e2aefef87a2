/**
 * What is promised of a registry as a single node sees it.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { RegistryBackend } from "../../../registry/RegistryBackend.ts"
import type { Case } from "../../Conformance.ts"
import { define, eventually, same } from "../cases.ts"
import { join, profile, registerIn, tagOf } from "./nodes.ts"

export const alone: ReadonlyArray<Case<RegistryBackend>> = [
  define(
    "a profile is nowhere, then here, then nowhere again",
    Effect.gen(function*() {
      const { registry } = yield* join
      yield* same("before", yield* tagOf(registry, 1), "nowhere")
      const holder = {}
      const { registration, release } = yield* registerIn(registry, 1, holder)
      const entry = yield* registry.whereis(profile(1))
      yield* same(
        "the holder",
        Option.isSome(entry) && entry.value._tag === "Here" && entry.value.holder === holder,
        true
      )
      yield* same("its token", Option.isSome(entry) ? entry.value.token : undefined, registration.token)
      yield* same("held", yield* registration.isHeld, true)
      yield* release
      yield* same("after", yield* tagOf(registry, 1), "nowhere")
      yield* same("held after", yield* registration.isHeld, false)
    })
  ),

  define(
    "profiles that are equal are one, and others have nothing to do with each other",
    Effect.gen(function*() {
      const { registry } = yield* join
      const equal = { number: 1, kind: "device" }
      yield* registry.register(profile(1), {})
      const again = yield* Effect.exit(registry.register(equal, {}))
      yield* same("the same profile in another order", Exit.isFailure(again), true)
      yield* registry.register(profile(2), {})
      yield* registry.register({ kind: "other", number: 1 }, {})
      yield* same("how many", (yield* registry.list).length, 3)
    })
  ),

  define(
    "of fifty that race on one node one wins, and the others see the same winner",
    Effect.gen(function*() {
      const { registry } = yield* join
      const holders = Array.from({ length: 50 }, (_, index) => ({ index }))
      const exits = yield* Effect.forEach(
        holders,
        (holder) => Effect.result(registry.register(profile(1), holder)),
        { concurrency: "unbounded" }
      )
      const won = exits.filter((exit) => exit._tag === "Success")
      yield* same("winners", won.length, 1)
      const winners = new Set(exits.map((exit) =>
        exit._tag === "Success"
          ? exit.success.token
          : exit.failure._tag === "AlreadyRegistered" && exit.failure.winner._tag === "Here"
          ? exit.failure.winner.token
          : undefined
      ))
      yield* same("what they see", winners.size, 1)
    })
  ),

  define(
    "tokens grow with each holder of a profile",
    Effect.gen(function*() {
      const { registry } = yield* join
      let last = -1n
      for (let n = 0; n < 20; n++) {
        const { registration, release } = yield* registerIn(registry, 1, {})
        yield* same(`token ${registration.token} after ${last}`, registration.token > last, true)
        last = registration.token
        yield* release
      }
    })
  ),

  define(
    "a scope that fails after registering frees the profile",
    Effect.gen(function*() {
      const { registry } = yield* join
      const failed = yield* Effect.exit(
        Effect.scoped(Effect.andThen(registry.register(profile(1), {}), Effect.fail("no" as const)))
      )
      yield* same("failed", Exit.isFailure(failed), true)
      yield* registry.register(profile(1), {})
    })
  ),

  define(
    "whoever is interrupted while registering leaves nothing behind",
    Effect.gen(function*() {
      const { registry } = yield* join
      for (let n = 0; n < 30; n++) {
        const fiber = yield* Effect.forkChild(
          Effect.scoped(Effect.andThen(registry.register(profile(1), {}), Effect.never))
        )
        for (let turn = 0; turn < n; turn++) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
      }
      yield* eventually("the profile", tagOf(registry, 1), (tag) => tag === "nowhere")
      yield* registry.register(profile(1), {})
    })
  ),

  define(
    "a stopped registration is told, and its profile is free; an unknown one is not found",
    Effect.gen(function*() {
      const { registry } = yield* join
      const registration = yield* registry.register(profile(1), {})
      const working = yield* Effect.forkChild(Effect.flip(registration.whileHeld(Effect.never)))
      yield* registry.stop(profile(1))
      yield* same("told", (yield* Fiber.join(working)).reason, "stopped")
      const unknown = yield* Effect.flip(registry.stop(profile(1)))
      yield* same("stopped again", unknown._tag, "ProfileNotFound")
      yield* registry.register(profile(1), {})
    })
  ),

  define(
    "changes tell what is registered and given back, in order",
    Effect.gen(function*() {
      const { registry } = yield* join
      const listening = yield* Deferred.make<void>()
      const heard = yield* registry.changes.pipe(
        Stream.onStart(Deferred.succeed(listening, undefined)),
        Stream.take(4),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* Deferred.await(listening)
      yield* Effect.sleep("20 millis")
      const first = yield* registerIn(registry, 1, {})
      yield* first.release
      yield* registerIn(registry, 2, {})
      yield* registry.stop(profile(2))
      const all = (yield* Fiber.join(heard)).map(({ _tag, profile }) => `${_tag} ${profile.number}`)
      yield* same("changes", all, ["Registered 1", "Released 1", "Registered 2", "Released 2"])
    })
  ),

  define(
    "a supervised profile gets a new holder after a crash, and a handle taken before goes on working",
    Effect.gen(function*() {
      const { registry } = yield* join
      const opened: Array<{ readonly crash: Deferred.Deferred<never, string> }> = []
      let closed = 0
      yield* registry.supervised(
        profile(1),
        Effect.acquireRelease(
          Effect.sync(() => {
            const connection = { crash: Deferred.makeUnsafe<never, string>() }
            opened.push(connection)
            return connection
          }),
          () => Effect.sync(() => closed++)
        ),
        {
          restart: Schedule.spaced("1 millis"),
          watch: (holder) => holder === opened.at(-1) ? Deferred.await(opened.at(-1)!.crash) : Effect.never
        }
      )
      const handle = registry.via(profile(1))
      yield* same("the first", (yield* handle.wait) === opened[0], true)
      yield* Deferred.fail(opened[0]!.crash, "the wire is cut")
      yield* eventually(
        "the second",
        Effect.result(handle.holder),
        (result) => result._tag === "Success" && result.success === opened[1]
      )
      yield* same("closed", closed, 1)
      yield* registry.disconnect(profile(1))
      yield* same("disconnected", [yield* tagOf(registry, 1), closed, opened.length], ["Disconnected", 2, 2])
      yield* same("used then", (yield* Effect.flip(handle.use(Effect.succeed)))._tag, "NotConnected")
      yield* registry.reconnect(profile(1))
      yield* same("the third", (yield* handle.wait) === opened[2], true)
      yield* registry.stop(profile(1))
      yield* same("stopped", [yield* tagOf(registry, 1), closed, opened.length], ["nowhere", 3, 3])
      yield* registry.register(profile(1), {})
    })
  )
]
