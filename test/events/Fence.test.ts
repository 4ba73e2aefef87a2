/**
 * What keeps a process that was given up from doing harm, in the statements themselves: a checkpoint counts only under the
 * latest claim, and never moves back; a transaction moves it from exactly where it began; a group runs once or never.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { EventStore, PostgresEventStore } from "holdfast/events"
import * as TestPostgres from "../support/TestPostgres.ts"
import { counted } from "./support.ts"

const schema = "holdfast_events_fence"

const setUp = Effect.fnUntraced(function*(name: string) {
  const events = yield* EventStore.EventStore
  const sql = yield* PgClient.PgClient
  yield* Effect.ignore(events.createStore("fence"))
  yield* events.saveSubscription("fence", name)
  const selector = `{"_tag":"byStream","eventStreamId":"$all"}`
  const members = yield* sql<{ readonly id: bigint }>`
    INSERT INTO holdfast.member (name, lease_until) SELECT 'fence', clock_timestamp() + interval '1 hour'
    FROM generate_series(1, 2) RETURNING id`
  const claim = (member: number, mine = false) =>
    Effect.map(
      sql.unsafe<{ readonly state: string; readonly id: number; readonly token: number; readonly position: number }>(
        `SELECT * FROM ${schema}.claim($1, $2, $3::bigint, $4)`,
        [name, selector, String(members[member]?.id), mine]
      ),
      ([row]) => row ?? { state: "", id: 0, token: 0, position: 0 }
    )
  const call = (text: string) =>
    Effect.map(sql.unsafe<{ readonly v: unknown }>(`SELECT ${schema}.${text} AS v`), ([row]) => row?.v)
  const bury = (member: number) => sql`SELECT holdfast.bury_members(ARRAY[${String(members[member]?.id)}::bigint])`
  const position = Effect.map(events.getSubscriptions("fence"), (all) => all.find((one) => one.name === name)?.position)
  return { bury, call, claim, events, position, sql }
})

layer(Layer.provideMerge(PostgresEventStore.layer, TestPostgres.layer), { excludeTestServices: true })(
  "Fence",
  (it) => {
    it.effect("a subscription is claimed by one living member, and by the next when that one is dead", () =>
      Effect.gen(function*() {
        const { bury, claim } = yield* setUp("claimed")
        const first = yield* claim(0)
        assert.strictEqual(first.state, "claimed")
        assert.strictEqual((yield* claim(1)).state, "held")
        assert.strictEqual((yield* claim(0)).state, "held")
        // Whoever has lost the answer to its claim claims again.
        assert.strictEqual((yield* claim(0, true)).token, first.token + 1)
        yield* bury(0)
        assert.strictEqual((yield* claim(1)).token, first.token + 2)
        assert.strictEqual((yield* claim(0, true)).state, "held")
        yield* bury(1)
        // The dead claim nothing.
        assert.strictEqual((yield* claim(1, true)).state, "held")
      }))

    it.effect("a checkpoint counts under the latest claim alone, and never moves back", () =>
      Effect.gen(function*() {
        const { bury, call, claim, position } = yield* setUp("checkpoint")
        const stale = yield* claim(0)
        assert.strictEqual(yield* call(`checkpoint(${stale.id}, ${stale.token}, 5)`), "done")
        assert.strictEqual(yield* call(`checkpoint(${stale.id}, ${stale.token}, 3)`), "done")
        assert.strictEqual(yield* position, 5)
        yield* bury(0)
        const { id, position: at, token } = yield* claim(1)
        assert.strictEqual(at, 5)
        assert.strictEqual(yield* call(`checkpoint(${id}, ${stale.token}, 9)`), "lost")
        assert.strictEqual(yield* call(`advance(${id}, ${stale.token}, 5, 9, 1000)`), "lost")
        const uuid = "00000000-0000-7000-8000-000000000001"
        assert.strictEqual(yield* call(`park(${id}, ${stale.token}, 6, '${uuid}', 1, '')`), "lost")
        assert.strictEqual(yield* position, 5)
        // A transaction that began elsewhere moves nothing, one that began here does, once.
        assert.strictEqual(yield* call(`advance(${id}, ${token}, 4, 9, 1000)`), "lost")
        assert.strictEqual(yield* call(`advance(${id}, ${token}, 5, 6, 1000)`), "done")
        assert.strictEqual(yield* call(`advance(${id}, ${token}, 5, 6, 1000)`), "lost")
        assert.strictEqual(yield* position, 6)
        // One that is released by somebody who has lost it stays with whoever has it.
        yield* call(`release(${id}, ${stale.token})`)
        assert.strictEqual((yield* claim(0)).state, "held")
        assert.strictEqual(yield* call(`checkpoint(0, 1, 1)`), "gone")
      }))

    it.effect("a group that was decided, or whose lane is closed, does nothing", () =>
      Effect.gen(function*() {
        const { events, sql } = yield* setUp("lane")
        yield* events.appendEvents("fence", "s", counted(0, 1))
        const [lane] = yield* sql<{ readonly id: bigint }>`
        INSERT INTO holdfast.lane (member) SELECT id FROM holdfast.member WHERE NOT dead LIMIT 1 RETURNING id`
        const event = `ARRAY[gen_random_uuid()], '{A}', '{1}', NULL, NULL, NULL, NULL`
        const statements = {
          group: `append_group($1::bigint, $2, '{s}', '{t}', '{1}', '{-2}', '{1}', '{1}', ${event}, false, 0)`,
          any: `append_any($1::bigint, $2, 1, '{s}', '{1}', '{1}', '{1}', ${event})`,
          elsewhere: `append_any($1::bigint, $2, 2, '{s, t}', '{1, 1}', '{1}', '{1}', ${event})`
        }
        const send = (statement: keyof typeof statements, seq: number) =>
          Effect.map(
            sql.unsafe<{ readonly refused: ReadonlyArray<number> | null }>(
              `SELECT refused FROM ${schema}.${statements[statement]}`,
              [String(lane?.id), seq]
            ),
            ([row]) => row?.refused
          )
        assert.deepStrictEqual(yield* send("group", 1), [])
        assert.deepStrictEqual(yield* send("any", 2), [])
        for (const statement of ["group", "any"] as const) {
          assert.isNull(yield* send(statement, 2))
          assert.isNull(yield* send(statement, 4))
        }
        // The short one appends to streams that are there, or not at all.
        assert.deepStrictEqual(yield* send("elsewhere", 3), [1, 2])
        assert.deepStrictEqual(yield* send("any", 4), [])
        yield* sql`UPDATE holdfast.lane SET closed = true WHERE id = ${String(lane?.id)}::bigint`
        assert.isNull(yield* send("group", 5))
        assert.isNull(yield* send("any", 5))
        assert.strictEqual(yield* events.getVersion("fence", "s"), 3)
      }))
  }
)
