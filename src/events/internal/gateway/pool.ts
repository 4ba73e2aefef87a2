/**
 * The workers of a gateway as a client sees them: finds them, keeps a connection to each that it uses, and chooses among them.
 *
 * A client knows some addresses to begin with. Any worker that it reaches tells of all the others. For each request two of those
 * that serve the store are drawn, and the one with less to do is asked. One that does not answer is let be for a while.
 * Who was given nothing but https addresses has nothing to do with workers at others: the token would go there in the clear.
 *
 * What becomes of a request whose worker is lost depends on what it was. Where asking twice is the same as asking once, another
 * worker is asked; where it is not, the caller is told that it may be done.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as Socket from "effect/socket/Socket"
import { EventStoreError, NoGatewayWorkers, StoreUnavailable } from "../../EventStoreError.ts"
import { Welcome, type WorkerInfo } from "../../GatewayRpcs.ts"
import { failure } from "../checks.ts"
import { Breaker } from "./breaker.ts"
import { type Connection, open } from "./connection.ts"

export interface PoolOptions {
  readonly urls: ReadonlyArray<string>
  readonly token: Effect.Effect<Redacted.Redacted>
  readonly timeoutMillis: number
  readonly refreshMillis: number
  readonly http: HttpClient.HttpClient
  readonly makeWebSocket: Socket.WebSocketConstructor["Service"]
  readonly clock: Clock.Clock
}

/** How a request goes about it. */
export interface Asking {
  readonly store: string
  /** What is said of it when it is not answered. */
  readonly operation: string
  /**
   * Reads are asked of another worker when theirs is lost, and so is what is recognised when it is asked for again; what is
   * neither is asked for once.
   */
  readonly kind: "read" | "recognised" | "once"
}

/** A worker, as far as this client has to do with it. */
class Worker {
  info: WorkerInfo
  connection: Connection | undefined
  readonly opening = Semaphore.makeUnsafe(1)
  inFlight = 0

  constructor(info: WorkerInfo) {
    this.info = info
  }

  get busy(): number {
    return this.inFlight + this.info.load / 4
  }

  serves(store: string): boolean {
    // What is about no store, any worker can tell.
    return store === "" || this.info.stores === null || this.info.stores.includes(store)
  }
}

const isHttps = (url: string): boolean => url.startsWith("https://")

/** A worker, or what is in its place, answers something else than it should. */
class Unwelcome extends Data.TaggedError("Unwelcome")<{ readonly status: number }> {
  override get message() {
    return `it has answered with status ${this.status}`
  }
}

/** How one attempt ended without an answer: nothing was sent, or nobody knows. */
type Lost = { readonly _tag: "NotSent" | "Unknown"; readonly detail: string }

const decodeWelcome = Schema.decodeUnknownEffect(Schema.toCodecJson(Welcome))
const decodeError = Schema.decodeUnknownOption(Schema.toCodecJson(EventStoreError))

export interface Pool {
  /**
   * Asks some worker. `uncertain` tells whether one was asked before that may have heard it.
   */
  readonly ask: <A>(
    asking: Asking,
    f: (connection: Connection, uncertain: boolean) => Effect.Effect<A, unknown>
  ) => Effect.Effect<A, EventStoreError>
  /** A worker and the connection to it, for what has to stay with it. */
  readonly connect: (store: string, operation: string) => Effect.Effect<Connection, EventStoreError>
  readonly workers: Effect.Effect<ReadonlyArray<WorkerInfo>, EventStoreError>
}

