/**
 * The soak of `npm run soak:registry`, for as long as a test may take; and that its checker sees what it is to see.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { check, type Event, soak } from "../soak/registry.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

layer(TestPostgres.layer, { excludeTestServices: true })("Soak", (it) => {
  it.effect("processes that are stopped and killed never misuse a token", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const seed = randomBytes(4).toString("hex")
      console.log(`seed ${seed}`)
      const plan = { seconds: 4, processes: 3, profiles: 20, leaseMillis: 600, seed }
      const { grants, guarded, killed, stopped, wrong } = yield* soak(url, plan, () => undefined)
      assert.deepStrictEqual(wrong, [], `seed ${seed}`)
      assert.isAbove(grants, 0)
      assert.isAbove(guarded, 0)
      assert.isAbove(killed + stopped, 0)
    }), 120_000)
})

describe("the checker", () => {
  const log = (...events: ReadonlyArray<[Event["kind"], profile: string, token: number, holder?: string]>) =>
    check(events.map(([kind, profile, token, holder = `${token}`], seq) => ({
      seq,
      kind,
      profile,
      token: BigInt(token),
      holder
    }))).length

  it("accepts what is in order", () => {
    assert.strictEqual(
      log(["grant", "a", 1], ["guarded", "a", 1], ["grant", "b", 2], ["grant", "a", 3], ["guarded", "a", 3], [
        "resource",
        "a",
        3
      ]),
      0
    )
  })

  it("sees a token that is granted twice, one that does not grow, and one that two holders use", () => {
    assert.strictEqual(log(["grant", "a", 1], ["grant", "b", 1]), 1)
    assert.strictEqual(log(["grant", "a", 2], ["grant", "a", 1]), 1)
    assert.strictEqual(log(["grant", "a", 1], ["guarded", "a", 1, "x"], ["guarded", "a", 1, "y"]), 1)
  })

  it("sees a write under an old token", () => {
    assert.strictEqual(log(["grant", "a", 1], ["grant", "a", 2], ["guarded", "a", 1]), 1)
    assert.strictEqual(log(["grant", "a", 1], ["grant", "a", 2], ["resource", "a", 2], ["resource", "a", 1]), 1)
  })
})
