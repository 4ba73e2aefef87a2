/**
 * All cases of all works, by name: what each is, what it promises beyond or short of the others, and what was chosen for it. The
 * code of a case, and with it the packages of a peer, are loaded only in the process that runs it.
 */
import type { Case, CastCase } from "./Case.ts"

export type WorkName = "calls" | "casts" | "events"

export interface Cell {
  readonly operation: string
  readonly servers: number
  readonly concurrency: number
}

export interface Entry {
  readonly work: WorkName
  readonly name: string
  /** What it is, in a line. */
  readonly title: string
  /** What was chosen, for whoever knows it. Empty for our own. */
  readonly settings: string
  /** Where it promises more or less than the others of its work, in words. */
  readonly promises: string
  /** Packages whose versions belong into a report. */
  readonly packages: ReadonlyArray<string>
  /** Whether it belongs to a run that names no case. */
  readonly byDefault: boolean
  /** Whether it takes part there; everywhere when absent. An operation that it does not have is left out anyway. */
  readonly covers?: (cell: Cell) => boolean
  /** The case, or, for casts, its two sides. */
  readonly load: () => Promise<Case | CastCase>
}

/** Beyond that they get no faster, and a run would only take longer. */
const upTo64 = ({ concurrency }: Cell) => concurrency <= 64

const alone = ({ concurrency, servers }: Cell) => concurrency === 1 && servers === 1

const holdfastPromises =
  "Exactly one transition for each message, strictly serializable per server, first in, first out, whatever crashes."

const calls: ReadonlyArray<Entry> = [
  {
    work: "calls",
    name: "row",
    title: "floor: a bare commit of a single row, one statement each",
    settings: "one connection of @effect/sql-pg",
    promises: "Nothing but the row.",
    packages: [],
    byDefault: true,
    covers: alone,
    load: async () => (await import("./cases/row.ts")).row
  },
  {
    work: "calls",
    name: "pgbench",
    title: "floor: pgbench, single-row commits of Postgres's own load generator in C",
    settings: "-M prepared, a connection per caller",
    promises: "Nothing but the rows. No reply beyond the new count.",
    packages: [],
    byDefault: true,
    load: async () => (await import("./cases/pgbench.ts")).pgbench
  },
  {
    work: "calls",
    name: "bare",
    title: "floor: a bare group-commit loop over the driver, no library",
    settings: "one connection of @effect/sql-pg",
    promises: "One process only; what became of a lost answer is not known.",
    packages: [],
    byDefault: true,
    load: async () => (await import("./cases/bareLoop.ts")).bareLoop
  },
  {
    work: "calls",
    name: "holdfast",
    title: "holdfast calls, through the public API",
    settings: "",
    promises: holdfastPromises,
    packages: [],
    byDefault: true,
    load: async () => (await import("./cases/holdfast.ts")).holdfast
  },
  {
    work: "calls",
    name: "memory",
    title: "holdfast calls with storage in memory: the library alone, nothing durable",
    settings: "",
    promises: "Nothing survives.",
    packages: [],
    byDefault: false,
    load: async () => (await import("./cases/holdfast.ts")).memory
  },
  {
    work: "calls",
    name: "remote",
    title: "holdfast calls of servers that run in another process",
    settings: "",
    promises: holdfastPromises,
    packages: [],
    byDefault: false,
    load: async () => (await import("./cases/remote.ts")).remote
  },
  {
    work: "calls",
    name: "accepted",
    title: "holdfast casts to servers that run in another process, counted when they are in line",
    settings: "",
    promises: holdfastPromises,
    packages: [],
    byDefault: false,
    load: async () => (await import("./cases/remote.ts")).accepted
  },
  {
    work: "calls",
    name: "effect-cluster",
    title: "Effect Cluster: a persisted entity whose state is a row, written in the transaction of its reply",
    settings:
      "SingleRunner; ClusterSchema.Persisted and WithTransaction; no simulated serialization; 20 connections; state kept in memory, written by one statement",
    promises:
      "The same atomicity of state and reply on Postgres. A message is stored before it is handled and its reply after, and both stay in the tables: it could be deduplicated and looked up later, where ours are gone once answered. A handler is retried when its process dies.",
    packages: ["effect"],
    byDefault: true,
    covers: upTo64,
    load: async () => (await import("./peers/effectCluster.ts")).calls
  },
  {
    work: "calls",
    name: "restate",
    title: "Restate: virtual objects with state in Restate, called over its HTTP ingress",
    settings:
      "the server of the npm package on the same disk, fsync of its log on (its default), 4 partitions, endpoint and caller in one Node process over HTTP/2 and kept-alive HTTP/1.1",
    promises:
      "Durable in a log and a RocksDB of its own, not in Postgres: state does not commit with rows of the application. It journals every step of a handler and resumes it after a crash, which ours does not; the server is a second system to run.",
    packages: ["@restatedev/restate-server", "@restatedev/restate-sdk", "@restatedev/restate-sdk-clients"],
    byDefault: true,
    covers: upTo64,
    load: async () => (await import("./peers/restate.ts")).calls
  },
  {
    work: "calls",
    name: "dbos",
    title: "DBOS: a workflow with one step that changes a row",
    settings:
      "two pools of 20 connections, log level error, tracing off; the step is one autocommitted UPDATE ... RETURNING",
    promises:
      "The workflow is resumed after a crash and its outcome kept; the step may run twice when the crash falls between its commit and its record, so the count is at least once. Servers are rows: nothing orders two workflows but the row's lock.",
    packages: ["@dbos-inc/dbos-sdk"],
    byDefault: true,
    covers: upTo64,
    load: async () => (await import("./peers/dbos.ts")).calls
  },
  {
    work: "calls",
    name: "emmett",
    title: "emmett: CommandHandler, which reads a stream, decides and appends",
    settings:
      "a pool of 20 connections; version conflicts retried until they pass, 1 to 10 ms apart; a stream is left for a new one after 20 events, so that reading it stays cheap",
    promises:
      "Keeps every event, which ours does not. The caller's answer is not stored: after a lost connection it has to look. Writers of one stream conflict and retry.",
    packages: ["@event-driven-io/emmett", "@event-driven-io/emmett-postgresql"],
    byDefault: true,
    covers: upTo64,
    load: async () => (await import("./peers/emmett.ts")).calls
  }
]

