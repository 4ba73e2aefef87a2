/**
 * A worker of the event gateway: serves the event stores of its process to clients that hold a token instead of a password.
 *
 * It listens on one port. `GET /gateway/socket` opens a socket, over which `EventGateway` talks to it; `POST /gateway/rpc` answers
 * the same requests one by one, but for subscriptions; `GET /gateway/workers` tells who else there is. All of these ask for a
 * token, in an `authorization: Bearer` header, before anything else is looked at. `GET /health` asks for none and tells nothing
 * but whether the stores answer; `GET /metrics`, for Prometheus, asks for one with `admin` rights in every store.
 *
 * Clients find workers through each other: each is entered in the registry `GatewayWorkers`, with its address, its stores and its
 * load. When the layer closes, a worker leaves the registry first, and then its clients, who go on with another one.
 *
 * This module needs `@effect/platform-node`, and is in no barrel for that.
 *
 * **Example** (A worker for every store of a database)
 *
 * ```ts
 * import { NodeRuntime } from "@effect/platform-node"
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Effect, Layer } from "effect"
 * import { GatewayWorkers, PostgresEventStore } from "holdfast/events"
 * import * as GatewayWorker from "holdfast/events/GatewayWorker"
 *
 * const Worker = Layer.unwrap(Effect.gen(function*() {
 *   return GatewayWorker.layer({
 *     host: "0.0.0.0",
 *     port: 7400,
 *     url: `http://${yield* Config.String("HOSTNAME")}:7400`,
 *     keys: [{ id: "2026-11", secret: yield* Config.Redacted("GATEWAY_KEY") }]
 *   })
 * })).pipe(
 *   Layer.provide([PostgresEventStore.layer, GatewayWorkers.layerPostgres]),
 *   Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
 * )
 *
 * export const main = () => NodeRuntime.runMain(Layer.launch(Worker))
 * ```
 *
 * @since 0.1.0
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as ByteSize from "effect/ByteSize"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as NetAddress from "effect/net/NetAddress"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Redacted from "effect/Redacted"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { createServer } from "node:http"
import { createServer as createTlsServer } from "node:https"
import { InvalidOptions } from "../datastore/DatastoreOptions.ts"
import { EventStore } from "./EventStore.ts"
import { AccessDenied, type EventStoreError, MalformedRequest, RequestTooLarge } from "./EventStoreError.ts"
import { GatewayRpcs, Welcome, type WorkerInfo } from "./GatewayRpcs.ts"
import * as GatewayToken from "./GatewayToken.ts"
import { GatewayWorkers } from "./GatewayWorkers.ts"
import { failure } from "./internal/checks.ts"
import { announce, listed } from "./internal/gateway/announcing.ts"
import { Breaker } from "./internal/gateway/breaker.ts"
import { Clients, type Limits } from "./internal/gateway/clients.ts"
import * as handling from "./internal/gateway/handlers.ts"
import { type Backlog, encodeError, make as makeTransport } from "./internal/gateway/transport.ts"
import * as metrics from "./internal/metrics.ts"
import { storageOf } from "./internal/service.ts"

/**
 * Where a worker listens, for whom, and how much it lets through.
 *
 * @since 0.1.0
 * @category models
 */
export interface Input {
  /** The port to listen on; 0 takes a free one. */
  readonly port: number
  /** The address to listen on: `127.0.0.1` by default, which is this machine alone. */
  readonly host?: string | undefined
  /**
   * How clients reach this worker, where that is not where it listens: `https://gateway-1.example.com`. Needed where TLS ends in
   * front of it: clients that were given https addresses go to no other.
   */
  readonly url?: string | undefined
  /** The stores that it serves: all of them by default. */
  readonly stores?: ReadonlyArray<string> | undefined
  /** The keys that tokens may be signed with. */
  readonly keys: ReadonlyArray<GatewayToken.Key>
  /** A certificate with its chain, and its key, in PEM. Without, what goes over the wire can be read by others. */
  readonly tls?: { readonly cert: string; readonly key: Redacted.Redacted } | undefined
  readonly limits?: {
    /** Bytes of one request: 16 MiB by default. */
    readonly requestBytes?: number | undefined
    /** Requests that one client may have in flight: 512 by default. */
    readonly requests?: number | undefined
    /** How many of these may be for one store: half of them by default. */
    readonly storeRequests?: number | undefined
    /** Subscriptions of one client, and stores that it follows: 256 by default. */
    readonly subscriptions?: number | undefined
  } | undefined
}

/**
 * A running worker.
 *
 * @since 0.1.0
 * @category services
 */
export class GatewayWorker extends Context.Service<GatewayWorker, {
  readonly id: string
  /** Where it is reached. */
  readonly url: string
  /** All workers there are, as far as is known here. */
  readonly workers: Effect.Effect<ReadonlyArray<WorkerInfo>>
}>()("holdfast/events/GatewayWorker") {}

