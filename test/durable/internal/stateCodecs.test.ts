/**
 * How states are stored: whatever is done to a state, and however often a step is void, read back it is what a whole state would
 * be. Random states and edits, on a map of fragments in the place of a storage; prints its seed when it fails.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random, Schema } from "effect"
import { randomInt } from "node:crypto"
import { textCodec } from "../../../src/durable/internal/codec.ts"
import * as IncrementalState from "../../../src/durable/internal/state/incrementalState.ts"
import type { Encoded, State, StateCodec } from "../../../src/durable/internal/state/stored.ts"
import * as WholeState from "../../../src/durable/internal/state/wholeState.ts"

const Task = Schema.Struct({ id: Schema.String, text: Schema.String, done: Schema.Boolean })
const Thing = Schema.Union([
  Schema.Struct({ _tag: Schema.tag("Chair"), id: Schema.Int, legs: Schema.Int }),
  Schema.Struct({ _tag: Schema.tag("Table"), id: Schema.Int, note: Schema.optionalKey(Schema.String) })
])

const Thinglike = Schema.Array(Thing)

const State = Schema.Struct({
  count: Schema.Int,
  title: Schema.String,
  at: Schema.optional(Schema.DateTimeUtcFromString),
  note: Schema.optionalKey(Schema.String),
  tags: Schema.Array(Schema.String),
  tasks: Schema.Array(Task),
  things: Schema.optionalKey(Thinglike),
  size: Schema.Struct({ width: Schema.FiniteFromString, deep: Schema.Array(Task) })
})
type State_ = typeof State.Type

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

  load(codec: StateCodec): State {
    const rows = Array.from(this.fragments, ([number, text]) => ({ number, text })).reverse()
    const loaded = codec.load(this.head ?? "", rows)
    return loaded.ok ? loaded.value : assert.fail(loaded.issue)
  }
}

const seedOf = () => process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))

const word = Effect.gen(function*() {
  const letters = ["a", "é", "字", "😀", "\"", "\\", "\n", "x", "y", "z"] as const
  let text = ""
  for (let n = yield* Random.nextIntBetween(1, 12); n > 0; n--) text += yield* Random.choice(letters)
  return text
})

const textOf = (most: number) =>
  Effect.gen(function*() {
    const some = yield* word
    return some.repeat(yield* Random.nextIntBetween(0, Math.max(1, Math.floor(most / some.length))))
  })

/** A text with something put in, taken out or written over. */
const edited = (text: string) =>
  Effect.gen(function*() {
    const units = Array.from(text)
    const at = yield* Random.nextIntBetween(0, units.length)
    const length = (yield* Random.next) < 0.5 ? 0 : yield* Random.nextIntBetween(0, 200)
    const put = (yield* Random.next) < 0.3 ? "" : yield* textOf((yield* Random.next) < 0.9 ? 30 : 9000)
    return [...units.slice(0, at), put, ...units.slice(at + length)].join("")
  })

let ids = 0
const newTask = Effect.gen(function*() {
  const large = (yield* Random.next) < 0.05
  return { id: `${yield* word}${++ids}`, text: yield* textOf(large ? 12_000 : 60), done: yield* Random.nextBoolean }
})

const editedList = <A>(list: ReadonlyArray<A>, make: Effect.Effect<A>, change: (item: A) => Effect.Effect<A>) =>
  Effect.gen(function*() {
    const at = yield* Random.nextIntBetween(0, list.length)
    const other = yield* Random.nextIntBetween(0, list.length)
    const item = list[at]
    switch (yield* Random.choice(["add", "add", "addAll", "remove", "clear", "change", "change", "move", "shuffle"])) {
      case "add":
        return list.toSpliced(at, 0, yield* make)
      case "addAll": {
        const more: Array<A> = []
        for (let n = yield* Random.nextIntBetween(0, 60); n > 0; n--) more.push(yield* make)
        return list.toSpliced(at, 0, ...more)
      }
      case "remove":
        return list.toSpliced(at, 1)
      case "clear":
        return (yield* Random.next) < 0.3 ? [] : list.slice(at)
      case "change":
        return item === undefined ? list : list.with(at, yield* change(item))
      case "move":
        return item === undefined ? list : list.toSpliced(at, 1).toSpliced(other, 0, item)
      default:
        return yield* Random.shuffle(list)
    }
  })

const changeTask = (task: typeof Task.Type) =>
  Effect.map(edited(task.text), (text) => ({ ...task, text, done: !task.done }))

const edit = (state: State_) =>
  Effect.gen(function*() {
    switch (
      yield* Random.choice(
        ["count", "title", "at", "note", "tags", "tasks", "tasks", "tasks", "things", "size", "same", "small"]
      )
    ) {
      case "count":
        return { ...state, count: state.count + 1 }
      case "title":
        return { ...state, title: yield* edited(state.title) }
      case "at":
        return {
          ...state,
          at: (yield* Random.nextBoolean)
            ? undefined
            : yield* Schema.decodeEffect(Schema.DateTimeUtcFromString)("2024-05-06")
        }
      case "note": {
        const { note, ...rest } = state
        return note === undefined ? { ...rest, note: yield* textOf(4000) } : rest
      }
      case "tags":
        return { ...state, tags: yield* editedList(state.tags, word, edited) }
      case "tasks":
        return { ...state, tasks: yield* editedList(state.tasks, newTask, changeTask) }
      case "things": {
        const { things = [], ...rest } = state
        if ((yield* Random.next) < 0.1) return rest
        const make = Effect.map(Random.nextBoolean, (chair) =>
          chair ? { _tag: "Chair" as const, id: ++ids, legs: 4 } : { _tag: "Table" as const, id: ++ids, note: "n" })
        return {
          ...rest,
          things: yield* editedList<typeof Thing.Type>(things, make, (thing) =>
            Effect.succeed({ ...thing }))
        }
      }
      case "size":
        return { ...state, size: { ...state.size, deep: yield* editedList(state.size.deep, newTask, changeTask) } }
      case "small":
        return (yield* Random.next) < 0.2
          ? { ...state, title: "", tags: [], tasks: [], size: { width: 1, deep: [] } }
          : state
      default:
        // The same, made anew.
        return { ...state, tasks: state.tasks.map((task) => ({ ...task })), tags: [...state.tags] }
    }
  }) as Effect.Effect<State_, never>

const first: State_ = { count: 0, title: "", tags: [], tasks: [], size: { width: 1.5, deep: [] } }

describe("state codecs", () => {
  it.effect("random edits, void steps and reloads, by either codec: what is read is what was committed", () => {
    const seed = seedOf()
    return Effect.gen(function*() {
      const { incremental, text, whole } = codecs(State)
      for (let round = 0; round < 12; round++) {
        const rows = new Rows()
        let codec: StateCodec = round % 4 === 0 ? whole : incremental
        let state: State = { value: first, stored: undefined }
        for (let n = 0; n < 120; n++) {
          let value = state.value as State_
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
})
