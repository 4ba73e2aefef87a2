/**
 * Large states: what a step writes depends on what it changes, and tables do not grow under hot ones.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer, type DurableStorage } from "holdfast/durable"
import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"
import * as Nodes from "../support/Nodes.ts"

const Item = Schema.Struct({ id: Schema.String, title: Schema.String, rank: Schema.Int })
const State = Schema.Struct({ count: Schema.Int, text: Schema.String, items: Schema.Array(Item) })

const protocol = [
  /** A text of so many characters, and about as many of items. */
  Rpc.make("Fill", { payload: { length: Schema.Int } }),
  Rpc.make("Count"),
  /** Puts something into the text, at a part of its length. */
  Rpc.make("Write", { payload: { at: Schema.Finite, text: Schema.String } }),
  Rpc.make("Rank", { payload: { at: Schema.Finite } }),
  Rpc.make("Insert", { payload: { at: Schema.Finite, id: Schema.String } }),
  Rpc.make("Move", { payload: { from: Schema.Finite, to: Schema.Finite } }),
  Rpc.make("Get", { success: State })
]

/** Digits that do not repeat soon. */
const digits = (length: number): string => {
  let text = ""
  for (let n = 1; text.length < length; n++) text += String(n * 7919 % 1_000_003)
  return text.slice(0, length)
}

const place = (list: { readonly length: number }, at: number) => Math.floor(list.length * at)

const define = (persistence: "whole" | "incremental", options: DurableServer.Options = {}) => {
  class Large extends DurableServer.make(`Large, ${persistence}`, { state: State, protocol, persistence }) {}
  return {
    Large,
    servers: Large.toLayer({
      init: () => ({ count: 0, text: "", items: [] }),
      handlers: {
        Fill: ({ noReply, payload: { length }, state }) =>
          noReply({
            ...state,
            text: digits(length),
            items: Array.from(
              { length: Math.floor(length / 150) },
              (_, n) => ({ id: `${n}`, title: digits(120), rank: 0 })
            )
          }),
        Count: ({ noReply, state }) => noReply({ ...state, count: state.count + 1 }),
        Write: ({ noReply, payload, state: { text, ...rest } }) => {
          const at = place(text, payload.at)
          return noReply({ ...rest, text: text.slice(0, at) + payload.text + text.slice(at) })
        },
        Rank: ({ noReply, payload, state: { items, ...rest } }) => {
          const item = items[place(items, payload.at)]
          return noReply({
            ...rest,
            items: item === undefined ? items : items.with(place(items, payload.at), { ...item, rank: item.rank + 1 })
          })
        },
        Insert: ({ noReply, payload, state: { items, ...rest } }) =>
          noReply({
            ...rest,
            items: items.toSpliced(place(items, payload.at), 0, { id: payload.id, title: "inserted", rank: 0 })
          }),
        Move: ({ noReply, payload: { from, to }, state: { items, ...rest } }) => {
          const at = place(items, from)
          return noReply({
            ...rest,
            items: items.toSpliced(at, 1).toSpliced(place(items, to), 0, ...items.slice(at, at + 1))
          })
        },
        Get: ({ reply, state }) => reply(state)
      }
    }, options)
  }
}

const { Large: Whole, servers: WholeLive } = define("whole")
const { Large: Incremental, servers: IncrementalLive } = define("incremental")

