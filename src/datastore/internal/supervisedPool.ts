/**
 * One context's connections, watched over: a client that stays the same object while the pool behind it is opened, lost,
 * found again, drained, closed and opened anew.
 *
 * What is built on a client is bound to that object (the layers made by `perClient`, the key of its transactions), so the
 * client is a face that takes each connection from the pool of the moment. While there is none, or its server does not
 * answer, the face refuses at once with a typed `SqlError` instead of letting every statement find out by itself.
 *
 * The pool is found lost by what happens to it: a connection that cannot be had, or a socket that the other side closed.
 * Then one fiber tries again on a schedule until the server answers; nothing is polled while all is well.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { ConnectionError, SqlError, UnknownError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Net from "node:net"
import { type ConnectionFailed, fromSqlError } from "../ConnectionFailed.ts"
import type { DatastoreOptions } from "../DatastoreOptions.ts"
import { config as configOf, type Login, prepared, target as targetOf } from "./connection.ts"
import { ContextNotStarted } from "./contextService.ts"
import { withTransaction } from "./lostConnection.ts"
import { contextsLost, outageMillis } from "./metrics.ts"

/** Whether the pool serves; else why not, unless nobody has started it. */
export type PoolState =
  | { readonly _tag: "Started" }
  | { readonly _tag: "NotStarted"; readonly cause?: ConnectionFailed | undefined }

export interface SupervisedPool {
  readonly client: PgClient.PgClient
  readonly state: () => PoolState
  /**
   * Opens the pool, unless it is open, and tries a connection. When that fails the pool stays open and refuses, until
   * `recover` or another `start` gets through.
   */
  readonly start: Effect.Effect<void, ConnectionFailed>
  /** Begins to try again, in the background. */
  readonly recover: Effect.Effect<void>
  /** Refuses what comes from now on, waits for what is under way, then closes. Says how many connections were cut off. */
  readonly stop: (within: Duration.Input) => Effect.Effect<{ readonly connectionsCut: number }>
  /** The password of connections from now on. */
  readonly setPassword: (password: Redacted.Redacted) => void
}

/** A pool and what is open on its behalf. */
interface Open {
  readonly pool: PgClient.PgClient
  readonly scope: Scope.Closeable
  readonly sockets: ReadonlySet<Net.Socket>
  readonly supervisor: Fiber.Fiber<void>
}

/** Nothing answers, or not yet: tried again soon. The rest somebody has to mend first, and servers lock out who insists. */
const isPassing = (cause: ConnectionFailed): boolean =>
  cause.reason === "serverUnreachable" || cause.reason === "serverNotReady"

/** A server that has no room for one more connection still serves those that it has. */
const tooManyConnections = "53300"

/** Whether a connection that could not be had says that the database cannot be used at all. */
const isDown = (cause: ConnectionFailed): boolean =>
  cause.sqlState !== tooManyConnections && (isPassing(cause) || cause.reason === "databaseNotFound")

const soon = Schedule.min([Schedule.exponential("50 millis", 1.5).pipe(Schedule.jittered), Schedule.spaced("1 second")])
const later = Schedule.min([Schedule.exponential("1 second").pipe(Schedule.jittered), Schedule.spaced("10 seconds")])

/** Sockets that close one by one are looked into once. */
const betweenChecks = "1 second"

/** COMMIT of a transaction that a failed statement has ended answers ROLLBACK, and is no error to the server. */
const commit = (connection: Connection): Effect.Effect<void, SqlError> =>
  Effect.flatMap(
    connection.executeRaw("COMMIT", []),
    (result) =>
      Predicate.hasProperty(result, "command") && result.command === "ROLLBACK"
        ? Effect.fail(
          new SqlError({
            reason: new UnknownError({
              cause: new Error("COMMIT rolled back an aborted transaction"),
              message: "COMMIT rolled back an aborted transaction",
              operation: "commit"
            })
          })
        )
        : Effect.void
  )

const makeJson = Statement.custom<PgClient.PgCustom>("PgJson")

