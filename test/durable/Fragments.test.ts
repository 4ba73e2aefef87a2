/**
 * What a storage keeps of a state that lies in fragments: they are written with the step that they belong to or not at all, and whoever
 * takes a server over is given those of the version that it is given. Through the seam, as two processes on one store.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer } from "effect"
import { DurableStorage, MemoryStorage, PostgresStorage } from "holdfast/durable"
import { randomUUID } from "node:crypto"
import * as TestPostgres from "../support/TestPostgres.ts"

type Node = DurableStorage.NodeStorage
type Transition = DurableStorage.Transition

/** Two processes on one store. */
class Store extends Context.Service<Store, { readonly first: Node; readonly second: Node }>()("test/Store") {}

const joinOptions = { outcomeRetention: Duration.days(7) }

const MemoryStore = Layer.effect(
  Store,
  Effect.gen(function*() {
    const storage = yield* DurableStorage.DurableStorage
    return { first: yield* storage.join(joinOptions), second: yield* storage.join(joinOptions) }
  })
).pipe(Layer.provide(MemoryStorage.layer))

const postgresNode = Effect.gen(function*() {
  const { url } = yield* TestPostgres.TestDatabase
  const context = yield* Layer.build(
    PostgresStorage.layer.pipe(Layer.provide(PgClient.layer({ url, maxConnections: 1 })), Layer.fresh)
  )
  return yield* Context.get(context, DurableStorage.DurableStorage).join(joinOptions)
})

const PostgresStore = Layer.effect(
  Store,
  Effect.gen(function*() {
    return { first: yield* postgresNode, second: yield* postgresNode }
  })
).pipe(Layer.provideMerge(TestPostgres.layer))

interface Held {
  readonly address: DurableStorage.Address
  readonly id: number
  readonly version: number
}

const claim = Effect.fnUntraced(function*(node: Node, address: DurableStorage.Address) {
  const [claimed] = yield* node.claim([address])
  if (claimed?._tag !== "Claimed") return yield* Effect.die(new Error("it is held by somebody else"))
  return { ...claimed, address }
})

const claimNew = (node: Node): Effect.Effect<Held, DurableStorage.NodeLost> =>
  Effect.suspend(() => claim(node, { kind: "Fragments", key: randomUUID() }))

const transition = (server: Held, more: Partial<Transition> = {}): Transition => ({
  _tag: "Transition",
  id: server.id,
  version: server.version,
  guard: undefined,
  takenBefore: 0,
  taken: 0,
  state: undefined,
  fragments: [],
  transaction: undefined,
  lock: undefined,
  consumed: [],
  outcomes: [],
  replies: [],
  outgoing: [],
  parked: [],
  ...more
})

const next = (server: Held, steps = 1): Held => ({ ...server, version: server.version + steps })

/** What is stored of a server, read by taking it again. */
const stored = Effect.fnUntraced(function*(node: Node, server: Held) {
  const { fragments, state } = yield* claim(node, server.address)
  return { state, fragments: new Map(fragments.map(({ number, text }) => [number, text])) }
})

const tags = (verdicts: ReadonlyArray<DurableStorage.Verdict>) => verdicts.map((verdict) => verdict._tag)

