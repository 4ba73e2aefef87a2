/**
 * Those who are not let in, and those who send what no client sends: refused with a typed error, nothing learnt, and a worker that
 * goes on as if nothing had been.
 *
 * The frames are random; when a test fails it prints its seed.
 */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Random, Redacted, Result, Stream } from "effect"
import { EventStore, type EventStoreError, GatewayWorkers, MemoryEventStore } from "holdfast/events"
import { randomInt } from "node:crypto"
import { request } from "node:http"
import { connect } from "node:net"
import * as Processes from "../../support/Processes.ts"
import { counted, range, tagOf } from "../support.ts"
import { client, key, token, worker } from "./support.ts"

const limits = { requestBytes: 64 * 1024, requests: 20, storeRequests: 20, subscriptions: 3 }

/** A worker over stores in memory, with two of them. */
const gateway = Effect.gen(function*() {
  const services = yield* Layer.build(Layer.merge(MemoryEventStore.layer, Layer.fresh(GatewayWorkers.layer)))
  const store = Context.get(services, EventStore.EventStore)
  yield* store.createStore("flights")
  yield* store.createStore("secrets")
  yield* store.appendEvents("flights", "SEA", counted(0, 5))
  yield* store.appendEvents("secrets", "vault", counted(0, 5))
  return { ...(yield* worker(services, { limits })), store, services }
})

interface Answer {
  readonly status: number
  readonly body: string
}

