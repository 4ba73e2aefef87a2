/**
 * Messages for later: in line when they are due and not before, and taken back only by whoever is told so.
 */
import * as Effect from "effect/Effect"
import type { Due, ScheduledId } from "../../../../durable/DurableStorage.ts"
import { eventually, holds, same } from "../../cases.ts"
import { define } from "../define.ts"
import {
  callsOf,
  claimNew,
  delivered,
  enqueue,
  join,
  lineOf,
  nameOf,
  numbering,
  outcome,
  schedule,
  step,
  tags,
  two
} from "../steps.ts"

const hour = 3_600_000

const cancel = (...cancelled: ReadonlyArray<ScheduledId>) => enqueue([], { later: { cancelled } })

export const timers = [
  define(
    "a message for later is put in line when it is due, by whichever node, and not before",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message } = numbering()
      const server = yield* claimNew(first)
      const [due, far] = [message(second), message(second)]
      yield* second.commit([
        enqueue([], { later: { scheduled: [schedule(server.id, far, hour), schedule(server.id, due, 0)] } })
      ])
      yield* delivered(first, server, 1)
      const next = yield* first.deliverDue
      yield* holds("it is known when there will be more", next !== undefined && next <= hour, next)
      for (let time = 0; time < 3; time++) yield* second.deliverDue
      yield* same("what is in line", yield* callsOf(first, server), [due.call])
      yield* same(
        "its place there",
        (yield* lineOf(first, server)).map(({ mode, position, priority }) => [
          mode,
          position,
          priority
        ]),
        [["cast", 1, false]]
      )
    })
  ),

  define(
    "those that are due are put in line by their times, and where these are equal by their ids",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message } = numbering()
      const server = yield* claimNew(first)
      const at = (millis: number): Due => ({ _tag: "At", millis })
      const [a, b, c, d, e] = [message(first), message(first), message(first), message(first), message(first)]
      yield* second.commit([
        enqueue([], {
          later: {
            scheduled: [
              { id: server.id, message: e, due: at(2_000_000_000) },
              { id: server.id, message: c, due: at(1_000_000_000) },
              { id: server.id, message: d, due: at(1_000_000_001) },
              { id: server.id, message: b, due: at(1_000_000_000) },
              { id: server.id, message: a, due: at(-8_000_000_000_000) }
            ]
          }
        })
      ])
      yield* same("their order", yield* delivered(first, server, 5), [a, b, c, d, e].map(({ call }) => call))
    })
  ),

  define(
    "each is put in line once, however many nodes are at it",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message } = numbering()
      const server = yield* claimNew(first)
      const scheduled = Array.from({ length: 100 }, (_, n) => schedule(server.id, message(first), n % 20))
      yield* first.commit([enqueue([], { later: { scheduled } })])
      yield* eventually(
        "all of them come into the line",
        Effect.all([first.deliverDue, second.deliverDue, first.deliverDue], { concurrency: "unbounded" }).pipe(
          Effect.andThen(callsOf(first, server))
        ),
        (calls) => calls.length >= 100
      )
      yield* Effect.all([first.deliverDue, second.deliverDue], { concurrency: "unbounded" })
      yield* same(
        "what is in line",
        [...yield* callsOf(first, server)].sort((a, b) => a - b),
        scheduled.map(({ message }) => message.call)
      )
    })
  ),

  define(
    "one that was taken back in time is never put in line, and it is taken back once",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message } = numbering()
      const server = yield* claimNew(first)
      const [taken, behind, done] = [
        schedule(server.id, message(second), 2000),
        schedule(server.id, message(second), 2000),
        schedule(server.id, message(second), 0)
      ]
      yield* second.commit([enqueue([], { later: { scheduled: [taken, behind, done] } })])
      yield* same("in time", tags(yield* first.commit([cancel(nameOf(taken))])), ["Done"])
      yield* same("again", yield* second.commit([cancel(nameOf(taken))]), [
        { _tag: "Missed", cancelled: [nameOf(taken)] }
      ])
      yield* delivered(first, server, 1)
      yield* same("what was put in line already", yield* second.commit([cancel(nameOf(done))]), [
        { _tag: "Missed", cancelled: [nameOf(done)] }
      ])
      const calls = yield* delivered(first, server, 2)
      yield* same("what is in line when its time has come", calls, [done.message.call, behind.message.call])
    })
  ),

  define(
    "of several members of a group that would take back the same, the first may, and of a refused one nothing is taken back",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message } = numbering()
      const server = yield* claimNew(first)
      const [one, other] = [schedule(server.id, message(first), hour), schedule(server.id, message(first), hour)]
      yield* first.commit([enqueue([], { later: { scheduled: [one, other] } })])
      const never = { ...nameOf(one), call: message(first).call }
      const [taken, again, both] = yield* first.commit([
        cancel(nameOf(one)),
        step(server, { later: { scheduled: [], cancelled: [nameOf(one)] } }),
        cancel(nameOf(other), never)
      ])
      yield* same("the first", taken?._tag, "Done")
      yield* same("the second", again, { _tag: "Missed", cancelled: [nameOf(one)] })
      yield* same("one that would take back another one as well", both, { _tag: "Missed", cancelled: [never] })
      yield* same("the other one is still there", tags(yield* second.commit([cancel(nameOf(other))])), ["Done"])
      yield* same("and then it is not", tags(yield* first.commit([cancel(nameOf(other))])), ["Missed"])
    })
  ),

  define(
    "one whose key is known, in line, or scheduled already is left out, and one that is sent now is not sent again later",
    Effect.gen(function*() {
      const first = yield* join
      const { message, to } = numbering()
      const server = yield* claimNew(first)
      const keyed = (primaryKey: string, millis: number) => schedule(server.id, message(first, { primaryKey }), millis)
      yield* first.commit([step(server, { outcomes: [outcome("known", "\"\"")] })])
      yield* first.commit([enqueue(to(server, first, { primaryKey: "in line" }))])
      const sentNow = keyed("sent now", 30)
      const scheduled = [
        keyed("known", 0),
        keyed("in line", 0),
        keyed("scheduled", 0),
        keyed("scheduled", 0),
        sentNow
      ]
      yield* first.commit([enqueue([], { later: { scheduled } })])
      yield* first.commit([enqueue(to(server, first, { primaryKey: "sent now" }))])
      yield* delivered(first, server, 3)
      yield* Effect.sleep("50 millis")
      yield* first.deliverDue
      const found = (yield* lineOf(first, server)).map(({ primaryKey }) => primaryKey ?? "")
      yield* same("what is in line", [...found].sort(), ["in line", "scheduled", "sent now"])
    })
  )
]