const ten = Array.from({ length: 10 }, (_, n) => n / 10)

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`LargeStates: ${name}`, (it) => {
    it.effect("a whole state grows, changes and shrinks, and is what it was wherever it wakes", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const start = store.start({ servers: WholeLive })
        let node = yield* start
        let written = 0
        for (const length of [10, 1_200, 2_000, 50_000, 700_000, 4_000, 100, 30_000]) {
          const large = (yield* node.run(Whole.client()))("sizes")
          yield* large.call.Fill({ length })
          for (const at of ten) yield* large.call.Write({ at, text: `<${++written} 字 😀>` })
          const before = yield* large.call.Get()
          assert.isAbove(before.text.length, length)
          yield* node.close
          node = yield* start
          assert.deepStrictEqual(yield* (yield* node.run(Whole.client()))("sizes").call.Get(), before)
        }
      }))

    for (const way of ["whole", "incremental"] as const) {
      const { Large, servers } = define(way)

      it.effect(`nothing is left of a large state that was killed (${way})`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const node = yield* store.start({ servers })
          const large = (yield* node.run(Large.client()))("killed")
          yield* large.call.Fill({ length: 50_000 })
          yield* large.kill("a test")
          assert.deepStrictEqual(yield* large.call.Get(), { count: 0, text: "", items: [] })
          yield* large.call.Fill({ length: 30_000 })
          const before = yield* large.call.Get()
          yield* node.close
          const other = yield* store.start({ servers })
          assert.deepStrictEqual(yield* (yield* other.run(Large.client()))("killed").call.Get(), before)
        }))

      it.effect(`nothing is left of a large state that is begun anew (${way})`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const first = yield* store.start({ servers })
          yield* (yield* first.run(Large.client()))("reset").call.Fill({ length: 50_000 })
          yield* first.close
          const resetting = yield* store.start({ servers: define(way, { reset: true }).servers })
          const large = (yield* resetting.run(Large.client()))("reset")
          assert.deepStrictEqual(yield* large.call.Get(), { count: 0, text: "", items: [] })
          yield* large.call.Fill({ length: 30_000 })
          const before = yield* large.call.Get()
          yield* resetting.close
          const node = yield* store.start({ servers })
          assert.deepStrictEqual(yield* (yield* node.run(Large.client()))("reset").call.Get(), before)
        }))

      it.effect(`a large state of an earlier version becomes one of today's (${way})`, () =>
        Effect.gen(function*() {
          const store = yield* Nodes.Store
          const first = yield* store.start({ servers })
          const large = (yield* first.run(Large.client()))("migrated")
          yield* large.call.Fill({ length: 50_000 })
          const { items } = yield* large.call.Get()
          yield* first.close
          class Now extends DurableServer.make(`Large, ${way}`, {
            state: Schema.Struct({ items: Schema.Array(Schema.Struct({ ...Item.fields, note: Schema.String })) }),
            protocol: [
              Rpc.make("Note", { payload: { at: Schema.Int } }),
              Rpc.make("Notes", { success: Schema.Array(Schema.String) })
            ],
            persistence: way,
            stateVersion: 2,
            migrate: {
              1: (old) => ({
                items: (old as typeof State.Type).items.map((item) => ({ ...item, note: item.id }))
              })
            }
          }) {}
          const live = Now.toLayer({
            init: () => ({ items: [] }),
            handlers: {
              Note: ({ noReply, payload: { at }, state }) =>
                noReply({ items: state.items.map((item, index) => index === at ? { ...item, note: "new" } : item) }),
              Notes: ({ reply, state }) => reply(state.items.map(({ note }) => note))
            }
          })
          let expected = items.map(({ id }) => id)
          for (const at of [3, 200, 7]) {
            const node = yield* store.start({ servers: live })
            const now = (yield* node.run(Now.client()))("migrated")
            assert.deepStrictEqual(yield* now.call.Notes(), expected)
            yield* now.call.Note({ at })
            expected = expected.with(at, "new")
            yield* node.close
          }
          const node = yield* store.start({ servers: live })
          assert.deepStrictEqual(yield* (yield* node.run(Now.client()))("migrated").call.Notes(), expected)
        }))
    }

    it.effect("a step of a large whole state writes the part of it that has changed", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const steps: Array<DurableStorage.Transition> = []
        const node = yield* store.start({
          servers: WholeLive,
          storage: ({ commit }) => ({
            commit: (group) => {
              for (const member of group) if (member._tag === "Transition") steps.push(member)
              return commit(group)
            }
          })
        })
        const large = (yield* node.run(Whole.client()))("little")
        yield* large.call.Fill({ length: 200_000 })
        assert.isAbove(steps[0]?.fragments.length ?? 0, 100)
        steps.length = 0
        for (let n = 0; n < 11; n++) yield* large.call.Count()
        for (const at of ten) yield* large.call.Write({ at, text: "<something>" })
        for (const at of ten) yield* large.call.Insert({ at, id: `new ${at}` })
        assert.strictEqual(steps.length, 31)
        for (const { fragments, state } of steps) {
          assert.isUndefined(state)
          // A piece that had to be cut in two, and one beside it.
          assert.isAtMost(fragments.length, 3)
        }
      }))
  })
}