for (const [name, StoreLive] of [["MemoryStorage", MemoryStore], ["PostgresStorage", PostgresStore]] as const) {
  layer(StoreLive as Layer.Layer<Store>, { excludeTestServices: true })(`Fragments: ${name}`, (it) => {
    // Groups in which servers only change their state go another way than those that do more.
    const shapes = {
      "that only changes its state": {},
      "that does more": { outcomes: [{ primaryKey: "k", reply: "{}", late: false }] }
    }
    for (const [shape, more] of Object.entries(shapes)) {
      it.effect(`a step ${shape} writes fragments, writes them over and drops them`, () =>
        Effect.gen(function*() {
          const { first } = yield* Store
          const server = yield* claimNew(first)
          const steps: ReadonlyArray<Partial<Transition>> = [
            { state: "~", fragments: [1, 2, 3].map((number) => ({ number, text: `${number}` })), ...more },
            // The head stays where it is not given, as do fragments.
            { fragments: [{ number: 2, text: "two" }, { number: 3, text: undefined }, { number: 4, text: "4" }] },
            // What is not there may go, and what goes may come again.
            { fragments: [{ number: 3, text: "three" }, { number: 9, text: undefined }] }
          ]
          for (const [index, step] of steps.entries()) {
            const { outcomes = [] } = step
            const known = outcomes.map((outcome) => ({ ...outcome, primaryKey: String(index) }))
            const member = transition(next(server, index), { ...step, ...more, outcomes: known })
            assert.deepStrictEqual(tags(yield* first.commit([member])), ["Done"])
          }
          assert.deepStrictEqual(yield* stored(first, server), {
            state: "~",
            fragments: new Map([[1, "1"], [2, "two"], [3, "three"], [4, "4"]])
          })
        }))

      it.effect(`of steps ${shape} in one group, those that are refused leave all fragments as they are`, () =>
        Effect.gen(function*() {
          const { first, second } = yield* Store
          const servers = yield* Effect.all(Array.from({ length: 4 }, () => claimNew(first)))
          const [fine, stale, moved, also] = servers
          if (!fine || !stale || !moved || !also) return
          const begin = (server: Held) =>
            transition(server, {
              state: "~",
              fragments: [{ number: 1, text: "first" }, { number: 2, text: "first" }]
            })
          yield* first.commit(servers.map(begin))
          yield* second.commit([{
            _tag: "Enqueue",
            replies: [],
            outgoing: [{
              id: moved.id,
              message: {
                mode: "cast",
                rpc: "Do",
                payload: "{}",
                primaryKey: undefined,
                priority: false,
                node: second.node(),
                call: 1
              }
            }]
          }])
          const change = (server: Held, guard?: number) =>
            transition(server, {
              state: "~changed",
              guard,
              fragments: [{ number: 1, text: undefined }, { number: 2, text: "second" }, { number: 3, text: "new" }],
              ...more
            })
          const verdicts = yield* first.commit([
            change(next(also)),
            change(stale),
            change(next(moved), 0),
            change(next(fine), 0)
          ])
          assert.deepStrictEqual(tags(verdicts), ["Done", "Superseded", "LineMoved", "Done"])
          for (const server of [fine, also]) {
            assert.deepStrictEqual(yield* stored(first, server), {
              state: "~changed",
              fragments: new Map([[2, "second"], [3, "new"]])
            })
          }
          for (const server of [stale, moved]) {
            assert.deepStrictEqual(yield* stored(first, server), {
              state: "~",
              fragments: new Map([[1, "first"], [2, "first"]])
            })
          }
        }))
    }

    it.effect("fragments of one server are not those of another", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Store
        const [one, other] = [yield* claimNew(first), yield* claimNew(first)]
        yield* first.commit([
          transition(one, { state: "~", fragments: [{ number: 1, text: "one" }] }),
          transition(other, { state: "~", fragments: [{ number: 1, text: "other" }, { number: 2, text: "more" }] })
        ])
        yield* first.commit([transition(next(one), { fragments: [{ number: 1, text: undefined }] })])
        yield* first.release([{ id: other.id, version: undefined }])
        assert.deepStrictEqual((yield* stored(first, one)).fragments, new Map())
        assert.deepStrictEqual((yield* stored(second, other)).fragments, new Map([[1, "other"], [2, "more"]]))
      }))

    it.effect("a server that is killed has no fragments any more", () =>
      Effect.gen(function*() {
        const { first } = yield* Store
        const [killed, other] = [yield* claimNew(first), yield* claimNew(first)]
        yield* first.commit(
          [killed, other].map((server) => transition(server, { state: "~", fragments: [{ number: 1, text: "one" }] }))
        )
        yield* first.kill(killed.address, "{}")
        assert.deepStrictEqual(yield* stored(first, killed), { state: undefined, fragments: new Map() })
        assert.deepStrictEqual((yield* stored(first, other)).fragments, new Map([[1, "one"]]))
      }))

    it.effect("a fragment holds what a connection bears, and gives it back as it was", () =>
      Effect.gen(function*() {
        const { first } = yield* Store
        const server = yield* claimNew(first)
        const text = "[\"a\\u0000\",\"😀\"]\n" + "字".repeat(1100)
        yield* first.commit([transition(server, { state: "~", fragments: [{ number: 2 ** 40, text }] })])
        assert.deepStrictEqual((yield* stored(first, server)).fragments, new Map([[2 ** 40, text]]))
      }))
  })
}

layer(PostgresStore, { excludeTestServices: true })("Fragments, as rows", (it) => {
  it.effect("a claim that waits for a step under way is given the fragments of that step", () =>
    Effect.gen(function*() {
      const { first, second } = yield* Store
      const sql = yield* PgClient.PgClient
      const server = yield* claimNew(first)
      yield* first.commit([transition(server, { state: "~1", fragments: [{ number: 1, text: "one" }] })])
      yield* first.release([{ id: server.id, version: undefined }])
      const waiting = Effect.repeat(
        sql<{ readonly n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity
          WHERE application_name LIKE 'holdfast%' AND wait_event_type = 'Lock' AND datname = current_database()`,
        { until: ([row]) => row?.n === 1, times: 2000 }
      )
      const claiming = yield* sql.withTransaction(Effect.gen(function*() {
        // As a step does it, and slowly.
        yield* sql`UPDATE holdfast.server SET version = version + 1, state = '~2' WHERE id = ${server.id}`
        const claiming = yield* Effect.forkChild(claim(second, server.address))
        yield* waiting
        yield* sql`UPDATE holdfast.fragment SET text = 'two' WHERE server_id = ${server.id}`
        yield* sql`INSERT INTO holdfast.fragment VALUES (${server.id}, 2, 'more')`
        return claiming
      }))
      const claimed = yield* Fiber.join(claiming)
      assert.strictEqual(claimed.state, "~2")
      assert.deepStrictEqual(
        claimed.fragments.toSorted((a, b) => a.number - b.number),
        [{ number: 1, text: "two" }, { number: 2, text: "more" }]
      )
    }))
})