const casts: ReadonlyArray<Entry> = [
  {
    work: "casts",
    name: "holdfast",
    title: "holdfast casts to servers in another process",
    settings: "",
    promises: holdfastPromises,
    packages: [],
    byDefault: true,
    load: async () => (await import("./cases/casts.ts")).casts
  },
  {
    work: "casts",
    name: "effect-cluster",
    title: "Effect Cluster: persisted messages, discarded replies, to a runner in another process",
    settings:
      "NodeClusterSocket with SQL storage on both sides, the sender clientOnly; Persisted and WithTransaction; 20 connections",
    promises:
      "Exactly one effect for each message where it is written by the same transaction, in the order of a shard.",
    packages: ["effect", "@effect/platform-node"],
    byDefault: true,
    load: async () => (await import("./peers/effectCluster.ts")).casts
  },
  {
    work: "casts",
    name: "restate",
    title: "Restate: one-way sends to virtual objects over the ingress",
    settings: "as for calls; the endpoint in a process of its own",
    promises:
      "Exactly one effect for each accepted send on Restate's own state, in the order of a key; not in Postgres.",
    packages: ["@restatedev/restate-server", "@restatedev/restate-sdk", "@restatedev/restate-sdk-clients"],
    byDefault: true,
    load: async () => (await import("./peers/restate.ts")).casts
  },
  {
    work: "casts",
    name: "dbos",
    title: "DBOS: workflows enqueued by DBOSClient, one step that changes a row",
    settings: "a partitioned queue, one workflow at a time for each key; polled every 10 ms; pools of 20 connections",
    promises: "Resumed after a crash, the step at least once. Serial per key, as ours.",
    packages: ["@dbos-inc/dbos-sdk"],
    byDefault: true,
    load: async () => (await import("./peers/dbos.ts")).casts
  },
  {
    work: "casts",
    name: "emmett",
    title: "emmett: events appended by one process, handled by a reactor in another",
    settings:
      "pulled 1,000 at a time, every 10 ms while there are more; counts written in the transaction of the checkpoint, by stream position",
    promises:
      "Keeps every event. One reactor handles all keys in their order; it polls, up to a second apart, and may meet an event twice where writers overlap, so that its handler has to be idempotent.",
    packages: ["@event-driven-io/emmett", "@event-driven-io/emmett-postgresql"],
    byDefault: true,
    load: async () => (await import("./peers/emmett.ts")).casts
  },
  {
    work: "casts",
    name: "pg-boss",
    title: "pg-boss: jobs, fetched in batches",
    settings:
      "standard policy, LISTEN/NOTIFY on, 2 workers that fetch batches of 200 while they come back full; transactional: a batch's counts and its completion are one commit",
    promises:
      "One effect for each job, but in no order and not serial per key, which ours is (its policy that is, key_strict_fifo, handles a few jobs of a hot key each second). Keeps finished jobs for a while.",
    packages: ["pg-boss"],
    byDefault: true,
    load: async () => (await import("./peers/pgBoss.ts")).casts
  },
  {
    work: "casts",
    name: "graphile-worker",
    title: "graphile-worker: jobs in a named queue for each key",
    settings:
      "16 jobs at once, a pool of 20 connections, LISTEN/NOTIFY, polled every 50 ms; no local queue and no batched completions, which are slower with named queues",
    promises: "Serial per key, as ours. A job and its completion are two commits: at least once.",
    packages: ["graphile-worker"],
    byDefault: true,
    load: async () => (await import("./peers/graphileWorker.ts")).casts
  }
]

