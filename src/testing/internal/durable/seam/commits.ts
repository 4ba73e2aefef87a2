/**
 * The one operation that changes anything: each member of a group is done whole or refused whole, by comparing what the process
 * believed with what is stored, and one that is refused takes no other down.
 */
import * as Effect from "effect/Effect"
import type { Transition } from "../../../../durable/DurableStorage.ts"
import { present, same } from "../../cases.ts"
import { define } from "../define.ts"
import {
  again,
  check,
  claimNew,
  enqueue,
  fragmentsOf,
  join,
  later,
  lineOf,
  numbering,
  outcome,
  positions,
  step,
  tags,
  two
} from "../steps.ts"

/** A backend may have a shorter way for groups in which servers only change their state. */
const shapes = [
  ["with nothing but a state", {}],
  ["with more than a state", { outcomes: [outcome("k", "{}")] }]
] as const

const fences = shapes.flatMap(([shape, more]) => [
  define(
    `a step ${shape} from a version that is not the last is refused`,
    Effect.gen(function*() {
      const node = yield* join
      const server = yield* claimNew(node)
      yield* same("a step from the last version", tags(yield* node.commit([step(server, more)])), ["Done"])
      const other = { ...more, outcomes: [outcome("another", "{}")], state: "{\"by\":\"another\"}" }
      yield* same("the same version again", tags(yield* node.commit([step(server, other)])), ["Superseded"])
      yield* same("one that is still to come", tags(yield* node.commit([step(later(server, 2), other)])), [
        "Superseded"
      ])
      yield* same("what is stored", (yield* again(node, server)).state, `{"by":${server.version}}`)
    })
  ),

  define(
    `a step ${shape} whose line has moved is refused, and is told where the line ends`,
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const server = yield* claimNew(first)
      yield* second.commit([enqueue(to(server, second, {}, {}))])
      for (const guard of [0, 1, 3]) {
        yield* same(`a guard at ${guard}`, yield* first.commit([step(server, { ...more, guard })]), [
          { _tag: "LineMoved", pushed: 2 }
        ])
      }
      yield* same("a guard at the end of the line", yield* first.commit([step(server, { ...more, guard: 2 })]), [
        { _tag: "Done", pushed: 2 }
      ])
      yield* same("what is stored", (yield* again(first, server)).state, `{"by":${server.version}}`)
    })
  ),

  define(
    `of steps ${shape}, from one version and at the same time, one is done`,
    Effect.gen(function*() {
      const nodes = [yield* join, yield* join, yield* join]
      const [holder] = nodes
      let server = yield* claimNew(yield* present("a node", holder))
      for (let round = 0; round < 10; round++) {
        const verdicts = yield* Effect.all(
          nodes.map((node, n) =>
            node.commit([
              step(server, { ...more, outcomes: more === shapes[0][1] ? [] : [outcome(`${round}`, `"${n}"`, true)] })
            ])
          ),
          { concurrency: "unbounded" }
        )
        yield* same("how many were done", tags(verdicts.flat()).filter((tag) => tag === "Done").length, 1)
        server = later(server)
      }
    })
  )
])

