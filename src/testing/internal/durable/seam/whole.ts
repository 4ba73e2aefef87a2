/**
 * All or nothing: of a member that is refused nothing is done, whatever it is refused by, and of the one beside it everything.
 */
import * as Effect from "effect/Effect"
import { same } from "../../cases.ts"
import { define } from "../define.ts"
import {
  again,
  callsOf,
  claimNew,
  delivered,
  enqueue,
  fragmentsOf,
  type Held,
  later,
  lineOf,
  nameOf,
  numbering,
  outcome,
  positions,
  schedule,
  step,
  tags,
  two,
  values
} from "../steps.ts"

export const whole = (["its version", "its line", "a key", "what it would cancel"] as const).map((refusal) =>
  define(
    `of a member refused by ${refusal} nothing is done, and of the one beside it everything`,
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message, reply, to } = numbering()
      const [refused, done] = [yield* claimNew(first), yield* claimNew(first)]
      const [target, other, timed] = [yield* claimNew(second), yield* claimNew(second), yield* claimNew(second)]
      yield* second.commit([enqueue([...to(refused, second, {}, {}, {}), ...to(done, second, {}, {}, {})])])
      const [timerOfRefused, timerOfDone] = [
        schedule(timed.id, message(second), 3_600_000),
        schedule(timed.id, message(second), 3_600_000)
      ]
      yield* second.commit([enqueue([], { later: { scheduled: [timerOfRefused, timerOfDone] } })])
      if (refusal === "what it would cancel") {
        yield* second.commit([enqueue([], { later: { cancelled: [nameOf(timerOfRefused)] } })])
      }
      yield* first.commit([step(refused, { state: "\"before\"", outcomes: [outcome("known", "\"first\"")] })])

      const lock = message(first)
      const everything = (server: Held, timer: typeof timerOfDone) => ({
        takenBefore: 0,
        taken: 1,
        consumed: [3],
        lock,
        fragments: [{ number: 1, text: "a fragment" }],
        outcomes: [outcome("fresh", `"${server.id}"`)],
        replies: [reply(second, `"reply ${server.id}"`)],
        outgoing: [...to(target, first, {}), ...to(other, first, { primaryKey: `of ${server.id}` })],
        parked: [{ message: message(first), attempts: 3, failure: "it failed" }],
        later: { scheduled: [schedule(timed.id, message(first), 0)], cancelled: [nameOf(timer)] }
      })
      const ofRefused = everything(refused, timerOfRefused)
      const ofDone = everything(done, timerOfDone)
      const verdicts = yield* first.commit([
        step(later(refused, refusal === "its version" ? 2 : 1), {
          ...ofRefused,
          guard: refusal === "its line" ? 1 : undefined,
          outcomes: [...ofRefused.outcomes, ...refusal === "a key" ? [outcome("known", "\"second\"")] : []]
        }),
        step(done, ofDone)
      ])
      const tag = { "its version": "Superseded", "its line": "LineMoved", "a key": "Known" } as const
      yield* same("the verdicts", tags(verdicts), [
        refusal === "what it would cancel" ? "Missed" : tag[refusal],
        "Done"
      ])

      yield* same("the replies", values(yield* second.replies(0)), [`"reply ${done.id}"`])
      yield* same(
        "what was sent",
        yield* callsOf(second, target),
        ofDone.outgoing.slice(0, 1).map((one) => one.message.call)
      )
      yield* same("what was scheduled", yield* delivered(second, timed, 1), [
        ofDone.later.scheduled[0]?.message.call ?? 0
      ])
      yield* same(
        "what is left to cancel",
        tags(
          yield* second.commit([
            enqueue([], { later: { cancelled: [nameOf(timerOfDone)] } }),
            enqueue([], { later: { cancelled: [nameOf(timerOfRefused)] } })
          ])
        ),
        ["Missed", refusal === "what it would cancel" ? "Missed" : "Done"]
      )
      yield* same("what is left in the line of the refused one", positions(yield* lineOf(first, refused)), [1, 2, 3])
      yield* same("what is left in the other's", positions(yield* lineOf(first, done)), [2])
      const [left, made] = [yield* again(first, refused), yield* again(first, done)]
      yield* same("the refused one", [left.state, left.taken, left.lock], ["\"before\"", 0, undefined])
      yield* same("the other one", [made.state, made.taken, made.lock], [`{"by":${done.version}}`, 1, lock])
      yield* same("their fragments", [fragmentsOf(left), fragmentsOf(made)], [[], [[1, "a fragment"]]])
      const fresh = { outcomes: [outcome("fresh", "\"again\"")] }
      yield* same("their keys", tags(yield* first.commit([step(left, fresh), step(made, fresh)])), ["Done", "Known"])
      // The key of a message that was not sent is free as well.
      yield* first.commit([
        enqueue([...to(other, first, { primaryKey: `of ${refused.id}` }, { primaryKey: `of ${done.id}` })])
      ])
      yield* same("the keys of what was sent", (yield* lineOf(second, other)).map(({ primaryKey }) => primaryKey), [
        `of ${done.id}`,
        `of ${refused.id}`
      ])
    })
  )
)