const Options = Schema.Struct({
  port: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 })),
  host: Schema.optional(Schema.NonEmptyString),
  url: Schema.optional(
    Schema.String.check(Schema.isPattern(/^https?:\/\/[^/]+\/?$/, { expected: "http(s)://host:port" }))
  )
})

const count = (field: string, given: number | undefined, otherwise: number) => {
  const value = given ?? otherwise
  return Number.isSafeInteger(value) && value >= 1
    ? Effect.succeed(value)
    : Effect.fail(invalid(`limits.${field}`, "must be a whole number of at least 1"))
}

const invalid = (field: string, problem: string) => new InvalidOptions({ issues: [{ field, problem }] })

const limitsOf = Effect.fnUntraced(function*(given: Input["limits"] = {}): Effect.fn.Return<Limits, InvalidOptions> {
  const requests = yield* count("requests", given.requests, 512)
  return {
    requestBytes: yield* count("requestBytes", given.requestBytes, 16 * 1024 * 1024),
    requests,
    storeRequests: yield* count("storeRequests", given.storeRequests, Math.max(1, Math.floor(requests / 2))),
    subscriptions: yield* count("subscriptions", given.subscriptions, 256)
  }
})

/** How much of what was written to a socket may still be here. */
const highWater = 1024 * 1024

const statusOf = ({ reason }: EventStoreError): number =>
  ({ TokenRefused: 401, AccessDenied: 403, RequestTooLarge: 413, MalformedRequest: 400, Overloaded: 429 } as {
    readonly [tag: string]: number | undefined
  })[reason._tag] ?? 503

const encodeWelcome = Schema.encodeSync(Schema.toCodecJson(Welcome))

