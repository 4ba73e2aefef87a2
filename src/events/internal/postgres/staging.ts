/**
 * Appends inside a transaction of the caller's: they are part of it, and are there when it has committed.
 *
 * The stream is locked and its versions are given at once, so a wrong expectation is told at once. Positions are given when
 * the transaction commits, by one trigger however much was appended: until then nobody else waits for it but those who append
 * to the same streams.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { SqlError } from "effect/sql/SqlError"
import { errorText, sqlState } from "../../../datastore/internal/sqlState.ts"
import { expectedNumber } from "../../../durable/internal/postgres/appends.ts"
import { type EventStoreError, IsolationNotSupported, StoreNotFound, StoreUnavailable } from "../../EventStoreError.ts"
import { failure } from "../checks.ts"
import type { Append } from "../storage.ts"
import { schemaOf, type Verdict } from "./groups.ts"
import { columns, int8, text } from "./parameters.ts"

/** Whether a fiber is in a transaction of this client. */
export const isInTransaction = (client: PgClient.PgClient, fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  Context.getOrUndefined(fiber.context, client.transactionService) !== undefined

interface Staged {
  readonly why: string | null
  readonly version: number
  readonly known_id: string | null
  readonly known_stream: string | null
  readonly known_version: number | null
}

const failed = (store: string) => (error: SqlError): EventStoreError =>
  sqlState(error) === "3F000"
    ? failure(new StoreNotFound({ store }))
    : failure(
      new StoreUnavailable({ store, operation: "appendEvents", detail: errorText(error), mayBeDone: false })
    )

export const stage = (
  client: PgClient.PgClient,
  store: string,
  { eventStreamId, events, expectedVersion }: Append,
  committed: Effect.Effect<void>
): Effect.Effect<Verdict, EventStoreError> =>
  Effect.gen(function*() {
    const sql = client.withoutTransforms()
    const [row] = yield* sql.unsafe<Staged>(
      `SELECT why, version::float8, known_id, known_stream, known_version::float8
       FROM ${schemaOf(store)}.stage_events($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      [text(eventStreamId), int8(expectedNumber(expectedVersion)), ...columns(events)]
    ).pipe(Effect.mapError(failed(store)))
    const verdict = verdictOf(row)
    if (typeof verdict === "string") {
      return yield* failure(new IsolationNotSupported({ store, eventStreamId, isolation: verdict }))
    }
    if (verdict._tag === "Done") yield* client.afterCommit(committed)
    return verdict
  })

/** What became of it, or the isolation level under which nothing can. */
const verdictOf = (row: Staged | undefined): Verdict | string => {
  const version = Number(row?.version)
  switch (row?.why) {
    case undefined:
      return { _tag: "Again" }
    case null:
      return { _tag: "Done", version }
    case "deleted":
      return { _tag: "Deleted" }
    case "version":
      return { _tag: "WrongVersion", version }
    case "known":
      return {
        _tag: "Known",
        eventId: row?.known_id ?? "",
        stream: row?.known_stream ?? "",
        version: Number(row?.known_version)
      }
    default:
      return (row?.why ?? "").replace("isolation ", "")
  }
}
