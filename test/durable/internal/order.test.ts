/** The fractional index: whatever is put where, keys are in order, stay short, and of those that were given as few change as can be. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { randomInt } from "node:crypto"
import { arrange } from "../../../src/durable/internal/state/order.ts"

const inOrder = (keys: ReadonlyArray<string>) => {
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index] ?? ""
    assert.match(key, /^[0-9A-Za-z]*[1-9A-Za-z]$/)
    if (index > 0) assert.isTrue((keys[index - 1] ?? "") < key, `${keys[index - 1]} < ${key}`)
  }
}

const longest = (keys: ReadonlyArray<string>) => Math.max(...keys.map((key) => key.length))

describe("order", () => {
  it("the first keys of a list are short, and leave room around and between", () => {
    for (const length of [1, 2, 10, 10_000]) {
      const keys = arrange(Array<undefined>(length).fill(undefined))
      inOrder(keys)
      assert.isAtMost(longest(keys), 6)
      const more = arrange([undefined, ...keys.flatMap((key) => [key, undefined])])
      inOrder(more)
      assert.isAtMost(longest(more), 6)
    }
  })

  for (const [where, at] of [["the end", 1], ["the beginning", 0]] as const) {
    it(`what is added at ${where} moves nothing, and keys stay short`, () => {
      let keys: ReadonlyArray<string> = []
      for (let n = 0; n < 600; n++) {
        const next = arrange(at === 1 ? [...keys, undefined] : [undefined, ...keys])
        assert.deepStrictEqual(at === 1 ? next.slice(0, -1) : next.slice(1), keys)
        keys = next
      }
      inOrder(keys)
      assert.isAtMost(longest(keys), 6)
    })
  }

  it("what is put in at the same place again and again moves others seldom, and few of them", () => {
    let keys = arrange([undefined, undefined, undefined])
    let moved = 0
    for (let n = 0; n < 600; n++) {
      const next = arrange(keys.toSpliced(2, 0, undefined as never))
      moved += next.toSpliced(2, 1).filter((key, index) => key !== keys[index]).length
      keys = next
      inOrder(keys.slice(0, 20))
    }
    inOrder(keys)
    assert.isAtMost(longest(keys), 32)
    assert.isBelow(moved / 600, 1)
  })

  it("of items in another order, the most that can do so keep their keys", () => {
    const keys = arrange(Array<undefined>(100).fill(undefined))
    const kept = (next: ReadonlyArray<string>) => {
      const arranged = arrange(next)
      inOrder(arranged)
      return arranged.filter((key, index) => key === next[index]).length
    }
    assert.strictEqual(kept([...keys.slice(1), ...keys.slice(0, 1)]), 99)
    assert.strictEqual(kept([...keys.slice(50), ...keys.slice(0, 50)]), 50)
    assert.strictEqual(kept(keys.toReversed()), 1)
    assert.strictEqual(kept(keys.toSpliced(10, 1).toSpliced(70, 0, ...keys.slice(10, 11))), 99)
    // Two of the same cannot both stay.
    assert.strictEqual(kept([...keys.slice(0, 3), ...keys.slice(2)]), 100)
  })

  it.effect("between two keys, keys are given that stand between them, or none where there is no room", () => {
    const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
    return Effect.gen(function*() {
      let keys = arrange(Array<undefined>(10).fill(undefined))
      let refused = 0
      for (let n = 0; n < 600; n++) {
        const at = (yield* Random.next) < 0.5 ? 5 : yield* Random.nextIntBetween(1, keys.length - 1)
        const end = Math.min(keys.length - 1, at + (yield* Random.nextIntBetween(0, 3)))
        const between = Array<undefined>(yield* Random.nextIntBetween(1, 4)).fill(undefined)
        const given = arrange([...between, ...keys.slice(at, end)], keys[at - 1], keys[end])
        if (given === undefined) {
          refused++
          keys = arrange([...keys.slice(0, at), ...between, ...keys.slice(at)])
        } else {
          keys = [...keys.slice(0, at), ...given, ...keys.slice(end)]
        }
        if (n % 100 === 0) inOrder(keys)
      }
      inOrder(keys)
      assert.isAtMost(longest(keys), 32)
      assert.isBelow(refused, 60)
    }).pipe(
      Random.withSeed(seed),
      Effect.tapCause(() => Effect.sync(() => console.error(`HOLDFAST_TEST_SEED=${seed}`)))
    )
  })
})
