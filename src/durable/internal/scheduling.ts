/**
 * Messages for later, as callers and handlers send them and take them back.
 */
import * as Effect from "effect/Effect"
import type { LaterCast } from "../CurrentTransition.ts"
import { DurableNode } from "../DurableNode.ts"
import type { DurableServerError } from "../DurableServerError.ts"
import type { Due } from "../DurableStorage.ts"
import type { Checked, Operation } from "./definition.ts"
import { type Errand, idOf, LaterWrites, type Scheduled, scheduledOf } from "./later.ts"
import { insideOf } from "./nodes.ts"
import { invalid, openTransition, prepare, type Ref, sentSpan, WaitingFiber } from "./sending.ts"

/** A message for later: with the handler's own commit where one runs, else by itself. */
export const schedule = (
  ref: Ref,
  field: "duration" | "time",
  due: Checked<Due>,
  operation: Operation,
  input: unknown
): Effect.Effect<unknown, unknown> =>
  Effect.withFiber((fiber) => {
    const { definition, inside, key } = ref
    const { residency } = inside
    if (!due.ok) return Effect.fail(invalid(definition.kind, operation.tag, field, due.issue))
    if (!key.ok) return Effect.fail(invalid(definition.kind, operation.tag, "key", key.issue))
    const prepared = prepare(operation, input)
    if (!prepared.ok) {
      return Effect.fail(invalid(definition.kind, operation.tag, prepared.field ?? "payload", prepared.issue))
    }
    const madeAt = residency.now()
    const castTo = (id: number): LaterCast => ({
      id,
      message: {
        mode: "cast",
        rpc: operation.tag,
        payload: prepared.value.text,
        primaryKey: prepared.value.primaryKey,
        priority: false,
        node: residency.storage.node(),
        call: residency.nextNumber()
      },
      due: due.value,
      madeAt
    })
    const alone = sentSpan(
      ref,
      operation.tag,
      "cast",
      Effect.callback<unknown, unknown>((resume) => {
        const writes = new LaterWrites()
        let scheduled: Scheduled | undefined
        const caller = new WaitingFiber(inside, resume)
        const errand: Errand = {
          server: { kind: definition.kind, key: key.value.text },
          rpc: operation.tag,
          caller,
          writes,
          answer: (verdict) =>
            verdict._tag === "Failed"
              ? { _tag: "Broken", error: invalid(definition.kind, operation.tag, "payload", verdict.failure) }
              : { _tag: "Success", value: scheduled }
        }
        residency.run(errand, {
          key: key.value,
          ready: (id) => {
            const cast = castTo(id)
            writes.schedule(cast)
            scheduled = scheduledOf(cast)
          }
        })
        return Effect.sync(() => caller.leave())
      })
    )
    const transition = openTransition(fiber)
    if (transition === undefined) return alone
    return Effect.flatMap(
      // A node that was lost meanwhile makes the attempt void, whatever the handler does about it.
      Effect.orDie(residency.locatedId(definition.kind, key.value)),
      (id) => {
        const cast = castTo(id)
        return transition.schedule(cast) ? Effect.succeed(scheduledOf(cast)) : alone
      }
    )
  })

/** Takes a message for later back: with the handler's own commit where one runs, else by itself. */
export const cancel = (scheduled: Scheduled): Effect.Effect<boolean, DurableServerError, DurableNode> =>
  Effect.flatMap(DurableNode, (service) =>
    Effect.withFiber((fiber) => {
      const inside = insideOf(service)
      const id = idOf(scheduled)
      const inTime = openTransition(fiber)?.cancel(id)
      if (inTime !== undefined) return Effect.succeed(inTime)
      return Effect.callback<unknown, unknown>((resume) => {
        const writes = new LaterWrites()
        writes.cancel(id)
        const caller = new WaitingFiber(inside, resume)
        inside.residency.run({
          server: { kind: "DurableServer", key: scheduled },
          rpc: "cancel",
          caller,
          writes,
          answer: (verdict) => ({ _tag: "Success", value: verdict._tag === "Done" })
        })
        return Effect.sync(() => caller.leave())
      }) as Effect.Effect<boolean, DurableServerError>
    }))
