/**
 * Who is at a gateway worker: the clients by their names, what each has under way, and whether it may have more.
 *
 * Limits are counted by the name of the client, over all of its connections and tokens.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { type EventStoreError, Overloaded, TokenRefused } from "../../EventStoreError.ts"
import type { Claims } from "../../GatewayToken.ts"
import { failure } from "../checks.ts"
import type { Claimed } from "../storage.ts"

export interface Limits {
  /** Bytes of one request. */
  readonly requestBytes: number
  /** Requests of one client at once. */
  readonly requests: number
  /** Requests of one client for one store at once. */
  readonly storeRequests: number
  /** Subscriptions of one client at once: claims, and stores that are watched. */
  readonly subscriptions: number
}

/** What one client has under way. */
class Usage {
  requests = 0
  subscriptions = 0
  sessions = 0
  readonly stores = new Map<string, number>()
}

/** A client that has shown its token, for as long as it is connected, or for one exchange. */
export class Session {
  readonly claims: Claims
  readonly usage: Usage
  readonly limits: Limits
  /** Persistent subscriptions that it has claimed here. */
  readonly held = new Map<string, { readonly key: string; readonly claimed: Claimed }>()
  /** Whether it stays, so that it may claim and watch. */
  readonly stays: boolean
  isOver = false

  constructor(claims: Claims, usage: Usage, limits: Limits, stays: boolean) {
    this.claims = claims
    this.usage = usage
    this.limits = limits
    this.stays = stays
  }

  get expiresMillis(): number {
    return DateTime.toEpochMillis(this.claims.expires)
  }

  /** More requests, or why not. */
  admit(count = 1): EventStoreError | undefined {
    const { limits: { requests: limit }, usage } = this
    if (usage.requests + count > limit) return failure(new Overloaded({ what: "requests", limit }))
    usage.requests += count
    return undefined
  }

  leave(count = 1): void {
    this.usage.requests -= count
  }

  /** One more request for a store, or why not. */
  enter(store: string): EventStoreError | undefined {
    const { limits: { storeRequests: limit }, usage: { stores } } = this
    const count = stores.get(store) ?? 0
    if (count >= limit) return failure(new Overloaded({ what: "store", limit }))
    stores.set(store, count + 1)
    return undefined
  }

  exit(store: string): void {
    const { stores } = this.usage
    const count = stores.get(store) ?? 1
    if (count === 1) stores.delete(store)
    else stores.set(store, count - 1)
  }

  /** One more subscription, or why not. */
  subscribe(): EventStoreError | undefined {
    const { limits: { subscriptions: limit }, usage } = this
    if (usage.subscriptions >= limit) return failure(new Overloaded({ what: "subscriptions", limit }))
    usage.subscriptions++
    return undefined
  }

  unsubscribe(): void {
    this.usage.subscriptions--
  }
}

/** How many tokens are remembered, so that they need not be checked again. */
const maxKnown = 10_000

export class Clients {
  readonly #usages = new Map<string, Usage>()
  readonly #known = new Map<string, Claims>()
  readonly #verify: (token: Redacted.Redacted) => Effect.Effect<Claims, EventStoreError>
  readonly limits: Limits

  constructor(verify: (token: Redacted.Redacted) => Effect.Effect<Claims, EventStoreError>, limits: Limits) {
    this.#verify = verify
    this.limits = limits
  }

  /** What all clients have under way. */
  get load(): { readonly requests: number; readonly subscriptions: number; readonly clients: number } {
    let requests = 0
    let subscriptions = 0
    for (const usage of this.#usages.values()) {
      requests += usage.requests
      subscriptions += usage.subscriptions
    }
    return { requests, subscriptions, clients: this.#usages.size }
  }

  /** Whoever shows this token, until the scope closes. */
  readonly enter = Effect.fnUntraced(
    { self: this },
    function*(this: Clients, text: string | undefined, token: Redacted.Redacted | undefined, stays: boolean) {
      if (text === undefined || token === undefined) return yield* failure(new TokenRefused({ problem: "missing" }))
      const known = this.#known.get(text)
      const claims = known ?? (yield* this.#verify(token))
      if (DateTime.toEpochMillis(claims.expires) <= (yield* Clock.currentTimeMillis)) {
        this.#known.delete(text)
        return yield* failure(new TokenRefused({ problem: "expired" }))
      }
      if (known === undefined) {
        if (this.#known.size >= maxKnown) {
          for (const oldest of this.#known.keys()) {
            this.#known.delete(oldest)
            break
          }
        }
        this.#known.set(text, claims)
      }
      const usage = this.#usages.get(claims.client) ?? new Usage()
      return yield* Effect.acquireRelease(
        Effect.sync(() => {
          this.#usages.set(claims.client, usage)
          usage.sessions++
          return new Session(claims, usage, this.limits, stays)
        }),
        (session) =>
          Effect.sync(() => {
            session.isOver = true
            if (--usage.sessions === 0) this.#usages.delete(claims.client)
          })
      )
    }
  )
}
