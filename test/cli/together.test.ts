/**
 * The floors together: durable servers under a login role of a datastore, whose server restarts and whose password changes.
 */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Redacted, Schedule, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { Datastore, DatastoreAdmin, DatastoreContext } from "holdfast/datastore"
import { DurableNode, DurableServer, PostgresStorage } from "holdfast/durable"
import { Member } from "holdfast/member"
import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"
import { secret, unique } from "../datastore/support.ts"

class Counter extends DurableServer.make("TogetherCounter", {
  state: Schema.Struct({ count: Schema.Int }),
  protocol: [Rpc.make("Add", { payload: { by: Schema.Int }, success: Schema.Int })]
}) {}

const CounterLive = Counter.toLayer({
  init: () => ({ count: 0 }),
  handlers: {
    Add: ({ payload, reply, state }) => reply(state.count + payload.by, { count: state.count + payload.by })
  }
})

const Server = EmbeddedPostgres.layer({ settings: { fsync: "off" } })

layer(Layer.merge(Server, Logger.layer([])), { excludeTestServices: true, timeout: 60_000 })("a datastore", (it) => {
  it.effect("carries durable servers under a login role, through a restart of its server and a new password", () =>
    Effect.gen(function*() {
      const server = yield* EmbeddedPostgres.EmbeddedPostgres
      const name = unique("together")
      const options = {
        databaseName: name,
        dbServer: { host: server.host, port: server.port },
        owner: { databaseRole: `${name}_owner` },
        contexts: { app: { databaseRole: `${name}_app`, databasePassword: secret() } }
      }
      const admin = Context.get(
        yield* Layer.build(
          DatastoreAdmin.layer({
            ...options,
            admin: { databaseRole: server.username, databasePassword: server.password }
          })
        ),
        DatastoreAdmin.DatastoreAdmin
      )
      yield* admin.create
      yield* admin.upgrade([Member.migrations, PostgresStorage.migrations])
      const Live = CounterLive.pipe(
        Layer.provideMerge(DurableNode.layerPostgres),
        Layer.provide(DatastoreContext.layer("app")),
        Layer.provideMerge(Datastore.layer(options))
      )
      yield* Effect.gen(function*() {
        const datastore = yield* Datastore.Datastore
        const counter = yield* Counter.client()
        const add = counter("a").call.Add({ by: 1 })
        const patiently = Effect.retry(add, { schedule: Schedule.spaced("100 millis"), times: 100 })
        assert.strictEqual(yield* add, 1)
        yield* server.restart("immediate")
        const second = yield* patiently
        assert.isAtLeast(second, 2)
        const next = Redacted.make("the next password")
        yield* admin.rotatePassword("app", next)
        yield* datastore.restartContext("app", { databasePassword: next, within: "1 second" })
        yield* server.restart("immediate")
        // The node's own connections are opened anew with the password that the context has now.
        assert.isAtLeast(yield* patiently, second + 1)
      }).pipe(Effect.provide(Live))
    }))
})
