/**
 * Tokens for clients of an event gateway: who the client is, what it may do with which stores, and until when, signed by whoever
 * runs the gateway.
 *
 * A worker needs nothing but the signing key to check one, so that no worker asks another, or a database, whether somebody may
 * come in. A key has an id, which is in the token: workers take several keys at once, so that a new one can be brought in, and
 * an old one is taken out when its last token has expired, or at once, if it has become known. There is no other way to take
 * back a token before it expires: issue them for hours, not for years.
 *
 * A token can be read by whoever holds it. It holds no secret but itself, and is `Redacted` for that.
 *
 * The signature is HMAC-SHA-256, by Effect's own `Mac`: whoever checks tokens may also issue them here, so that a public key
 * would gain nothing; its keys are opaque, and show their bytes to no log; it compares in constant time; and it needs no Node.
 *
 * **Example** (A token for one who may follow the flights of an airport)
 *
 * ```ts
 * import { Config, Effect } from "effect"
 * import { GatewayToken } from "holdfast/events"
 *
 * export const boardToken = Effect.gen(function*() {
 *   const key = { id: "2026-11", secret: yield* Config.Redacted("GATEWAY_KEY") }
 *   return yield* GatewayToken.issue(key, {
 *     client: "board",
 *     grants: [{ store: "flights", rights: ["read", "subscribe"] }],
 *     lifetime: "12 hours"
 *   })
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { InvalidOptions } from "../datastore/DatastoreOptions.ts"
import { millisIn } from "../member/internal/options.ts"
import { EventStoreError, TokenRefused } from "./EventStoreError.ts"

/**
 * What a client may do with a store: read events and snapshots; append and link events and record snapshots; subscribe; and
 * make, remove and look into stores, and delete streams.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Right = Schema.Literals(["read", "append", "subscribe", "admin"])

/**
 * What a client may do with a store.
 *
 * @since 0.1.0
 * @category models
 */
export type Right = typeof Right.Type

/**
 * Rights in a store; `*` stands for every store.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Grant = Schema.Struct({
  store: Schema.String.check(Schema.isPattern(/^(\*|[a-z][a-z0-9_]{0,39})$/, { expected: "the id of a store, or *" })),
  rights: Schema.NonEmptyArray(Right)
})

/**
 * Rights in a store.
 *
 * @since 0.1.0
 * @category models
 */
export type Grant = typeof Grant.Type

/**
 * What a token says.
 *
 * @since 0.1.0
 * @category models
 */
export interface Claims {
  /** Limits are counted by it. */
  readonly client: string
  readonly grants: ReadonlyArray<Grant>
  readonly expires: DateTime.Utc
  /** The id of the key that it was signed with. */
  readonly key: string
}

/**
 * A key that tokens are signed with.
 *
 * @since 0.1.0
 * @category models
 */
export interface Key {
  /** 1 to 64 letters, digits and `-_.`. It is in each token. */
  readonly id: string
  /** At least 32 characters that nobody can guess: `holdfast gateway token --new-key` makes one. */
  readonly secret: Redacted.Redacted
}

const Body = Schema.fromJsonString(Schema.Struct({
  client: Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,128}$/, { expected: "1 to 128 characters of ASCII" })),
  grants: Schema.NonEmptyArray(Grant),
  /** Seconds since 1970. */
  expires: Schema.Int,
  key: Schema.String
}))

const encodeBody = Schema.encodeUnknownEffect(Body)
const decodeBody = Schema.decodeUnknownOption(Body)
const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

const prefix = "hf1"
const maxLength = 8192
const textEncoder = new TextEncoder()

const mac = Effect.gen(function*() {
  return yield* Mac.Mac
}).pipe(
  Effect.provide(Mac.layerWebCrypto),
  Effect.provideService(
    SecureRandom.SecureRandom,
    SecureRandom.make((size) => globalThis.crypto.getRandomValues(new Uint8Array(size)))
  )
)

const invalid = (field: string, problem: string) => new InvalidOptions({ issues: [{ field, problem }] })