/** The client that stays: as the driver's own, over connections that are taken from elsewhere. */
const makeFace = (
  config: PgClient.PgClientConfig,
  acquire: Effect.Effect<Connection, SqlError, Scope.Scope>,
  pool: Effect.Effect<PgClient.PgClient, SqlError>
): Effect.Effect<PgClient.PgClient, never, Reactivity.Reactivity> =>
  Effect.map(
    SqlClient.make({
      acquirer: acquire,
      transactionAcquirer: acquire,
      compiler: PgClient.makeCompiler(),
      driver: "pg",
      prepareTransactionControls: true,
      commit,
      releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
      spanAttributes: [
        ["db.system.name", "postgresql"],
        ["db.namespace", config.database],
        ["server.address", config.host],
        ["server.port", config.port]
      ]
    }),
    (client): PgClient.PgClient =>
      Object.assign(client, {
        [PgClient.TypeId]: PgClient.TypeId,
        config,
        json: (value: unknown) => Statement.fragment([makeJson(value, undefined, undefined)]),
        withTransaction: withTransaction({ withTransaction: client.withTransaction }),
        listen: (channel: string) => Effect.flatMap(pool, (client) => client.listen(channel)),
        notify: (channel: string, payload: string) => Effect.flatMap(pool, (client) => client.notify(channel, payload))
      })
  )

/**
 * A pool that is not open yet. It is stopped when the scope closes: what is under way then has `closeWithin` to end.
 */
