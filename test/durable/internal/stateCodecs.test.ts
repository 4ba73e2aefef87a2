/**
 * How states are stored: whatever is done to a state, and however often a step is void, read back it is what a whole state would
 * be. Random states and edits, on a map of fragments in the place of a storage; prints its seed when it fails.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random, Schema, SchemaGetter } from "effect"
import { randomInt } from "node:crypto"
import { textCodec } from "../../../src/durable/internal/codec.ts"
import * as IncrementalState from "../../../src/durable/internal/state/incrementalState.ts"
import { type Encoded, leftOver, type State, type StoredCodec } from "../../../src/durable/internal/state/stored.ts"
import * as WholeState from "../../../src/durable/internal/state/wholeState.ts"
import { edit, first, State as RandomState } from "../fixtures/randomStates.ts"

const codecs = (schema: Schema.Top) => {
  const text = textCodec(schema)
  const incremental = IncrementalState.make(schema, text)
  if (incremental === undefined) return assert.fail("it has fields")
  return { whole: WholeState.make(text), incremental, text }
}

/** What is stored of one server. */
class Rows {
  head: string | undefined
  readonly fragments = new Map<number, string>()

  apply({ changes, stored }: Encoded): void {
    this.head = stored.head
    const numbers = changes.map(({ number }) => number)
    assert.strictEqual(new Set(numbers).size, numbers.length, "each fragment is changed once")
    for (const { number, text } of changes) {
      if (text === undefined) {
        assert.isTrue(this.fragments.delete(number), `${number} was there`)
      } else {
        assert.isAtMost(Buffer.byteLength(text), 4000)
        assert.isTrue(text.isWellFormed())
        this.fragments.set(number, text)
      }
    }
    assert.isAtMost(Buffer.byteLength(stored.head), 3000)
  }

  load(codec: StoredCodec): State {
    const rows = Array.from(this.fragments, ([number, text]) => ({ number, text })).reverse()
    const loaded = codec.load(this.head ?? "", rows)
    return loaded.ok ? loaded.value : assert.fail(loaded.issue)
  }
}

const seedOf = () => process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))

describe("state codecs", () => {
  it.effect("random edits, void steps and reloads, by either codec: what is read is what was committed", () => {
    const seed = seedOf()
    return Effect.gen(function*() {
      const { incremental, text, whole } = codecs(RandomState)
      for (let round = 0; round < 12; round++) {
        const rows = new Rows()
        let codec: StoredCodec = round % 4 === 0 ? whole : incremental
        let state: State = { value: first, stored: undefined }
        for (let n = 0; n < 120; n++) {
          let value = state.value as RandomState
          for (let edits = yield* Random.nextIntBetween(1, 3); edits > 0; edits--) value = yield* edit(value)
          const encoded = codec.encode(value, state.stored === undefined ? undefined : state)
          if (!encoded.ok) return assert.fail(encoded.issue)
          // A step that is refused leaves nothing.
          if ((yield* Random.next) < 0.3) continue
          const { changes, stored } = encoded.value
          if (stored === state.stored) assert.deepStrictEqual(changes, [])
          rows.apply(encoded.value)
          state = { value, stored }
          const whatIsThere = text.encode(rows.load((yield* Random.nextBoolean) ? whole : incremental).value)
          assert.deepStrictEqual(whatIsThere, text.encode(value))
          if ((yield* Random.next) < 0.1) {
            if ((yield* Random.next) < 0.3) codec = codec === whole ? incremental : whole
            state = rows.load(codec)
          }
        }
        if (state.stored === undefined) continue
        const encoded = codec.encode(first, state)
        if (!encoded.ok) return assert.fail(encoded.issue)
        rows.apply(encoded.value)
        assert.strictEqual(rows.fragments.size, 0, "nothing is left behind")
      }
    }).pipe(
      Random.withSeed(seed),
      Effect.tapCause(() => Effect.sync(() => console.error(`HOLDFAST_TEST_SEED=${seed}`)))
    )
  })

  for (const way of ["whole", "incremental"] as const) {
    it.effect(`a state that comes in the place of another one, or from another schema, leaves nothing of it (${way})`, () => {
      const seed = seedOf()
      return Effect.gen(function*() {
        const { text, ...both } = codecs(RandomState)
        const codec = both[way]
        for (let round = 0; round < 20; round++) {
          const rows = new Rows()
          let value = first
          for (let n = 0; n < 20; n++) value = yield* edit(value)
          const before = ((yield* Random.nextBoolean) ? both.whole : both.incremental).encode(value, undefined)
          if (!before.ok) return assert.fail(before.issue)
          rows.apply(before.value)
          const fragments = Array.from(rows.fragments, ([number, text]) => ({ number, text }))
          let next = first
          for (let n = 0; n < 20; n++) next = yield* edit(next)
          if (yield* Random.nextBoolean) {
            const anew = codec.encode(next, { value: first, stored: undefined, instead: leftOver(fragments) })
            if (!anew.ok) return assert.fail(anew.issue)
            rows.apply(anew.value)
          } else {
            const migrated = codec.loadFrom(rows.head ?? "", fragments, (json) => {
              assert.deepStrictEqual(text.decodeJson(json), { ok: true, value })
              return { ok: true, value: { ...value, title: "migrated" } }
            })
            if (!migrated.ok) return assert.fail(migrated.issue)
            const same = codec.encode({ ...value, title: "migrated" }, migrated.value)
            assert.deepStrictEqual(same, { ok: true, value: { stored: migrated.value.stored as never, changes: [] } })
            const changed = codec.encode({ ...value, title: "changed" }, migrated.value)
            if (!changed.ok) return assert.fail(changed.issue)
            rows.apply(changed.value)
            next = { ...value, title: "changed" }
          }
          assert.deepStrictEqual(rows.load(codec).value, next)
          const last = codec.encode(first, rows.load(codec))
          if (!last.ok) return assert.fail(last.issue)
          rows.apply(last.value)
          assert.strictEqual(rows.fragments.size, 0, "nothing is left behind")
        }
      }).pipe(
        Random.withSeed(seed),
        Effect.tapCause(() => Effect.sync(() => console.error(`HOLDFAST_TEST_SEED=${seed}`)))
      )
    })
  }

  it("what is made anew and is the same is encoded once, and then is what the next state is compared with", () => {
    let encoded = 0
    const Counted = Schema.String.pipe(Schema.decodeTo(Schema.String, {
      decode: SchemaGetter.transform((text: string) => text),
      encode: SchemaGetter.transform((text: string) => {
        encoded++
        return text
      })
    }))
    const { incremental } = codecs(Schema.Struct({
      count: Schema.Int,
      texts: Schema.Array(Counted),
      items: Schema.Array(Schema.Struct({ id: Schema.Int, text: Counted }))
    }))
    let state: State | undefined
    const store = (value: object) => {
      encoded = 0
      const result = incremental.encode(value, state)
      if (!result.ok) return assert.fail(result.issue)
      state = { value, stored: result.value.stored }
      return encoded
    }
    const made = () => ({ texts: ["a", "b"], items: [1, 2, 3].map((id) => ({ id, text: "c" })) })
    const { items, texts } = made()
    assert.strictEqual(store({ count: 0, items, texts }), 5)
    assert.strictEqual(store({ count: 1, items, texts }), 0)
    const other = made()
    assert.strictEqual(store({ count: 2, ...other }), 5)
    assert.strictEqual(store({ count: 3, ...other }), 0)
    assert.strictEqual(store({ count: 4, ...other, items: [...other.items] }), 0)
  })
})
