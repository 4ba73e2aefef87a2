/**
 * Gateways for tests: workers in this process, tokens, and clients that know nothing but an address and a token.
 */
import { Context, type Duration, Effect, Exit, Layer, Redacted, References, Scope } from "effect"
import { EventGateway, EventStore, GatewayToken, GatewayWorkers } from "holdfast/events"
import type { Append } from "holdfast/events/GatewayRpcs"
import * as GatewayWorker from "holdfast/events/GatewayWorker"

export const key: GatewayToken.Key = { id: "test", secret: Redacted.make("a secret of at least 32 bytes, for tests") }

const everything: ReadonlyArray<GatewayToken.Grant> = [
  { store: "*", rights: ["read", "append", "subscribe", "admin"] }
]

/** A token: for everything, unless it is said for what. */
export const token = (
  options: {
    readonly client?: string
    readonly grants?: ReadonlyArray<GatewayToken.Grant>
    readonly lifetime?: Duration.Input
    readonly key?: GatewayToken.Key
  } = {}
) =>
  Effect.orDie(GatewayToken.issue(options.key ?? key, {
    client: options.client ?? "test",
    grants: options.grants ?? everything,
    lifetime: options.lifetime ?? "1 hour"
  }))

export const quiet = Layer.succeed(
  References.MinimumLogLevel,
  process.env["HOLDFAST_TEST_LOG"] === undefined ? "None" : "All"
)

/** A worker on a free port, for as long as the scope lasts or until it is closed. */
export const worker = Effect.fnUntraced(function*(
  services: Context.Context<EventStore.EventStore | GatewayWorkers.GatewayWorkers>,
  options: Partial<GatewayWorker.Input> = {}
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(
    GatewayWorker.layer({ port: 0, keys: [key], ...options }).pipe(
      Layer.provide(Layer.succeedContext(services)),
      Layer.provide(quiet)
    ),
    scope
  )
  return { ...Context.get(context, GatewayWorker.GatewayWorker), close: Scope.close(scope, Exit.void) }
})

/** A client of these workers. */
export const client = Effect.fnUntraced(function*(
  workers: ReadonlyArray<string>,
  options: Partial<EventGateway.Input> = {}
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(
    EventGateway.layer({ workers, token: options.token ?? (yield* token()), refreshInterval: "200 millis", ...options })
      .pipe(Layer.provide(quiet)),
    scope
  )
  return {
    events: Context.get(context, EventStore.EventStore),
    gateway: Context.get(context, EventGateway.EventGateway),
    close: Scope.close(scope, Exit.void)
  }
})

/** An event store through a gateway of one worker, over that event store. */
export const through = <E, R>(store: Layer.Layer<EventStore.EventStore, E, R>) =>
  Layer.effect(
    EventStore.EventStore,
    Effect.gen(function*() {
      const services = yield* Effect.context<EventStore.EventStore | GatewayWorkers.GatewayWorkers>()
      const { url } = yield* worker(services)
      return (yield* client([url])).events
    })
  ).pipe(Layer.provide(store), Layer.provide(Layer.fresh(GatewayWorkers.layer)))

/** An append of one event, as it goes over the wire. */
export const wired = (eventStreamId: string, data = "{}"): Append => [eventStreamId, "any", [[
  "00000000-0000-7000-8000-00000000000a",
  false,
  "A",
  data,
  null,
  null,
  null
]]]
