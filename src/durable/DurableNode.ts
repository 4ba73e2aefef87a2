/**
 * This process's part in durable servers: it runs the handlers that are given to it, and sends messages to all the others.
 *
 * A node joins a storage with a lease. While the lease lasts, other processes leave the servers that the node holds alone;
 * when it ends, they take them over. Nothing rests on that but speed: what a node commits is decided by what the storage
 * holds, not by the time, so a node that was paused for an hour does no harm when it goes on.
 *
 * `layerPostgres` is storage and node in one, on any `PgClient`. `layerMemory` keeps everything in this process, for tests.
 *
 * @since 0.1.0
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { ConnectionFailed } from "../datastore/ConnectionFailed.ts"
import { perClient } from "../datastore/internal/perClient.ts"
import type { SchemaNotInstalled } from "../datastore/Migrations.ts"
import { countOf, millisOf } from "../member/internal/options.ts"
import { DurableStorage } from "./DurableStorage.ts"
import { close } from "./internal/closing.ts"
import { enter } from "./internal/nodes.ts"
import { Residency } from "./internal/residency.ts"
import { serve, type Settings } from "./internal/service.ts"
import * as MemoryStorage from "./MemoryStorage.ts"
import * as PostgresStorage from "./PostgresStorage.ts"

/**
 * How a node goes about its work.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How often to look for what a lost notification would have told. */
  readonly pollInterval: Duration.Input
  /** How long a closing node lets handlers finish. */
  readonly drainTimeout: Duration.Input
  /** How long a call waits for its reply, unless it says otherwise. */
  readonly callTimeout: Duration.Input
  /** How long answers are kept under their primary keys. */
  readonly outcomeRetention: Duration.Input
  /** After how long without use a server whose handlers are elsewhere is forgotten here. */
  readonly clientIdleTime: Duration.Input
  /** How many servers' steps go into one commit at most. */
  readonly maxGroup: number
  /** How many messages to one server may wait in this process: what is sent beyond that fails with `Overloaded`. */
  readonly mailboxCapacity: number
}

/**
 * The options of nodes, with their defaults: a poll each second, 10 seconds to drain, calls that wait
 * 5 seconds, answers kept for 7 days. Change some with `Layer.provide(Layer.succeed(DurableNode.DurableNodeOptions, …))`.
 *
 * @since 0.1.0
 * @category services
 */
export const DurableNodeOptions = Context.Reference<Options>("holdfast/durable/DurableNodeOptions", {
  defaultValue: () => defaults
})

/**
 * The defaults, to be spread where only some are to change.
 *
 * @since 0.1.0
 * @category models
 */
export const defaults: Options = {
  pollInterval: "1 second",
  drainTimeout: "10 seconds",
  callTimeout: "5 seconds",
  outcomeRetention: "7 days",
  clientIdleTime: "1 minute",
  maxGroup: 1000,
  mailboxCapacity: 100_000
}

/**
 * This process as a node.
 *
 * @since 0.1.0
 * @category services
 */
export class DurableNode extends Context.Service<DurableNode, {
  /** The node's id in its storage. It changes when the node was declared dead and has come back. */
  readonly id: Effect.Effect<number>
  /** How many servers are in memory here. */
  readonly residents: Effect.Effect<number>
}>()("holdfast/durable/DurableNode") {}

/**
 * A node on whichever storage there is.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<DurableNode, never, DurableStorage> = Layer.effect(
  DurableNode,
  Effect.gen(function*() {
    const options = yield* DurableNodeOptions
    const drainMillis = millisOf("drainTimeout", options.drainTimeout)
    const callMillis = millisOf("callTimeout", options.callTimeout, { endless: true })
    const retentionMillis = millisOf("outcomeRetention", options.outcomeRetention)
    const settings: Settings = {
      pollMillis: millisOf("pollInterval", options.pollInterval),
      maxGroup: countOf("maxGroup", options.maxGroup),
      clientIdleMillis: millisOf("clientIdleTime", options.clientIdleTime)
    }
    const storage = yield* DurableStorage
    const clock = yield* Clock.Clock
    const nodeStorage = yield* storage.join({
      outcomeRetention: Duration.millis(retentionMillis)
    })
    const fibers = yield* Scope.make()
    const run = Effect.runForkWith(yield* Effect.context<never>())
    const mailboxCapacity = countOf("mailboxCapacity", options.mailboxCapacity)
    const node = new Residency(nodeStorage, clock, mailboxCapacity, (effect) => Fiber.runIn(run(effect), fibers))
    yield* Effect.forkScoped(serve(node, settings))
    // Closed first, while the fibers that commit still run.
    yield* Effect.addFinalizer(() => Effect.ensuring(close(node, drainMillis), Scope.close(fibers, Exit.void)))
    return enter({ residency: node, drainMillis, callMillis }, {
      id: Effect.sync(() => nodeStorage.node()),
      residents: Effect.sync(() => node.size)
    })
  })
)

/**
 * A node on a storage in memory: everything there is of it ends with the layer's scope.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<DurableNode | DurableStorage> = Layer.provideMerge(layer, MemoryStorage.layer)

/**
 * A node on Postgres: the whole of durable servers on any `PgClient`. Built once for each client, so that the same context of
 * a datastore twice is one node, and two contexts are two.
 *
 * Fails with `ConnectionFailed` when the database cannot be reached or refuses the login, and with `SchemaNotInstalled` when the
 * tables are missing and the client's role may not create them.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPostgres: Layer.Layer<
  DurableNode | DurableStorage | PostgresStorage.PostgresStorage,
  SchemaNotInstalled | ConnectionFailed,
  PgClient.PgClient
> = perClient(() => Layer.provideMerge(layer, PostgresStorage.layer))
