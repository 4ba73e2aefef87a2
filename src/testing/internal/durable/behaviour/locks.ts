/**
 * Locks: what a handler began outside of any transition is brought to its end, by whichever process, and once; what has no
 * priority waits for it.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { Ref } from "../../../../durable/Ref.ts"
import { eventually, holds, same, soon } from "../../cases.ts"
import { define } from "../define.ts"
import { start } from "../nodes.ts"
import { makeWorld, tank } from "../servers.ts"

const now = { startImmediately: true }
const patient = { timeout: "20 seconds" } as const

/** Tanks, each filling of which goes on until it is told to `finish`. */
const gated = Effect.gen(function*() {
  const { live, Tank } = yield* tank
  const gates = new Map<string, Latch.Latch>()
  const gate = (what: string) => {
    const there = gates.get(what) ?? Latch.makeUnsafe()
    gates.set(what, there)
    return there
  }
  const world = makeWorld((what) => gate(what).await)
  return {
    Tank,
    live: () => live(world),
    world,
    /** Waits until it has begun. */
    filling: (what: string) =>
      eventually(`"${what}" is begun`, Effect.sync(() => world.attempts.slice()), (begun) => begun.includes(what)),
    finish: (what: string) => gate(what).open
  }
})

/** A case for a holder and whoever sends to it: the holder itself, and another node. */
const fromBoth = (
  name: string,
  body: (
    tanks: Effect.Success<typeof gated>,
    ref: Ref<Effect.Success<typeof gated>["Tank"]>,
    where: string
  ) => Effect.Effect<void, unknown, Scope.Scope>
) =>
  define(
    name,
    Effect.gen(function*() {
      const tanks = yield* gated
      const holder = yield* start({ servers: tanks.live() })
      const producer = yield* start()
      for (const [where, sender] of [["here", holder], ["from elsewhere", producer]] as const) {
        yield* (yield* holder.run(tanks.Tank.client()))(where).call.Look()
        yield* body(tanks, (yield* sender.run(tanks.Tank.client()))(where), where)
      }
    })
  )

const lockedBy = (["cast", "call", "priority call"] as const).map((way) =>
  fromBoth(
    `lock by ${way}${way === "cast" ? "" : ": the reply arrives after what goes on under it"}`,
    Effect.fnUntraced(function*({ filling, finish }, ref, where) {
      const calls = way === "priority call" ? ref.priorityCall : ref.call
      const locking: Fiber.Fiber<unknown, unknown> = yield* Effect.forkChild(
        way === "cast" ? ref.cast.Fill({ what: where }) : calls.Fill({ what: where }, patient),
        now
      )
      yield* filling(where)
      if (way === "cast") yield* soon("the cast is acknowledged while it goes on", Fiber.join(locking))
      yield* same("while it goes on", yield* ref.priorityCall.Look(), { filling: 1, full: [] })
      if (way !== "cast") yield* holds("the caller still waits", locking.pollUnsafe() === undefined)
      yield* finish(where)
      const reply = yield* soon("it ends", Fiber.join(locking))
      if (way !== "cast") yield* same("the reply", reply, [where])
      yield* same("afterwards", yield* ref.call.Look(undefined, patient), { filling: 0, full: [where] })
    })
  )
)

