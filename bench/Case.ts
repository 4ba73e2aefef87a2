/**
 * What is measured, seen from the outside: servers that count, each with a state of 200 bytes, and one operation on them, a
 * durable call that adds one, waits until that is on disk, and answers the new count. Every case is an implementation of
 * this; who calls, how often and how long it takes is the business of `measure.ts`.
 */
import type { PgConnection } from "@effect/sql-pg"
import type { Effect, Redacted, Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import type { DurableServerError } from "./holdfast.ts"

export type CallError = SqlError | DurableServerError.DurableServerError

/** The state of every server in every case: 200 bytes as JSON while the count has six digits. */
export interface State {
  readonly count: number
  readonly pad: string
}

export const pad = "x".repeat(175)

/** A database for one run, gone after it. */
export interface Database {
  readonly url: Redacted.Redacted
  /** A connection that measures and prepares, and takes no part in what is measured. */
  readonly observer: PgConnection.PgConnection
}

/** A case that is ready to be called. It stays open for the whole run; its rounds alternate with those of the others. */
export interface Session {
  /** Adds one to the server of that number and answers its count, after the commit. */
  readonly call: (server: number) => Effect.Effect<number, CallError>
  /** The sum of all counts, as stored: as many as calls were answered, or something is wrong. */
  readonly total: Effect.Effect<number, CallError>
}

export interface Case {
  readonly name: string
  /** What it is, in a line. */
  readonly title: string
  /** Whether it belongs to a run that names no case. */
  readonly byDefault: boolean
  /** The highest concurrency that makes sense for it. */
  readonly maxConcurrency: number
  readonly open: (database: Database, servers: number) => Effect.Effect<Session, CallError, Scope.Scope>
}
