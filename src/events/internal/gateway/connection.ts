/**
 * The client's side of the wire: one socket to one worker, and the Rpc client over it.
 *
 * Requests that are made in one go travel in one frame. A worker from which nothing is heard for some seconds, not even that it
 * is there, is given up, and everything that it was asked fails: others can be asked instead.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcClientError from "effect/rpc/RpcClientError"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type * as RpcMessage from "effect/rpc/RpcMessage"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { Gathering } from "../../../member/internal/gathering.ts"
import { EventStoreError, RequestTooLarge } from "../../EventStoreError.ts"
import { GatewayRpcs, type Welcome } from "../../GatewayRpcs.ts"
import { failure } from "../checks.ts"
import { Admission } from "./admission.ts"
import { type Appender, make as makeAppender } from "./appender.ts"

/** How often a sign of life is asked for, and for how long none may come. */
const pulseMillis = 1000
const silenceMillis = 4000

/** How many characters of requests go in one frame, where one alone is not longer. */
const maxFrame = 256 * 1024

/** Text has at most so many times the bytes, as a part of JSON, that it has characters: what is larger goes alone. */
const spare = 8

export type Client = RpcClient.RpcClient.Flat<RpcGroup.Rpcs<typeof GatewayRpcs>, RpcClientError.RpcClientError>

export interface Connection {
  readonly client: Client
  readonly append: Appender
  /** How many more requests may be in flight. */
  readonly admission: Admission
  readonly isOpen: () => boolean
  /** Resolves when it is over. */
  readonly closed: Effect.Effect<void>
  readonly close: Effect.Effect<void>
}

const encodeError = Schema.encodeSync(Schema.toCodecJson(EventStoreError))
const textEncoder = new TextEncoder()

const isLarger = (text: string, limit: number): boolean =>
  // A character has at most 3 bytes for each UTF-16 unit: most texts need no counting.
  text.length * 3 > limit && (text.length > limit || textEncoder.encode(text).length > limit)

const lost = (detail: string) =>
  new RpcClientError.RpcClientError({ reason: new Socket.SocketCloseError({ code: 1006, closeReason: detail }) })