/** Fails where a key is none. */
const checkKey = (key: Key, field: string): Effect.Effect<void, InvalidOptions> =>
  !/^[A-Za-z0-9._-]{1,64}$/.test(key.id)
    ? Effect.fail(invalid(`${field}.id`, "must be 1 to 64 letters, digits and -_."))
    : textEncoder.encode(Redacted.value(key.secret)).length < 32
    ? Effect.fail(invalid(`${field}.secret`, "must have at least 32 bytes"))
    : Effect.void

const imported = (key: Key) => Effect.orDie(Mac.key(Mac.hmacSha256, textEncoder.encode(Redacted.value(key.secret))))

/**
 * Issues a token.
 *
 * @since 0.1.0
 * @category constructors
 */
export const issue = Effect.fn("GatewayToken.issue")(function*(
  key: Key,
  options: {
    /** Who the client is: 1 to 128 characters of ASCII without spaces. Limits are counted by it. */
    readonly client: string
    readonly grants: ReadonlyArray<Grant>
    readonly lifetime: Duration.Input
  }
): Effect.fn.Return<Redacted.Redacted, InvalidOptions> {
  yield* checkKey(key, "key")
  const millis = millisIn(options.lifetime)
  if (millis === undefined || millis < 1000) return yield* invalid("lifetime", "must be finite, and at least 1 second")
  const now = yield* Clock.currentTimeMillis
  const body = yield* Effect.mapError(
    encodeBody({
      client: options.client,
      grants: options.grants,
      expires: Math.floor((now + millis) / 1000),
      key: key.id
    }),
    ({ issue }) =>
      new InvalidOptions({
        issues: formatIssue(issue).issues.map(({ message, path }) => ({
          field: (path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join("."),
          problem: message
        }))
      })
  )
  const signed = `${prefix}.${Base64Url.encode(body)}`
  const tag = yield* Effect.orDie((yield* mac).sign(yield* imported(key), textEncoder.encode(signed)))
  return Redacted.make(`${signed}.${Base64Url.encode(tag)}`)
})

const refuse = (problem: TokenRefused["problem"]) =>
  Effect.fail(new EventStoreError({ reason: new TokenRefused({ problem }) }))

/**
 * Checks tokens against some keys. What was not signed with one of them is `invalid`, whatever is wrong with it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeVerifier = Effect.fnUntraced(function*(
  keys: ReadonlyArray<Key>
): Effect.fn.Return<(token: Redacted.Redacted) => Effect.Effect<Claims, EventStoreError>, InvalidOptions> {
  if (keys.length === 0) return yield* invalid("keys", "must have at least one")
  const known = new Map<string, Mac.Key>()
  for (const [index, key] of keys.entries()) {
    yield* checkKey(key, `keys.${index}`)
    if (known.has(key.id)) return yield* invalid(`keys.${index}.id`, "must be unlike that of every other")
    known.set(key.id, yield* imported(key))
  }
  const { verify } = yield* mac
  return Effect.fnUntraced(function*(token) {
    const text = Redacted.value(token)
    const [start = "", body = "", tag = "", ...rest] = text.length > maxLength ? [] : text.split(".")
    const bytes = Base64Url.decode(tag)
    const claims = Option.flatMap(
      Result.getSuccess(Base64Url.decodeString(body)),
      (json) => decodeBody(json)
    )
    const key = Option.match(claims, { onNone: () => undefined, onSome: ({ key }) => known.get(key) })
    if (start !== prefix || rest.length > 0 || Option.isNone(claims) || key === undefined || Result.isFailure(bytes)) {
      return yield* refuse("invalid")
    }
    if (!(yield* Effect.orDie(verify(key, bytes.success, textEncoder.encode(`${prefix}.${body}`))))) {
      return yield* refuse("invalid")
    }
    const expires = claims.value.expires * 1000
    if (expires <= (yield* Clock.currentTimeMillis)) return yield* refuse("expired")
    return { ...claims.value, expires: DateTime.makeUnsafe(expires) }
  })
})

/**
 * Whether the holder of a token has one of these rights in a store.
 *
 * @since 0.1.0
 * @category guards
 */
export const allows = (claims: Claims, store: string, rights: ReadonlyArray<Right>): boolean =>
  claims.grants.some((grant) =>
    (grant.store === "*" || grant.store === store) && rights.some((right) => grant.rights.includes(right))
  )
