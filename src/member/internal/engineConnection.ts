/**
 * A connection of the engine's own, with its settings pinned, that is opened again whenever it was lost.
 *
 * The roles and databases it meets may have any defaults. Some would break promises silently (`synchronous_commit = off`,
 * another isolation level), some would cost most of the speed (JIT, plans that do not visit rows in their order), so none of
 * them is left to chance.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { ConnectionError, SqlError } from "effect/sql/SqlError"
import { isConnectionLost } from "../../datastore/internal/lostConnection.ts"
import { errorText, sqlState } from "../../datastore/internal/sqlState.ts"

/** What the engine needs of its sessions, whatever the defaults of the role and the database. */
const pinned = (settings: Settings): Readonly<Record<string, string>> => ({
  synchronous_commit: settings.durable ? "on" : "off",
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  jit: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  enable_seqscan: "off",
  plan_cache_mode: "force_generic_plan",
  statement_timeout: String(settings.statementMillis),
  lock_timeout: String(settings.lockMillis),
  idle_in_transaction_session_timeout: String(settings.statementMillis),
  search_path: "pg_catalog"
})

export interface Settings {
  /** What the session is for, as `pg_stat_activity` shows it. */
  readonly name: string
  /** Whether a commit waits for the disk. */
  readonly durable: boolean
  readonly statementMillis: number
  readonly lockMillis: number
  /** Whether a statement is sent although others are under way: they are worked off one after the other all the same. */
  readonly pipelined: boolean
}

/** The connection settings of a client, for a session of our own. */
const sessionConfig = (config: PgClient.PgClientConfig, settings: Settings): PgConnection.Config => ({
  url: config.url,
  host: config.host,
  port: config.port,
  path: config.path,
  ssl: config.ssl,
  database: config.database,
  username: config.username,
  password: config.password,
  connectTimeout: config.connectTimeout,
  keepAlive: config.keepAlive ?? "10 seconds",
  stream: config.stream,
  startupOptions: config.startupOptions,
  maxMessageSize: 1024 * 1024 * 1024,
  multiplex: settings.pipelined,
  applicationName: `holdfast ${settings.name}`,
  startupParameters: { ...config.startupParameters, ...pinned(settings) }
})

