/**
 * A transaction in Postgres that a handler opens for SQL of its own, and that its step is committed in.
 *
 * It lives in a fiber of its own, on one connection of the client's pool: what the handler runs in it is handed over to that
 * fiber, one effect after the other, each in a savepoint; the last thing it is handed is the statement that commits the step.
 * If that statement refuses the step, or anything fails, everything is rolled back.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as SqlClient from "effect/sql/SqlClient"
import { ConnectionError, SqlError } from "effect/sql/SqlError"
import * as Tracer from "effect/Tracer"
import { withTransaction } from "../../../datastore/internal/lostConnection.ts"
import type { Row, Sent } from "../../../member/internal/lane.ts"
import type { OpenTransaction } from "../../DurableStorage.ts"

/** The settings of the engine's own connections, for what the engine does in somebody else's transaction. */
const pinned = `
SELECT set_config('jit', 'off', true), set_config('enable_hashjoin', 'off', true),
  set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true),
  set_config('plan_cache_mode', 'force_generic_plan', true), set_config('lock_timeout', '5s', true),
  set_config('idle_in_transaction_session_timeout', '5s', true)`

/** The statement that commits the step refused it: this transaction is to be rolled back. */
class StepRefused {
  readonly _tag = "StepRefused"
  readonly row: Row | undefined
  constructor(row: Row | undefined) {
    this.row = row
  }
}

/** How a transaction's fiber is spoken to. */
interface Ways {
  readonly client: PgClient.PgClient
  /** Runs an effect in it, in a savepoint: what fails in it is undone alone. */
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  /** Runs the statement that decides, and ends the transaction. */
  readonly send: (sql: string, params: ReadonlyArray<unknown>) => Effect.Effect<Sent, SqlError>
  readonly close: Effect.Effect<void>
}

export class PostgresTransaction implements OpenTransaction, Ways {
  readonly client: Ways["client"]
  readonly run: Ways["run"]
  readonly send: Ways["send"]
  readonly close: Ways["close"]
  constructor(ways: Ways) {
    this.client = ways.client
    this.run = ways.run
    this.send = ways.send
    this.close = ways.close
  }
}

type Task =
  | { readonly _tag: "Run"; readonly run: (joining: Context.Context<never>) => Effect.Effect<void> }
  | { readonly _tag: "Send"; readonly sql: string; readonly params: ReadonlyArray<unknown> }

/** How long the end of a transaction may take, on a connection that the engine does not watch over. */
const longest = "30 seconds"

const notAnswered = (): SqlError =>
  new SqlError({
    reason: new ConnectionError({
      cause: new Error("no answer in time"),
      message: `a transaction was not answered within ${longest}`,
      operation: "commit"
    })
  })

/** Begins with an empty context, so that what it adds to that is what makes statements join the transaction. */
const beginning = Context.make(SqlClient.BeginTransaction, "BEGIN ISOLATION LEVEL READ COMMITTED")

export const open = (client: PgClient.PgClient): Effect.Effect<PostgresTransaction> =>
  Effect.gen(function*() {
    const tasks = yield* Queue.unbounded<Task>()
    const held: Effect.Effect<Row | undefined, SqlError | StepRefused> = Effect.gen(function*() {
      const joining = Context.omit(Tracer.ParentSpan)(yield* Effect.context<never>())
      for (;;) {
        const task = yield* Queue.take(tasks)
        if (task._tag === "Run") {
          yield* task.run(joining)
          continue
        }
        yield* client.unsafe(pinned).values
        const [row] = yield* client.unsafe(task.sql, task.params).values
        const refused = row?.[0]
        if (!Array.isArray(refused) || refused.length > 0) return yield* Effect.fail(new StepRefused(row))
        return row
      }
    })
    const fiber = Effect.runForkWith(beginning)(withTransaction(client)(held))
    /** Where the transaction ends before an effect that was handed over does, that effect has failed with it. */
    const unlessEnded = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
      Effect.raceFirst(
        effect,
        Effect.andThen(Fiber.join(fiber), Effect.never).pipe(Effect.catchTag("StepRefused", () => Effect.never))
      )
    return new PostgresTransaction({
      client,
      run: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.contextWith((context: Context.Context<R>) =>
          Effect.gen(function*() {
            const done = yield* Deferred.make<A, E | SqlError>()
            const run = (joining: Context.Context<never>) =>
              withTransaction(client)(effect).pipe(
                Effect.provideContext(Context.merge(context, joining)),
                Effect.exit,
                Effect.flatMap((exit) => Deferred.done(done, exit)),
                Effect.asVoid
              )
            yield* Queue.offer(tasks, { _tag: "Run", run })
            return yield* unlessEnded(Deferred.await(done))
          })
        ),
      send: (sql, params) =>
        Effect.andThen(
          Queue.offer(tasks, { _tag: "Send", sql, params }),
          Fiber.join(fiber)
        ).pipe(
          // All commits of the process wait for this one: what is not answered in time counts as lost, and is decided anew.
          Effect.timeoutOrElse({
            duration: longest,
            orElse: () => Effect.andThen(Effect.forkDetach(Fiber.interrupt(fiber)), Effect.fail(notAnswered()))
          }),
          Effect.map((row): Sent => ({ row, committed: true })),
          Effect.catchTag("StepRefused", ({ row }) => Effect.succeed<Sent>({ row, committed: false }))
        ),
      close: Effect.asVoid(Fiber.interrupt(fiber))
    })
  })