const ask = (url: string, path: string, options: { readonly authorization?: string; readonly post?: string } = {}) =>
  Effect.callback<Answer>((resume) => {
    const { authorization, post } = options
    const asked = request(
      new URL(path, url),
      {
        method: post === undefined ? "GET" : "POST",
        headers: { connection: "close", ...(authorization === undefined ? {} : { authorization }) }
      },
      (response) => {
        let body = ""
        response.setEncoding("utf8").on("data", (text: string) => body += text)
        response.on("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, body })))
        response.on("error", () => resume(Effect.succeed({ status: 0, body })))
      }
    )
    asked.on("error", () => resume(Effect.succeed({ status: 0, body: "" })))
    asked.end(post)
  })

/** A socket with this token: how it was closed after these frames, and what came back before. */
const send = (url: string, authorization: string, frames: ReadonlyArray<string | Uint8Array<ArrayBuffer>>) =>
  Effect.callback<{ readonly code: number; readonly received: ReadonlyArray<string> }>((resume) => {
    const Constructor = globalThis.WebSocket as unknown as new(url: string, options: unknown) => globalThis.WebSocket
    const socket = new Constructor(`${url.replace("http", "ws")}/gateway/socket`, { headers: { authorization } })
    const received: Array<string> = []
    const end = (code: number) => resume(Effect.succeed({ code, received }))
    socket.addEventListener("open", () => {
      for (const frame of frames) socket.send(frame)
    })
    socket.addEventListener("message", ({ data }) => {
      received.push(String(data))
      // What is answered, and not the end of it, is enough.
      socket.close(1000)
    })
    socket.addEventListener("error", () => end(1006))
    socket.addEventListener("close", ({ code }) => end(code))
  })

const tagsIn = (text: string) => Array.from(text.matchAll(/"_tag":"([A-Za-z]+)"/g), ([, tag]) => tag ?? "")

layer(Layer.empty, { excludeTestServices: true })("those who are not let in", (it) => {
  it.effect(
    "no token, a forged one, one of another key and one that has expired are refused, and learn nothing",
    () =>
      Effect.gen(function*() {
        const { url } = yield* gateway
        const good = Redacted.value(yield* token())
        const [start = "", body = "", tag = ""] = good.split(".")
        const other = { id: "test", secret: Redacted.make("another secret of at least 32 bytes, for tests") }
        const expired = Redacted.value(yield* token({ lifetime: "1 second" }))
        const elevated = Buffer.from(
          Buffer.from(body, "base64url").toString().replace("\"read\"", "\"admin\"")
        ).toString("base64url")
        yield* Effect.sleep("1100 millis")
        const bad: ReadonlyArray<readonly [string | undefined, string]> = [
          [undefined, "missing"],
          ["Basic YTpi", "missing"],
          ["Bearer x", "invalid"],
          [`Bearer ${start}.${body}.`, "invalid"],
          [`Bearer ${start}.${body}.${tag.slice(0, -2)}AA`, "invalid"],
          [`Bearer ${start}.${elevated}.${tag}`, "invalid"],
          [`Bearer hf2.${body}.${tag}`, "invalid"],
          [`Bearer ${good}.x`, "invalid"],
          [`Bearer ${Redacted.value(yield* token({ key: other }))}`, "invalid"],
          [`Bearer ${Redacted.value(yield* token({ key: { ...other, id: "unknown" } }))}`, "invalid"],
          [`Bearer ${"A".repeat(10_000)}`, "invalid"],
          [`Bearer ${expired}`, "expired"]
        ]
        for (const [authorization, problem] of bad) {
          for (const path of ["/gateway/workers", "/gateway/rpc", "/metrics", "/gateway/socket"]) {
            const answer = yield* ask(url, path, {
              ...(authorization === undefined ? {} : { authorization }),
              ...(path === "/gateway/rpc" ? { post: "[]" } : {})
            })
            assert.deepStrictEqual(
              [answer.status, answer.body],
              [401, `{"_tag":"EventStoreError","reason":{"_tag":"TokenRefused","problem":"${problem}"}}`],
              `${path} ${authorization}`
            )
          }
          assert.strictEqual((yield* send(url, authorization ?? "", ["{}"])).code, 1006)
          if (authorization?.startsWith("Bearer ") !== true) continue
          const { events } = yield* client([url], { token: Redacted.make(authorization.slice(7)) })
          for (const store of ["flights", "nothing"]) {
            const result = yield* Effect.result(events.getVersion(store, "SEA"))
            assert.isTrue(Result.isFailure(result) && result.failure.reason._tag === "TokenRefused")
            assert.notInclude(JSON.stringify(result), authorization.slice(7))
          }
          assert.strictEqual(yield* tagOf(events.listStores), "TokenRefused")
        }
        const { events } = yield* client([url])
        assert.deepStrictEqual(yield* events.listStores, ["flights", "secrets"])
      }),
    60_000
  )

  it.effect("one for another store is told the same of stores that are there and of those that are not", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway
      const { events } = yield* client([url], {
        token: yield* token({ grants: [{ store: "flights", rights: ["read"] }] })
      })
      assert.deepStrictEqual(yield* events.listStores, ["flights"])
      assert.strictEqual(yield* events.getVersion("flights", "SEA"), 4)
      const told = (store: string) => {
        const refusals: ReadonlyArray<Effect.Effect<unknown, EventStoreError.EventStoreError>> = [
          events.getEvents(store, "vault", 0, 1),
          events.getVersion(store, "vault"),
          events.getVersion(store, "$all"),
          events.getStreams(store),
          events.streamInfo(store, "vault"),
          events.appendEvents(store, "vault", counted(0, 1)),
          events.linkToStream(store, "mine", ["00000000-0000-7000-8000-000000000001"]),
          events.deleteStream(store, "vault"),
          Stream.runHead(events.subscribe(store)),
          Stream.runHead(events.subscribe(store, { name: "mine" })),
          events.saveSubscription(store, "mine"),
          events.removeSubscription(store, "mine"),
          events.getSubscriptions(store),
          events.recordSnapshot(store, "a", "vault", 1, {}),
          events.readSnapshot(store, "a", "vault"),
          events.listSnapshots(store),
          events.deleteSnapshot(store, "a", "vault", 1),
          events.createStore(store),
          events.removeStore(store),
          events.getStoreStatus(store),
          events.getStoreConfig(store)
        ]
        return Effect.forEach(refusals, (refusal) =>
          Effect.map(Effect.flip(refusal), (error) => {
            assert.strictEqual(error.reason._tag, "AccessDenied")
            return error.message.replaceAll(store, "")
          }))
      }
      assert.deepStrictEqual(yield* told("secrets"), yield* told("missing"))
    }))

  it.effect("a right is a right: each of the four gives what it says and nothing else", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway
      const does = (right: "read" | "append" | "subscribe" | "admin") =>
        Effect.gen(function*() {
          const { events } = yield* client([url], {
            token: yield* token({ grants: [{ store: "flights", rights: [right] }] })
          })
          return yield* Effect.all([
            tagOf(events.getEvents("flights", "SEA", 0, 1)),
            tagOf(events.appendEvents("flights", "LAX", counted(0, 1))),
            tagOf(Stream.runHead(events.subscribe("flights", { startFrom: "origin" }))),
            tagOf(events.getStoreStatus("flights")),
            tagOf(events.deleteStream("flights", "nothing"))
          ])
        })
      const no = "AccessDenied"
      assert.deepStrictEqual(yield* does("read"), ["none", no, no, "none", no])
      assert.deepStrictEqual(yield* does("append"), [no, "none", no, no, no])
      assert.deepStrictEqual(yield* does("subscribe"), [no, no, "none", no, no])
      assert.deepStrictEqual(yield* does("admin"), [no, no, no, "none", "StreamNotFound"])
    }))

  it.effect("a token that expires ends the subscriptions of its holder, and no other's", () =>
    Effect.gen(function*() {
      const { store, url } = yield* gateway
      const short = yield* client([url], { token: yield* token({ client: "short", lifetime: "2 seconds" }) })
      const renewed = yield* client([url], {
        token: Effect.suspend(() => token({ client: "renewed", lifetime: "2 seconds" }))
      })
      const endOf = (events: EventStore.EventStore["Service"], options: { readonly name?: string }) =>
        Effect.forkScoped(Effect.flip(
          Effect.andThen(
            Stream.runForEach(events.subscribe("flights", { startFrom: "origin", ...options }), ({ ack }) => ack),
            Effect.fail("ended" as const)
          )
        ))
      const transient = yield* endOf(short.events, {})
      const persistent = yield* endOf(short.events, { name: "short" })
      const seen: Array<number> = []
      const going = yield* Effect.forkScoped(
        Stream.runForEach(renewed.events.subscribe("flights", { startFrom: "origin" }), ({ event }) =>
          Effect.sync(() => seen.push(event.globalPosition)))
      )
      for (const fiber of [transient, persistent]) {
        const error = yield* Fiber.join(fiber)
        assert.isTrue(error !== "ended" && error.reason._tag === "TokenRefused" && error.reason.problem === "expired")
      }
      // What it had claimed is free for others.
      yield* Effect.sleep("5 millis").pipe(
        Effect.andThen(store.getSubscriptions("flights")),
        Effect.repeat({
          until: ([short]) =>
            short?.active === false
        }),
        Effect.timeout("5 seconds")
      )
      yield* store.appendEvents("flights", "SEA", counted(5, 8))
      yield* Effect.sleep("10 millis").pipe(
        Effect.repeat({
          until: () => seen.length >= 8
        }),
        Effect.timeout("10 seconds")
      )
      assert.deepStrictEqual(seen, range(0, 8))
      yield* Fiber.interrupt(going)
    }), 30_000)

  it.effect("no secret is in an error, a log line or what anybody is told", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway
      const secret = Redacted.value(key.secret)
      const admin = Redacted.value(yield* token())
      const answers = yield* Effect.forEach(["/health", "/gateway/workers", "/metrics"], (path) =>
        ask(url, path, { authorization: `Bearer ${admin}` }))
      for (const { body, status } of answers) {
        assert.strictEqual(status, 200)
        for (const hidden of [secret, admin, "vault"]) {
          assert.notInclude(body, hidden)
        }
      }
      assert.notInclude(answers[2]?.body ?? "", "flights")
      assert.include(answers[2]?.body ?? "", "holdfast_gateway_requests")
      const reader = Redacted.value(yield* token({ grants: [{ store: "flights", rights: ["admin"] }] }))
      assert.strictEqual((yield* ask(url, "/metrics", { authorization: `Bearer ${reader}` })).status, 403)
      assert.deepStrictEqual(yield* ask(url, "/health"), { status: 200, body: "{\"status\":\"ok\"}" })
      assert.strictEqual((yield* ask(url, "/")).status, 404)
    }))
})

