/**
 * A TCP proxy on loopback between a node and its Postgres, which understands enough of the protocol to fail on purpose at
 * exactly the moment that a test is about: when the server has committed and its answer is on the way, or when a statement
 * is on the way and the server has not seen it yet.
 *
 * Sessions are told apart by their `application_name`; the engine's are `holdfast commit`, `holdfast read`, `holdfast heartbeat`
 * and `holdfast listen`. A statement and its answer are one exchange, which passes whole or not at all.
 *
 *     const caught = yield* proxy.catchAnswer(/commit_group/)   // the next one that matches is held back
 *     const fiber = yield* Effect.forkChild(counter("a").cast.Add({ by: 1 }))
 *     yield* caught.arrived                                      // here it is committed, and nobody knows
 *     yield* caught.cut                                          // nor will they by this connection
 */
import { Deferred, Effect, Redacted, type Scope } from "effect"
import { connect, createServer, type Server, type Socket } from "node:net"

/** Which exchanges a test is about: by their SQL, and where that is not enough by their session. */
export interface Match {
  readonly sql: RegExp
  readonly application?: string
}

/** An exchange on its way. */
export interface Exchange {
  readonly application: string
  readonly sql: string
}

/** The exchange that was waited for, held back. */
export interface Caught {
  /** Waits until it is there. From then on nothing passes that way of its connection. */
  readonly arrived: Effect.Effect<Exchange>
  /** Lets it go on, and all that has gathered behind it. */
  readonly release: Effect.Effect<void>
  /** Cuts its connection on both sides. What is held back is lost. */
  readonly cut: Effect.Effect<void>
  /** Cuts the node's side alone. What is held back for the server may still be released. */
  readonly cutNode: Effect.Effect<void>
}

/** What becomes of new connections: nothing special, cut at once, or refused by the "server" with an SQLSTATE. */
export type Welcome = "accept" | "cut" | { readonly code: string; readonly message: string }

export interface CuttableProxy {
  readonly host: string
  readonly port: number
  /** The same URL by way of this proxy. */
  readonly through: (url: Redacted.Redacted) => Redacted.Redacted
  /** Holds back the next statement that matches, before the server sees any of it. */
  readonly catchRequest: (match: RegExp | Match) => Effect.Effect<Caught>
  /** Holds back the answer to the next statement that matches: the server has committed it. */
  readonly catchAnswer: (match: RegExp | Match) => Effect.Effect<Caught>
  /** Cuts all connections, or those of one application. Gives how many that were. */
  readonly cut: (application?: string) => Effect.Effect<number>
  /** What becomes of new connections, of one application or of all. */
  readonly welcome: (welcome: Welcome, application?: string) => Effect.Effect<void>
  /** From now on answers take that much longer, in milliseconds. */
  readonly delayAnswers: (millis: number) => Effect.Effect<void>
  /** From now on a connection breaks when a node sends a statement of more bytes than that. */
  readonly breakAbove: (bytes: number) => Effect.Effect<void>
  /** How many have broken of that. */
  readonly broken: Effect.Effect<number>
  /** How many connections nodes have begun to make so far. */
  readonly attempts: Effect.Effect<number>
  /** Every statement that passed, oldest first, unless the proxy does not remember them. */
  readonly passed: Effect.Effect<ReadonlyArray<Exchange>>
}

interface Trap {
  readonly match: Match
  readonly side: "request" | "answer"
  readonly arrived: Deferred.Deferred<Exchange>
  link: Link | undefined
  /** Given up before anything was caught. */
  done: boolean
}

const everything = Buffer.alloc(0)

/** Splits a stream into protocol messages: a type, a length that counts itself, a body. */
class Messages {
  #rest: Buffer = everything

  split(chunk: Buffer): ReadonlyArray<Buffer> {
    const messages: Array<Buffer> = []
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (rest.length >= 5) {
      const length = rest.readUInt32BE(1) + 1
      if (rest.length < length) break
      messages.push(rest.subarray(0, length))
      rest = rest.subarray(length)
    }
    this.#rest = rest
    return messages
  }
}

const textUntilNul = (buffer: Buffer, from: number): string => buffer.toString("utf8", from, buffer.indexOf(0, from))

/** Message types of a statement on its way: Parse, Bind, Describe, Execute, Close. */
const ofStatement = new Set(["P", "B", "D", "E", "C"])

/** One connection of a node, and the one to the server that belongs to it. */
class Link {
  application = ""
  readonly #proxy: Proxy
  readonly #node: Socket
  readonly #server: Socket
  readonly #fromNode = new Messages()
  readonly #fromServer = new Messages()
  readonly #statements = new Map<string, string>()
  #startup: Buffer | undefined = everything
  #request: Array<Buffer> = []
  #sql = ""
  /** Statements that the server has not answered yet. */
  readonly #unanswered: Array<string> = []
  #answer: Array<Buffer> = []
  /** What is held back, while it is. */
  #heldRequests: Array<Buffer> | undefined
  #heldAnswers: Array<Buffer> | undefined

