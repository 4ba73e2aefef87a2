/**
 * Primary keys: what was answered under one is told again, and a message that bears one which is known is not put in line twice.
 */
import * as Effect from "effect/Effect"
import type { StoredMessage } from "../../../../durable/DurableStorage.ts"
import { same } from "../../cases.ts"
import { define } from "../define.ts"
import { again, claimNew, enqueue, join, later, lineOf, numbering, outcome, step, tags, two } from "../steps.ts"

export const keys = [
  define(
    "a late answer is kept where there is none yet, and refuses nothing where there is one",
    Effect.gen(function*() {
      const first = yield* join
      const server = yield* claimNew(first)
      const given = [
        outcome("k", undefined),
        outcome("k", undefined),
        outcome("k", "\"late\"", true),
        outcome("k", "\"too late\"", true),
        outcome("k", undefined)
      ]
      for (const [n, one] of given.entries()) {
        const [verdict] = yield* first.commit([step(later(server, n), { outcomes: [one] })])
        yield* same(
          `outcome ${n}`,
          verdict,
          n < 4 ? { _tag: "Done", pushed: 0 } : { _tag: "Known", replies: new Map([["k", "\"late\""]]) }
        )
      }
    })
  ),

  define(
    "all keys of a member that are answered already are told, with their answers",
    Effect.gen(function*() {
      const first = yield* join
      const server = yield* claimNew(first)
      yield* first.commit([step(server, { outcomes: [outcome("a", "\"1\""), outcome("b", "{\"ü\":2}")] })])
      const again = [outcome("new", "\"\""), outcome("b", "\"\""), outcome("a", "\"\"")]
      const [verdict] = yield* first.commit([step(later(server), { outcomes: again })])
      yield* same("which are known", verdict, {
        _tag: "Known",
        replies: new Map([["a", "\"1\""], ["b", "{\"ü\":2}"]])
      })
      yield* same(
        "the one beside them is free",
        tags(
          yield* first.commit([step(later(server), { outcomes: [outcome("new", "\"\"")] })])
        ),
        ["Done"]
      )
    })
  ),

  define(
    "a key belongs to its server: the same one to another server is another",
    Effect.gen(function*() {
      const first = yield* join
      const { to } = numbering()
      const [one, other] = [yield* claimNew(first), yield* claimNew(first)]
      const keyed = { outcomes: [outcome("k", "\"\"")] }
      yield* same("two servers, one key", tags(yield* first.commit([step(one, keyed), step(other, keyed)])), [
        "Done",
        "Done"
      ])
      const third = yield* claimNew(first)
      yield* first.commit([enqueue([...to(one, first, { primaryKey: "k" }), ...to(third, first, { primaryKey: "k" })])])
      yield* same("in line of the one", (yield* lineOf(first, one)).length, 0)
      yield* same("in line of another", (yield* lineOf(first, third)).length, 1)
    })
  ),

  define(
    "a message whose key is known comes with its answer, and a cast of it is not put in line",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const server = yield* claimNew(first)
      const send = (primaryKey: string, mode: StoredMessage["mode"]) =>
        second.commit([enqueue(to(server, second, { primaryKey, mode }))])
      yield* send("a", "cast")
      yield* send("a", "cast")
      yield* send("a", "call")
      yield* second.commit([enqueue(to(server, second, { primaryKey: "b" }, { primaryKey: "b" }))])
      const line = yield* lineOf(first, server)
      yield* same(
        "a cast of what is in line is left out; a call waits for an answer of its own",
        line.map(({ mode, primaryKey, recorded }) => [mode, primaryKey, recorded]),
        [["cast", "a", undefined], ["call", "a", undefined], ["cast", "b", undefined]]
      )
      yield* first.commit([step(server, { taken: 1, outcomes: [outcome("a", "\"done\"")] })])
      yield* send("a", "cast")
      yield* send("a", "call")
      const target = yield* claimNew(second)
      yield* second.commit([step(target, { outgoing: to(server, second, { primaryKey: "a" }) })])
      yield* same(
        "once it is answered",
        (yield* lineOf(first, server)).map(({ mode, recorded }) => [mode, recorded]),
        [["call", "\"done\""], ["cast", undefined], ["call", "\"done\""]]
      )
    })
  ),

  define(
    "the key of a message that was set aside is free again",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message, to } = numbering()
      const server = yield* claimNew(first)
      yield* second.commit([enqueue(to(server, second, { primaryKey: "k" }))])
      yield* first.commit([
        step(server, {
          taken: 1,
          parked: [{ message: message(second, { primaryKey: "k" }), attempts: 3, failure: "it failed" }]
        })
      ])
      yield* second.commit([enqueue(to(server, second, { primaryKey: "k" }))])
      yield* same("what is in line", (yield* lineOf(first, server)).map(({ position }) => position), [2])
      const found = yield* again(first, server)
      yield* same(
        "and it can be answered",
        tags(
          yield* first.commit([step(found, { takenBefore: 1, taken: 2, outcomes: [outcome("k", "\"\"")] })])
        ),
        ["Done"]
      )
    })
  )
]
