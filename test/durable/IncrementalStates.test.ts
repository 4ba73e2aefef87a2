/**
 * States that are stored field by field, and their lists item by item: they are what they would be stored as a whole, whatever is
 * done to them, and a step encodes and writes what it changes.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Random, Schedule, Schema, SchemaGetter } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer, type DurableServerError, type DurableStorage } from "holdfast/durable"
import { randomInt } from "node:crypto"
import * as Nodes from "../support/Nodes.ts"
import { edit, first, State } from "./fixtures/randomStates.ts"

const protocol = [
  /** Makes random edits, the same ones for the same seed. */
  Rpc.make("Edit", { payload: { seed: Schema.String, edits: Schema.Int } }),
  Rpc.make("Get", { success: State })
]

class Whole extends DurableServer.make("Twin, whole", { state: State, protocol }) {}
class Incremental
  extends DurableServer.make("Twin, incremental", { state: State, protocol, persistence: "incremental" })
{}

const edited = (state: State, seed: string, edits: number) =>
  Effect.gen(function*() {
    let next = state
    for (let n = 0; n < edits; n++) next = yield* edit(next)
    return next
  }).pipe(Random.withSeed(seed))

const behaviour = Whole.of({
  init: () => first,
  handlers: {
    Edit: ({ noReply, payload, state }) =>
      Effect.map(edited(state, payload.seed, payload.edits), (next) => noReply(next)),
    Get: ({ reply, state }) => reply(state)
  }
})
const WholeLive = Whole.toLayer(behaviour)
const IncrementalLive = Incremental.toLayer(Incremental.of({
  init: () => first,
  handlers: {
    Edit: ({ noReply, payload, state }) =>
      Effect.map(edited(state, payload.seed, payload.edits), (next) => noReply(next)),
    Get: ({ reply, state }) => reply(state)
  }
}))

/** How often the items of a board's list were encoded. */
const encoded = { titles: 0 }
const Title = Schema.String.pipe(Schema.decodeTo(Schema.String, {
  decode: SchemaGetter.transform((text: string) => text),
  encode: SchemaGetter.transform((title: string) => {
    encoded.titles++
    return title
  })
}))

const Task = Schema.Struct({ id: Schema.String, title: Title })
const Board = Schema.Struct({
  count: Schema.Int,
  title: Title,
  tasks: Schema.Array(Task),
  note: Schema.optionalKey(Schema.String)
})

class Boards extends DurableServer.make("Board", {
  state: Board,
  protocol: [
    Rpc.make("Fill", { payload: { tasks: Schema.Int } }),
    Rpc.make("Count"),
    Rpc.make("Rename", { payload: { at: Schema.Int, title: Schema.String } }),
    Rpc.make("Insert", { payload: { at: Schema.Int, id: Schema.String } }),
    Rpc.make("Move", { payload: { from: Schema.Int, to: Schema.Int } }),
    Rpc.make("Note", { payload: { note: Schema.optionalKey(Schema.String) } }),
    Rpc.make("Get", { success: Board })
  ],
  persistence: "incremental"
}) {}

const BoardsLive = Boards.toLayer({
  init: (title) => ({ count: 0, title, tasks: [] }),
  handlers: {
    Fill: ({ noReply, payload, state }) =>
      noReply({
        ...state,
        tasks: Array.from({ length: payload.tasks }, (_, n) => ({ id: `${n}`, title: `${n} `.repeat(20) }))
      }),
    Count: ({ noReply, state }) => noReply({ ...state, count: state.count + 1 }),
    Rename: ({ noReply, payload: { at, title }, state: { tasks, ...rest } }) =>
      noReply({ ...rest, tasks: tasks.map((task, index) => index === at ? { ...task, title } : task) }),
    Insert: ({ noReply, payload: { at, id }, state: { tasks, ...rest } }) =>
      noReply({ ...rest, tasks: tasks.toSpliced(at, 0, { id, title: "inserted" }) }),
    Move: ({ noReply, payload: { from, to }, state: { tasks, ...rest } }) =>
      noReply({ ...rest, tasks: tasks.toSpliced(from, 1).toSpliced(to, 0, ...tasks.slice(from, from + 1)) }),
    Note: ({ noReply, payload, state: { count, tasks, title } }) => noReply({ count, tasks, title, ...payload }),
    Get: ({ reply, state }) => reply(state)
  }
}, { defectRetryPolicy: Schedule.recurs(0) })

