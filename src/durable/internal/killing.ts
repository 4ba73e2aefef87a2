/**
 * Ending the life of a server, wherever it is run.
 */
import * as Effect from "effect/Effect"
import { DurableServerError, ServerKilled } from "../DurableServerError.ts"
import { invalid, type Ref, sentSpan, WaitingFiber } from "./sending.ts"

/** A reason goes to other processes with the news. */
const maxReasonLength = 256

export const kill = (ref: Ref, because: string): Effect.Effect<unknown, unknown> => {
  const { definition, inside, key } = ref
  if (!key.ok) return Effect.fail(invalid(definition.kind, "kill", "key", key.issue))
  if (because.length > maxReasonLength) {
    const issue = `Expected at most ${maxReasonLength} characters, got ${because.length}`
    return Effect.fail(invalid(definition.kind, "kill", "reason", issue))
  }
  const address = key.value
  const error = new DurableServerError({
    reason: new ServerKilled({ kind: definition.kind, key: address.text, because })
  })
  return sentSpan(
    ref,
    "kill",
    "call",
    Effect.callback<unknown, unknown>((resume) => {
      const waiting = new WaitingFiber(inside, resume)
      inside.residency.kill(definition, address, error, waiting)
      return Effect.sync(() => waiting.leave())
    })
  )
}
