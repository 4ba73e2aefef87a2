/**
 * A gateway behind TLS, with a certificate that only its clients trust; it is for tests alone, and good for a hundred years.
 */
import { NodeHttpClient, NodeWS } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted, Stream } from "effect"
import { Socket } from "effect/socket"
import { EventGateway, EventStore, GatewayWorkers, MemoryEventStore } from "holdfast/events"
import { readFileSync } from "node:fs"
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
})
