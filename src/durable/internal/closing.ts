/**
 * Leaving: servers that go out of memory, and handlers or whole nodes that close.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { NodeLost } from "../DurableStorage.ts"
import type { Settlement } from "./environment.ts"
import type { Batch } from "./mailbox.ts"
import type { Residency } from "./residency.ts"
import type { Resident } from "./resident.ts"

/** Gives servers back, and lets them leave memory unless somebody wants them again. */
export const release = (node: Residency, residents: ReadonlyArray<Resident>): Effect.Effect<void, NodeLost> =>
  node.storage.release(residents.map(({ id, version }) => ({ id, version }))).pipe(
    Effect.ensuring(Effect.sync(() => {
      for (const resident of residents) {
        resident.released()
        if (resident.isIdle) node.forget(resident)
      }
      node.checkQuiet()
    })),
    Effect.uninterruptible
  )

/** Finalizers are not interrupted by themselves, and a database that has gone away never answers. */
const within = <A, E>(millis: number, effect: Effect.Effect<A, E>): Effect.Effect<void> =>
  Effect.ignore(Effect.timeoutOption(Effect.interruptible(effect), millis))

/**
 * Ends the work on a kind, or on all of them: what is being handled is finished, as long as the bound allows, everything held
 * is given back, and whoever still waits here is told.
 */
export const close = Effect.fnUntraced(function*(node: Residency, drainMillis: number, kind?: string) {
  const residents = () => kind === undefined ? Array.from(node.all()) : node.ofKind(kind)
  node.beginClosing(kind)
  yield* within(drainMillis, node.quiet(residents))
  const given = residents().filter((resident) => resident.phase === "held" || resident.phase === "broken")
  const left: Array<Settlement> = []
  const tellClosed = (resident: Resident, batches: ReadonlyArray<Batch>): void => {
    for (const { caller, messages } of batches) {
      for (const message of messages) {
        if (message.caller === undefined) continue
        left.push({ caller: message.caller, answer: node.closedAnswer(resident, message.operation.tag) })
      }
      if (caller === undefined) continue
      left.push({ caller, answer: node.closedAnswer(resident, messages[0]?.operation.tag ?? "") })
    }
  }
  for (const resident of residents()) {
    tellClosed(resident, resident.abandon())
    node.forget(resident)
  }
  // Where this does not get through in time it goes on in the background, or the end of the node's lease frees them.
  const servers = given.map(({ id }) => ({ id, version: undefined }))
  yield* within(drainMillis, kind === undefined ? node.storage.release(servers) : Fiber.join(node.giveBack(servers)))
  if (kind !== undefined) node.endClosing(kind)
  else {
    const replies = node.toForget.takeUnsafe(Number.MAX_SAFE_INTEGER)
    if (replies.length > 0) yield* within(drainMillis, node.storage.forget(replies))
    for (const { caller, operation, server } of node.awaited.values()) {
      left.push({ caller, answer: node.closedAnswer(server, operation.tag) })
    }
    for (const item of node.enqueued) tellClosed(item.resident, [item])
    for (const { caller, rpc, server } of node.errands) {
      left.push({ caller, answer: node.closedAnswer(server, rpc) })
    }
  }
  for (const { answer, caller } of left) caller.settle(answer)
})
