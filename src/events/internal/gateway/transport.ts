/**
 * The worker's side of the wire: frames in, frames out, and what is between them and the Rpc server.
 *
 * A frame is a JSON message of Effect's Rpc protocol, or an array of them: whatever is ready goes in one. Each message is looked
 * at before anything is done with it; a frame that cannot be understood is answered with `MalformedRequest`, and ends the
 * connection. A client that does not read what it has asked for is not read from either, and in the end is let go.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as RpcMessage from "effect/rpc/RpcMessage"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { Gathering } from "../../../member/internal/gathering.ts"
import { EventStoreError, MalformedRequest } from "../../EventStoreError.ts"
import { failure } from "../checks.ts"
import type { Session } from "./clients.ts"
import { answerText } from "./wire.ts"

/** How many characters of answers go in one frame, where one answer alone is not longer. */
const maxFrame = 256 * 1024

/** For how long nothing may come from a client, which asks at least for a sign of life every few seconds. */
const silence = Duration.seconds(60)

/** For how long a client may leave what it was sent. */
const stall = Duration.seconds(30)

export const encodeError = Schema.encodeSync(Schema.toCodecJson(EventStoreError))

const failed = (requestId: string | number, error: EventStoreError): RpcMessage.FromServerEncoded => ({
  _tag: "Exit",
  requestId,
  exit: { _tag: "Failure", cause: [{ _tag: "Fail", error: encodeError(error) }] }
})

const malformed = (issue: string) => failure(new MalformedRequest({ issue }))

/** Messages as they may be; or what is wrong with them. */
const understood = (data: string): ReadonlyArray<RpcMessage.FromClientEncoded> | string => {
  let parsed: unknown
  try {
    parsed = JSON.parse(data)
  } catch {
    return "Expected JSON"
  }
  const messages: ReadonlyArray<unknown> = Array.isArray(parsed) ? parsed : [parsed]
  return messages.every(isMessage) ? messages : "Expected messages of the Rpc protocol"
}

const isId = (value: unknown): value is string | number => typeof value === "string" || Number.isSafeInteger(value)

const isMessage = (value: unknown): value is RpcMessage.FromClientEncoded => {
  if (!Predicate.isObject(value) || !Object.hasOwn(value, "_tag")) return false
  const message: { readonly [key: string]: unknown } = value as never
  switch (message["_tag"]) {
    case "Request":
      return isId(message["id"]) && typeof message["tag"] === "string" && message["isNotification"] === undefined &&
        message["discard"] === undefined
    case "Ack":
    case "Interrupt":
      return isId(message["requestId"])
    case "Ping":
    case "Eof":
      return true
    default:
      return false
  }
}

/** One client at the server. */
interface Connection {
  readonly id: number
  readonly session: Session
  /** What it has asked for, and whether it counts as a request: a watch is counted as a subscription. */
  readonly requests: Map<string | number, boolean>
  readonly send: (response: RpcMessage.FromServerEncoded) => Effect.Effect<void>
}

/** How much was written to a socket and is still here, and how to wait until it is not. */
export interface Backlog {
  readonly isHigh: () => boolean
  readonly drained: Effect.Effect<void>
}

export interface Transport {
  readonly protocol: RpcServer.Protocol["Service"]
  readonly sessionOf: (clientId: number) => Session | undefined
  /** Serves a client for as long as its socket is open and its token is good. */
  readonly serve: (session: Session, socket: Socket.Socket, backlog: Backlog) => Effect.Effect<void>
  /** Answers what is in one text, with one text. */
  readonly exchange: (session: Session, text: string) => Effect.Effect<string, EventStoreError>
}

/** What is no exit of a handler was found out before there was one: the request could not be decoded. */
const typed = (response: RpcMessage.FromServerEncoded): RpcMessage.FromServerEncoded => {
  if (response._tag !== "Exit" || response.exit._tag === "Success") return response
  const died = response.exit.cause.find((reason) => reason._tag === "Die")
  if (died === undefined) return response
  const issue = typeof died.defect === "string" ? died.defect.slice(0, 500) : "Expected a request of this group"
  return failed(response.requestId, malformed(issue))
}