/** A server of its own: what is written there is written by these tests, and pages are never written as a whole. */
const OwnServer = EmbeddedPostgres.layer({
  settings: { fsync: "off", full_page_writes: "off", autovacuum: "off", wal_level: "replica" }
})
const OwnClient = Layer.unwrap(EmbeddedPostgres.EmbeddedPostgres.useSync(({ url }) => PgClient.layer({ url })))

layer(Layer.provideMerge(OwnClient, OwnServer), { excludeTestServices: true, timeout: "60 seconds" })(
  "LargeStates, as they are written",
  (it) => {
    const position = Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const [row] = yield* sql<{ readonly at: number }>`
        SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8 AS at`
      return row?.at ?? 0
    })
    const started = Effect.gen(function*() {
      const { url } = yield* EmbeddedPostgres.EmbeddedPostgres
      return yield* Nodes.start({
        url: url,
        servers: Layer.merge(WholeLive, IncrementalLive)
      })
    })

    it.effect("a commit that changes one field of a state of 1 MB writes less than 4 KB", () =>
      Effect.gen(function*() {
        const node = yield* started
        const large = (yield* node.run(Incremental.client()))("1 MB")
        yield* large.call.Fill({ length: 600_000 })
        assert.isAbove(JSON.stringify(yield* large.call.Get()).length, 1024 * 1024)
        const changes: Readonly<Record<string, (n: number) => Effect.Effect<void, unknown>>> = {
          "a small field": () => large.call.Count(),
          "a long text": (n) => large.call.Write({ at: (n * 0.37) % 1, text: "<here>" }),
          "an item": (n) => large.call.Rank({ at: (n * 0.37) % 1 }),
          "an item that is new": (n) => large.call.Insert({ at: (n * 0.37) % 1, id: `new ${n}` }),
          "an item's place": (n) => large.call.Move({ from: (n * 0.37) % 1, to: (n * 0.73) % 1 })
        }
        const commits = 100
        for (const [what, change] of Object.entries(changes)) {
          const before = yield* position
          for (let n = 0; n < commits; n++) yield* change(n)
          const bytes = ((yield* position) - before) / commits
          assert.isAbove(bytes, 100, what)
          assert.isBelow(bytes, 4096, what)
          if (process.env["HOLDFAST_TEST_LOG"] !== undefined) console.log(`${what}: ${bytes} bytes of WAL per commit`)
        }
      }), 60_000)

    for (const way of ["whole", "incremental"] as const) {
      it.effect(`tables stay small under hot updates of a large state (${way})`, () =>
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          const node = yield* started
          const large = way === "whole"
            ? (yield* node.run(Whole.client()))("hot")
            : (yield* node.run(Incremental.client()))("hot")
          const size = Effect.map(
            sql<{ readonly bytes: number }>`SELECT
              (pg_total_relation_size('holdfast.server') + pg_total_relation_size('holdfast.fragment'))::float8 AS bytes`,
            ([row]) => row?.bytes ?? 0
          )
          yield* large.call.Fill({ length: 50_000 })
          const once = yield* size
          for (let n = 0; n < 400; n++) yield* n % 2 === 0 ? large.call.Count() : large.call.Rank({ at: 0.5 })
          // Nothing vacuums here: what is written over is used again by the next who come to the page.
          assert.isBelow((yield* size) - once, 200_000)
        }), 60_000)
    }
  }
)
