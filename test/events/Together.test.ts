/**
 * Event stores beside everything else: under the login role of a datastore, which may do nothing but what it was granted, and
 * together with durable servers on one client, of whose membership they are a part.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import { Rpc } from "effect/rpc"
import { SqlClient } from "effect/sql"
import { Datastore, DatastoreAdmin, DatastoreContext } from "holdfast/datastore"
import { DurableNode, DurableServer, PostgresStorage } from "holdfast/durable"
import { EventStore, PostgresEventStore } from "holdfast/events"
import { Member } from "holdfast/member"
import { randomBytes } from "node:crypto"
import * as TestPostgres from "../support/TestPostgres.ts"
import { counted, range, tagOf } from "./support.ts"

class Counter extends DurableServer.make("Counter", {
  state: Schema.Int,
  protocol: [Rpc.make("Add", { success: Schema.Int })]
}) {}
const CounterLive = Counter.toLayer({
  init: () => 0,
  handlers: { Add: ({ reply, state }) => reply(state + 1, state + 1) }
})

const name = `events_${randomBytes(4).toString("hex")}`
const role = (kind: string) => ({ databaseRole: `${name}_${kind}`, databasePassword: Redacted.make(`secret ${kind}`) })

const options = Effect.sync(() => {
  const { host, password, port, username } = TestPostgres.server()
  const contexts = { app: role("app"), other: { ...role("other"), libraryAccess: false } }
  return {
    databaseName: name,
    dbServer: { host, port },
    owner: { databaseRole: `${name}_owner` },
    contexts,
    admin: { databaseRole: username, ...(Redacted.value(password) === "" ? {} : { databasePassword: password }) }
  }
})

const DatastoreLive = Layer.unwrap(Effect.gen(function*() {
  const { admin, ...rest } = yield* options
  const administer = <A, E>(use: (admin: DatastoreAdmin.DatastoreAdmin["Service"]) => Effect.Effect<A, E>) =>
    Effect.provide(DatastoreAdmin.DatastoreAdmin.use(use), DatastoreAdmin.layer({ ...rest, admin }))
  const made = Layer.effectDiscard(Effect.acquireRelease(
    administer((admin) =>
      Effect.andThen(
        admin.create,
        admin.upgrade([Member.migrations, PostgresStorage.migrations, PostgresEventStore.migrations])
      )
    ),
    () => Effect.orDie(administer((admin) => admin.drop({ force: true })))
  ))
  return Layer.provideMerge(Datastore.layer(rest), made)
}))

const AppLive = Layer.mergeAll(CounterLive, PostgresEventStore.layer).pipe(
  Layer.provideMerge(DurableNode.layerPostgres),
  Layer.provideMerge(DatastoreContext.layer("app")),
  Layer.provideMerge(DatastoreLive)
)

layer(AppLive, { excludeTestServices: true, timeout: 60_000 })("Together", (it) => {
  it.effect("a role that may only log in makes stores, works with them, and cannot change what is recorded", () =>
    Effect.gen(function*() {
      const events = yield* EventStore.EventStore
      const sql = yield* PgClient.PgClient
      yield* events.createStore("app", { hardDeletes: true })
      yield* events.appendEvents("app", "s", counted(0, 5))
      yield* sql.withTransaction(events.appendEvents("app", "t", counted(0, 5)))
      yield* events.deleteStream("app", "t", { hard: true })
      const all = yield* Stream.runCollect(
        events.subscribe("app", { name: "sub" }).pipe(Stream.take(5), Stream.tap(({ ack }) => ack))
      )
      assert.deepStrictEqual(all.map(({ event }) => event.globalPosition), range(0, 5))
      for (
        const statement of [
          "UPDATE holdfast_events_app.event SET data = '0'",
          "DELETE FROM holdfast_events_app.event",
          "SELECT set_config('holdfast.hard_delete', 'holdfast_events_app', true); DELETE FROM holdfast_events_app.event",
          "ALTER TABLE holdfast_events_app.event DISABLE TRIGGER ALL",
          "DROP SCHEMA holdfast_events_app CASCADE"
        ]
      ) {
        const refused = sql.withTransaction(
          Effect.forEach(statement.split("; "), (one) => sql.unsafe(one), { discard: true })
        )
        assert.strictEqual((yield* Effect.flip(refused)).reason._tag, "AuthorizationError", statement)
      }
      yield* events.removeStore("app", { purge: true })
      assert.strictEqual(yield* tagOf(events.getVersion("app", "s")), "StoreNotFound")
    }))

  it.effect("a role without access to the library's tables is told so", () =>
    Effect.gen(function*() {
      const built = yield* Effect.exit(
        Layer.build(Layer.fresh(Layer.provide(PostgresEventStore.layer, DatastoreContext.layer("other"))))
      )
      assert.strictEqual(built._tag, "Failure")
      const datastore = yield* Datastore.Datastore
      const { sql } = yield* datastore.context("other")
      const refused = yield* Effect.flip(sql`SELECT holdfast.create_event_store('mine', '{}')`)
      assert.strictEqual(refused.reason._tag, "AuthorizationError")
    }))

  it.effect(
    "durable servers and event stores on one client are one member, and come back together",
    () =>
      Effect.gen(function*() {
        const events = yield* EventStore.EventStore
        const sql = yield* SqlClient.SqlClient
        const counter = yield* Counter.client()
        yield* events.createStore("both")
        const alive = sql<{ readonly id: number }>`SELECT id::float8 FROM holdfast.member WHERE NOT dead`
        const before = yield* alive
        assert.strictEqual(before.length, 1)
        let calls = 0
        for (let round = 0; round < 3; round++) {
          const both = Effect.all([
            Effect.forEach(range(0, 20), (n) => events.appendEvents("both", `s${n % 3}`, counted(n, n + 1)), {
              concurrency: 8
            }),
            Effect.forEach(range(0, 20), (n) => counter(`c${n % 3}`).call.Add(undefined, { timeout: "20 seconds" }), {
              concurrency: 8
            })
          ], { concurrency: 2 })
          yield* Effect.all([
            both,
            Effect.delay(
              sql`SELECT holdfast.bury_members(array_agg(id)) FROM holdfast.member WHERE NOT dead`,
              "3 millis"
            )
          ], { concurrency: 2 })
          yield* both
          calls += 40
        }
        assert.strictEqual(yield* events.getVersion("both", "$all"), calls - 1)
        const counts = yield* Effect.forEach(range(0, 3), (n) => counter(`c${n}`).call.Add())
        assert.strictEqual(counts.reduce((sum, count) => sum + count, 0), calls + 3)
        const after = yield* alive
        assert.strictEqual(after.length, 1)
        assert.notStrictEqual(after[0]?.id, before[0]?.id)
      }),
    60_000
  )
})
