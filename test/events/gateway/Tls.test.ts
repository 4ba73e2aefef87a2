/**
 * A gateway behind TLS, with a certificate that only its clients trust; it is for tests alone, and good for a hundred years.
 */
import { NodeHttpClient, NodeWS } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Context, type Duration, Effect, Layer, Logger, Redacted, References, Stream } from "effect"
import { Socket } from "effect/socket"
import { EventGateway, EventStore, GatewayWorkers, MemoryEventStore } from "holdfast/events"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { AddressInfo, Server } from "node:net"
import { counted, tagOf } from "../support.ts"
import { client, quiet, token, worker } from "./support.ts"

const pem = (name: string) => readFileSync(new URL(`./fixtures/${name}.pem`, import.meta.url), "utf8")
const cert = pem("cert")

/** An HTTP client and WebSockets that trust the certificate. */
const trusting = Layer.merge(
  Layer.provide(NodeHttpClient.layerNodeHttpNoAgent, NodeHttpClient.layerAgentOptions({ ca: cert })),
  Layer.succeed(
    Socket.WebSocketConstructor,
    (url, options) => new NodeWS.WebSocket(url, { ca: cert, ...(typeof options === "object" ? options : {}) }) as never
  )
)

layer(Layer.empty, { excludeTestServices: true })("TLS", (it) => {
  it.effect("those who trust the certificate are served; those who do not find no worker", () =>
    Effect.gen(function*() {
      const services = yield* Layer.build(Layer.merge(MemoryEventStore.layer, Layer.fresh(GatewayWorkers.layer)))
      const { url } = yield* worker(services, { tls: { cert, key: Redacted.make(pem("key")) } })
      assert.match(url, /^https:/)
      const seen = yield* Effect.gen(function*() {
        const events = yield* EventStore.EventStore
        yield* events.createStore("flights")
        yield* events.appendEvents("flights", "SEA", counted(0, 3))
        const deliveries = events.subscribe("flights", { startFrom: "origin" }).pipe(Stream.take(3))
        return yield* Stream.runCollect(deliveries)
      }).pipe(
        Effect.provide(
          EventGateway.layerNoDeps({ workers: [url], token: yield* token() }).pipe(
            Layer.provide(Layer.merge(trusting, quiet))
          )
        )
      )
      assert.lengthOf(seen, 3)
      const distrusting = yield* client([url], { timeout: "500 millis" })
      assert.strictEqual(yield* tagOf(distrusting.events.listStores), "NoGatewayWorkers")
      const plain = yield* client([url.replace("https", "http")], { timeout: "500 millis" })
      assert.strictEqual(yield* tagOf(plain.events.listStores), "NoGatewayWorkers")
    }))

  /** Listens on a free port for as long as the scope lasts. */
  const listening = (server: Server) =>
    Effect.map(
      Effect.acquireRelease(
        Effect.callback<Server>((resume) => {
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      ),
      () => `127.0.0.1:${(server.address() as AddressInfo).port}`
    )

  /** What says that it is a worker, has no TLS, and keeps the tokens that it is shown. */
  const eavesdropper = Effect.gen(function*() {
    const seen: Array<string | undefined> = []
    const server = createServer(({ headers }, response) => {
      seen.push(headers.authorization)
      response.end()
    })
    server.on("upgrade", ({ headers }, socket) => {
      seen.push(headers.authorization)
      socket.destroy()
    })
    const info = { id: "eavesdropper", url: `http://${yield* listening(server)}`, stores: null, load: 0 }
    return { seen, info }
  })

  /** A client that tells what it has logged. */
  const logging = Effect.fnUntraced(function*(workers: ReadonlyArray<string>, timeout: Duration.Input = "10 seconds") {
    const log: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      log.push(`${logLevel}: ${[message].flat().join(" ")}`)
    })
    const logs = Layer.merge(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, "Warn"))
    const context = yield* Layer.build(
      EventGateway.layerNoDeps({ workers, token: yield* token(), timeout }).pipe(
        Layer.provideMerge(Layer.merge(trusting, logs))
      )
    )
    return {
      events: Context.get(context, EventStore.EventStore),
      gateway: Context.get(context, EventGateway.EventGateway),
      log,
      run: Effect.provide(logs)
    }
  })

  it.effect("the token of a client that was given https addresses goes to no worker at an http address, and the log says so once", () =>
    Effect.gen(function*() {
      const services = yield* Layer.build(Layer.merge(MemoryEventStore.layer, Layer.fresh(GatewayWorkers.layer)))
      const { info, seen } = yield* eavesdropper
      const registry = Context.get(services, GatewayWorkers.GatewayWorkers)
      yield* registry.register({ worker: info.id, turn: 0 }, info, { address: info })
      const { url } = yield* worker(services, { tls: { cert, key: Redacted.make(pem("key")) } })
      const { events, gateway, log, run } = yield* logging([url])
      yield* Effect.gen(function*() {
        yield* events.createStore("flights")
        for (let n = 0; n < 20; n++) {
          yield* events.appendEvents("flights", "SEA", counted(n, n + 1))
          assert.deepStrictEqual((yield* gateway.gatewayWorkers).map(({ url }) => url), [url])
        }
      }).pipe(run)
      assert.deepStrictEqual(seen, [])
      assert.lengthOf(log, 1)
      assert.include(log[0], info.url)
    }))

  it.effect("where all workers are at http addresses there is none for a client that was given https ones, and it is told why", () =>
    Effect.gen(function*() {
      const { info, seen } = yield* eavesdropper
      // TLS ends in front of the worker, and it was not told how it is reached.
      const limits = { requestBytes: 1024, requests: 8, storeRequests: 8, subscriptions: 8 }
      const front = yield* listening(createTlsServer({ cert, key: pem("key") }, (_, response) => {
        response.setHeader("content-type", "application/json")
        response.end(JSON.stringify({ worker: info.id, workers: [info], limits }))
      }))
      const { events, log, run } = yield* logging([`https://${front}`], "2 seconds")
      const error = yield* Effect.flip(run(events.listStores))
      assert.strictEqual(error.reason._tag, "NoGatewayWorkers")
      assert.include(error.message, info.url)
      assert.deepStrictEqual(seen, [])
      assert.lengthOf(log, 1)
    }))

  it.effect("a client that was given an http address goes to workers at such addresses", () =>
    Effect.gen(function*() {
      const services = yield* Layer.build(Layer.merge(MemoryEventStore.layer, Layer.fresh(GatewayWorkers.layer)))
      const secure = yield* worker(services, { tls: { cert, key: Redacted.make(pem("key")) } })
      const plain = yield* worker(services)
      const { gateway, log, run } = yield* logging([secure.url, plain.url])
      const urls = (yield* run(gateway.gatewayWorkers)).map(({ url }) => url)
      assert.sameMembers(urls, [secure.url, plain.url])
      assert.deepStrictEqual(log, [])
    }))
})
