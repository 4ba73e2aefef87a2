/**
 * What only Postgres can show of what its `commit` decides. What is the same on every storage is in the conformance suite,
 * `DurableStorageSuite.seam`, which test/testing runs against it.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Duration, Effect, Layer } from "effect"
import { DurableStorage, PostgresStorage } from "holdfast/durable"
import {
  claimNew,
  enqueue,
  later,
  lineOf,
  numbering,
  outcome,
  step,
  tags
} from "../../src/testing/internal/durable/steps.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

type Node = DurableStorage.NodeStorage

/** Two processes on one store. */
class Store extends Context.Service<Store, { readonly first: Node; readonly second: Node }>()("test/Store") {}

const postgresNode = Effect.gen(function*() {
  const { url } = yield* TestPostgres.TestDatabase
  const context = yield* Layer.build(
    PostgresStorage.layer.pipe(Layer.provide(PgClient.layer({ url, maxConnections: 1 })), Layer.fresh)
  )
  return yield* Context.get(context, DurableStorage.DurableStorage).join({ outcomeRetention: Duration.days(7) })
})

const PostgresStore = Layer.effect(
  Store,
  Effect.gen(function*() {
    return { first: yield* postgresNode, second: yield* postgresNode }
  })
).pipe(Layer.provideMerge(TestPostgres.layer))

const { message } = numbering()

/** The state in a server's row. */
const storedState = (id: number) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const [row] = yield* sql<{ readonly state: string | null }>`SELECT state FROM holdfast.server WHERE id = ${
      BigInt(id)
    }`
    return row?.state ?? undefined
  })

layer(PostgresStore, { excludeTestServices: true })("CommitFence", (it) => {
  it.effect("a value that the server does not take fails its member alone, whatever the size of the group", () =>
    Effect.gen(function*() {
      const { first, second } = yield* Store
      for (const size of [1, 2, 7]) {
        for (const shape of [{}, { outcomes: [{ primaryKey: "k", reply: "{}", late: false }] }]) {
          const servers = yield* Effect.all(Array.from({ length: size }, () => claimNew(first)))
          const bad = size >> 1
          const verdicts = yield* first.commit(
            servers.map((server, index) => step(server, { ...shape, state: index === bad ? "\0" : "{}" }))
          )
          assert.deepStrictEqual(tags(verdicts), servers.map((_, index) => index === bad ? "Failed" : "Done"))
          for (const [index, server] of servers.entries()) {
            assert.strictEqual(yield* storedState(server.id), index === bad ? undefined : "{}")
          }
        }
      }
      // Messages, too, and what they were sent with stays in order.
      const target = yield* claimNew(first)
      const sent = [message(second), { ...message(second), payload: "\0" }, message(second)]
      const verdicts = yield* second.commit(sent.map((message) => enqueue([{ id: target.id, message }])))
      assert.deepStrictEqual(tags(verdicts), ["Done", "Failed", "Done"])
      assert.deepStrictEqual((yield* lineOf(first, target)).map(({ call }) => call), [sent[0]?.call, sent[2]?.call])
    }))

  it.effect("a step from a version that its server only comes to within the group is refused, and nothing else of the group", () =>
    Effect.gen(function*() {
      const { first } = yield* Store
      const [server, other] = yield* Effect.all([claimNew(first), claimNew(first)])
      const next = { ...server, version: server.version + 1 }
      const group = [step(server, { state: "1" }), step(next, { state: "2" }), step(other, { state: "3" })]
      assert.deepStrictEqual(tags(yield* first.commit(group)), ["Done", "Superseded", "Done"])
      assert.deepStrictEqual([yield* storedState(server.id), yield* storedState(other.id)], ["1", "3"])
    }))

  it.effect("nothing of a member that was declared dead is committed, whatever it is", () =>
    Effect.gen(function*() {
      const { first } = yield* Store
      const node = yield* postgresNode
      const sql = yield* PgClient.PgClient
      const server = yield* claimNew(node)
      const target = yield* claimNew(first)
      yield* sql`SELECT holdfast.bury_members(ARRAY[${BigInt(node.node())}])`
      const groups: ReadonlyArray<ReadonlyArray<DurableStorage.Member>> = [
        [step(server)],
        [step(server, { outcomes: [{ primaryKey: "k", reply: "{}", late: false }] })],
        [step(server), step(server)],
        [enqueue([{ id: target.id, message: message(node) }])]
      ]
      for (const group of groups) {
        const error = yield* Effect.flip(node.commit(group))
        assert.strictEqual(error._tag, "NodeLost")
        assert.strictEqual(error.node, node.node())
      }
      assert.deepStrictEqual(yield* lineOf(first, target), [])
      // Nobody else has to wait for it.
      const [claim] = yield* first.claim([server.address])
      assert.deepInclude(claim, { _tag: "Claimed", version: server.version + 1 })
      // And it cannot take what it had.
      assert.strictEqual((yield* node.claim([server.address]))[0]?._tag, "HeldElsewhere")
    }))

  it.effect("of a member that is refused no message is set aside, and of the one beside it one is", () =>
    Effect.gen(function*() {
      const { first, second } = yield* Store
      const sql = yield* PgClient.PgClient
      for (const refusal of ["version", "line", "key"] as const) {
        const [refused, done] = [yield* claimNew(first), yield* claimNew(first)]
        yield* second.commit([enqueue([{ id: refused.id, message: message(second) }])])
        yield* first.commit([step(refused, { outcomes: [outcome("known", "{}")] })])
        const parked = [{ message: message(first), attempts: 3, failure: "it failed" }]
        yield* first.commit([
          step(later(refused, refusal === "version" ? 2 : 1), {
            parked,
            guard: refusal === "line" ? 0 : undefined,
            outcomes: refusal === "key" ? [outcome("known", "{}")] : []
          }),
          step(done, { parked })
        ])
        const rows = yield* sql<{ readonly server: number }>`
          SELECT server_id::float8 AS server FROM holdfast.parked
          WHERE server_id = ANY (${[refused.id, done.id].map(BigInt)})`
        assert.deepStrictEqual(rows.map(({ server }) => server), [done.id], refusal)
      }
    }))
})
