/** Who may judge others by their leases, and what a member that lost its own says about it. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { Heartbeat } from "../../../src/member/internal/heartbeat.ts"
import { MemberLease } from "../../../src/member/internal/lease.ts"

const leaseMillis = 3000

const make = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const lease = new MemberLease(clock, leaseMillis, MemberLease.now(clock))
  const heartbeat = new Heartbeat(clock, lease, leaseMillis)
  /** A beat that renews, and whether it may bury others then. */
  const beat = Effect.sync(() => {
    heartbeat.isStuck(0)
    heartbeat.renewed(MemberLease.now(clock))
    const may = heartbeat.mayBury()
    heartbeat.pause(Exit.void)
    return may
  })
  return { beat, heartbeat, lease }
})

/** How each of the beats that follow each other after so many milliseconds judges. */
const beatsAfter = (beat: Effect.Effect<boolean>, millis: ReadonlyArray<number>) =>
  Effect.forEach(millis, (after) => Effect.andThen(TestClock.adjust(after), beat))

describe("Heartbeat", () => {
  it.effect("a member that renews in time buries those that do not", () =>
    Effect.gen(function*() {
      const { beat } = yield* make
      assert.deepStrictEqual(yield* beatsAfter(beat, [0, 1000, 1100, 1500]), [true, true, true, true])
    }))

  it.effect("a member that was kept from renewing leaves others alone for two beats", () =>
    Effect.gen(function*() {
      const { beat } = yield* make
      assert.deepStrictEqual(
        yield* beatsAfter(beat, [1000, 5000, 1000, 1000, 1000, 2000, 1000, 1000]),
        [true, false, false, true, true, false, false, true]
      )
    }))

  it.effect("a member that is always late, or now and then, does not leave others alone for ever", () =>
    Effect.gen(function*() {
      const always = yield* make
      assert.deepStrictEqual(
        yield* beatsAfter(always.beat, [2500, 2500, 2500, 2500, 2500, 2500]),
        [false, false, true, false, false, true]
      )
      const often = yield* make
      assert.deepStrictEqual(
        yield* beatsAfter(often.beat, [2500, 1000, 2500, 1000, 2500, 1000]),
        [false, false, true, true, false, false]
      )
    }))

  it.effect("a beat that comes to nothing is made up for soon, one that a stuck commit forbids too", () =>
    Effect.gen(function*() {
      const { heartbeat } = yield* make
      assert.isFalse(heartbeat.isStuck(leaseMillis))
      assert.strictEqual(heartbeat.pause(Exit.void), 1000)
      assert.strictEqual(heartbeat.pause(Exit.fail("away")), 150)
      assert.isTrue(heartbeat.isStuck(leaseMillis + 1))
      assert.strictEqual(heartbeat.pause(Exit.void), 150)
    }))
})

describe("why a lease was lost", () => {
  it.effect("this process stood still", () =>
    Effect.gen(function*() {
      const { beat, heartbeat } = yield* make
      yield* beat
      yield* TestClock.adjust("7 seconds")
      assert.include(
        heartbeat.whyLost(),
        "its lease of 3 s was last renewed 7 s ago, and this process stood still for 6 s"
      )
      assert.include(heartbeat.whyLost(), "Member.MemberOptions")
    }))

  it.effect("the database was not there, or did not answer", () =>
    Effect.gen(function*() {
      const { beat, heartbeat } = yield* make
      yield* beat
      yield* TestClock.adjust("1 second")
      heartbeat.isStuck(0)
      yield* TestClock.adjust("3 seconds")
      assert.include(heartbeat.whyLost(), "the database did not answer in time")
      heartbeat.pause(Exit.fail("connection refused"))
      assert.include(heartbeat.whyLost(), "the database could not be reached (connection refused)")
      const silent = yield* make
      yield* silent.beat
      for (let n = 0; n < 4; n++) {
        yield* TestClock.adjust("1 second")
        silent.heartbeat.isStuck(0)
        silent.heartbeat.pause(Exit.void)
      }
      assert.include(silent.heartbeat.whyLost(), "the database did not answer in time")
    }))

  it.effect("a commit was stuck", () =>
    Effect.gen(function*() {
      const { beat, heartbeat } = yield* make
      yield* beat
      yield* TestClock.adjust("8 seconds")
      heartbeat.isStuck(8000)
      assert.include(heartbeat.whyLost(), "a commit has been under way for 8 s")
    }))

  it.effect("somebody else said so", () =>
    Effect.gen(function*() {
      const { beat, heartbeat } = yield* make
      yield* beat
      yield* TestClock.adjust("1 second")
      assert.include(heartbeat.whyLost(), "it was declared dead although it renewed its lease of 3 s 1 s ago")
    }))
})