export const make = Effect.fnUntraced(function*(options: {
  readonly contextName: string
  readonly server: DatastoreOptions["dbServer"]
  readonly login: Login
  readonly size: number
  readonly closeWithin: Duration.Input
}): Effect.fn.Return<SupervisedPool, never, Scope.Scope | Reactivity.Reactivity> {
  const { contextName, login, server } = options
  const of = { databaseName: login.databaseName, contextName }
  const reactivity = yield* Reactivity.Reactivity
  const outer = yield* Effect.scope
  const wake = yield* Queue.sliding<void>(1)
  const lookAgain = Effect.asVoid(Queue.offer(wake, undefined))
  const oneAtATime = Semaphore.withPermit(Semaphore.makeUnsafe(1))
  // A login context has one; a server that trusts its clients asks for none.
  let password = login.databasePassword ?? Redacted.make("")
  let state: PoolState = { _tag: "NotStarted" }
  let open: Open | undefined
  // Goes up with each start, so that a failure from before it says nothing about what is now.
  let generation = 0

  const config: PgClient.PgClientConfig = {
    ...configOf(server, login),
    password: Effect.sync(() => prepared(password))
  }
  const failed = (error: SqlError): ConnectionFailed => fromSqlError(error, targetOf(server, login))

  const refusal = () => {
    const cause = new ContextNotStarted({
      databaseName: login.databaseName,
      contextName,
      ...(state._tag === "NotStarted" && state.cause !== undefined ? { cause: state.cause } : {})
    })
    return new SqlError({ reason: new ConnectionError({ cause, message: cause.message, operation: "connect" }) })
  }

  const acquire = Effect.suspend((): Effect.Effect<Connection, SqlError, Scope.Scope> => {
    if (open === undefined || state._tag === "NotStarted") {
      return Effect.fail(refusal())
    }
    const from = open
    const since = generation
    return Effect.catchCause(from.pool.reserve, (cause) => {
      if (Cause.hasInterruptsOnly(cause)) {
        // Not this fiber was interrupted, or nothing would run here: the pool closed while it waited in line.
        return from === open ? Effect.failCause(cause) : Effect.fail(refusal())
      }
      const error = Cause.findErrorOption(cause)
      if (Option.isSome(error) && since === generation && from === open) {
        const why = failed(error.value)
        if (isDown(why)) {
          state = { _tag: "NotStarted", cause: why }
          Queue.offerUnsafe(wake, undefined)
        }
      }
      return Effect.failCause(cause)
    })
  })

  const client = yield* makeFace(
    config,
    acquire,
    Effect.suspend(() =>
      open === undefined || state._tag === "NotStarted" ? Effect.fail(refusal()) : Effect.succeed(open.pool)
    )
  )

  /** Has one connection answer, in time. */
  const probe = (connection: Effect.Effect<Connection, SqlError, Scope.Scope>): Effect.Effect<void, ConnectionFailed> =>
    Effect.scoped(Effect.flatMap(connection, (connection) => connection.executeUnprepared("SELECT 1", [], undefined)))
      .pipe(
        Effect.timeoutOrElse({
          duration: server.connectTimeoutMillis,
          orElse: () => {
            const cause = new Error("no answer in time")
            return Effect.fail(new SqlError({ reason: new ConnectionError({ cause, operation: "connect" }) }))
          }
        }),
        Effect.mapError(failed),
        Effect.asVoid
      )

  /** Tries a connection, and says in `state` what came of it. */
  const attempt = (
    connection: Effect.Effect<Connection, SqlError, Scope.Scope>
  ): Effect.Effect<void, ConnectionFailed> =>
    probe(connection).pipe(
      Effect.tap(() =>
        Effect.sync(() => {
          generation++
          state = { _tag: "Started" }
        })
      ),
      Effect.tapError((cause) =>
        Effect.sync(() => {
          state = { _tag: "NotStarted", cause }
        })
      )
    )

  /** A connection beside the pool, all of whose connections may be waiting for a server that is not there any more. */
  const beside = Effect.flatMap(PgClient.makeClient(config), (client) => client.reserve).pipe(
    Effect.provideService(Reactivity.Reactivity, reactivity)
  )

  const supervise = Effect.fnUntraced(function*(pool: PgClient.PgClient) {
    while (true) {
      yield* Queue.take(wake)
      if (state._tag === "Started") {
        const since = generation
        const cause = yield* Effect.match(probe(beside), { onFailure: (cause) => cause, onSuccess: () => undefined })
        if (cause === undefined || !isDown(cause)) {
          yield* Effect.sleep(betweenChecks)
          continue
        }
        if (since === generation && state._tag === "Started") {
          state = { _tag: "NotStarted", cause }
        }
      }
      const why = state._tag === "NotStarted" && state.cause !== undefined ? `: ${state.cause.message}` : ""
      yield* Effect.logWarning(`context not started${why}`)
      yield* Metric.update(Metric.withAttributes(contextsLost, of), 1)
      const [outage] = yield* attempt(beside).pipe(
        Effect.retry({ schedule: soon, while: isPassing }),
        Effect.retry(later),
        Effect.timed
      )
      yield* Metric.update(Metric.withAttributes(outageMillis, of), Duration.toMillis(outage))
      yield* Effect.logInfo("context started again")
      yield* Effect.catch(probe(pool.reserve), () => lookAgain)
    }
  }, Effect.annotateLogs(of))

  const openPool = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const sockets = new Set<Net.Socket>()
    const stream = () => {
      const socket = Net.connect({
        ...(server.host.startsWith("/")
          ? { path: `${server.host}/.s.PGSQL.${server.port}` }
          : { host: server.host, port: server.port, noDelay: true }),
        keepAlive: true,
        keepAliveInitialDelay: 30_000
      })
      sockets.add(socket)
      // Node ends its side by itself when the other one has: who was first is known only before it does.
      let endedByOther = false
      socket.prependOnceListener("end", () => {
        endedByOther = !socket.writableEnded
      })
      socket.once("close", () => {
        sockets.delete(socket)
        // A session that was lost. One that never was has its own error.
        if ((endedByOther || !socket.writableEnded) && socket.bytesRead > 0) {
          Queue.offerUnsafe(wake, undefined)
        }
      })
      return socket
    }
    // One is kept open though nobody needs it: when it is lost, the server is known to be away.
    const pool = yield* PgClient.make({ ...config, minConnections: 1, maxConnections: options.size, stream }).pipe(
      Scope.provide(scope),
      Effect.provideService(Reactivity.Reactivity, reactivity),
      // Opens nothing yet, and so cannot fail.
      Effect.orDie
    )
    const supervisor = yield* Effect.forkIn(Effect.orDie(supervise(pool)), outer)
    return { pool, scope, sockets, supervisor } satisfies Open
  })

  const start = oneAtATime(Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      open ??= yield* openPool
      // Of the pool, which keeps it: the first statement finds it open.
      yield* restore(attempt(open.pool.reserve))
    })
  ))

  const stop = (within: Duration.Input) =>
    oneAtATime(Effect.uninterruptible(Effect.gen(function*() {
      const closing = open
      open = undefined
      state = { _tag: "NotStarted" }
      if (closing === undefined) {
        return { connectionsCut: 0 }
      }
      yield* Fiber.interrupt(closing.supervisor)
      // Closing the pool waits for every connection that is in use, however long that takes.
      const closed = yield* Effect.forkDetach(Scope.close(closing.scope, Exit.void))
      if (Option.isSome(yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(closed)), within))) {
        return { connectionsCut: 0 }
      }
      const connectionsCut = closing.sockets.size
      for (const socket of closing.sockets) {
        socket.destroy()
      }
      yield* Effect.logWarning(
        `${connectionsCut} connections were cut off: they were in use when the context was stopped`
      )
        .pipe(Effect.annotateLogs(of))
      return { connectionsCut }
    })))

  yield* Effect.addFinalizer(() => stop(options.closeWithin))

  return {
    client,
    state: () => state,
    start,
    recover: lookAgain,
    stop,
    setPassword: (next) => {
      password = next
    }
  }
})