export const locks = [
  ...lockedBy,

  fromBoth(
    "casts wait behind a lock and run after it, in their order",
    Effect.fnUntraced(function*({ filling, finish }, ref, where) {
      yield* ref.cast.Fill({ what: where })
      yield* filling(where)
      // They are told as soon as they are durable, though their turn has not come.
      for (const what of ["b", "c", "d"]) yield* soon("a cast behind the lock is acknowledged", ref.cast.Add({ what }))
      yield* same("while it goes on", (yield* ref.priorityCall.Look()).full, [])
      yield* finish(where)
      yield* same("afterwards", (yield* ref.call.Look(undefined, patient)).full, [where, "b", "c", "d"])
    })
  ),

  define(
    "a second consumer waits for the lock",
    Effect.gen(function*() {
      const { Tank, filling, finish, live, world } = yield* gated
      const [first, second] = [yield* start({ servers: live() }), yield* start({ servers: live() })]
      const [here, there] = [(yield* first.run(Tank.client()))("tank"), (yield* second.run(Tank.client()))("tank")]
      yield* here.cast.Fill({ what: "a" })
      yield* filling("a")
      const looking = yield* Effect.forkChild(there.call.Look(undefined, patient), now)
      yield* there.cast.Add({ what: "b" })
      yield* same("what has priority does not wait", (yield* there.priorityCall.Look()).filling, 1)
      yield* holds("the second consumer's call waits", looking.pollUnsafe() === undefined)
      yield* finish("a")
      yield* same("what it sees", yield* soon("it is answered", Fiber.join(looking)), { filling: 0, full: ["a"] })
      yield* same("and what it sent behind that", (yield* there.call.Look()).full, ["a", "b"])
      yield* same("how often it was filled", world.attempts, ["a"])
    })
  ),

  define(
    "a queued call waits for the lock",
    Effect.gen(function*() {
      const { Tank, filling, finish, live } = yield* gated
      const producer = yield* start()
      const ref = (yield* producer.run(Tank.client()))("tank")
      // In line, in this order, before anybody runs the server.
      yield* ref.cast.Fill({ what: "a" })
      const looking = yield* Effect.forkChild(ref.call.Look(undefined, patient), now)
      const again = yield* Effect.forkChild(ref.call.Fill({ what: "b" }, patient), now)
      yield* start({ servers: live() })
      yield* filling("a")
      yield* same("what has priority does not wait", (yield* ref.priorityCall.Look()).filling, 1)
      yield* holds("both calls wait", looking.pollUnsafe() === undefined && again.pollUnsafe() === undefined)
      yield* finish("a")
      yield* finish("b")
      yield* same("the first", yield* soon("it is answered", Fiber.join(looking)), { filling: 0, full: ["a"] })
      yield* same("the second, which locks again", yield* soon("it is answered", Fiber.join(again)), ["a", "b"])
    })
  ),

  define(
    "state from handleLocked persists across a restart",
    Effect.gen(function*() {
      const { Tank, finish, live, world } = yield* gated
      yield* finish("a")
      yield* finish("b")
      const first = yield* start({ servers: live() })
      yield* (yield* first.run(Tank.client()))("tank").call.Fill({ what: "a" })
      yield* first.close
      const second = yield* start({ servers: live() })
      const ref = (yield* second.run(Tank.client()))("tank")
      yield* same("what the next process finds", yield* ref.call.Look(), { filling: 0, full: ["a"] })
      yield* same("what it adds", yield* ref.call.Fill({ what: "b" }), ["a", "b"])
      yield* same("how often it was filled", world.attempts, ["a", "b"])
    })
  ),

  fromBoth(
    "a priority message during a lock that changes the state, then unlock: both effects are there",
    Effect.fnUntraced(function*({ filling, finish }, ref, where) {
      const locking = yield* Effect.forkChild(ref.call.Fill({ what: where }, patient), now)
      yield* filling(where)
      yield* ref.priorityCall.Add({ what: "urgent call" })
      yield* ref.priorityCast.Add({ what: "urgent cast" })
      yield* same("under the lock", (yield* ref.priorityCall.Look()).full, ["urgent call", "urgent cast"])
      yield* finish(where)
      yield* soon("it ends", Fiber.join(locking))
      yield* same("afterwards", yield* ref.call.Look(undefined, patient), {
        filling: 0,
        full: ["urgent call", "urgent cast", where]
      })
    })
  ),

  define(
    "a holder that is lost while locked is followed, and what it began is ended once",
    Effect.gen(function*() {
      const { Tank, filling, finish, live, world } = yield* gated
      const holder = yield* start({ servers: live() })
      const producer = yield* start()
      const ref = (yield* producer.run(Tank.client()))("tank")
      yield* (yield* holder.run(Tank.client()))("tank").call.Look()
      const locking = yield* Effect.forkChild(ref.call.Fill({ what: "a" }, patient), now)
      yield* filling("a")
      yield* ref.cast.Add({ what: "behind" })
      const next = yield* start({ servers: live() })
      yield* holder.lose
      // Whoever asks there makes it known that the server is wanted.
      yield* same(
        "what the next holder finds",
        (yield* (yield* next.run(Tank.client()))("tank").priorityCall.Look(undefined, patient)).full,
        []
      )
      yield* finish("a")
      yield* same("the reply", yield* soon("the caller is answered", Fiber.join(locking)), ["a"])
      yield* same("what comes of it", yield* ref.call.Look(undefined, patient), { filling: 0, full: ["a", "behind"] })
      yield* holds("it was begun again", world.attempts.length <= 3, world.attempts)
    })
  )
]
