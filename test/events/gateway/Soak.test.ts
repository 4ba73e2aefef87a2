/**
 * The soak of `npm run soak:gateway`, for as long as a test may take; and that its checker sees what it is to see.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { checkAppends, checkSeen, soak } from "../../soak/gateway.ts"
import * as TestPostgres from "../../support/TestPostgres.ts"

layer(TestPostgres.layer, { excludeTestServices: true })("Soak", (it) => {
  it.effect(
    "workers are killed: nothing acknowledged is lost or doubled, reads are right, subscriptions go on",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.TestDatabase
        const seed = randomBytes(4).toString("hex")
        console.log(`seed ${seed}`)
        const plan = { seconds: 6, workers: 3, clients: 4, every: 1.5, seed }
        const { appended, killed, reads, wrong } = yield* soak(url, plan, () => undefined)
        assert.deepStrictEqual(wrong, [], `seed ${seed}`)
        assert.isAbove(appended, 0)
        assert.isAbove(reads, 0)
        assert.isAbove(killed, 0)
      }),
    180_000
  )
})

describe("the checker", () => {
  const at = (eventStreamId: string, ...ids: ReadonlyArray<string>) =>
    ids.map((eventId, eventNumber) => ({ eventId, eventNumber, eventStreamId }))

  it("accepts what is in order, and what may be there or not", () => {
    const recorded = [...at("s", "a", "b", "c"), ...at("t", "d")]
    const told = [
      { stream: "s", ids: ["a"], outcome: 0 },
      { stream: "s", ids: ["b", "c"], outcome: 2 },
      { stream: "t", ids: ["d"], outcome: "maybe" as const },
      { stream: "t", ids: ["e"], outcome: "maybe" as const },
      { stream: "t", ids: ["f"], outcome: "not" as const }
    ]
    assert.deepStrictEqual(checkAppends(told, recorded), [])
    assert.deepStrictEqual(checkSeen("x", [0, 1, 2], 3, true), [])
    assert.deepStrictEqual(checkSeen("x", [0, 1, 0, 1, 2], 3, false), [])
  })

  it("sees what is lost, doubled, elsewhere, in parts, or there against its word", () => {
    const one = (told: Parameters<typeof checkAppends>[0], recorded: Parameters<typeof checkAppends>[1]) =>
      assert.lengthOf(checkAppends(told, recorded), 1)
    one([{ stream: "s", ids: ["a"], outcome: 0 }], [])
    one([{ stream: "s", ids: ["a"], outcome: 0 }], [...at("s", "a"), ...at("t", "a")])
    one([{ stream: "s", ids: ["a"], outcome: 1 }], at("s", "a"))
    one([{ stream: "s", ids: ["a", "b"], outcome: "maybe" }], at("s", "a"))
    one([{ stream: "s", ids: ["a"], outcome: "not" }], at("s", "a"))
    one([], at("s", "a"))
  })

  it("sees a gap, a repetition where there may be none, and what was not delivered", () => {
    for (const positions of [[0, 2], [1, 0, 2], [0, 1]]) assert.lengthOf(checkSeen("x", positions, 3, false), 1)
    assert.lengthOf(checkSeen("x", [0, 1, 1, 2], 3, true), 1)
  })
})