  constructor(proxy: Proxy, node: Socket, serverHost: string, serverPort: number) {
    this.#proxy = proxy
    this.#node = node
    this.#server = connect(serverPort, serverHost)
    node.setNoDelay(true)
    this.#server.setNoDelay(true)
    node.on("data", (chunk) => this.#nodeSays(chunk))
    node.on("error", () => undefined)
    node.on("close", () => {
      if (this.#heldRequests === undefined) this.#server.end()
    })
    this.#server.on("data", (chunk) => this.#serverSays(chunk))
    this.#server.on("error", () => node.destroy())
    this.#server.on("close", () => {
      proxy.links.delete(this)
      for (const message of this.#answer) this.#toNode(message)
      if (this.#heldAnswers === undefined) node.end()
    })
  }

  cut(): void {
    this.#node.destroy()
    this.#server.destroy()
  }

  cutNode(): void {
    this.#node.destroy()
  }

  release(): void {
    const requests = this.#heldRequests
    this.#heldRequests = undefined
    for (const message of requests ?? []) this.#toServer(message)
    const answers = this.#heldAnswers
    this.#heldAnswers = undefined
    for (const message of answers ?? []) this.#toNode(message)
    if (this.#node.destroyed) this.#server.end()
    if (this.#server.destroyed) this.#node.end()
  }

  #toServer(message: Buffer): void {
    if (this.#heldRequests !== undefined) this.#heldRequests.push(message)
    else if (!this.#server.destroyed) this.#server.write(message)
  }

  #toNode(message: Buffer): void {
    if (this.#heldAnswers !== undefined) this.#heldAnswers.push(message)
    else if (!this.#node.destroyed) this.#node.write(message)
  }

  #nodeSays(chunk: Buffer): void {
    if (this.#startup !== undefined) {
      const startup = Buffer.concat([this.#startup, chunk])
      this.#startup = startup
      if (startup.length < 4 || startup.length < startup.readUInt32BE(0)) return
      const length = startup.readUInt32BE(0)
      this.#startup = undefined
      this.#begin(startup.subarray(0, length))
      if (startup.length > length) this.#nodeSays(startup.subarray(length))
      return
    }
    for (const message of this.#fromNode.split(chunk)) {
      const type = String.fromCharCode(message[0] ?? 0)
      if (ofStatement.has(type)) {
        this.#request.push(message)
        if (message.length > this.#proxy.bears) {
          this.#proxy.broken++
          return this.cut()
        }
        if (type === "P") {
          this.#statements.set(textUntilNul(message, 5), textUntilNul(message, message.indexOf(0, 5) + 1))
        }
        if (type === "B") this.#sql = this.#statements.get(textUntilNul(message, message.indexOf(0, 5) + 1)) ?? ""
      } else if (type === "S") {
        const sql = this.#sql
        this.#sql = ""
        if (this.#proxy.caught("request", this, sql)) this.#heldRequests ??= []
        for (const part of this.#request.splice(0)) this.#toServer(part)
        this.#unanswered.push(sql)
        this.#toServer(message)
      } else {
        this.#toServer(message)
      }
    }
  }

  /** The first packet tells who it is, or asks for the end of somebody else's statement. */
  #begin(packet: Buffer): void {
    const fields = packet.toString("utf8", 8).split("\0")
    const at = fields.findIndex((field, index) => index % 2 === 0 && field === "application_name")
    this.application = at >= 0 ? fields[at + 1] ?? "" : ""
    const welcome = this.#proxy.welcomeOf(this.application)
    if (welcome === "accept") return this.#toServer(packet)
    if (welcome !== "cut") {
      const text = Buffer.from(`SFATAL\0VFATAL\0C${welcome.code}\0M${welcome.message}\0\0`)
      const head = Buffer.alloc(5)
      head.write("E")
      head.writeUInt32BE(text.length + 4, 1)
      this.#node.end(Buffer.concat([head, text]))
      this.#server.destroy()
      return
    }
    this.cut()
  }

  #serverSays(chunk: Buffer): void {
    for (const message of this.#fromServer.split(chunk)) {
      const type = String.fromCharCode(message[0] ?? 0)
      if (this.#unanswered.length === 0) {
        this.#toNode(message)
        continue
      }
      this.#answer.push(message)
      // Only with this one is the statement's transaction over.
      if (type !== "Z") continue
      const sql = this.#unanswered.shift() ?? ""
      const answer = this.#answer.splice(0)
      if (this.#proxy.caught("answer", this, sql)) this.#heldAnswers ??= []
      const pass = () => {
        for (const part of answer) this.#toNode(part)
      }
      if (this.#proxy.delay === 0) pass()
      else setTimeout(pass, this.#proxy.delay)
    }
  }
}

class Proxy {
  readonly links = new Set<Link>()
  readonly exchanges: Array<Exchange> = []
  readonly server: Server
  delay = 0
  bears = Number.POSITIVE_INFINITY
  broken = 0
  attempts = 0
  readonly #remembers: boolean
  readonly #traps: Array<Trap> = []
  readonly #welcomes = new Map<string, Welcome>()

  constructor(host: string, port: number, remembers: boolean) {
    this.#remembers = remembers
    this.server = createServer((socket) => {
      this.attempts++
      this.links.add(new Link(this, socket, host, port))
    })
  }

  welcome(welcome: Welcome, application: string): void {
    this.#welcomes.set(application, welcome)
  }

  welcomeOf(application: string): Welcome {
    return this.#welcomes.get(application) ?? this.#welcomes.get("") ?? "accept"
  }

  trap(match: RegExp | Match, side: "request" | "answer"): Trap {
    const trap: Trap = {
      match: match instanceof RegExp ? { sql: match } : match,
      side,
      arrived: Deferred.makeUnsafe(),
      link: undefined,
      done: false
    }
    this.#traps.push(trap)
    return trap
  }

  /** Whether this exchange is one that is waited for. */
  caught(side: "request" | "answer", link: Link, sql: string): boolean {
    const exchange = { application: link.application, sql }
    if (side === "request" && this.#remembers) this.exchanges.push(exchange)
    const at = this.#traps.findIndex(({ match, side: where }) =>
      where === side && match.sql.test(sql) &&
      (match.application === undefined || match.application === link.application)
    )
    const trap = this.#traps[at]
    if (trap === undefined) return false
    this.#traps.splice(at, 1)
    trap.link = link
    // Whoever waits for it goes on at once, and may let go of it: only when all of it is held.
    queueMicrotask(() => Deferred.doneUnsafe(trap.arrived, Effect.succeed(exchange)))
    return true
  }

  forget(trap: Trap): void {
    const at = this.#traps.indexOf(trap)
    if (at >= 0) this.#traps.splice(at, 1)
  }

  cut(application: string | undefined): number {
    const links = Array.from(this.links).filter((link) => application === undefined || link.application === application)
    for (const link of links) link.cut()
    return links.length
  }
}

/** A proxy in front of a server, for as long as the scope lasts. One that is to work for hours had better not remember all that passes. */
export const make = (
  to: { readonly host: string; readonly port: number },
  { remembers = true }: { readonly remembers?: boolean } = {}
): Effect.Effect<CuttableProxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Proxy>((resume) => {
      const proxy = new Proxy(to.host, to.port, remembers)
      proxy.server.listen(0, "127.0.0.1", () => resume(Effect.succeed(proxy)))
    }),
    (proxy) =>
      Effect.callback<void>((resume) => {
        proxy.server.close(() => resume(Effect.void))
        proxy.cut(undefined)
      })
  ).pipe(Effect.map((proxy): CuttableProxy => {
    const address = proxy.server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    const catchOne = (match: RegExp | Match, side: "request" | "answer") =>
      Effect.sync((): Caught => {
        const trap = proxy.trap(match, side)
        const then = (act: (link: Link) => void) =>
          Effect.sync(() => {
            if (trap.link === undefined) proxy.forget(trap)
            else act(trap.link)
          })
        return {
          arrived: Deferred.await(trap.arrived),
          release: then((link) => link.release()),
          cut: then((link) => link.cut()),
          cutNode: then((link) => link.cutNode())
        }
      })
    return {
      host: "127.0.0.1",
      port,
      through: (url) => {
        const through = new URL(Redacted.value(url))
        through.hostname = "127.0.0.1"
        through.port = String(port)
        return Redacted.make(through.href)
      },
      catchRequest: (match) => catchOne(match, "request"),
      catchAnswer: (match) => catchOne(match, "answer"),
      cut: (application) => Effect.sync(() => proxy.cut(application)),
      welcome: (welcome, application = "") => Effect.sync(() => proxy.welcome(welcome, application)),
      delayAnswers: (millis) =>
        Effect.sync(() => {
          proxy.delay = millis
        }),
      breakAbove: (bytes) =>
        Effect.sync(() => {
          proxy.bears = bytes
        }),
      broken: Effect.sync(() => proxy.broken),
      attempts: Effect.sync(() => proxy.attempts),
      passed: Effect.sync(() => proxy.exchanges.slice())
    }
  }))