export const make = Effect.fnUntraced(function*(
  options: PoolOptions
): Effect.fn.Return<Pool, never, Scope.Scope> {
  const { clock, http, makeWebSocket, refreshMillis, timeoutMillis } = options
  const scope = yield* Effect.scope
  const workers = new Map<string, Worker>()
  const breaker = new Breaker({ failures: 1, openMillis: 100, maxOpenMillis: 5000 })
  let limits: Welcome["limits"] | undefined
  let trouble = "none of them was reached yet"

  const now = () => clock.currentTimeMillisUnsafe()
  /** Nothing that is begun from then on comes to an end. */
  const isClosed = () => scope.state._tag === "Closed"
  const none: ReadonlySet<Worker> = new Set()

  // ---------------------------------------------------------------------------------------------- finding them

  const welcome = Effect.fnUntraced(function*(url: string, token: Redacted.Redacted) {
    const response = yield* http.execute(
      HttpClientRequest.get(`${url}/gateway/workers`).pipe(HttpClientRequest.bearerToken(token))
    )
    const body = yield* response.json
    if (response.status === 200) return yield* decodeWelcome(body)
    const error = Option.getOrUndefined(decodeError(body))
    return yield* error ?? new Unwelcome({ status: response.status })
  }, Effect.timeout(Duration.millis(Math.min(timeoutMillis, 2000))))

  const httpsOnly = options.urls.every(isHttps)
  let isWarned = false

  const learn = ({ limits: allowed, workers: told }: Welcome): Effect.Effect<void> => {
    limits = allowed
    const infos = httpsOnly ? told.filter(({ url }) => isHttps(url)) : told
    const listed = new Set(infos.map(({ id }) => id))
    for (const info of infos) {
      const known = workers.get(info.id)
      if (known === undefined) workers.set(info.id, new Worker(info))
      else known.info = info
    }
    // One that is not listed any more has gone, or will soon have been.
    for (const [id, worker] of workers) if (!listed.has(id) && worker.connection?.isOpen() !== true) workers.delete(id)
    if (infos.length === told.length) return Effect.void
    const others = told.filter((info) => !infos.includes(info)).map(({ url }) => url).join(", ")
    if (infos.length === 0) trouble = `${others}: not https, as the addresses are that were given`
    if (isWarned) return Effect.void
    isWarned = true
    return Effect.logWarning(
      `gateway workers are passed over, since their addresses are not https, as those are that were given: ${others}`
    )
  }

  /** Asks one after the other until one answers. Fails only where all that is wrong is the token. */
  const refreshing = Effect.gen(function*() {
    const token = yield* options.token
    const urls = new Set([
      ...Array.from(workers.values()).filter(({ connection }) => connection?.isOpen() === true).map(({ info }) =>
        info.url
      ),
      ...options.urls.map((url) => url.replace(/\/$/, "")),
      ...Array.from(workers.values(), ({ info }) => info.url)
    ])
    for (const url of urls) {
      const answer = yield* Effect.exit(welcome(url, token))
      if (Exit.isSuccess(answer)) return yield* learn(answer.value)
      const error = Option.getOrUndefined(Cause.findErrorOption(answer.cause))
      if (error instanceof EventStoreError && error.reason._tag === "TokenRefused") return yield* error
      trouble = `${url}: ${describe(answer.cause)}`
    }
  })

  /** However many want it refreshed, it is refreshed once, and for all of them. */
  let underway: Deferred.Deferred<void, EventStoreError> | undefined
  const refresh: Effect.Effect<void, EventStoreError> = Effect.suspend(() => {
    if (underway !== undefined) return Deferred.await(underway)
    if (isClosed()) return Effect.void
    const outcome = underway = Deferred.makeUnsafe<void, EventStoreError>()
    return refreshing.pipe(
      Effect.onExit((exit) => {
        underway = undefined
        return Deferred.done(outcome, exit)
      }),
      Effect.forkIn(scope),
      Effect.andThen(Deferred.await(outcome))
    )
  })

  yield* Effect.sleep(Duration.millis(refreshMillis)).pipe(
    Effect.andThen(Effect.suspend(() => limits === undefined ? Effect.void : Effect.ignore(refresh))),
    Effect.forever,
    Effect.forkIn(scope)
  )

  // ---------------------------------------------------------------------------------------------- choosing one

  let turn = 0

  const choose = (store: string, without: ReadonlySet<Worker>): Worker | undefined => {
    if (isClosed()) return undefined
    const candidates: Array<Worker> = []
    for (const worker of workers.values()) {
      if (worker.serves(store) && !without.has(worker) && breaker.isClosed(worker.info.id, now())) {
        candidates.push(worker)
      }
    }
    if (candidates.length < 2) return candidates[0]
    // Two that are next to each other in some order, each pair as often as every other.
    turn = (turn + 1) % 0x7fffffff
    const step = 1 + Math.floor(turn / candidates.length) % (candidates.length - 1)
    const [a, b] = [candidates[turn % candidates.length], candidates[(turn + step) % candidates.length]]
    return a !== undefined && b !== undefined && b.busy < a.busy ? b : a
  }

  const connectionTo = (worker: Worker) =>
    Effect.suspend(() => {
      if (worker.connection?.isOpen() === true) return Effect.succeed(worker.connection)
      return worker.opening.withPermit(Effect.gen(function*() {
        if (worker.connection?.isOpen() === true) return worker.connection
        if (limits === undefined) return yield* Effect.die(new Error("a worker that nobody has told of"))
        const token = yield* options.token
        const connection = yield* open({
          url: worker.info.url,
          token: Redacted.value(token),
          limits,
          makeWebSocket,
          scope,
          openTimeout: Duration.millis(Math.min(timeoutMillis, 2000)),
          timeoutMillis
        })
        worker.connection = connection
        yield* Effect.forkIn(
          Effect.andThen(
            connection.closed,
            Effect.suspend(() => {
              if (worker.connection === connection) worker.connection = undefined
              // Others may have gone as well, or come.
              return Effect.ignore(refresh)
            })
          ),
          scope
        )
        return connection
      }))
    })

  /** One attempt: the answer, an error that it gives, or that it was lost. */
  const attempt = <A>(
    worker: Worker,
    store: string,
    f: (connection: Connection) => Effect.Effect<A, unknown>
  ): Effect.Effect<A, EventStoreError | Lost> =>
    Effect.suspend(() => {
      const { connection } = worker
      if (connection?.isOpen() === true) return exchange(worker, connection, store, f)
      return connectionTo(worker).pipe(
        Effect.mapError((error): Lost => ({ _tag: "NotSent", detail: `${worker.info.url}: ${error.message}` })),
        Effect.flatMap((connection) => exchange(worker, connection, store, f))
      )
    })

  const exchange = <A>(
    worker: Worker,
    connection: Connection,
    store: string,
    f: (connection: Connection) => Effect.Effect<A, unknown>
  ): Effect.Effect<A, EventStoreError | Lost> =>
    connection.admission.within(
      store,
      Effect.suspend((): Effect.Effect<A, EventStoreError | Lost> => {
        if (!connection.isOpen()) {
          return Effect.fail({ _tag: "NotSent", detail: `${worker.info.url}: the connection was lost` })
        }
        worker.inFlight++
        return Effect.onExit(
          Effect.catchCause(f(connection), (cause): Effect.Effect<never, EventStoreError | Lost> => {
            const error = Option.getOrUndefined(Cause.findErrorOption(cause))
            if (error instanceof EventStoreError) return Effect.fail(error)
            return Effect.fail({ _tag: "Unknown", detail: `${worker.info.url}: ${describe(cause)}` })
          }),
          () => {
            worker.inFlight--
            return Effect.void
          }
        )
      })
    )

  const noWorkers = (store: string, started: number) =>
    failure(new NoGatewayWorkers({ store, waitedMillis: now() - started, detail: trouble }))

  /** The way of nearly all requests: there is a worker, and it answers. */
  const ask: Pool["ask"] = (asking, f) =>
    Effect.suspend(() => {
      const worker = choose(asking.store, none)
      if (worker === undefined) return persist(asking, f, now(), undefined)
      const { id } = worker.info
      const started = now()
      breaker.admits(id, started)
      return Effect.matchCauseEffect(attempt(worker, asking.store, (connection) => f(connection, false)), {
        onSuccess: (answer) => {
          breaker.succeeded(id)
          return Effect.succeed(answer)
        },
        onFailure: (cause) => {
          const error = Option.getOrUndefined(Cause.findErrorOption(cause))
          if (error instanceof EventStoreError && error.reason._tag !== "Overloaded") {
            breaker.succeeded(id)
            return Effect.fail(error)
          }
          if (error !== undefined) return persist(asking, f, started, { worker, error })
          breaker.forgotten(id)
          return Effect.failCause(cause) as Effect.Effect<never>
        }
      })
    })

  /** What is done when the first worker has not answered, or there is none. */
  const persist = <A>(
    { kind, operation, store }: Asking,
    f: (connection: Connection, uncertain: boolean) => Effect.Effect<A, unknown>,
    started: number,
    before: { readonly worker: Worker; readonly error: EventStoreError | Lost } | undefined
  ): Effect.Effect<A, EventStoreError> =>
    Effect.gen(function*() {
      const deadline = started + timeoutMillis
      /** Those that have too much to do already. */
      const refused = new Set<Worker>()
      let overloaded: EventStoreError | undefined
      let uncertain = false
      let pause = 10
      let failed = before
      const unanswered = (detail: string) =>
        failure(new StoreUnavailable({ store, operation, detail, mayBeDone: uncertain && kind !== "read" }))
      while (true) {
        if (failed !== undefined) {
          const { error, worker } = failed
          failed = undefined
          const { id } = worker.info
          if (error instanceof EventStoreError) {
            breaker.succeeded(id)
            if (error.reason._tag !== "Overloaded") return yield* error
            refused.add(worker)
            overloaded = error
          } else {
            breaker.failed(id, now())
            trouble = error.detail
            uncertain = uncertain || error._tag === "Unknown"
            if (uncertain && kind === "once") return yield* unanswered(error.detail)
            // It may be that the worker does not want this client any more.
            if (error._tag === "NotSent") yield* refresh
          }
        }
        if (isClosed()) return yield* unanswered("the gateway was closed")
        const left = deadline - now()
        const worker = left > 0 ? choose(store, refused) : undefined
        if (worker === undefined) {
          if (overloaded !== undefined) return yield* overloaded
          if (left <= 0) return yield* uncertain ? unanswered(trouble) : noWorkers(store, started)
          yield* refresh
          if (choose(store, refused) !== undefined) continue
          yield* Effect.sleep(Duration.millis(Math.min(left, pause * (yield* Random.nextBetween(0.5, 1)))))
          pause = Math.min(pause * 2, 500)
          continue
        }
        breaker.admits(worker.info.id, now())
        const again = uncertain
        const answer = yield* attempt(worker, store, (connection) => f(connection, again)).pipe(
          Effect.timeoutOrElse({
            duration: Duration.millis(left),
            orElse: () => Effect.fail<Lost>({ _tag: "Unknown", detail: `${worker.info.url} has not answered in time` })
          }),
          Effect.onInterrupt(() => Effect.sync(() => breaker.forgotten(worker.info.id))),
          Effect.result
        )
        if (Result.isSuccess(answer)) {
          breaker.succeeded(worker.info.id)
          return answer.success
        }
        failed = { worker, error: answer.failure }
      }
    })

  return {
    ask,
    connect: (store, operation) => ask({ store, operation, kind: "read" }, (connection) => Effect.succeed(connection)),
    workers: Effect.gen(function*() {
      const started = now()
      let pause = 10
      while (true) {
        if (isClosed()) return yield* noWorkers("*", started)
        yield* refresh
        if (workers.size > 0) return Array.from(workers.values(), ({ info }) => info)
        if (now() - started + pause > timeoutMillis) return yield* noWorkers("*", started)
        yield* Effect.sleep(Duration.millis(pause))
        pause = Math.min(pause * 2, 500)
      }
    })
  }
})

/** What went wrong on the way, in a line. */
const describe = (cause: Cause.Cause<unknown>): string => {
  if (Cause.hasInterruptsOnly(cause)) return "the worker has broken off"
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}
