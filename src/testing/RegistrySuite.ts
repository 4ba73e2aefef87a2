/**
 * What every backend of `ProfileRegistry` has to keep to: a list of named effects, for any test runner.
 *
 * Each case joins the backend under test as one node or as several, by {@link Nodes}, and uses nothing but what applications use.
 * A case that fails dies with what was expected and what was there. The cases want a real clock for a backend that has one.
 *
 * **Example** (A backend of one's own)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { RegistryBackend } from "holdfast/registry"
 * import { RegistrySuite } from "holdfast/testing"
 *
 * const backend = RegistryBackend.makeMemoryUnsafe()
 * const nodes = RegistrySuite.Nodes.of({ join: Effect.succeed(backend) })
 *
 * for (const { effect, name } of RegistrySuite.cases) {
 *   await Effect.runPromise(Effect.provideService(Effect.scoped(effect), RegistrySuite.Nodes, nodes))
 *   console.log(`passed: ${name}`)
 * }
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { format } from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ProfileRegistry from "../registry/ProfileRegistry.ts"
import { RegistryBackend } from "../registry/RegistryBackend.ts"

/**
 * The backend under test, to be joined by as many nodes as a case needs. Each case is to get a new one, with nothing in it.
 *
 * @since 0.1.0
 * @category services
 */
export class Nodes extends Context.Service<Nodes, {
  /** The backend as a node of its own has it, for as long as the scope lasts. */
  readonly join: Effect.Effect<RegistryBackend["Service"], never, Scope.Scope>
}>()("holdfast/testing/RegistrySuite/Nodes") {}

/**
 * A case.
 *
 * @since 0.1.0
 * @category models
 */
export interface Case {
  readonly name: string
  /** How many nodes it needs: a backend that reaches no further than one passes those with one. */
  readonly nodes: 1 | 2
  readonly effect: Effect.Effect<void, never, Nodes | Scope.Scope>
}

class Held extends ProfileRegistry.Service<Held, object>()("suite/held", {
  profile: Schema.Struct({ kind: Schema.String, number: Schema.Int })
}) {}

type Registry = Held["Service"]

interface Node {
  readonly registry: Registry
  readonly close: Effect.Effect<void>
}

const profile = (number: number) => ({ kind: "device", number })

const join: Effect.Effect<Node, never, Nodes | Scope.Scope> = Effect.gen(function*() {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const backend = yield* Scope.provide(Effect.flatMap(Nodes, ({ join }) => join), scope)
  const layer = Layer.provide(Held.layerBackend, Layer.succeed(RegistryBackend, backend))
  const context = yield* Effect.orDie(Layer.buildWithScope(Layer.fresh(layer), scope))
  return { registry: Context.get(context, Held), close: Scope.close(scope, Exit.void) }
})

/** Dies where something is not as it should be. */
const expect = (what: string, actual: unknown, expected: unknown): Effect.Effect<void> =>
  Equal.equals(actual, expected)
    ? Effect.void
    : Effect.die(new Error(`${what}: expected ${format(expected)}, and it is ${format(actual)}`))

/** Looks until it is as it should be, a thousand times at most, 10 milliseconds apart. */
const eventually = <A, E, R>(
  what: string,
  look: Effect.Effect<A, E, R>,
  holds: (value: A) => boolean,
  left = 1000
): Effect.Effect<void, E, R> =>
  Effect.flatMap(look, (value) => {
    if (holds(value)) return Effect.void
    if (left === 0) return Effect.die(new Error(`${what}: it is ${format(value)}`))
    return Effect.andThen(Effect.sleep("10 millis"), eventually(what, look, holds, left - 1))
  })

const tagOf = (registry: Registry, number: number) =>
  Effect.map(registry.whereis(profile(number)), (entry) => Option.isSome(entry) ? entry.value._tag : "nowhere")

/** Registers in a scope of its own, which is given. */
const registerIn = Effect.fnUntraced(function*(registry: Registry, number: number, holder: object) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const registration = yield* Scope.provide(registry.register(profile(number), holder), scope)
  return { registration, release: Scope.close(scope, Exit.void) }
})

const test = <E>(name: string, nodes: 1 | 2, effect: () => Effect.Effect<void, E, Nodes | Scope.Scope>): Case => ({
  name,
  nodes,
  effect: Effect.orDie(Effect.suspend(effect))
})