/** Opens a socket. Fails where there is none to be had; what becomes of it later, `closed` tells. */
export const open = Effect.fnUntraced(function*(options: {
  readonly url: string
  readonly token: string
  readonly limits: Welcome["limits"]
  readonly makeWebSocket: Socket.WebSocketConstructor["Service"]
  readonly scope: Scope.Scope
  readonly openTimeout: Duration.Duration
  /** For how long an answer is waited for. */
  readonly timeoutMillis: number
}): Effect.fn.Return<Connection, Socket.SocketError> {
  const { limits, scope: parent, token } = options
  const clock = yield* Clock.Clock
  const scope = yield* Scope.fork(parent)
  const closed = yield* Deferred.make<void>()
  const outbox = new Gathering<string>()
  /** Until when an answer to each request has to be there: to all but those that go on until they are ended. */
  const deadlines = new Map<string | number, number>()
  let isOpen = true
  let lastSeen = clock.currentTimeMillisUnsafe()

  const socket = yield* Socket.makeWebSocket(`${options.url.replace(/^http/, "ws")}/gateway/socket`, {
    headers: { authorization: `Bearer ${token}` },
    openTimeout: options.openTimeout
  }).pipe(Effect.provideService(Socket.WebSocketConstructor, options.makeWebSocket))

  return yield* Effect.gen(function*() {
    const { pull } = yield* socket.reader
    const writer = yield* socket.writer

    let deliver: (message: RpcMessage.FromServerEncoded) => Effect.Effect<void> = () => Effect.void
    const protocol = yield* RpcClient.Protocol.make((write, clientIds) => {
      deliver = (message) => {
        for (const clientId of clientIds) return write(clientId, message)
        return Effect.void
      }
      return Effect.succeed({
        send: (_, message) => {
          if (!isOpen) return Effect.fail(lost("the connection is closed"))
          // What has an end is answered whole, whatever is acknowledged.
          if (message._tag === "Ack" && deadlines.has(message.requestId)) return Effect.void
          // Headers would be sent with each of them, and nobody reads them.
          const text = JSON.stringify(message._tag === "Request" ? { ...message, headers: [] } : message)
          if (message._tag === "Request" && isLarger(text, limits.requestBytes)) {
            const error = encodeError(failure(new RequestTooLarge({ limit: limits.requestBytes })))
            const exit = { _tag: "Failure" as const, cause: [{ _tag: "Fail" as const, error }] }
            return deliver({ _tag: "Exit", requestId: message.id, exit })
          }
          if (message._tag === "Request") {
            if (message.tag !== "Watch") {
              deadlines.set(message.id, clock.currentTimeMillisUnsafe() + options.timeoutMillis)
            }
          } else if (message._tag === "Interrupt") deadlines.delete(message.requestId)
          outbox.add(text)
          return Effect.void
        },
        supportsAck: true,
        supportsTransferables: false,
        codecFor: RpcSerialization.json.codecFor
      })
    })

    const writing = Effect.gen(function*() {
      while (true) {
        yield* outbox.several
        let frame = ""
        for (const text of outbox.takeUnsafe(Number.MAX_SAFE_INTEGER)) {
          if (frame.length + text.length > maxFrame && frame.length > 0) {
            yield* writer.write(`[${frame}]`)
            frame = ""
          }
          frame = frame.length === 0 ? text : `${frame},${text}`
        }
        if (frame.length > 0) yield* writer.write(`[${frame}]`)
      }
    })

    const reading = Effect.gen(function*() {
      while (true) {
        const frames = yield* pull
        lastSeen = clock.currentTimeMillisUnsafe()
        for (const frame of frames) {
          if (typeof frame !== "string") continue
          // A worker has made it.
          const parsed = JSON.parse(frame) as RpcMessage.FromServerEncoded | ReadonlyArray<RpcMessage.FromServerEncoded>
          for (const message of [parsed].flat()) {
            if (message._tag === "Pong") continue
            if (message._tag === "Exit") deadlines.delete(message.requestId)
            yield* deliver(message)
          }
        }
      }
    })

    /** Who has waited for too long is told, in the order of asking: one clock for all of them. */
    const overdue = Effect.gen(function*() {
      while (true) {
        yield* Effect.sleep(Duration.millis(Math.max(5, options.timeoutMillis / 50)))
        const now = clock.currentTimeMillisUnsafe()
        for (const [requestId, deadline] of deadlines) {
          if (deadline > now) break
          deadlines.delete(requestId)
          const defect = `it has not answered within ${options.timeoutMillis} ms`
          yield* deliver({ _tag: "Exit", requestId, exit: { _tag: "Failure", cause: [{ _tag: "Die", defect }] } })
          outbox.add(JSON.stringify({ _tag: "Interrupt", requestId }))
        }
      }
    })

    let pulses = 0
    const pulse = Effect.gen(function*() {
      while (true) {
        yield* Effect.sleep(Duration.millis(pulseMillis))
        pulses = clock.currentTimeMillisUnsafe() - lastSeen < pulseMillis ? 0 : pulses + 1
        // A process that was stopped for a while gives the other side the time to be heard.
        if (pulses * pulseMillis > silenceMillis) return
        outbox.add(`{"_tag":"Ping"}`)
      }
    })

    const client = yield* RpcClient.make(GatewayRpcs, { flatten: true, disableTracing: true }).pipe(
      Effect.provideService(RpcClient.Protocol, protocol)
    )

    yield* Effect.raceAllFirst([writing, reading, pulse, overdue]).pipe(
      Effect.ignoreCause,
      Effect.andThen(Effect.suspend(() => {
        isOpen = false
        return deliver({ _tag: "ClientProtocolError", error: lost("the connection to the worker was lost") })
      })),
      Effect.ensuring(Effect.suspend(() => {
        isOpen = false
        return Deferred.succeed(closed, undefined)
      })),
      Effect.forkIn(scope)
    )

    const admission = new Admission(limits.requests, limits.storeRequests)
    const append = yield* makeAppender(
      {
        one: (store, append) => client("Append", { store, append }),
        several: (store, appends) => client("AppendEach", { store, appends })
      },
      Math.min(maxFrame, limits.requestBytes / spare)
    )

    // Those who still ask are told; then the socket is closed.
    const close = Effect.suspend(() => {
      isOpen = false
      return Scope.close(scope, Exit.void)
    })
    yield* Effect.forkIn(Effect.andThen(Deferred.await(closed), close), parent)
    return { client, append, admission, isOpen: () => isOpen, closed: Deferred.await(closed), close }
  }).pipe(Scope.provide(scope), Effect.onError(() => Scope.close(scope, Exit.void)))
})