/** A connection that is there again when it is needed again. */
export interface EngineConnection {
  /**
   * Uses the connection, alone unless it is pipelined. When it is found lost, or nothing comes back in time, it is closed, and the
   * next use opens another one. What became of the statement is then unknown.
   */
  readonly use: <A, E>(
    f: (connection: PgConnection.PgConnection) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | SqlError>
  /** Holds the connection, alone, for as long as it lasts. */
  readonly hold: <A, E>(
    f: (connection: PgConnection.PgConnection) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | SqlError>
  /** Why the last attempt to connect failed, until one succeeds. */
  readonly trouble: () => string | undefined
}

/** Waits between attempts to connect: from 20 ms up to a second. */
const reconnecting = Schedule.min([
  Schedule.exponential("20 millis", 2).pipe(Schedule.jittered),
  Schedule.spaced("1 second")
])

export const make = Effect.fnUntraced(function*(
  config: PgClient.PgClientConfig,
  settings: Settings
): Effect.fn.Return<EngineConnection, SqlError, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const one = Semaphore.makeUnsafe(1)
  let current: { readonly connection: PgConnection.PgConnection; readonly scope: Scope.Closeable } | undefined
  let trouble: string | undefined

  const connect = Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const own = yield* Scope.fork(scope)
      const connection = yield* restore(Scope.provide(PgConnection.make(sessionConfig(config, settings)), own)).pipe(
        Effect.onError(() => Scope.close(own, Exit.void))
      )
      current = { connection, scope: own }
      trouble = undefined
      return connection
    })
  ).pipe(
    Effect.tapError((error) =>
      Effect.sync(() => {
        trouble = `the database cannot be reached: ${errorText(error)}`
      })
    )
  )

  /** Closes a connection, unless another one has taken its place. */
  const drop = (connection: PgConnection.PgConnection | undefined) =>
    Effect.suspend(() => {
      const lost = current
      if (lost === undefined || lost.connection !== connection) return Effect.void
      current = undefined
      return Scope.close(lost.scope, Exit.void)
    })

  const connected = Effect.mapError(
    Effect.suspend(() => current === undefined ? connect : Effect.succeed(current.connection)),
    notConnected
  )

  const hold = <A, E>(
    f: (connection: PgConnection.PgConnection) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | SqlError> =>
    one.withPermit(
      Effect.flatMap(connected, (connection) =>
        Effect.onExit(f(connection), (exit) =>
          Exit.isFailure(exit) && !isServersAnswer(exit) ? drop(connection) : Effect.void))
    )

  /** Since when the server has been at what it was given, or at what is left of that. */
  let busySince: number | undefined
  let underWay = 0
  const timed = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      busySince ??= clock.currentTimeMillisUnsafe()
      underWay++
      return Effect.onExit(effect, () => {
        underWay--
        busySince = underWay === 0 ? undefined : clock.currentTimeMillisUnsafe()
        return Effect.void
      })
    })

  const use = <A, E>(
    f: (connection: PgConnection.PgConnection) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | SqlError> =>
    settings.pipelined
      ? Effect.flatMap(one.withPermit(connected), (connection) => {
        const answered = Effect.onExit(timed(f(connection)), (exit) =>
          Exit.isFailure(exit) && !isServersAnswer(exit) ? drop(connection) : Effect.void)
        // Who does not wait any longer leaves it, and the others, be.
        return Effect.flatMap(Effect.forkIn(answered, scope, { startImmediately: true }), Fiber.join)
      })
      : hold((connection) =>
        timed(f(connection))
      )

  // The server ends a statement by itself: one that takes longer has lost its connection. Closing it fails the statement.
  yield* Effect.sleep(Duration.millis(settings.statementMillis / 4)).pipe(
    Effect.andThen(
      Effect.suspend(() =>
        busySince !== undefined && clock.currentTimeMillisUnsafe() - busySince > settings.statementMillis * 1.25
          ? drop(current?.connection)
          : Effect.void
      )
    ),
    Effect.forever,
    Effect.forkScoped
  )

  yield* connect
  return {
    use,
    hold,
    trouble: () => trouble
  }
})

/** Whatever kept us from connecting, a server that is full or still starting too: the connection is the trouble, not the statement. */
const notConnected = (cause: SqlError): SqlError =>
  cause.reason._tag === "ConnectionError"
    ? cause
    : new SqlError({ reason: new ConnectionError({ cause, message: errorText(cause), operation: "connect" }) })

/** Whether this failure is something that the server said on a connection that is still good. */
const isServersAnswer = (exit: Exit.Failure<unknown, unknown>): boolean =>
  exit.cause.reasons.every((reason) =>
    reason._tag === "Fail" && reason.error instanceof SqlError && !isConnectionLost(reason.error)
  )

/**
 * Classes of SQLSTATE that say that the server cannot do it now, whatever it is asked: read-only since a fail-over, a right or
 * a table that was taken away, no room, no memory, an operator at work, an I/O error.
 */
const troubles: ReadonlySet<string> = new Set(["25", "42", "53", "55", "58"])

/** Whether the server is the trouble, and not what was sent to it. */
export const isServersTrouble = (error: SqlError): boolean => {
  const code = sqlState(error)
  return code !== undefined && troubles.has(code.slice(0, 2))
}

/** Repeats what the server says it cannot do, until it can. */
export const untilAble = <A, E>(effect: Effect.Effect<A, E | SqlError>): Effect.Effect<A, E | SqlError> =>
  Effect.retry(effect, {
    schedule: reconnecting,
    while: (error) => error instanceof SqlError && isServersTrouble(error)
  })

/** Repeats what may be repeated safely for as long as the connection or the server is the trouble. */
export const untilAnswered = <A, E>(effect: Effect.Effect<A, E | SqlError>): Effect.Effect<A, E | SqlError> =>
  Effect.retry(effect, {
    schedule: reconnecting,
    while: (error) =>
      error instanceof SqlError && (isConnectionLost(error) || error.isRetryable || isServersTrouble(error))
  })
