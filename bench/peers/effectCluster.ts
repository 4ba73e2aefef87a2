/**
 * Effect Cluster: an entity whose messages are persisted and whose handler, state change and reply share one SQL transaction
 * (`ClusterSchema.Persisted` and `WithTransaction`), on the same driver as ours. The state stays in the entity's memory, and is
 * written by one statement; the entity handles one message at a time, which is its default and what ours does.
 *
 * A pool of 20 connections did best of 10, 20 and 32 on two cores. Calls are made in the runner's own process (`SingleRunner`),
 * with the serialization of remote messages not simulated. Casts come from a process that is a client only, over the socket
 * transport with storage in SQL, and discard their replies: they resolve once the message is stored.
 */
import { NodeClusterSocket, NodeCrypto } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Option, Schema } from "effect"
import { ClusterSchema, Entity, RunnerAddress, SingleRunner } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { SqlClient } from "effect/sql"
import { type AddressInfo, createServer } from "node:net"
import { type Case, type CastCase, type Database, pad, type State } from "../Case.ts"
import { once } from "../load.ts"

const Add = Rpc.make("Add", { payload: { by: Schema.Int, sentAt: Schema.Int }, success: Schema.Int })
  .annotate(ClusterSchema.Persisted, true)
  .annotate(ClusterSchema.WithTransaction, true)

const Counter = Entity.make("Counter", [Add])

const counterLive = (handled: (sentAt: number) => void) =>
  Counter.toLayer(Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const { entityId } = yield* Entity.CurrentAddress
    const [row] = yield* Effect.orDie(
      sql<{ readonly state: string }>`select state from bench_entity where id = ${entityId}`
    )
    const stored: State = row === undefined ? { count: 0, pad } : JSON.parse(row.state) as State
    let state = stored
    return Counter.of({
      // What is here is run when the message has its turn; the function itself is called when it arrives.
      Add: Effect.fnUntraced(function*({ payload }) {
        const next: State = { count: state.count + payload.by, pad }
        yield* sql`insert into bench_entity (id, state) values (${entityId}, ${JSON.stringify(next)})
                   on conflict (id) do update set state = excluded.state`
        state = next
        handled(payload.sentAt)
        return next.count
      }, Effect.orDie)
    })
  }))

const prepare = ({ observer }: Database) =>
  Effect.orDie(Effect.asVoid(
    observer.query("create table bench_entity (id text primary key, state text not null) with (fillfactor = 50)")
  ))

const stored = ({ observer }: Database) =>
  Effect.orDie(Effect.map(
    observer.queryValues("select coalesce(sum((state::json->>'count')::float8), 0) from bench_entity"),
    ([row]) => Number(row?.[0])
  ))

const client = ({ url }: Database) => Layer.orDie(PgClient.layer({ url, maxConnections: 20 }))
const keyOf = (server: number) => `counter-${server}`

export const calls: Case = {
  open: Effect.fnUntraced(function*(database) {
    yield* prepare(database)
    const context = yield* Layer.build(
      counterLive(() => {}).pipe(
        Layer.provideMerge(SingleRunner.layer({ shardingConfig: { simulateRemoteSerialization: false } })),
        Layer.provideMerge(client(database)),
        Layer.provide(NodeCrypto.layerDigest),
        Layer.orDie
      )
    )
    const of = yield* Effect.provide(Counter.client, context)
    return {
      operations: { call: once((server) => Effect.orDie(of(keyOf(server)).Add({ by: 1, sentAt: 0 }))) },
      stored: stored(database)
    }
  })
}

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

export const casts: CastCase = {
  prepare,
  receive: Effect.fnUntraced(function*(database, _, handled) {
    const address = RunnerAddress.make("127.0.0.1", yield* freePort)
    yield* Layer.build(
      counterLive(handled).pipe(
        Layer.provideMerge(NodeClusterSocket.layer({
          storage: "sql",
          shardingConfig: { runnerAddress: Option.some(address), simulateRemoteSerialization: false }
        })),
        Layer.provideMerge(client(database)),
        Layer.orDie
      )
    )
  }),
  send: Effect.fnUntraced(function*(database) {
    const context = yield* Layer.build(
      NodeClusterSocket.layer({ storage: "sql", clientOnly: true }).pipe(
        Layer.provideMerge(client(database)),
        Layer.orDie
      )
    )
    const of = yield* Effect.provide(Counter.client, context)
    return (server, sentAt) => Effect.orDie(Effect.asVoid(of(keyOf(server)).Add({ by: 1, sentAt }, { discard: true })))
  }),
  stored
}