/** What is written of states, by a node's commits. */
const watched = () => {
  const steps: Array<DurableStorage.Transition> = []
  const storage: Nodes.NodeOptions["storage"] = ({ commit }) => ({
    commit: (group) => {
      for (const member of group) if (member._tag === "Transition") steps.push(member)
      return commit(group)
    }
  })
  return { steps, storage }
}

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`IncrementalStates: ${name}`, (it) => {
    it.effect("whatever is done to it, and however often that is void, a state is what its whole twin is", () => {
      const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
      return Effect.gen(function*() {
        const store = yield* Nodes.Store
        // Some steps are refused, as if the line had moved: nothing of them is there.
        const refusing: Nodes.NodeOptions["storage"] = ({ commit }) => ({
          commit: (group) =>
            Effect.flatMap(Random.next, (random) =>
              random < 0.3
                ? Effect.succeed(group.map(() => ({ _tag: "LineMoved", pushed: 0 }) as const))
                : commit(group)).pipe(Random.withSeed(`${seed} ${random++}`))
        })
        let random = 0
        const start = Effect.map(
          Effect.all([
            store.start({ servers: WholeLive, storage: refusing }),
            store.start({ servers: IncrementalLive, storage: refusing })
          ]),
          ([whole, incremental]) => ({ whole, incremental, all: [whole, incremental] })
        )
        let nodes = yield* start
        const producer = yield* store.start()
        for (let key = 0; key < 2; key++) {
          let expected = first
          for (let n = 0; n < 25; n++) {
            const payload = { seed: `${seed} ${key} ${n}`, edits: yield* Random.nextIntBetween(1, 4) }
            expected = yield* edited(expected, payload.seed, payload.edits)
            const whole = (yield* nodes.whole.run(Whole.client()))(`${key}`)
            const incremental = (yield* nodes.incremental.run(Incremental.client()))(`${key}`)
            yield* Effect.all([whole.call.Edit(payload), incremental.call.Edit(payload)], { concurrency: 2 })
            if ((yield* Random.next) < 0.12) {
              for (const node of nodes.all) yield* node.close
              nodes = yield* start
            }
          }
          const whole = (yield* producer.run(Whole.client()))(`${key}`)
          const incremental = (yield* producer.run(Incremental.client()))(`${key}`)
          for (const node of nodes.all) yield* node.close
          nodes = yield* start
          assert.deepStrictEqual(yield* incremental.call.Get(undefined, { timeout: "20 seconds" }), expected)
          assert.deepStrictEqual(yield* whole.call.Get(undefined, { timeout: "20 seconds" }), expected)
        }
      }).pipe(
        Random.withSeed(seed),
        Effect.tapCause(() => Effect.sync(() => console.error(`HOLDFAST_TEST_SEED=${seed}`)))
      )
    }, 60_000)

    it.effect("a step writes the fields and the items that it changes, and encodes no others", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const { steps, storage } = watched()
        const node = yield* store.start({ servers: BoardsLive, storage })
        const board = (yield* node.run(Boards.client()))("little")
        yield* board.call.Fill({ tasks: 1000 })
        const changes = (does: Effect.Effect<unknown, unknown>) =>
          Effect.gen(function*() {
            steps.length = 0
            encoded.titles = 0
            yield* does
            assert.strictEqual(steps.length, 1)
            assert.isUndefined(steps[0]?.state, "the head stays")
            return [steps[0]?.fragments.length, encoded.titles]
          })
        assert.deepStrictEqual(yield* changes(board.call.Count()), [1, 0])
        assert.deepStrictEqual(yield* changes(board.call.Rename({ at: 500, title: "new" })), [1, 1])
        for (const at of [0, 500, 1000, 1003]) {
          assert.deepStrictEqual(yield* changes(board.call.Insert({ at, id: `new ${at}` })), [1, 1])
        }
        assert.deepStrictEqual(yield* changes(board.call.Move({ from: 1003, to: 0 })), [1, 0])
        assert.deepStrictEqual(yield* changes(board.call.Move({ from: 0, to: 700 })), [1, 0])
        assert.deepStrictEqual(yield* changes(board.call.Note({ note: "a note" })), [1, 0])
        assert.deepStrictEqual(yield* changes(board.call.Note({})), [1, 0])
        // Where others see it.
        const { tasks } = yield* board.call.Get()
        yield* node.close
        const other = yield* store.start({ servers: BoardsLive })
        const there = yield* (yield* other.run(Boards.client()))("little").call.Get()
        assert.deepStrictEqual(there.tasks, tasks)
        assert.isFalse("note" in there)
      }))

    it.effect("a step that is refused counts for nothing: the next one writes what it would have, too", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        let refuse = false
        const node = yield* store.start({
          servers: BoardsLive,
          storage: ({ commit }) => ({
            commit: (group) => {
              if (!refuse) return commit(group)
              refuse = false
              return Effect.succeed(group.map(() => ({ _tag: "LineMoved", pushed: 0 }) as const))
            }
          })
        })
        const board = (yield* node.run(Boards.client()))("refused")
        yield* board.call.Fill({ tasks: 100 })
        for (let at = 0; at < 5; at++) {
          refuse = true
          yield* board.call.Insert({ at: at * 20, id: `new ${at}` })
          refuse = true
          yield* board.call.Rename({ at: at * 20 + 1, title: `renamed ${at}` })
        }
        const { tasks } = yield* board.call.Get()
        assert.strictEqual(tasks.length, 105)
        yield* node.close
        const other = yield* store.start({ servers: BoardsLive })
        assert.deepStrictEqual((yield* (yield* other.run(Boards.client()))("refused").call.Get()).tasks, tasks)
      }))

    it.effect("while it is small, a state is stored as any other, and becomes so again", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const { steps, storage } = watched()
        const node = yield* store.start({ servers: BoardsLive, storage })
        const board = (yield* node.run(Boards.client()))("small")
        yield* board.call.Fill({ tasks: 3 })
        assert.deepStrictEqual(JSON.parse(steps.at(-1)?.state ?? ""), yield* board.call.Get())
        assert.deepStrictEqual(steps.at(-1)?.fragments, [])
        yield* board.call.Fill({ tasks: 100 })
        // Four fields, one of which is not there, and the items.
        assert.strictEqual(steps.at(-1)?.fragments.length, 103)
        yield* board.call.Fill({ tasks: 3 })
        assert.deepStrictEqual(JSON.parse(steps.at(-1)?.state ?? ""), yield* board.call.Get())
        assert.strictEqual(steps.at(-1)?.fragments.filter(({ text }) => text === undefined).length, 103)
      }))

    it.effect("two items with the same id are a failed attempt that names the field, and the state stays", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: BoardsLive })
        for (const tasks of [4, 400]) {
          const board = (yield* node.run(Boards.client()))(`twice ${tasks}`)
          yield* board.call.Fill({ tasks })
          for (const [at, id] of [[0, "1"], [tasks, "2"], [1, "0"]] as const) {
            const { reason } = yield* Effect.flip(board.call.Insert({ at, id }))
            if (reason._tag !== "MessageParked") return assert.fail(reason._tag)
            assert.include(reason.failure, `two with the id "${id}" at ["tasks"]`)
          }
          yield* board.call.Insert({ at: 1, id: "another" })
          assert.strictEqual((yield* board.call.Get()).tasks.length, tasks + 1)
        }
      }))

    it.effect("a definition may go from whole states to incremental ones and back", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const define = (persistence: "whole" | "incremental") => {
          class Moving extends DurableServer.make("Moving", { state: State, protocol, persistence }) {}
          return {
            Moving,
            servers: Moving.toLayer(Moving.of({
              init: () => first,
              handlers: {
                Edit: ({ noReply, payload, state }) =>
                  Effect.map(edited(state, payload.seed, payload.edits), (next) => noReply(next)),
                Get: ({ reply, state }) => reply(state)
              }
            }))
          }
        }
        let expected = first
        for (let round = 0; round < 8; round++) {
          const { Moving, servers } = define(round % 2 === 0 ? "whole" : "incremental")
          const node = yield* store.start({ servers })
          const moving = (yield* node.run(Moving.client()))("there and back")
          assert.deepStrictEqual(yield* moving.call.Get(), expected, `round ${round}`)
          for (let n = 0; n < 2; n++) {
            const payload = { seed: `${round} ${n}`, edits: 5 }
            expected = yield* edited(expected, payload.seed, payload.edits)
            yield* moving.call.Edit(payload)
          }
          yield* node.close
        }
      }))

    it.effect("a state that is changed in place and given back is stored all the same", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        class Careless extends DurableServer.make("Careless", {
          state: Schema.Struct({
            readonly: Schema.Array(Schema.String),
            mutable: Schema.mutable(Schema.Array(Schema.String)),
            items: Schema.Array(Schema.Struct({ id: Schema.Int, text: Schema.mutableKey(Schema.String) })),
            date: Schema.Date
          }),
          protocol: [
            Rpc.make("Push", { payload: { item: Schema.String } }),
            Rpc.make("Later"),
            Rpc.make("Mutate", { payload: { item: Schema.String } }),
            Rpc.make("Get", { success: Schema.String })
          ],
          persistence: "incremental"
        }) {}
        const servers = Careless.toLayer({
          init: () => ({
            readonly: [],
            mutable: [],
            items: [{ id: 1, text: "" }, { id: 2, text: "" }],
            date: new Date(0)
          }),
          handlers: {
            Push: ({ noReply, payload, state }) => {
              ;(state.readonly as Array<string>).push(payload.item)
              return noReply(state)
            },
            Mutate: ({ noReply, payload, state }) => {
              state.mutable.push(payload.item)
              for (const item of state.items) item.text += payload.item
              return noReply({ ...state })
            },
            Later: ({ noReply, state }) => {
              state.date.setTime(state.date.getTime() + 1000)
              return noReply({ ...state })
            },
            Get: ({ reply, state }) => reply(JSON.stringify(state))
          }
        })
        let node = yield* store.start({ servers })
        for (let n = 0; n < 3; n++) {
          const careless = (yield* node.run(Careless.client()))("careless")
          yield* careless.call.Push({ item: `${n}`.repeat(1000) })
          yield* careless.call.Mutate({ item: `${n}`.repeat(1000) })
          yield* careless.call.Later()
          const before = yield* careless.call.Get()
          yield* node.close
          node = yield* store.start({ servers })
          const after = yield* (yield* node.run(Careless.client()))("careless").call.Get()
          assert.strictEqual(after, before)
        }
      }))

    it.effect("what holds of a state as a whole, or of a list, is checked however little changes", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const Limited = Schema.Struct({
          least: Schema.Int,
          most: Schema.Int,
          items: Schema.Array(Schema.Struct({ id: Schema.Int })).check(Schema.isMaxLength(300))
        }).check(Schema.makeFilter(({ least, most }) => least <= most || "Expected least <= most"))
        class Limits extends DurableServer.make("Limits", {
          state: Limited,
          protocol: [
            Rpc.make("Set", { payload: { least: Schema.Int } }),
            Rpc.make("Fill", { payload: { items: Schema.Int } }),
            Rpc.make("Get", { success: Limited })
          ],
          persistence: "incremental"
        }) {}
        const node = yield* store.start({
          servers: Limits.toLayer({
            init: () => ({ least: 0, most: 10, items: [] }),
            handlers: {
              Set: ({ noReply, payload, state }) => noReply({ ...state, ...payload }),
              Fill: ({ noReply, payload, state }) =>
                noReply({ ...state, items: Array.from({ length: payload.items }, (_, id) => ({ id })) }),
              Get: ({ reply, state }) => reply(state)
            }
          }, { defectRetryPolicy: Schedule.recurs(0) })
        })
        const limits = (yield* node.run(Limits.client()))("limits")
        for (const items of [1, 300]) {
          yield* limits.call.Fill({ items })
          yield* limits.call.Set({ least: 10 })
          for (
            const [wrong, why] of [
              [limits.call.Set({ least: 11 }), "least <= most"],
              [limits.call.Fill({ items: 301 }), "items"]
            ] as const
          ) {
            const { reason } = yield* Effect.flip(wrong)
            if (reason._tag !== "MessageParked") return assert.fail(reason._tag)
            assert.include(reason.failure, why)
          }
          const { items: there, least } = yield* limits.call.Get()
          assert.deepStrictEqual([least, there.length], [10, items])
        }
      }))

    it.effect("a state that is a class is one, and keeps its fields apart", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        class Account extends Schema.Class<Account>("Account")({
          balance: Schema.Int,
          entries: Schema.Array(Schema.Struct({ id: Schema.Int, text: Schema.String }))
        }) {
          add(amount: number) {
            return new Account({
              balance: this.balance + amount,
              entries: [...this.entries, { id: this.entries.length, text: "x".repeat(amount) }]
            })
          }
        }
        class Accounts extends DurableServer.make("Account", {
          state: Account,
          protocol: [
            Rpc.make("Add", { payload: { amount: Schema.Int } }),
            Rpc.make("AddPlainly", { payload: { amount: Schema.Int } }),
            Rpc.make("Get", { success: Account })
          ],
          persistence: "incremental"
        }) {}
        const servers = Accounts.toLayer({
          init: () => new Account({ balance: 0, entries: [] }),
          handlers: {
            Add: ({ noReply, payload, state }) => noReply(state.add(payload.amount)),
            AddPlainly: ({ noReply, payload, state }) => {
              const { balance, entries } = state.add(payload.amount)
              return noReply(Account.make({ balance, entries }))
            },
            Get: ({ reply, state }) => reply(state)
          }
        })
        const node = yield* store.start({ servers })
        const account = (yield* node.run(Accounts.client()))("class")
        for (let n = 0; n < 20; n++) {
          yield* n % 2 === 0 ? account.call.Add({ amount: 300 }) : account.call.AddPlainly({ amount: 300 })
        }
        yield* node.close
        const other = yield* store.start({ servers })
        const { balance, entries } = yield* (yield* other.run(Accounts.client()))("class").call.Get()
        assert.deepStrictEqual([balance, entries.length], [6000, 20])
      }))
  })
}