layer(Layer.empty, { excludeTestServices: true })("frames", (it) => {
  it.effect("1,000 truncated, oversized and random frames: each refused, the worker unharmed, memory flat", () => {
    const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
    return Effect.gen(function*() {
      const child = yield* Processes.start(new URL("./fixtures/worker.ts", import.meta.url), [], {
        GATEWAY_KEY: Redacted.value(key.secret),
        GATEWAY_LIMITS: JSON.stringify(limits)
      })
      const url = (yield* child.line("at ")).slice(3)
      const authorization = `Bearer ${Redacted.value(yield* token({ client: "hostile" }))}`
      const good = (id: number) => {
        const append = ["X", "any", [["00000000-0000-7000-8000-00000000000a", true, "A", "{}", null, null, null]]]
        const request = id % 2 === 0
          ? { tag: "Append", payload: { store: "flights", append } }
          : { tag: "AppendEach", payload: { store: "flights", appends: [append, append] } }
        return JSON.stringify([{ _tag: "Request", id, headers: [], ...request }])
      }
      const mutations = [
        "null",
        "[]",
        "{}",
        "1",
        "[null]",
        "{\"_tag\":\"Request\"}",
        "{\"_tag\":\"Request\",\"id\":1,\"tag\":\"__proto__\",\"headers\":[],\"payload\":{}}",
        "{\"_tag\":\"Request\",\"id\":{},\"tag\":\"Stores\",\"headers\":[]}",
        "{\"_tag\":\"Request\",\"id\":1,\"tag\":\"Append\",\"headers\":5,\"payload\":{\"store\":\"flights\",\"appends\":[]}}",
        "{\"_tag\":\"Request\",\"id\":1,\"tag\":\"Append\",\"headers\":[],\"payload\":{\"store\":\"flights\",\"appends\":[[\"X\",\"any\",[[\"7\",true,\"A\",\"{\",null,null,null]]]]}}",
        "{\"_tag\":\"Request\",\"id\":1,\"tag\":\"Read\",\"headers\":[],\"payload\":{\"store\":\"flights\",\"eventStreamId\":\"SEA\",\"start\":-1,\"count\":1e9,\"direction\":\"forward\"}}",
        "{\"_tag\":\"Ack\",\"requestId\":7}",
        "{\"_tag\":\"Interrupt\",\"requestId\":7}",
        "{\"_tag\":\"Eof\"}",
        "[".repeat(20_000)
      ]
      const frame = Effect.gen(function*() {
        switch (yield* Random.nextIntBetween(0, 5)) {
          case 0: {
            const text = good(yield* Random.nextIntBetween(1, 3))
            return text.slice(0, yield* Random.nextIntBetween(1, text.length - 1))
          }
          case 1:
            return "x".repeat(limits.requestBytes + 1024 * 1024 + (yield* Random.nextIntBetween(1, 1000)))
          case 2: {
            const length = yield* Random.nextIntBetween(1, 2000)
            const bytes = new Uint8Array(length)
            for (let at = 0; at < length; at++) bytes[at] = yield* Random.nextIntBetween(0, 256)
            return bytes
          }
          case 3: {
            const characters = [...good(yield* Random.nextIntBetween(1, 3))]
            for (let n = 0; n < 5; n++) {
              characters[yield* Random.nextIntBetween(0, characters.length)] = String.fromCodePoint(
                yield* Random.nextIntBetween(32, 127)
              )
            }
            return characters.join("")
          }
          default:
            return mutations[yield* Random.nextIntBetween(0, mutations.length)] ?? ""
        }
      })
      let looks = 0
      const memory = Effect.gen(function*() {
        yield* Effect.sleep("300 millis")
        const name = `look-${looks++}`
        yield* child.say(name)
        return Number((yield* child.line(`${name} `)).split(" ")[1])
      })
      const one = Effect.gen(function*() {
        // The last one is understood: what is not answered before it is answered with it.
        const { code, received } = yield* Effect.timeout(
          send(url, authorization, [yield* frame, "{\"_tag\":\"Ping\"}"]),
          "10 seconds"
        )
        const text = received.join("")
        // Too large: closed with 1009. Else it is answered, or what comes next is, and no answer says anything of the stores.
        if (code === 1009 || code === 1006) return
        assert.isAbove(received.length, 0, `closed with ${code}`)
        const allowed = [
          "Pong",
          "Exit",
          "Chunk",
          "Failure",
          "Success",
          "Fail",
          "Interrupt",
          "Defect",
          "EventStoreError",
          "MalformedRequest",
          "DuplicateEvent",
          "StoreNotFound",
          "InvalidArgument",
          "InvalidEvent",
          "WrongExpectedVersion"
        ]
        for (const tag of tagsIn(text)) assert.include(allowed, tag, text)
        assert.notInclude(text, "vault")
      })
      yield* Effect.forEach(range(0, 100), () => one, { concurrency: 4, discard: true })
      const before = yield* memory
      yield* Effect.forEach(range(0, 900), () => one, { concurrency: 4, discard: true })
      // What is still on its way out goes, and nothing stays.
      yield* memory.pipe(
        Effect.repeat({ until: (now) => now - before < 8 }),
        Effect.timeoutOrElse({ duration: "15 seconds", orElse: () => Effect.die(new Error("memory grows")) })
      )
      const { events } = yield* client([url])
      assert.strictEqual(yield* events.getVersion("flights", "SEA"), 4)
      assert.strictEqual(yield* events.appendEvents("flights", "SEA", counted(5, 6)), 5)
      assert.strictEqual(yield* events.getVersion("secrets", "vault"), 4)
    }).pipe(Random.withSeed(seed), Effect.onError(() => Effect.log(`HOLDFAST_TEST_SEED=${seed}`)))
  }, 120_000)

  it.effect("what is no HTTP at all, and what never ends, harms nobody", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway
      const { hostname, port } = new URL(url)
      yield* Effect.forEach(range(0, 50), (n) =>
        Effect.callback<void>((resume) => {
          const socket = connect(Number(port), hostname)
          socket.on("error", () => undefined)
          socket.on("close", () => resume(Effect.void))
          socket.on("data", () => undefined)
          socket.write(
            n % 2 === 0 ? "\u0000\u0001\u0002 not http\r\n\r\n" : "GET /gateway/socket HTTP/1.1\r\nHost: x\r\n"
          )
          if (n % 2 === 1) socket.end()
        }), { concurrency: 10 })
      assert.strictEqual((yield* ask(url, "/health")).status, 200)
    }))

  it.effect("requests over HTTP are answered like those over a socket, but for subscriptions; too large ones are not", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway
      const authorization = `Bearer ${Redacted.value(yield* token())}`
      const post = (tag: string, payload: unknown) =>
        ask(url, "/gateway/rpc", {
          authorization,
          post: JSON.stringify({ _tag: "Request", id: 1, tag, headers: [], payload })
        })
      const read = { store: "flights", eventStreamId: "SEA", start: 0, count: 2, direction: "forward" }
      assert.include((yield* post("Read", read)).body, "\"Success\",\"value\":{\"events\":[[0,\"SEA\",0,0,")
      const append = (digit: string) => ["LAX", "any", [[
        `00000000-0000-7000-8000-00000000000${digit}`,
        false,
        "A",
        "{}",
        null,
        null,
        null
      ]]]
      const one = { store: "flights", append: append("b") }
      assert.include((yield* post("Append", one)).body, "\"Success\",\"value\":0")
      const two = { store: "flights", appends: [append("c"), append("d")] }
      assert.include((yield* post("AppendEach", two)).body, "\"values\":[[0,1],[1,2]]")
      assert.include((yield* post("Watch", { store: "flights" })).body, "Expected a socket")
      const selector = { _tag: "byStream", eventStreamId: "$all" }
      assert.include((yield* post("Claim", { store: "flights", name: "a", selector })).body, "Expected a socket")
      const large = yield* post("Read", { ...read, eventStreamId: "x".repeat(limits.requestBytes) })
      assert.deepStrictEqual([large.status, tagsIn(large.body)[1]], [413, "RequestTooLarge"])
    }))
})

