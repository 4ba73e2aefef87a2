/**
 * Whatever is asked of a store in Postgres beside appends: each a function of the store's schema, which may be called twice
 * without harm, and is called again while the connection is the trouble.
 *
 * A store that was removed has no such schema any more, and so says every one of them. Those who wait no longer than they may
 * are told why; a caller who goes away leaves the statement to end by itself, since ending it would cost the connection.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import { errorText, sqlState } from "../../../datastore/internal/sqlState.ts"
import type * as Member from "../../../member/Member.ts"
import { type EventStoreError, StoreNotFound, StoreUnavailable } from "../../EventStoreError.ts"
import { failure } from "../checks.ts"
import { schemaOf } from "./groups.ts"
import { type Row, text } from "./parameters.ts"

type Rows = ReadonlyArray<Row>

export interface Reader {
  /** Calls a function of the store: `SELECT columns FROM call`. */
  readonly call: (
    store: string,
    operation: string,
    columns: string,
    call: string,
    params: ReadonlyArray<unknown>
  ) => Effect.Effect<Rows, EventStoreError>
  /** As it is, for what is about no single store. */
  readonly ask: (
    store: string,
    operation: string,
    sql: string,
    params: ReadonlyArray<unknown>
  ) => Effect.Effect<Rows, EventStoreError>
  /** Makes sure that the store is there, and that this role may work with it. Gives what it was made with. */
  readonly open: (store: string) => Effect.Effect<string, EventStoreError>
}

export const make = (
  { engine, timeoutMillis, trouble }: {
    readonly engine: Member.Engine
    readonly timeoutMillis: number
    readonly trouble: () => string | undefined
  },
  scope: Scope.Scope
): Reader => {
  const opened = new Set<string>()

  const ask: Reader["ask"] = (store, operation, sql, params) => {
    const unavailable = (detail: string) => failure(new StoreUnavailable({ store, operation, detail, mayBeDone: true }))
    const answered = engine.query(sql, params).pipe(
      Effect.mapError((error: SqlError) => {
        if (sqlState(error) !== "3F000") return unavailable(errorText(error))
        opened.delete(store)
        return failure(new StoreNotFound({ store }))
      }),
      Effect.timeoutOrElse({
        duration: Duration.millis(timeoutMillis),
        orElse: () =>
          Effect.suspend(() => Effect.fail(unavailable(trouble() ?? `no answer within ${timeoutMillis} ms`)))
      })
    )
    return Effect.flatMap(
      Effect.forkIn(answered, scope, { startImmediately: true }),
      (fiber) =>
        Effect.flatMap(Fiber.await(fiber), (exit) =>
          Exit.isFailure(exit) && Exit.hasInterrupts(exit)
            ? Effect.fail(unavailable("the store was closed"))
            : exit)
    )
  }

  const open: Reader["open"] = (store) =>
    Effect.gen(function*() {
      const [row] = yield* ask(store, "open", "SELECT holdfast.open_event_store($1)", [text(store)])
      const config = row?.[0]
      if (typeof config !== "string") return yield* failure(new StoreNotFound({ store }))
      opened.add(store)
      return config
    })

  return {
    ask,
    open,
    call: (store, operation, columns, call, params) => {
      const asked = Effect.suspend(() =>
        ask(store, operation, `SELECT ${columns} FROM ${schemaOf(store)}.${call}`, params)
      )
      return opened.has(store) ? asked : Effect.andThen(open(store), asked)
    }
  }
}