export const commits = [
  ...fences,

  define(
    "among steps that only change states, each is decided alone",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const [guarded, moved, stale, fine] = yield* Effect.all([
        claimNew(first),
        claimNew(first),
        claimNew(first),
        claimNew(first)
      ])
      yield* second.commit([enqueue(to(moved, second, {}))])
      yield* same(
        "the verdicts, in the order of the group",
        yield* first.commit([
          step(guarded, { guard: 0 }),
          step(moved, { guard: 0 }),
          step(later(stale)),
          step(fine)
        ]),
        [
          { _tag: "Done", pushed: 0 },
          { _tag: "LineMoved", pushed: 1 },
          { _tag: "Superseded" },
          { _tag: "Done", pushed: 0 }
        ]
      )
      for (const server of [stale, moved]) {
        yield* same("the state of one that was refused", (yield* again(first, server)).state, undefined)
      }
      for (const server of [fine, guarded]) {
        yield* same("the state of one that was done", (yield* again(first, server)).state, `{"by":${server.version}}`)
      }
    })
  ),

  define(
    "the other members of a group are done, whatever becomes of one, and verdicts come in the order of the group",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const servers = yield* Effect.forEach(Array.from({ length: 60 }), () => claimNew(first))
      const target = yield* claimNew(second)
      for (const [index, server] of servers.entries()) {
        if (index % 6 === 1) yield* second.commit([enqueue(to(server, second, {}))])
        if (index % 6 === 2) yield* first.commit([step(server, { outcomes: [outcome("once", "\"first\"")] })])
      }
      const kinds = ["Done", "LineMoved", "Known", "Superseded", "Done", "Done"] as const
      const verdicts = yield* first.commit(servers.map((server, index) => {
        switch (index % 6) {
          case 1:
            return step(server, { guard: 0 })
          case 2:
            return step(later(server), { outcomes: [outcome("other", "\"\""), outcome("once", "\"second\"")] })
          case 3:
            return step(later(server))
          case 4:
            return check(server, 0)
          case 5:
            return enqueue(to(target, first, {}))
          default:
            return step(server)
        }
      }))
      yield* same("the verdicts", tags(verdicts), servers.map((_, index) => kinds[index % 6] ?? "Done"))
      yield* same("what the keys are known with", verdicts[2], {
        _tag: "Known",
        replies: new Map([["once", "\"first\""]])
      })
      for (const [index, server] of servers.slice(0, 6).entries()) {
        const { state } = yield* again(first, server)
        const expected = index === 0 || index === 2 ? `{"by":${server.version}}` : undefined
        yield* same(`the state of a member that was ${kinds[index]}`, state, expected)
      }
      yield* same("what was put in line", positions(yield* lineOf(second, target)), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    })
  ),

  define(
    "where several refusals hold, the first of Known, Missed, LineMoved, Superseded is told",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message, to } = numbering()
      const server = yield* claimNew(first)
      yield* first.commit([step(server, { outcomes: [outcome("k", "\"known\"")] })])
      yield* second.commit([enqueue(to(server, second, {}))])
      const never = { server: server.id, node: first.node(), call: message(first).call }
      const known = { outcomes: [outcome("k", "\"again\"")] }
      const missed = { later: { scheduled: [], cancelled: [never] } }
      const moved = { guard: 0 }
      const stale = later(server, 5)
      yield* same("all of them", yield* first.commit([step(stale, { ...known, ...missed, ...moved })]), [
        { _tag: "Known", replies: new Map([["k", "\"known\""]]) }
      ])
      yield* same("all but the first", yield* first.commit([step(stale, { ...missed, ...moved })]), [
        { _tag: "Missed", cancelled: [never] }
      ])
      yield* same("the last two", yield* first.commit([step(stale, moved)]), [{ _tag: "LineMoved", pushed: 1 }])
      yield* same("the last", yield* first.commit([step(stale)]), [{ _tag: "Superseded" }])
      yield* same("none", tags(yield* first.commit([step(later(server))])), ["Done"])
    })
  ),

  define(
    "a server that is a member, and the target of another member's message, keeps its state and gets the message",
    Effect.gen(function*() {
      const node = yield* join
      const { to } = numbering()
      const servers = [yield* claimNew(node), yield* claimNew(node)] as const
      for (const [sender, target] of [servers, [servers[1], servers[0]]] as const) {
        const [from, at] = [yield* again(node, sender), yield* again(node, target)]
        yield* same(
          "both are done, decided as the line was before",
          tags(
            yield* node.commit([
              step(from, { state: "\"sent\"", outgoing: to(target, node, {}) }),
              step(at, { state: "\"both\"", guard: at.pushed })
            ])
          ),
          ["Done", "Done"]
        )
        yield* same(
          "the next step of the target that has not seen the message",
          yield* node.commit([step(later(at), { guard: at.pushed })]),
          [{ _tag: "LineMoved", pushed: at.pushed + 1 }]
        )
        const after = yield* again(node, target)
        yield* same("the target", [after.state, after.pushed], ["\"both\"", at.pushed + 1])
      }
      const own = yield* again(node, servers[0])
      yield* node.commit([step(own, { state: "\"to itself\"", outgoing: to(own, node, {}) })])
      const after = yield* again(node, own)
      yield* same("a server that sends to itself", [after.state, after.pushed], ["\"to itself\"", own.pushed + 1])
    })
  ),

  define(
    "an answer that changes nothing is checked against version and line, and writes nothing",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const server = yield* claimNew(first)
      yield* same(
        "before anything is in line",
        yield* first.commit([check(server), check(server, 0), check(later(server, -1)), check(later(server), 0)]),
        [{ _tag: "Done", pushed: 0 }, { _tag: "Done", pushed: 0 }, { _tag: "Superseded" }, { _tag: "Superseded" }]
      )
      yield* second.commit([enqueue(to(server, second, {}))])
      yield* same(
        "when there is",
        yield* first.commit([check(server, 0), check(server, 1), check(server)]),
        [{ _tag: "LineMoved", pushed: 1 }, { _tag: "Done", pushed: 1 }, { _tag: "Done", pushed: 1 }]
      )
      yield* same("the version is what it was", tags(yield* first.commit([step(server)])), ["Done"])
    })
  ),

  define(
    "a state and a lock stay where a step says nothing of them, and a lock goes where it says so",
    Effect.gen(function*() {
      const node = yield* join
      const { message } = numbering()
      const server = yield* claimNew(node)
      const lock = message(node, { mode: "call", payload: "{\"litres\":3}", priority: true })
      const found = (more: Parameters<typeof step>[1]) =>
        Effect.gen(function*() {
          const before = yield* again(node, server)
          yield* same("the step", tags(yield* node.commit([step(before, more)])), ["Done"])
          const after = yield* again(node, server)
          return [after.state, after.lock]
        })
      yield* same("locked", yield* found({ state: "\"a\"", lock }), ["\"a\"", lock])
      yield* same("nothing said", yield* found({ state: undefined, lock: undefined }), ["\"a\"", lock])
      yield* same("unlocked", yield* found({ state: undefined, lock: "none" }), ["\"a\"", undefined])
    })
  ),

  define(
    "fragments of a state are written, replaced and dropped by the steps that say so, and all others stay",
    Effect.gen(function*() {
      const node = yield* join
      const server = yield* claimNew(node)
      const large = "ü".repeat(4000)
      const found = Effect.fnUntraced(function*(fragments: Transition["fragments"], state?: string) {
        const before = yield* again(node, server)
        yield* same("the step", tags(yield* node.commit([step(before, { state, fragments })])), ["Done"])
        // One that is refused changes none.
        yield* node.commit([
          step(before, { fragments: [{ number: 1, text: "refused" }, { number: 9, text: "refused" }] })
        ])
        const after = yield* again(node, server)
        return { state: after.state, fragments: fragmentsOf(after) }
      })
      yield* same(
        "written",
        yield* found([{ number: 7, text: "seven" }, { number: 1, text: large }, { number: 2, text: "" }], "\"head\""),
        { state: "\"head\"", fragments: [[1, large], [2, ""], [7, "seven"]] }
      )
      yield* same(
        "replaced, dropped, and added",
        yield* found([{ number: 1, text: "one" }, { number: 7, text: undefined }, { number: 3, text: "three" }]),
        { state: "\"head\"", fragments: [[1, "one"], [2, ""], [3, "three"]] }
      )
      yield* same("nothing said of them", yield* found([], "\"another\""), {
        state: "\"another\"",
        fragments: [[1, "one"], [2, ""], [3, "three"]]
      })
      yield* same("one dropped that is not there", yield* found([{ number: 8, text: undefined }]), {
        state: "\"another\"",
        fragments: [[1, "one"], [2, ""], [3, "three"]]
      })
      yield* node.kill(server.address, "\"gone\"")
      yield* same("after the end of its life", fragmentsOf(yield* again(node, server)), [])
    })
  ),

  define(
    "states of any characters, and of a megabyte, are read as they were written",
    Effect.gen(function*() {
      const { first, second } = yield* two
      for (
        const state of [
          "\"\"",
          JSON.stringify("é e\u0301 😀 \u2028 \n\t ' \" \\ % _ $1 {} ${x} <>"),
          JSON.stringify(Array.from({ length: 1024 }, (_, n) => `${n} ${"x".repeat(1018)}`))
        ]
      ) {
        const server = yield* claimNew(first)
        yield* first.commit([step(server, { state })])
        yield* first.release([{ id: server.id, version: undefined }])
        const [read] = yield* second.claim([server.address])
        yield* same("its state", read?._tag === "Claimed" ? read.state : undefined, state)
      }
    })
  )
]