layer(Layer.empty, { excludeTestServices: true })("limits", (it) => {
  it.effect("a request that is too large is refused before it is sent, and what is next to it is not", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway
      const { events } = yield* client([url])
      const large = [{ eventType: "Large", data: "x".repeat(limits.requestBytes) }]
      const results = yield* Effect.all([
        tagOf(events.appendEvents("flights", "a", counted(0, 1))),
        tagOf(events.appendEvents("flights", "a", large)),
        tagOf(events.appendEvents("flights", "b", counted(0, 1)))
      ], { concurrency: "unbounded" })
      assert.deepStrictEqual(results, ["none", "RequestTooLarge", "none"])
    }))

  it.effect("a client waits for its turn where it has too much to do; another connection of it is told", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway
      const { events } = yield* client([url])
      const versions = yield* Effect.forEach(
        range(0, 500),
        (n) => Effect.map(events.appendEvents("flights", `s${n}`, counted(0, 1)), () => n),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(versions, 500)
      const authorization = `Bearer ${Redacted.value(yield* token())}`
      const reads = range(0, limits.requests + 5).map((id) => ({
        _tag: "Request",
        id,
        tag: "Stores",
        headers: [],
        payload: {}
      }))
      const { body } = yield* ask(url, "/gateway/rpc", { authorization, post: JSON.stringify(reads) })
      assert.lengthOf(tagsIn(body).filter((tag) => tag === "Exit"), reads.length)
    }))

  it.effect(
    "subscriptions beyond the limit are refused, and have their place again when one ends",
    () =>
      Effect.gen(function*() {
        const { url } = yield* gateway
        const { events } = yield* client([url], { token: yield* token({ client: "many" }) })
        const open = (name: string) =>
          Effect.gen(function*() {
            const fiber = yield* Effect.forkScoped(
              Stream.runForEach(events.subscribe("flights", { name }), ({ ack }) => ack)
            )
            yield* Effect.sleep("5 millis").pipe(
              Effect.andThen(events.getSubscriptions("flights")),
              Effect.repeat({ until: (all) => all.some((one) => one.name === name && one.position === 4) }),
              Effect.timeout("10 seconds")
            )
            return fiber
          })
        // One is for the store that is watched.
        const first = yield* open("a")
        yield* open("b")
        const third = yield* Effect.forkScoped(open("c"))
        yield* Effect.sleep("300 millis")
        assert.isTrue((yield* events.getSubscriptions("flights")).some(({ active, name }) => name === "c" && !active))
        yield* Fiber.interrupt(first)
        yield* Fiber.join(third)
      }),
    20_000
  )
})