describe("IncrementalStates", () => {
  it("a state whose fields are encoded together, or under other names, is refused where it is defined", () => {
    const struct = Schema.Struct({ count: Schema.Int })
    const renamed = Object.assign(struct.pipe(Schema.encodeKeys({ count: "c" })), { fields: struct.fields })
    assert.throws(
      () => DurableServer.make("Renamed", { state: renamed, protocol, persistence: "incremental" }),
      /Renamed: persistence "incremental" needs a state whose fields/
    )
  })
})

layer(Nodes.layerPostgres, { excludeTestServices: true })("IncrementalStates, as rows", (it) => {
  const told = (reason: DurableServerError.DurableServerErrorReason) =>
    reason._tag === "StateUndecodable" ? reason.issue : assert.fail(reason._tag)

  it.effect("a stored item or field that does not decode is an error that says where, and nothing is written over", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const sql = yield* PgClient.PgClient
      const node = yield* store.start({ servers: BoardsLive })
      const board = (yield* node.run(Boards.client()))("broken")
      yield* board.call.Fill({ tasks: 100 })
      yield* node.close
      const change = (from: string, to: string) =>
        sql`UPDATE holdfast.fragment SET text = replace(text, ${from}, ${to})
          WHERE server_id = (SELECT id FROM holdfast.server WHERE key = 'broken')`
      for (
        const [good, bad, named] of [
          ["{\"id\":\"77\",\"title\"", "{\"id\":\"77\",\"name\"", "[\"tasks\"][77][\"title\"]"],
          ["{\"id\":\"77\",\"title\":\"77", "{\"id\":\"78\",\"title\":\"77", "two with the id \"78\" at [\"tasks\"]"],
          ["{\"id\":\"77\"", "{\"id:77\"", "JSON"]
        ] as const
      ) {
        yield* change(good, bad)
        const other = yield* store.start({ servers: BoardsLive })
        const { reason } = yield* Effect.flip((yield* other.run(Boards.client()))("broken").call.Count())
        assert.include(told(reason), named)
        yield* other.close
        yield* change(bad, good)
      }
      const mended = yield* store.start({ servers: BoardsLive })
      yield* (yield* mended.run(Boards.client()))("broken").call.Count()
      assert.strictEqual((yield* (yield* mended.run(Boards.client()))("broken").call.Get()).tasks.length, 100)
    }))

  it.effect("a whole state with two items of the same id is told of once it is to be stored by items", () =>
    Effect.gen(function*() {
      const store = yield* Nodes.Store
      const sql = yield* PgClient.PgClient
      const first = yield* store.start({ servers: BoardsLive })
      yield* (yield* first.run(Boards.client()))("twice").call.Fill({ tasks: 2 })
      yield* first.close
      yield* sql`UPDATE holdfast.server SET state = replace(state, '"id":"0"', '"id":"1"') WHERE key = 'twice'`
      const node = yield* store.start({ servers: BoardsLive })
      const { reason } = yield* Effect.flip((yield* node.run(Boards.client()))("twice").call.Count())
      assert.include(told(reason), "two with the id \"1\" at [\"tasks\"]")
    }))
})
