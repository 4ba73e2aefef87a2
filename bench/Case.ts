/**
 * What is measured, seen from the outside. A *work* (a durable call, a cast, an append) is done by several *cases*: Holdfast,
 * what users would pick instead, and floors without any library. Every case is an implementation of what is said here; who calls,
 * how often and how long it takes is the business of `measure.ts`, and each case lives in a process of its own (`subject.ts`).
 *
 * The work is always the same: servers that count, each with a state of 200 bytes as JSON, or events of 200 bytes.
 */
import type { PgConnection } from "@effect/sql-pg"
import type { Effect, Redacted, Scope } from "effect"

/** The state of every server in every case: 200 bytes as JSON while the count has six digits. */
export interface State {
  readonly count: number
  readonly pad: string
}

export const pad = "x".repeat(175)

/** A database for one case, gone after it. */
export interface Database {
  readonly url: Redacted.Redacted
  /** A connection that measures and prepares, and takes no part in what is measured. */
  readonly observer: PgConnection.PgConnection
}

/** What is asked of a case: so many servers, so many callers at once, for so long. */
export interface Load {
  readonly servers: number
  readonly concurrency: number
  /** How long it runs before the clock does, in milliseconds. */
  readonly warmMillis: number
  /** How long is measured, in milliseconds. */
  readonly sampleMillis: number
}

/** Processor time and transactions are counted between these two; each operation is to call both, once. */
export interface Meter {
  readonly begin: Effect.Effect<void>
  readonly end: Effect.Effect<void>
}

export interface Figures {
  readonly perSecond: number
  /** Of the latencies seen, in milliseconds; not a number where there are none. */
  readonly p50Millis: number
  readonly p99Millis: number
  /** How many operations lie between the two marks of the meter. */
  readonly measured: number
  /** How many rows, counts or events this has added, as answered, warming up included. Nothing for what only reads. */
  readonly answered: number
}

/** One kind of operation, put under load. `once` makes one of a single call. */
export type Operation = (load: Load, meter: Meter) => Effect.Effect<Figures>

/** A process that does part of the work, beside the one in which the case lives. */
export interface Helper {
  readonly pid: number
  /** `client` for what runs the user's code, `server` for what stores. */
  readonly side: "client" | "server"
}

/** A case that is ready to be measured. It stays open for all rounds, which alternate with those of the others. */
export interface Session {
  readonly operations: Readonly<Record<string, Operation>>
  /** What is stored, in all: as much as was answered, or something is wrong. */
  readonly stored: Effect.Effect<number>
  readonly helpers?: ReadonlyArray<Helper>
}

/**
 * A way to do a work. What fails in a case is a defect: a benchmark that goes on after an error would tell nothing. `servers` is
 * how many there will be at most.
 */
export interface Case {
  readonly open: (database: Database, servers: number) => Effect.Effect<Session, never, Scope.Scope>
}

/** A way to send messages from one process and handle them in another, until it is stored that they were. See `casts.ts`. */
export interface CastCase {
  /** What has to be there before either process starts, such as tables and queues. */
  readonly prepare: (database: Database, servers: number) => Effect.Effect<void, never, Scope.Scope>
  /**
   * The process that handles: adds one to the server's count and says so. `sentAt` is that of the message. Where a message says
   * when it was sent, `handled` is to be called once its effect is committed.
   */
  readonly receive: (
    database: Database,
    servers: number,
    handled: (sentAt: number) => void
  ) => Effect.Effect<{ readonly helpers?: ReadonlyArray<Helper> } | void, never, Scope.Scope>
  /** The process that sends: each send resolves once the message is durable. Zero stands for a time that is not of interest. */
  readonly send: (
    database: Database,
    servers: number
  ) => Effect.Effect<(server: number, sentAt: number) => Effect.Effect<void>, never, Scope.Scope>
  /** The sum of all counts, as stored. */
  readonly stored: (database: Database) => Effect.Effect<number>
}
