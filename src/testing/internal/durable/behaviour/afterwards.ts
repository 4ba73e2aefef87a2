/**
 * What a handler wants done after its commit, and servers that stop: the state is stored first, and actions are given it.
 */
import * as Effect from "effect/Effect"
import { define, eventually, same } from "../../cases.ts"
import { start } from "../nodes.ts"
import { lamp } from "../servers.ts"

/** The ways to a server. Whoever is told something has done with it when a call behind it is answered. */
const ways = ["call", "cast", "info", "priority call", "priority cast"] as const

type Way = (typeof ways)[number]
type How = "plainly" | "with actions" | "with an action that halts"

/** A lamp's node, and how it is told to do something by one of the ways. */
const held = (way: Way, where: string) =>
  Effect.gen(function*() {
    const { Lamp, live } = yield* lamp
    const lines: Array<string> = []
    const holder = yield* start({ servers: live(lines) })
    const sender = where === "here" ? holder : yield* start()
    const ref = (yield* sender.run(Lamp.client()))("lamp")
    const atHome = (yield* holder.run(Lamp.client()))("lamp")
    yield* same("at first", yield* atHome.call.Look(), 0)
    const tell = (what: "switch" | "stop", how: How): Effect.Effect<unknown, unknown> => {
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
    const said = (count: number) =>
      eventually("its actions run", Effect.sync(() => lines.slice()), (all) => all.length >= count)
    return { atHome, holder, lines, live, Lamp, ref, said, tell }
  })

const actions = ways.map((way) =>
  define(
    `actions after the commit of ${way === "info" ? "an info" : `a ${way}`} run in order, with the committed state`,
    Effect.gen(function*() {
      for (const where of ["here", "from elsewhere"]) {
        const { atHome, lines, said, tell } = yield* held(way, where)
        yield* tell("switch", "with actions")
        yield* said(3)
        yield* same(`sent from ${where}`, lines, ["switched 1", "switched 1 again", "switched 1 at last"])
        lines.length = 0
        yield* tell("switch", "with an action that halts")
        yield* said(2)
        yield* tell("switch", "with actions")
        yield* said(5)
        yield* same("after one that halts", lines, [
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

const stops = ways.flatMap((way) =>
  (["plainly", "with actions"] as const).map((how) =>
    define(
      `stop from ${way === "info" ? "an info" : `a ${way}`}, ${
        how === "plainly" ? "without actions" : how
      }: the state is persisted first`,
      Effect.gen(function*() {
        const { Lamp, atHome, holder, lines, live, said, tell } = yield* held(way, "here")
        yield* tell("switch", "plainly")
        yield* tell("stop", how)
        if (how === "with actions") {
          yield* said(3)
          yield* same("its actions", lines, ["stopped 11", "stopped 11 again", "stopped 11 at last"])
        }
        yield* eventually("memory is empty", holder.residents, (residents) => residents === 0)
        const other = yield* start({ servers: live([]) })
        yield* same("what another process finds", yield* (yield* other.run(Lamp.client()))("lamp").call.Look(), 11)
        yield* same("and this one", yield* atHome.call.Look(), 11)
        if (how === "plainly") yield* same("its actions", lines, [])
      })
    )
  )
)

export const afterwards = [
  ...actions,
  ...stops,

  define(
    "what is sent right behind a stop is handled by the same server as it was left, and keeps its order",
    Effect.gen(function*() {
      const { atHome } = yield* held("call", "here")
      const sent: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        atHome.cast.Stop({ how: "plainly" }),
        ...Array.from({ length: 5 }, () => atHome.call.Switch({ how: "plainly" }))
      ]
      const [, ...seen] = yield* Effect.all(sent, { concurrency: "unbounded" })
      yield* same("what they see", seen, [11, 12, 13, 14, 15])
    })
  )
]
