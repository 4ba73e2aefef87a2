/**
 * Every statement that writes takes its locks in one order: the lane, servers, keys, lines, each class by id. So committers,
 * senders and those who take servers over wait for each other at worst, and never in a circle.
 *
 * What is looked at is what the server does. A row in the middle is locked by somebody else, a statement is sent that wants
 * it and others, in any order; and those that it holds while it waits must be exactly those that come before.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Random } from "effect"
import { DurableStorage, PostgresStorage } from "holdfast/durable"
import { randomInt } from "node:crypto"
import * as TestPostgres from "../support/TestPostgres.ts"

type Node = DurableStorage.NodeStorage

const joinNode = Effect.gen(function*() {
  const { url } = yield* TestPostgres.TestDatabase
  const context = yield* Layer.build(
    PostgresStorage.layer.pipe(Layer.provide(PgClient.layer({ url, maxConnections: 1 })), Layer.fresh)
  )
  return yield* Context.get(context, DurableStorage.DurableStorage).join({ outcomeRetention: Duration.days(7) })
})

interface Held {
  readonly id: number
  readonly version: number
}

let made = 0
const claimNew = (node: Node, count: number) =>
  Effect.map(
    node.claim(Array.from({ length: count }, () => ({ kind: "Lock", key: `${++made}` }))),
    (claims) =>
      claims.flatMap((claim): ReadonlyArray<Held> =>
        claim._tag === "Claimed" ? [{ id: claim.id, version: claim.version }] : []
      ).sort((left, right) => left.id - right.id)
  )

let calls = 0
const message = (node: Node, primaryKey?: string): DurableStorage.StoredMessage => ({
  mode: "cast",
  rpc: "Do",
  payload: "{}",
  primaryKey,
  priority: false,
  node: node.node(),
  call: ++calls
})

const step = (server: Held, more: Partial<DurableStorage.Transition> = {}): DurableStorage.Transition => ({
  _tag: "Transition",
  id: server.id,
  version: server.version,
  guard: undefined,
  takenBefore: 0,
  taken: 0,
  state: "{}",
  fragments: [],
  lock: undefined,
  consumed: [],
  outcomes: [],
  replies: [],
  outgoing: [],
  parked: [],
  transaction: undefined,
  ...more
})

const shuffle = <A>(items: ReadonlyArray<A>): ReadonlyArray<A> => {
  const shuffled = [...items]
  for (let index = shuffled.length - 1; index > 0; index--) {
    const other = randomInt(index + 1)
    const [a, b] = [shuffled[index], shuffled[other]]
    if (a !== undefined && b !== undefined) [shuffled[index], shuffled[other]] = [b, a]
  }
  return shuffled
}

/** Holds a row while something wants it, and tells which of the rows that it wants it already has. */
const heldBefore = Effect.fnUntraced(function*<A, E>(
  table: "server" | "inbox",
  row: number,
  wanted: ReadonlyArray<number>,
  act: Effect.Effect<A, E>
) {
  const sql = yield* PgClient.PgClient
  const name = sql.literal(`holdfast.${table}`)
  const locked = yield* Deferred.make<void>()
  const enough = yield* Deferred.make<void>()
  const holding = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
    yield* sql`SELECT 1 FROM ${name} WHERE id = ${BigInt(row)} FOR UPDATE`
    yield* Deferred.succeed(locked, undefined)
    yield* Deferred.await(enough)
  })))
  yield* Deferred.await(locked)
  const acting = yield* Effect.forkChild(act)
  const waiting = sql`
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'holdfast %' AND wait_event_type = 'Lock'`
  yield* Effect.repeat(Effect.delay(waiting, "5 millis"), { until: (rows) => rows.length > 0, times: 400 })
  const free = yield* sql.withTransaction(
    sql<{ readonly id: number }>`
      SELECT id::float8 AS id FROM ${name} WHERE id = ANY (${wanted.map(BigInt)}) FOR UPDATE SKIP LOCKED`
  )
  yield* Deferred.succeed(enough, undefined)
  yield* Fiber.join(holding)
  const result = yield* Fiber.join(acting)
  const isFree = new Set(free.map(({ id }) => id))
  return { held: wanted.filter((id) => !isFree.has(id)).sort((left, right) => left - right), result }
})

const bloat = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`INSERT INTO holdfast.server (kind, key) SELECT 'Ballast', n::text FROM generate_series(1, 20000) n`
  yield* sql`INSERT INTO holdfast.inbox (id, pushed) SELECT id, 0 FROM holdfast.server WHERE kind = 'Ballast'`
  for (let n = 0; n < 2; n++) {
    yield* sql`UPDATE holdfast.server SET version = version + 1 WHERE kind = 'Ballast'`
    yield* sql`UPDATE holdfast.inbox SET pushed = pushed + 1 WHERE id % 2 = 0`
  }
})

