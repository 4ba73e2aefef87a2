/**
 * SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677), in the form in which Postgres keeps them.
 *
 * A verifier proves that a client knows a password and does not contain it. Computing it here, and sending it in the place
 * of the password, keeps the password out of statements, logs and `pg_stat_activity` of the server altogether.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto"
import { saslprep } from "./saslprep.ts"

/** The iteration count and the salt length that Postgres itself uses. */
const iterations = 4096
const saltBytes = 16

const hmac = (key: Uint8Array, text: string): Uint8Array => createHmac("sha256", key).update(text).digest()

/** A verifier of this password with a salt of its own; never the same twice. */
export const scramVerifier = (password: Redacted.Redacted): Effect.Effect<string> =>
  Effect.callback<string>((resume) => {
    const salt = randomBytes(saltBytes)
    pbkdf2(saslprep(Redacted.value(password)), salt, iterations, 32, "sha256", (error, salted) => {
      if (error !== null) {
        return resume(Effect.die(new Error("PBKDF2 failed")))
      }
      const storedKey = createHash("sha256").update(hmac(salted, "Client Key")).digest("base64")
      const serverKey = Buffer.from(hmac(salted, "Server Key")).toString("base64")
      resume(Effect.succeed(`SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${storedKey}:${serverKey}`))
    })
  })