/**
 * The cases.
 *
 * @since 0.1.0
 * @category constructors
 */
export const cases: ReadonlyArray<Case> = [
  test(
    "a profile is nowhere, then here, then nowhere again",
    1,
    Effect.fnUntraced(function*() {
      const { registry } = yield* join
      yield* expect("before", yield* tagOf(registry, 1), "nowhere")
      const holder = {}
      const { registration, release } = yield* registerIn(registry, 1, holder)
      const entry = yield* registry.whereis(profile(1))
      yield* expect(
        "the holder",
        Option.isSome(entry) && entry.value._tag === "Here" && entry.value.holder === holder,
        true
      )
      yield* expect("its token", Option.isSome(entry) ? entry.value.token : undefined, registration.token)
      yield* expect("held", yield* registration.isHeld, true)
      yield* release
      yield* expect("after", yield* tagOf(registry, 1), "nowhere")
      yield* expect("held after", yield* registration.isHeld, false)
    })
  ),

  test(
    "profiles that are equal are one, and others have nothing to do with each other",
    1,
    Effect.fnUntraced(function*() {
      const { registry } = yield* join
      const same = { number: 1, kind: "device" }
      yield* registry.register(profile(1), {})
      const again = yield* Effect.exit(registry.register(same, {}))
      yield* expect("the same profile in another order", Exit.isFailure(again), true)
      yield* registry.register(profile(2), {})
      yield* registry.register({ kind: "other", number: 1 }, {})
      yield* expect("how many", (yield* registry.list).length, 3)
    })
  ),

  test(
    "of fifty that race on one node one wins, and the others see the same winner",
    1,
    Effect.fnUntraced(function*() {
      const { registry } = yield* join
      const holders = Array.from({ length: 50 }, (_, index) => ({ index }))
      const exits = yield* Effect.forEach(
        holders,
        (holder) => Effect.result(registry.register(profile(1), holder)),
        { concurrency: "unbounded" }
      )
      const won = exits.filter((exit) => exit._tag === "Success")
      yield* expect("winners", won.length, 1)
      const winners = new Set(exits.map((exit) =>
        exit._tag === "Success"
          ? exit.success.token
          : exit.failure._tag === "AlreadyRegistered" && exit.failure.winner._tag === "Here"
          ? exit.failure.winner.token
          : undefined
      ))
      yield* expect("what they see", winners.size, 1)
    })
  ),

  test(
    "tokens grow with each holder of a profile",
    1,
    Effect.fnUntraced(function*() {
      const { registry } = yield* join
      let last = -1n
      for (let n = 0; n < 20; n++) {
        const { registration, release } = yield* registerIn(registry, 1, {})
        yield* expect(`token ${registration.token} after ${last}`, registration.token > last, true)
        last = registration.token
        yield* release
      }
    })
  ),

  test(
    "a scope that fails after registering frees the profile",
    1,
    Effect.fnUntraced(function*() {
      const { registry } = yield* join
      const failed = yield* Effect.exit(
        Effect.scoped(Effect.andThen(registry.register(profile(1), {}), Effect.fail("no" as const)))
      )
      yield* expect("failed", Exit.isFailure(failed), true)
      yield* registry.register(profile(1), {})
    })
  ),

  test(
    "whoever is interrupted while registering leaves nothing behind",
    1,
    Effect.fnUntraced(function*() {
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

  test(
    "a stopped registration is told, and its profile is free; an unknown one is not found",
    1,
    Effect.fnUntraced(function*() {
      const { registry } = yield* join
      const registration = yield* registry.register(profile(1), {})
      const working = yield* Effect.forkChild(Effect.flip(registration.whileHeld(Effect.never)))
      yield* registry.stop(profile(1))
      yield* expect("told", (yield* Fiber.join(working)).reason, "stopped")
      const unknown = yield* Effect.flip(registry.stop(profile(1)))
      yield* expect("stopped again", unknown._tag, "ProfileNotFound")
      yield* registry.register(profile(1), {})
    })
  ),

  test(
    "changes tell what is registered and given back, in order",
    1,
    Effect.fnUntraced(function*() {
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
      yield* expect("changes", all, ["Registered 1", "Released 1", "Registered 2", "Released 2"])
    })
  ),

  test(
    "a supervised profile gets a new holder after a crash, and a handle taken before goes on working",
    1,
    Effect.fnUntraced(function*() {
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
      yield* expect("the first", (yield* handle.wait) === opened[0], true)
      yield* Deferred.fail(opened[0]!.crash, "the wire is cut")
      yield* eventually(
        "the second",
        Effect.result(handle.holder),
        (result) => result._tag === "Success" && result.success === opened[1]
      )
      yield* expect("closed", closed, 1)
      yield* registry.disconnect(profile(1))
      yield* expect("disconnected", [yield* tagOf(registry, 1), closed, opened.length], ["Disconnected", 2, 2])
      yield* expect("used then", (yield* Effect.flip(handle.use(Effect.succeed)))._tag, "NotConnected")
      yield* registry.reconnect(profile(1))
      yield* expect("the third", (yield* handle.wait) === opened[2], true)
      yield* registry.stop(profile(1))
      yield* expect("stopped", [yield* tagOf(registry, 1), closed, opened.length], ["nowhere", 3, 3])
      yield* registry.register(profile(1), {})
    })
  ),

  test(
    "a second node is refused, sees the first, and is granted the profile when it is given back",
    2,
    Effect.fnUntraced(function*() {
      const [one, two] = [yield* join, yield* join]
      const { registration, release } = yield* registerIn(one.registry, 1, {})
      const refused = yield* Effect.flip(two.registry.register(profile(1), {}))
      yield* expect("refused", refused._tag, "AlreadyRegistered")
      const winner = refused._tag === "AlreadyRegistered" ? refused.winner : undefined
      yield* expect("by", winner?._tag === "Elsewhere" && winner.node, yield* one.registry.node)
      yield* expect("under", winner?.token, registration.token)
      yield* eventually("seen", tagOf(two.registry, 1), (tag) => tag === "Elsewhere")
      yield* expect(
        "used there",
        (yield* Effect.flip(two.registry.via(profile(1)).use(Effect.succeed)))._tag,
        "HeldElsewhere"
      )
      yield* expect("stopped there", (yield* Effect.flip(two.registry.stop(profile(1))))._tag, "HeldElsewhere")
      yield* release
      const next = yield* two.registry.register(profile(1), {})
      yield* expect("a greater token", next.token > registration.token, true)
      yield* eventually("seen by the first", tagOf(one.registry, 1), (tag) => tag === "Elsewhere")
    })
  ),

  test(
    "of two nodes with twenty-five racing on each one wins, and all see the same winner",
    2,
    Effect.fnUntraced(function*() {
      const nodes = [yield* join, yield* join]
      const results = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, index) => nodes[index % 2]!),
        ({ registry }) => Effect.result(registry.register(profile(1), {})),
        { concurrency: "unbounded" }
      )
      yield* expect("winners", results.filter((result) => result._tag === "Success").length, 1)
      const tokens = new Set(results.map((result) =>
        result._tag === "Success"
          ? result.success.token
          : result.failure._tag === "AlreadyRegistered"
          ? result.failure.winner.token
          : undefined
      ))
      yield* expect("what they see", tokens.size, 1)
    })
  ),

  test(
    "a node that leaves frees what it held, and others hear of it",
    2,
    Effect.fnUntraced(function*() {
      const [one, two] = [yield* join, yield* join]
      for (let n = 0; n < 20; n++) yield* one.registry.register(profile(n), {})
      yield* eventually("seen", two.registry.list, (list) => list.length === 20)
      yield* one.close
      yield* eventually("gone", two.registry.list, (list) => list.length === 0)
      for (let n = 0; n < 20; n++) yield* two.registry.register(profile(n), {})
    })
  ),

  test(
    "whoever waits for a profile is told when it appears elsewhere",
    2,
    Effect.fnUntraced(function*() {
      const [one, two] = [yield* join, yield* join]
      const waiting = yield* Effect.forkChild(Effect.flip(two.registry.via(profile(1)).wait))
      yield* Effect.yieldNow
      yield* one.registry.register(profile(1), {})
      yield* expect("told", (yield* Fiber.join(waiting))._tag, "HeldElsewhere")
    })
  )
]