const make = Effect.fnUntraced(function*(input: Input): Effect.fn.Return<
  GatewayWorker["Service"],
  InvalidOptions | HttpServerError.ServeError,
  EventStore | GatewayWorkers | Scope.Scope
> {
  yield* Effect.mapError(
    Schema.decodeUnknownEffect(Options)(input),
    ({ message }) => invalid("options", message)
  )
  const limits = yield* limitsOf(input.limits)
  const verify = yield* GatewayToken.makeVerifier(input.keys)
  const storage = storageOf(yield* EventStore)
  if (storage === undefined) return yield* invalid("EventStore", "must be a store of this library")
  const registry = yield* GatewayWorkers
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const clients = new Clients(verify, limits)
  const random = SecureRandom.make((size) => globalThis.crypto.getRandomValues(new Uint8Array(size)))
  const id = yield* random.uuidV7()

  const transport = yield* makeTransport
  const { handlers, leave } = handling.make({
    storage,
    stores: input.stores,
    breaker: new Breaker({ failures: 5, openMillis: 1000, maxOpenMillis: 30_000 }),
    clock,
    sessionOf: transport.sessionOf
  })
  yield* RpcServer.make(GatewayRpcs, { disableFatalDefects: true, disableTracing: true }).pipe(
    Effect.provideContext(Context.add(yield* GatewayRpcs.toHandlers(handlers), RpcServer.Protocol, transport.protocol)),
    Effect.forkIn(scope)
  )

  // ---------------------------------------------------------------------------------------------- what is asked over HTTP

  const entering = (stays: boolean) =>
    Effect.gen(function*() {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      const text = /^bearer +(\S+)$/i.exec(headers["authorization"] ?? "")?.[1]
      const token = text === undefined ? undefined : Redacted.make(text)
      return yield* Effect.tapError(clients.enter(text, token, stays), () => Metric.update(metrics.gatewayRefused, 1))
    })

  const workers = Effect.gen(function*() {
    const session = yield* entering(false)
    const all = yield* listed(registry)
    // Of stores nobody is told but of those that are his.
    const mine = (stores: ReadonlyArray<string> | null) =>
      stores?.filter((store) => GatewayToken.allows(session.claims, store, ["read", "append", "subscribe", "admin"])) ??
        null
    const { requestBytes, requests, storeRequests, subscriptions } = limits
    return HttpServerResponse.jsonUnsafe(encodeWelcome({
      worker: id,
      workers: all.map((info) => ({ ...info, stores: mine(info.stores) })),
      limits: { requestBytes, requests, storeRequests, subscriptions }
    }))
  })

  const rpc = Effect.gen(function*() {
    const session = yield* entering(false)
    const request = yield* HttpServerRequest.HttpServerRequest
    if (Number(request.headers["content-length"] ?? 0) > limits.requestBytes) {
      return yield* failure(new RequestTooLarge({ limit: limits.requestBytes }))
    }
    const text = yield* Effect.mapError(
      Effect.provideService(request.text, HttpIncomingMessage.MaxBodySize, ByteSize.bytes(limits.requestBytes)),
      () => failure(new RequestTooLarge({ limit: limits.requestBytes }))
    )
    return HttpServerResponse.text(yield* transport.exchange(session, text), { contentType: "application/json" })
  })

  const sockets = new Set<() => void>()
  const socket = Effect.gen(function*() {
    const session = yield* entering(true)
    const request = yield* HttpServerRequest.HttpServerRequest
    if (request.headers["upgrade"]?.toLowerCase() !== "websocket") {
      return yield* failure(new MalformedRequest({ issue: "Expected a WebSocket" }))
    }
    const connection = NodeHttpServerRequest.toIncomingMessage(request).socket
    const backlog: Backlog = {
      isHigh: () => connection.writableLength > highWater,
      drained: Effect.callback<void>((resume) => {
        const done = () => resume(Effect.void)
        if (connection.writableLength <= highWater || connection.destroyed) return done()
        connection.once("drain", done)
        connection.once("close", done)
        return Effect.sync(() => {
          connection.off("drain", done)
          connection.off("close", done)
        })
      })
    }
    const close = () => connection.destroySoon()
    const upgraded = yield* Effect.mapError(
      request.upgrade,
      () => failure(new MalformedRequest({ issue: "Expected a WebSocket" }))
    )
    sockets.add(close)
    yield* transport.serve(session, upgraded, backlog).pipe(
      Effect.ensuring(leave(session)),
      Effect.ensuring(Effect.sync(() => sockets.delete(close)))
    )
    // Nobody who does not answer the end of a connection keeps it.
    connection.destroySoon()
    return HttpServerResponse.empty()
  })

  /** Asked of the stores once a second at most, whoever asks. */
  const isHealthy = yield* Effect.cachedWithTTL(
    storage.stores.pipe(
      Effect.timeout(Duration.seconds(2)),
      Effect.matchCause({ onSuccess: () => true, onFailure: () => false })
    ),
    Duration.seconds(1)
  )
  const health = Effect.map(
    isHealthy,
    (ok) => HttpServerResponse.jsonUnsafe({ status: ok ? "ok" : "unavailable" }, { status: ok ? 200 : 503 })
  )

  const prometheus = Effect.gen(function*() {
    const session = yield* entering(false)
    if (!session.claims.grants.some(({ rights, store }) => store === "*" && rights.includes("admin"))) {
      return yield* failure(new AccessDenied({ store: "*", rights: ["admin"] }))
    }
    const { clients: sessions, requests, subscriptions } = clients.load
    yield* Metric.update(metrics.gatewaySessions, sessions)
    yield* Metric.update(metrics.gatewayRequests, requests)
    yield* Metric.update(metrics.gatewaySubscriptions, subscriptions)
    return HttpServerResponse.text(yield* PrometheusMetrics.format(), { contentType: "text/plain; version=0.0.4" })
  })

  const routes = new Map<
    string,
    Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      EventStoreError,
      HttpServerRequest.HttpServerRequest | Scope.Scope
    >
  >([
    ["GET /health", health],
    ["GET /metrics", prometheus],
    ["GET /gateway/workers", workers],
    ["GET /gateway/socket", socket],
    ["POST /gateway/rpc", rpc]
  ])

  const app = Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const route = routes.get(`${request.method} ${request.url.split("?")[0]}`)
    if (route === undefined) return HttpServerResponse.empty({ status: 404 })
    return yield* Effect.catchTag(
      route,
      "EventStoreError",
      (error) => Effect.succeed(HttpServerResponse.jsonUnsafe(encodeError(error), { status: statusOf(error) }))
    )
  })

  // ---------------------------------------------------------------------------------------------- listening

  const { tls } = input
  const listener = tls === undefined
    ? createServer()
    : createTlsServer({ cert: tls.cert, key: Redacted.value(tls.key) })
  // A server waits for its clients when it is closed. Whoever is cut off asks another worker instead.
  const serving = yield* Effect.acquireRelease(Scope.make(), (serving, exit) =>
    Effect.suspend(() => {
      listener.close()
      listener.closeAllConnections()
      for (const close of sockets) close()
      return Scope.close(serving, exit)
    }))
  const server = yield* NodeHttpServer.make(() => listener, {
    port: input.port,
    host: input.host ?? "127.0.0.1",
    // A frame may have several requests in it, as long as each alone is not too large.
    websocket: { maxPayload: limits.requestBytes + 1024 * 1024, perMessageDeflate: false }
  }).pipe(Scope.provide(serving))
  yield* Scope.provide(server.serve(app), serving)
  const listening = NetAddress.formatUrlUnsafe(server.address)
  const url = input.url?.replace(/\/$/, "") ?? (tls === undefined ? listening : listening.replace(/^http:/, "https:"))
  yield* Effect.mapError(
    announce(registry, () => ({
      id,
      url,
      stores: input.stores ?? null,
      load: clients.load.requests + clients.load.subscriptions
    })),
    (error) => invalid("GatewayWorkers", error.message)
  )
  return { id, url, workers: listed(registry) }
})

/**
 * A worker, for as long as the layer is there. Serves the `EventStore` that it is given, a store of this library.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  input: Input
): Layer.Layer<GatewayWorker, InvalidOptions | HttpServerError.ServeError, EventStore | GatewayWorkers> =>
  Layer.effect(GatewayWorker, make(input))
