/**
 * What a handler wants done after its commit, and servers that stop: the state is stored first, and actions are given it.
 */
import * as Effect from "effect/Effect"
import type { DurableServerError } from "../../../../durable/DurableServerError.ts"
import type { Ref } from "../../../../durable/Ref.ts"
import { eventually, same } from "../../cases.ts"
import { define } from "../define.ts"
import { start } from "../nodes.ts"
import { lamp } from "../servers.ts"

/** The ways to a server. Whoever is told something has done with it when a call behind it is answered. */
const ways = ["call", "cast", "info", "priority call", "priority cast"] as const

type Lamp = Effect.Success<typeof lamp>["Lamp"]
type Way = (typeof ways)[number]
type How = "plainly" | "with actions" | "with an action that halts"

/** Tells a lamp to do something by one of the ways. */
const tell = (
  ref: Ref<Lamp>,
  way: Way,
  what: "switch" | "stop",
  how: How
): Effect.Effect<unknown, DurableServerError> => {
  const rpc = what === "switch" ? "Switch" : "Stop"
  switch (way) {
    case "call":
      return ref.call[rpc]({ how })
    case "cast":
      return ref.cast[rpc]({ how })
    case "priority call":
      return ref.priorityCall[rpc]({ how })
    case "priority cast":
      return ref.priorityCast[rpc]({ how })
    case "info":
      return ref.info({ what, how })
  }
}

const said = (lines: ReadonlyArray<string>, count: number) =>
  eventually("its actions run", Effect.sync(() => lines.slice()), (all) => all.length >= count)

const named = (way: Way) => way === "info" ? "an info" : `a ${way}`

const actions = ways.map((way) =>
  define(
    `actions after the commit of ${named(way)} run in order, with the committed state`,
    Effect.gen(function*() {
      const { Lamp, live } = yield* lamp
      const lines: Array<string> = []
      const holder = yield* start({ servers: live(lines) })
      const producer = yield* start()
      for (const [where, sender] of [["here", holder], ["from elsewhere", producer]] as const) {
        const ref = (yield* sender.run(Lamp.client()))(where)
        const atHome = (yield* holder.run(Lamp.client()))(where)
        yield* same("at first", yield* atHome.call.Look(), 0)
        lines.length = 0
        yield* tell(ref, way, "switch", "with actions")
        yield* said(lines, 3)
        yield* tell(ref, way, "switch", "with an action that halts")
        yield* said(lines, 5)
        yield* tell(ref, way, "switch", "with actions")
        yield* said(lines, 8)
        yield* same(`sent from ${where}`, lines, [
          "switched 1",
          "switched 1 again",
          "switched 1 at last",
          "switched 2",
          "switched 2 again",
          "switched 3",
          "switched 3 again",
          "switched 3 at last"
        ])
        yield* same("the state", yield* atHome.call.Look(), 3)
      }
    })
  )
)

const stops = ways.map((way) =>
  define(
    `stop from ${named(way)}, with and without actions: the state is persisted first`,
    Effect.gen(function*() {
      const { Lamp, live } = yield* lamp
      const lines: Array<string> = []
      const holder = yield* start({ servers: live(lines) })
      const other = yield* start({ servers: live([]) })
      const hows = ["plainly", "with actions"] as const
      for (const how of hows) {
        lines.length = 0
        const ref = (yield* holder.run(Lamp.client()))(how)
        yield* ref.call.Look()
        yield* tell(ref, way, "switch", "plainly")
        yield* tell(ref, way, "stop", how)
        if (how === "with actions") yield* said(lines, 3)
        yield* eventually("memory is empty", holder.residents, (residents) => residents === 0)
        const expected = ["stopped 11", "stopped 11 again", "stopped 11 at last"]
        yield* same("its actions", lines, how === "with actions" ? expected : [])
      }
      for (const how of hows) {
        yield* same("what another process finds", yield* (yield* other.run(Lamp.client()))(how).call.Look(), 11)
        yield* same("and this one", yield* (yield* holder.run(Lamp.client()))(how).call.Look(), 11)
      }
    })
  )
)

export const afterwards = [
  ...actions,
  ...stops,

  define(
    "what is sent right behind a stop is handled by the same server as it was left, and keeps its order",
    Effect.gen(function*() {
      const { Lamp, live } = yield* lamp
      const node = yield* start({ servers: live([]) })
      const ref = (yield* node.run(Lamp.client()))("behind")
      yield* ref.call.Look()
      const sent: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        ref.cast.Stop({ how: "plainly" }),
        ...Array.from({ length: 5 }, () => ref.call.Switch({ how: "plainly" }))
      ]
      const [, ...seen] = yield* Effect.all(sent, { concurrency: "unbounded" })
      yield* same("what they see", seen, [11, 12, 13, 14, 15])
    })
  )
]
