/**
 * The end of a server's life.
 */
import * as Effect from "effect/Effect"
import { holds, present, same } from "../../cases.ts"
import { define } from "../define.ts"
import {
  callsOf,
  check,
  claim,
  claimNew,
  delivered,
  enqueue,
  lineOf,
  nameOf,
  numbering,
  outcome,
  positions,
  schedule,
  step,
  tags,
  two,
  unusedAddress,
  values
} from "../steps.ts"

export const killing = [
  define(
    "what is killed begins anew under its number: state, lock, line, keys and what was for later are gone",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message, to } = numbering()
      const server = yield* claimNew(first)
      const timer = schedule(server.id, message(second), 0)
      const distant = schedule(server.id, message(second, { primaryKey: "for later" }), 3_600_000)
      yield* second.commit([
        enqueue(to(server, second, {}, { primaryKey: "in line" }, {}), { later: { scheduled: [distant] } })
      ])
      yield* first.commit([
        step(server, { taken: 1, lock: message(first), stateVersion: 4, outcomes: [outcome("answered", "\"\"")] })
      ])
      const killed = yield* present("what was killed", yield* second.kill(server.address, "\"gone\""))
      yield* same("its number stays", killed.id, server.id)
      yield* holds("its version goes on", killed.version > server.version + 1, [server.version, killed.version])
      yield* same(
        "the steps of its last life are refused",
        tags(
          yield* first.commit([step({ ...server, version: server.version + 1 })])
        ),
        ["Superseded"]
      )
      yield* same("and its checks", tags(yield* first.commit([check({ ...server, version: server.version + 1 })])), [
        "Superseded"
      ])
      yield* same(
        "what there was to cancel",
        tags(
          yield* second.commit([enqueue([], { later: { cancelled: [nameOf(distant)] } })])
        ),
        ["Missed"]
      )

      const found = yield* claim(second, server.address)
      yield* same("what the next holder finds", [found.id, found.state, found.stateVersion, found.lock], [
        server.id,
        undefined,
        1,
        undefined
      ])
      yield* holds("at no version before that", found.version >= killed.version, [killed.version, found.version])
      yield* same("an empty line", [positions(yield* lineOf(second, server)), found.pushed - found.taken], [[], 0])
      yield* second.commit([
        enqueue(
          to(server, first, { primaryKey: "in line" }, { primaryKey: "answered" }, { primaryKey: "for later" }),
          { later: { scheduled: [timer] } }
        )
      ])
      yield* delivered(second, server, 4)
      const line = yield* lineOf(second, server)
      yield* same("what is sent to its next life", line.map(({ primaryKey, recorded }) => [primaryKey, recorded]), [
        ["in line", undefined],
        ["answered", undefined],
        ["for later", undefined],
        [undefined, undefined]
      ])
      yield* same("in its places", positions(line), [1, 2, 3, 4].map((n) => found.pushed + n))
    })
  ),

  define(
    "the calls in the line of what is killed are answered with its text, and the one that locked it; casts are not",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message, to } = numbering()
      const server = yield* claimNew(first)
      const calls = to(server, second, { mode: "call" }, { mode: "cast" }, { mode: "call", priority: true })
      const locker = message(first, { mode: "call" })
      yield* second.commit([enqueue(calls)])
      yield* first.commit([step(server, { lock: locker })])
      yield* second.kill(server.address, "\"it had to be\"")
      yield* same("to those in line", (yield* second.replies(0)).map(({ call }) => call).sort((a, b) => a - b), [
        calls[0]?.message.call ?? 0,
        calls[2]?.message.call ?? 0
      ])
      yield* same("what they are told", values(yield* second.replies(0)), ["\"it had to be\"", "\"it had to be\""])
      yield* same("to the one under the lock", yield* first.replies(0), [
        { node: first.node(), call: locker.call, value: "\"it had to be\"" }
      ])
    })
  ),

  define(
    "a server that nobody holds can be killed, one that never was cannot, and others are left alone",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const [server, other] = [yield* claimNew(first), yield* claimNew(first)]
      yield* first.commit([step(server), step(other)])
      yield* second.commit([enqueue([...to(server, second, {}), ...to(other, second, {})])])
      yield* first.release([{ id: server.id, version: undefined }])
      const never = yield* unusedAddress
      yield* same("one that never was", yield* second.kill(never, "\"\""), undefined)
      yield* same("one that nobody holds", (yield* second.kill(server.address, "\"\""))?.id, server.id)
      const [mine] = yield* second.locate([server.address])
      yield* same("nobody holds it then", mine?.holder, undefined)
      yield* same("the line of another", (yield* callsOf(first, other)).length, 1)
      yield* same(
        "whose holder goes on",
        tags(yield* first.commit([check({ ...other, version: other.version + 1 })])),
        [
          "Done"
        ]
      )
    })
  )
]
