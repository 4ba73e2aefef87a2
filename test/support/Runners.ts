/**
 * Runners of an Effect Cluster for tests, several to a process or one: they talk by sockets on loopback, and share out the shards
 * by the locks of a Postgres, as in production. Only what takes them long to notice is shorter.
 */
import { NodeClusterSocket } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Duration, Effect, Layer, Option, type Redacted } from "effect"
import { RunnerAddress } from "effect/cluster"
import { createServer } from "node:net"

/** For how long a runner has its shards without a sign of it. */
export const expiration = Duration.seconds(4)

/** How many shards there are. */
export const shards = 30

/** A port that nobody listens on. */
export const freePort: Effect.Effect<number> = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** The sharding of a runner of its own, with a client of its own. Its entities may take long to end. */
export const layer = ({ port, url }: { readonly url: Redacted.Redacted; readonly port: number }) =>
  NodeClusterSocket.layer({
    storage: "sql",
    shardingConfig: {
      runnerAddress: Option.some(new RunnerAddress.RunnerAddress({ host: "127.0.0.1", port })),
      shardsPerGroup: shards,
      shardLockExpiration: expiration,
      refreshAssignmentsInterval: 100,
      entityMessagePollInterval: 100,
      runnerHealthCheckInterval: 1000,
      sendRetryInterval: 50,
      entityTerminationTimeout: "10 minutes"
    }
  }).pipe(Layer.provide(PgClient.layer({ url, maxConnections: 4 })), Layer.orDie)
