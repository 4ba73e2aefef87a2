import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { createHash, createHmac, pbkdf2Sync } from "node:crypto"
import { identifier, isIdentifier, literal } from "../../../src/datastore/internal/identifier.ts"
import { saslprep } from "../../../src/datastore/internal/saslprep.ts"
import { scramVerifier } from "../../../src/datastore/internal/scramVerifier.ts"
import { connectAs, connectAsSuperuser, unique } from "../support.ts"

describe("scramVerifier", () => {
  it.effect("is the verifier of RFC 5802 for its salt, and salted anew each time", () =>
    Effect.gen(function*() {
      const [first, second] = yield* Effect.replicateEffect(scramVerifier(Redacted.make("pencil")), 2)
      assert.notStrictEqual(first, second)
      const [, iterations, salt, stored, server] = /^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)$/.exec(first ?? "") ??
        []
      const salted = pbkdf2Sync("pencil", Buffer.from(salt ?? "", "base64"), Number(iterations), 32, "sha256")
      const hmac = (text: string) => createHmac("sha256", salted).update(text).digest()
      assert.strictEqual(stored, createHash("sha256").update(hmac("Client Key")).digest("base64"))
      assert.strictEqual(server, hmac("Server Key").toString("base64"))
    }))

  it.live.each(["pencil", "with 'quotes' \"and\" \\ $ %", "пароль ü 🗝", " "])(
    "the server lets %s in, and nothing else",
    (text) =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser()
        const role = unique("scram")
        const verifier = yield* scramVerifier(Redacted.make(text))
        yield* superuser.unsafe(`CREATE ROLE ${identifier(role)} LOGIN PASSWORD ${literal(verifier)}`)
        yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${identifier(role)}`)))
        yield* connectAs("postgres", role, Redacted.make(text))
        const error = yield* Effect.flip(connectAs("postgres", role, Redacted.make(`${text}x`)))
        assert.strictEqual(error.reason._tag, "AuthenticationError")
      })
  )
})

/** Passwords that SASLprep changes, refuses, or leaves alone, each for a reason of its own. */
const unusual: ReadonlyArray<readonly [what: string, password: string]> = [
  ["a no-break space", "a\u00a0b"],
  ["a zero width space", "a\u200bb"],
  ["a soft hyphen", "I\u00adX"],
  ["a zero width joiner", "a\u200db"],
  ["a compatibility character", "\u2168"],
  ["a ligature and full width letters", "\ufb01\uff21"],
  ["a letter and its accent apart", "e\u0301"],
  ["a control character, which is not allowed", "a\u0007\u00aa"],
  ["a private use character, which is not allowed", "\ue000\u00aa"],
  ["a character that Unicode 3.2 did not have", "\u{1f5dd}\u00aa"],
  ["right to left", "\u0627\u00ad1\u0628"],
  ["right to left that ends in a digit, which is not allowed", "\u06271\u00ad"],
  ["both directions, which are not allowed", "\u0627a\u00ad\u0628"],
  ["nothing once it is mapped", "\u00ad"]
]

describe("saslprep", () => {
  it.live.each(unusual)(
    "a password with %s is the same to the server, which prepares it itself, and to us",
    ([, text]) =>
      Effect.gen(function*() {
        const superuser = yield* connectAsSuperuser()
        const role = unique("saslprep")
        yield* superuser.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD ${literal(text)}`)
        yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${role}`)))
        yield* connectAs("postgres", role, Redacted.make(saslprep(text)))
        // The other way round: what the server makes of our verifier is what it would have made of the password.
        const verifier = yield* scramVerifier(Redacted.make(text))
        yield* superuser.unsafe(`ALTER ROLE ${role} PASSWORD ${literal(verifier)}`)
        yield* connectAs("postgres", role, Redacted.make(saslprep(text)))
      })
  )
})

describe("identifier", () => {
  it("quotes names and texts", () => {
    assert.strictEqual(identifier("a\"b"), "\"a\"\"b\"")
    assert.strictEqual(literal("it's"), "'it''s'")
    assert.strictEqual(literal("a\\'b"), " E'a\\\\''b'")
  })

  it("knows which names Postgres keeps as they are", () => {
    for (const name of ["a", "A-b \"c\"", "x".repeat(63), "é".repeat(31)]) {
      assert.isTrue(isIdentifier(name))
    }
    for (const name of ["", "x".repeat(64), "é".repeat(32), "a\0", "\ud800"]) {
      assert.isFalse(isIdentifier(name))
    }
  })
})
