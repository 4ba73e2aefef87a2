/** When a group stands in line for streams that others have locked, and when it does not. */
import { assert, describe, it } from "@effect/vitest"
import type { DurableStorage } from "holdfast/durable"
import type { Part } from "../../../src/durable/internal/postgres/commit.ts"
import { Patience } from "../../../src/durable/internal/postgres/patience.ts"
import type { GroupStatement } from "../../../src/member/internal/lane.ts"

type Statement = GroupStatement<Part, DurableStorage.Verdict>

const step = (id: number): Part => ({
  _tag: "Transition",
  id,
  version: 1,
  guard: undefined,
  takenBefore: 0,
  taken: 0,
  consumed: [],
  state: undefined,
  fragments: [],
  lock: undefined,
  outcomes: [],
  replies: [],
  outgoing: [],
  parked: [],
  transaction: undefined
})

const busy: DurableStorage.Verdict = { _tag: "Busy", elsewhere: true }
const done: DurableStorage.Verdict = { _tag: "Done", pushed: 0 }

const make = () => {
  const clock = { now: 0 }
  const waits = new Map<Statement, number>()
  const patience = new Patience((millis) => {
    const statement: Statement = {
      prepare: () => ({ sql: "", params: [] }),
      verdicts: () => [],
      verdictsFromLane: () => [],
      failed: () => done
    }
    waits.set(statement, millis)
    return statement
  }, () => clock.now)
  /** Commits a group: how long it stands in line at most. It takes that time, unless it is done. */
  const commit = (parts: ReadonlyArray<Part>, verdict: DurableStorage.Verdict): number => {
    const { decided, statement } = patience.begin(parts)
    const millis = waits.get(statement) ?? Number.NaN
    clock.now += verdict === busy ? millis : 1
    decided(parts.map(() => verdict))
    return millis
  }
  return { clock, commit }
}

describe("Patience", () => {
  it("looks at first, then waits for a moment, then for longer, and begins anew when it was done", () => {
    const { clock, commit } = make()
    const waits = Array.from({ length: 10 }, () => {
      clock.now += 10_000
      return commit([step(1)], busy)
    })
    assert.deepStrictEqual(waits, [0, 0, 0, 20, 20, 20, 20, 20, 250, 250])
    clock.now += 10_000
    assert.strictEqual(commit([step(2)], done), 0)
    assert.strictEqual(commit([step(1)], done), 250)
    clock.now += 10_000
    assert.strictEqual(commit([step(1)], busy), 0)
  })

  it("waits for a fifth of the time at most, however many steps are unlucky", () => {
    const { clock, commit } = make()
    let waited = 0
    for (let n = 0; clock.now < 60_000; n++) {
      waited += commit([step(n % 20), step(100)], busy)
      clock.now += 1
    }
    assert.isAbove(waited, 60_000 / 6)
    assert.isBelow(waited, 60_000 / 4.9)
  })
})