export const make: Effect.Effect<Transport, never, Scope.Scope> = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const disconnects = yield* Queue.unbounded<number>()
  const connections = new Map<number, Connection>()
  let nextId = 0
  let write: (clientId: number, message: RpcMessage.FromClientEncoded) => Effect.Effect<void> = () => Effect.void

  const protocol = yield* RpcServer.Protocol.make((toServer) => {
    write = toServer
    return Effect.succeed({
      disconnects,
      send: (clientId, response) => {
        const connection = connections.get(clientId)
        if (connection === undefined) return Effect.void
        if (response._tag === "Exit") settle(connection, response.requestId)
        const sent = connection.send(typed(response))
        // What a request asks for is bounded by what it says: it goes on without hearing from the client, and so its end goes with it.
        return response._tag === "Chunk" && connection.requests.get(response.requestId) === true
          ? Effect.andThen(sent, write(clientId, { _tag: "Ack", requestId: response.requestId }))
          : sent
      },
      end: () => Effect.void,
      clientIds: Effect.sync(() => new Set(connections.keys())),
      initialMessage: Effect.succeedNone,
      supportsAck: true,
      supportsTransferables: false,
      supportsSpanPropagation: true,
      supportsNotifications: false,
      codecFor: RpcSerialization.json.codecFor
    })
  })

  const settle = ({ requests, session }: Connection, requestId: string | number): void => {
    const counts = requests.get(requestId)
    if (counts === undefined) return
    requests.delete(requestId)
    if (counts) session.leave()
  }

  const connected = (session: Session, send: Connection["send"]) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const connection: Connection = { id: nextId++, session, requests: new Map(), send }
        connections.set(connection.id, connection)
        return connection
      }),
      (connection) =>
        Effect.suspend(() => {
          for (const requestId of Array.from(connection.requests.keys())) settle(connection, requestId)
          session.isOver = true
          return Queue.offer(disconnects, connection.id)
        })
    )

  const gone = ({ id }: Connection): void => {
    connections.delete(id)
  }

  const receive = (connection: Connection, message: RpcMessage.FromClientEncoded): Effect.Effect<void> => {
    const { id, requests, send, session } = connection
    switch (message._tag) {
      case "Ping":
        return send(RpcMessage.constPong)
      case "Eof":
        return Effect.void
      case "Ack":
      case "Interrupt":
        return requests.has(message.requestId) ? write(id, message) : Effect.void
      case "Request": {
        if (requests.has(message.id)) return send(failed(message.id, malformed("Expected an id that is not in use")))
        const counts = message.tag !== "Watch"
        const refused = counts ? session.admit() : undefined
        if (refused !== undefined) return send(failed(message.id, refused))
        requests.set(message.id, counts)
        // Headers are not looked at; whoever sends some may not have them read as such.
        return write(id, { ...message, headers: [] })
      }
    }
  }

  const serve: Transport["serve"] = (session, socket, backlog) =>
    Effect.gen(function*() {
      const outbox = new Gathering<RpcMessage.FromServerEncoded>()
      const over = yield* Deferred.make<void>()
      let waiting = 0
      const send: Connection["send"] = (response) =>
        Effect.suspend(() => {
          outbox.add(response)
          // Whoever makes more than is read waits until it is.
          if (outbox.size < 256 && !backlog.isHigh()) return Effect.void
          waiting++
          return Effect.ensuring(
            Effect.raceFirst(backlog.drained, Deferred.await(over)),
            Effect.sync(() => {
              waiting--
            })
          )
        })
      const connection = yield* connected(session, send)
      const { pull } = yield* socket.reader
      const writer = yield* socket.writer

      const writing = Effect.gen(function*() {
        while (true) {
          yield* outbox.several
          let frame = ""
          for (const response of outbox.takeUnsafe(1024)) {
            const text = answerText(response)
            if (frame.length + text.length > maxFrame && frame.length > 0) {
              yield* writer.write(`[${frame}]`)
              frame = ""
            }
            frame = frame.length === 0 ? text : `${frame},${text}`
          }
          if (frame.length > 0) yield* writer.write(`[${frame}]`)
          if (backlog.isHigh()) {
            yield* Effect.timeoutOrElse(backlog.drained, { duration: stall, orElse: () => Effect.interrupt })
          }
        }
      })

      let lastSeen = clock.currentTimeMillisUnsafe()
      const reading = Effect.gen(function*() {
        while (true) {
          const frames = yield* pull
          lastSeen = clock.currentTimeMillisUnsafe()
          for (const frame of frames) {
            const messages = typeof frame === "string" ? understood(frame) : "Expected text"
            if (typeof messages === "string") {
              // Nobody can say what it was about: it is said of everything.
              const defect = encodeError(malformed(messages))
              yield* writer.write(JSON.stringify({ _tag: "Defect", defect }))
              yield* writer.write(new Socket.CloseEvent(1007, messages))
              return
            }
            for (const message of messages) yield* receive(connection, message)
          }
        }
      })

      /** Until its token has expired, or nothing was heard from it for too long. */
      const watching = Effect.gen(function*() {
        while (true) {
          const now = clock.currentTimeMillisUnsafe()
          if (now >= session.expiresMillis) {
            return yield* writer.write(new Socket.CloseEvent(1008, "the token has expired"))
          }
          if (now - lastSeen > Duration.toMillis(silence)) return
          yield* Effect.sleep(Duration.millis(Math.min(session.expiresMillis - now, 5000)))
        }
      })

      yield* Effect.raceAllFirst([writing, reading, watching]).pipe(
        Effect.ensuring(Effect.suspend(() => {
          gone(connection)
          return Deferred.succeed(over, undefined)
        }))
      )
    }).pipe(Effect.scoped, Effect.ignoreCause)

  const exchange: Transport["exchange"] = (session, text) =>
    Effect.gen(function*() {
      const messages = understood(text)
      if (typeof messages === "string") return yield* malformed(messages)
      const responses: Array<RpcMessage.FromServerEncoded> = []
      const done = yield* Deferred.make<void>()
      const connection: Connection = yield* connected(session, (response) => {
        responses.push(response)
        return connection.requests.size === 0 ? Deferred.succeed(done, undefined) : Effect.void
      })
      for (const message of messages) {
        if (message._tag === "Request") yield* receive(connection, message)
      }
      if (connection.requests.size > 0) yield* Deferred.await(done)
      gone(connection)
      return `[${responses.map(answerText).join(",")}]`
    }).pipe(Effect.scoped)

  yield* Effect.addFinalizer(() => Effect.sync(() => connections.clear()))
  return { protocol, sessionOf: (clientId) => connections.get(clientId)?.session, serve, exchange }
})