const events: ReadonlyArray<Entry> = [
  {
    work: "events",
    name: "bare",
    title: "floor: a bare grouped insert into a table of the same shape, no checks",
    settings: "one connection of @effect/sql-pg",
    promises: "No versions, no checks.",
    packages: [],
    byDefault: true,
    load: async () => (await import("./cases/bareEvents.ts")).bareEvents
  },
  {
    work: "events",
    name: "holdfast",
    title: "holdfast's event store, through the public API",
    settings: "",
    promises:
      "Dense versions and dense positions, in the order of commits; one owner for each persistent subscription.",
    packages: [],
    byDefault: true,
    load: async () => (await import("./cases/holdfastEvents.ts")).holdfastEvents
  },
  {
    work: "events",
    name: "emmett",
    title: "emmett: the PostgreSQL event store and its consumer",
    settings:
      "a pool of 20 connections; the consumer pulls 1,000 events at a time, every 10 ms while there are more (its defaults: 100, 50 ms)",
    promises: "Dense versions; positions from a sequence, with gaps. Inline projections, which ours does not have.",
    packages: ["@event-driven-io/emmett", "@event-driven-io/emmett-postgresql"],
    byDefault: true,
    load: async () => (await import("./peers/emmett.ts")).events
  },
  {
    work: "events",
    name: "castore",
    title: "castore: its Postgres adapter",
    settings:
      "its own pool of ten connections, which cannot be set; versions are the caller's to know, so one stream has one writer",
    promises: "A version is taken once; nobody checks that there is one before it. No positions, no subscriptions.",
    packages: ["@castore/core", "@castore/event-storage-adapter-postgres"],
    byDefault: true,
    load: async () => (await import("./peers/castore.ts")).events
  }
]

export const entries: ReadonlyArray<Entry> = [...calls, ...casts, ...events]

export const entryOf = (work: string, name: string): Entry => {
  const entry = entries.find((one) => one.work === work && one.name === name)
  if (entry === undefined) throw new Error(`there is no case ${name} of ${work}`)
  return entry
}
