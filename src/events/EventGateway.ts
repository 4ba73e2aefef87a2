/**
 * Event stores through a gateway, for programs that hold a token instead of a password to the database.
 *
 * The layer gives an `EventStore` like any other: code cannot tell which one it has. It needs the address of one worker, and finds
 * the others through it; `GatewayWorker` is what runs there. Requests go to a worker that serves the store and has little to do.
 * Where one is lost, reads are asked of another; appends are repeated, and recognised by the ids of their events, so that they are
 * done once; and subscriptions go on where they were. What cannot be repeated without harm (making and removing stores, deleting
 * streams and snapshots) fails with `StoreUnavailable`, which tells that it may be done.
 *
 * While no worker is there one is waited for, until the time of a request is over: then it fails with `NoGatewayWorkers`.
 *
 * A transaction does not reach through a gateway: `appendEvents` is one of its own, always. Nor does the step of a durable server's
 * handler, where it is refused with `StoreElsewhere`: an action after the commit may append.
 *
 * **Example** (A program that cannot tell)
 *
 * ```ts
 * import { Config, Effect, Layer } from "effect"
 * import { EventGateway, EventStore } from "holdfast/events"
 *
 * const program = Effect.gen(function*() {
 *   const events = yield* EventStore.EventStore
 *   return yield* events.getEvents("flights", "AS 123", 0, 10)
 * })
 *
 * const Gateway = EventGateway.layerConfig({
 *   workers: Config.succeed(["https://gateway.example.com:7400"]),
 *   token: Config.Redacted("GATEWAY_TOKEN")
 * })
 *
 * export const events = program.pipe(Effect.provide(Gateway))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { InvalidOptions } from "../datastore/DatastoreOptions.ts"
import { millisIn } from "../member/internal/options.ts"
import { EventStore } from "./EventStore.ts"
import type { EventStoreError } from "./EventStoreError.ts"
import type { WorkerInfo } from "./GatewayRpcs.ts"
import { make as makePool } from "./internal/gateway/pool.ts"
import { make as makeStorage } from "./internal/gateway/remote.ts"
import { make as makeService } from "./internal/service.ts"

/**
 * Where the gateway is, and who asks.
 *
 * @since 0.1.0
 * @category models
 */
export interface Input {
  /**
   * Addresses of some of its workers, or of what stands in front of them: `https://gateway.example.com:7400`. Where all of these are
   * https, workers that say they are reached by http are passed over, and the log says so once: the token goes nowhere in the clear.
   */
  readonly workers: ReadonlyArray<string>
  /** The token. An effect is asked for one whenever a connection is made, so that it can be another one by then. */
  readonly token: Redacted.Redacted | Effect.Effect<Redacted.Redacted>
  /** How long an answer is waited for, and while there is no worker, for one: 10 seconds by default. */
  readonly timeout?: Duration.Input | undefined
  /** How often is asked which workers there are, and how busy they are: every 5 seconds by default. */
  readonly refreshInterval?: Duration.Input | undefined
}

/**
 * What a gateway is beside an event store.
 *
 * @since 0.1.0
 * @category services
 */
export class EventGateway extends Context.Service<EventGateway, {
  /** Its workers, as far as any of them knows, and without those that are passed over. */
  readonly gatewayWorkers: Effect.Effect<ReadonlyArray<WorkerInfo>, EventStoreError>
  /** Any one of them. */
  readonly randomGatewayWorker: Effect.Effect<WorkerInfo, EventStoreError>
}>()("holdfast/events/EventGateway") {}

const invalid = (field: string, problem: string) => new InvalidOptions({ issues: [{ field, problem }] })

const millisOf = (field: string, input: Duration.Input): Effect.Effect<number, InvalidOptions> => {
  const millis = millisIn(input)
  return millis !== undefined && millis >= 10
    ? Effect.succeed(millis)
    : Effect.fail(invalid(field, "must be finite, and at least 10 ms"))
}

/** How often is looked again after a watch was lost. */
const pollMillis = 250

const make = Effect.fnUntraced(function*(input: Input): Effect.fn.Return<
  Context.Context<EventStore | EventGateway>,
  InvalidOptions,
  HttpClient.HttpClient | Socket.WebSocketConstructor | Scope.Scope
> {
  if (input.workers.length === 0) return yield* invalid("workers", "must have at least one address")
  for (const [index, url] of input.workers.entries()) {
    if (!/^https?:\/\/[^/]+\/?$/.test(url)) {
      return yield* invalid(`workers.${index}`, "must be an address such as https://gateway.example.com:7400")
    }
  }
  const { token } = input
  const pool = yield* makePool({
    urls: input.workers,
    token: Redacted.isRedacted(token) ? Effect.succeed(token) : token,
    timeoutMillis: yield* millisOf("timeout", input.timeout ?? "10 seconds"),
    refreshMillis: yield* millisOf("refreshInterval", input.refreshInterval ?? "5 seconds"),
    http: yield* HttpClient.HttpClient,
    makeWebSocket: yield* Socket.WebSocketConstructor,
    clock: yield* Clock.Clock
  })
  const scope = yield* Effect.scope
  const storage = yield* makeStorage(pool, pollMillis)
  return Context.make(EventStore, makeService(storage, 1000, scope)).pipe(
    Context.add(EventGateway, {
      gatewayWorkers: pool.workers,
      randomGatewayWorker: Effect.gen(function*() {
        const workers = yield* pool.workers
        const worker = workers[yield* Random.nextIntBetween(0, workers.length - 1)]
        return worker ?? (yield* Effect.die(new Error("there is no worker")))
      })
    })
  )
})

/**
 * The same as `layer`, over an HTTP client and WebSockets of one's own: for certificates that nobody else trusts, or proxies. The
 * constructor has to send headers.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNoDeps = (
  input: Input
): Layer.Layer<EventStore | EventGateway, InvalidOptions, HttpClient.HttpClient | Socket.WebSocketConstructor> =>
  Layer.effectContext(make(input))

/** Node's own WebSocket sends headers, which the types of the browser's know nothing of. */
const sockets = Layer.succeed(Socket.WebSocketConstructor, (url, options) => {
  const Constructor = globalThis.WebSocket as unknown as new(url: string, options: unknown) => globalThis.WebSocket
  return new Constructor(url, options)
})

/**
 * Event stores through a gateway.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (input: Input): Layer.Layer<EventStore | EventGateway, InvalidOptions> =>
  Layer.provide(layerNoDeps(input), Layer.merge(FetchHttpClient.layer, sockets))

/**
 * Event stores through a gateway, as the configuration says.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Wrap<{
    readonly workers: ReadonlyArray<string>
    readonly token: Redacted.Redacted
  }>
): Layer.Layer<EventStore | EventGateway, InvalidOptions | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), (input) => layer(input)))