for (
  const tables of ["empty", "large and full of dead rows", "the same, analysed"] as const
) {
  layer(TestPostgres.layer, { excludeTestServices: true })(`LockOrder, tables ${tables}`, (it) => {
    it.effect(
      "a group, an enqueue, a claim and a release lock rows in the order of their ids",
      () =>
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          const node = yield* joinNode
          const producer = yield* joinNode
          if (tables !== "empty") yield* bloat
          if (tables === "the same, analysed") yield* sql`ANALYZE`
          for (const size of [5, 60]) {
            const servers = yield* claimNew(node, size)
            const ids = servers.map(({ id }) => id)
            const middle = servers[size >> 1]
            if (middle === undefined) return assert.fail("nothing was claimed")
            const upTo = ids.filter((id) => id <= middle.id)
            const check = Effect.fnUntraced(function*<E>(
              what: string,
              table: "server" | "inbox",
              act: Effect.Effect<unknown, E>
            ) {
              const { held } = yield* heldBefore(table, middle.id, ids, act)
              assert.deepStrictEqual(held, upTo, `${what}, ${size} servers`)
            })
            let version = 0
            const next = () => shuffle(servers).map((server) => ({ ...server, version: server.version + version }))
            yield* check("steps", "server", node.commit(next().map((server) => step(server))))
            version++
            yield* check(
              "steps with more",
              "server",
              node.commit(
                next().map((server) => step(server, { outcomes: [{ primaryKey: "k", reply: "{}", late: false }] }))
              )
            )
            version++
            const enqueue = () =>
              producer.commit([{
                _tag: "Enqueue",
                replies: [],
                outgoing: shuffle(ids).map((id) => ({ id, message: message(producer, `${calls}`) }))
              }])
            yield* enqueue()
            yield* check("an enqueue", "inbox", enqueue())
            const sender = yield* claimNew(node, 1)
            yield* check(
              "outgoing messages",
              "inbox",
              node.commit(
                sender.map((server) =>
                  step(server, { outgoing: shuffle(ids).map((id) => ({ id, message: message(node) })) })
                )
              )
            )
            yield* check("a release", "server", node.release(next()))
            const later = shuffle(ids).map((id) => ({
              id,
              message: message(node),
              due: { _tag: "After", millis: 0 } as const
            }))
            const alone = { _tag: "Enqueue", outgoing: [], replies: [] } as const
            yield* node.commit([{ ...alone, later: { scheduled: later, cancelled: [] } }])
            yield* check("delivering", "inbox", node.deliverDue)
            const names = yield* sql<{ readonly kind: string; readonly key: string }>`
            SELECT kind, key FROM holdfast.server WHERE id = ANY (${ids.map(BigInt)})`
            yield* check("a claim", "server", producer.claim(shuffle(names)))
          }
        }),
      60_000
    )
  })
}

layer(TestPostgres.layer, { excludeTestServices: true })("LockOrder, four nodes", (it) => {
  const seconds = 3

  it.effect("that commit, send to, claim and release the same servers never deadlock", () => {
    const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const nodes = yield* Effect.all([joinNode, joinNode, joinNode, joinNode])
      const first = nodes[0]
      if (first === undefined) return
      const servers = yield* claimNew(first, 50)
      yield* first.release(servers)
      const names = yield* sql<{ readonly kind: string; readonly key: string }>`
        SELECT kind, key FROM holdfast.server WHERE kind = 'Lock'`
      const ends = performance.now() + seconds * 1000
      let groups = 0
      const scheduled: Array<DurableStorage.ScheduledId> = []
      yield* Effect.forEach(nodes, (node) =>
        Effect.gen(function*() {
          const random = <A>(items: ReadonlyArray<A>, count: number) =>
            Effect.map(
              Effect.forEach(items, (item) => Effect.map(Random.next, (order) => ({ item, order }))),
              (all) => all.sort((left, right) => left.order - right.order).slice(0, count).map(({ item }) => item)
            )
          let held: ReadonlyArray<Held> = []
          while (performance.now() < ends) {
            if (held.length === 0) {
              const claims = yield* node.claim(yield* random(names, 20))
              held = claims.flatMap((claim) => claim._tag === "Claimed" ? [claim] : [])
            }
            const targets = yield* random(servers, 10)
            const outgoing = targets.map(({ id }, n) => ({
              id,
              message: message(node, n % 2 === 0 ? `k${n}` : undefined)
            }))
            const cancelled = yield* random(scheduled, 20)
            const later = (n: number) => {
              const own = targets.map(({ id }, index) => ({
                id,
                message: message(node, index === n ? `k${index}` : undefined),
                due: { _tag: "After", millis: index * 3 } as const
              }))
              scheduled.push(
                ...own.map(({ id, message }) => ({ server: id, node: message.node, call: message.call }))
              )
              return { scheduled: own, cancelled: cancelled.slice(n, n + 1) }
            }
            const steps = held.map((server, n) =>
              step(
                server,
                n % 3 === 0
                  ? {
                    outgoing,
                    outcomes: [{ primaryKey: `k${n}`, reply: "{}", late: false }],
                    later: n % 2 === 0 ? later(n) : undefined
                  }
                  : {}
              )
            )
            yield* node.deliverDue
            const verdicts = yield* node.commit([...steps, {
              _tag: "Enqueue",
              outgoing: [...outgoing].reverse(),
              replies: []
            }])
            held = held.flatMap((server, n) =>
              verdicts[n]?._tag === "Done" ? [{ id: server.id, version: server.version + 1 }] : []
            )
            if (yield* Random.nextBoolean) {
              yield* node.release(held)
              held = []
            }
            groups++
          }
          // So that its own end does not wait for the statistics.
          yield* node.release(held)
        }), { concurrency: "unbounded" })
      assert.isAbove(groups, 30)
      // A session tells of its deadlocks when it has been idle for a while.
      yield* Effect.sleep("1200 millis")
      const [row] = yield* sql<{ readonly deadlocks: number }>`
        SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()`
      assert.strictEqual(row?.deadlocks, 0)
    }).pipe(
      Random.withSeed(seed),
      Effect.tapCause(() => Effect.sync(() => console.error(`HOLDFAST_TEST_SEED=${seed}`)))
    )
  }, 30_000)
})
