/**
 * The committer of a node: it takes every step that is ready and everything that is to be put in line, commits it as one group, and
 * only then tells the callers. While a group is under way the next one gathers, so that there is no timer to tune.
 */
import * as Effect from "effect/Effect"
import { DurableServerError, InvalidMessage } from "../DurableServerError.ts"
import type { Member, NodeLost, Verdict } from "../DurableStorage.ts"
import type { Answer } from "./answer.ts"
import { nothing } from "./answer.ts"
import type { Settlement } from "./environment.ts"
import type { Errand } from "./later.ts"
import * as metrics from "./metrics.ts"
import type { Enqueueing, Residency } from "./residency.ts"
import { Resident } from "./resident.ts"

/** How much goes into one group: characters of states, payloads and replies. More than one statement should carry at once. */
const maxGroupSize = 16 * 1024 * 1024

/** How much of a statement a member takes. */
const sizeOf = (member: Member): number => {
  if (member._tag === "Check") return 0
  let size = 0
  if (member._tag === "Transition") {
    size = member.state?.length ?? 0
    for (const { text } of member.fragments) size += text?.length ?? 0
    for (const { events } of member.appends ?? []) {
      for (const { data, metadata } of events) size += data.length + (metadata?.length ?? 0)
    }
  }
  for (const { message } of member.outgoing) size += message.payload.length
  for (const { value } of member.replies) size += value.length
  if (member.later !== undefined) { for (const { message } of member.later.scheduled) size += message.payload.length }
  return size
}

/** One round: once there is something to commit, a group of it, of so many members at most. To be repeated for ever. */
export const committing = (node: Residency, maxGroup: number): Effect.Effect<void, NodeLost> => {
  const settleEnqueued = (
    item: Enqueueing,
    verdict: Verdict,
    sentAt: number,
    settled: Array<Settlement>
  ): void => {
    const failed: Answer | undefined = verdict._tag === "Failed"
      ? {
        _tag: "Broken",
        error: new DurableServerError({
          reason: new InvalidMessage({
            kind: item.resident.kind,
            rpc: item.messages[0]?.operation.tag ?? "",
            field: "payload",
            issue: verdict.failure
          })
        })
      }
      : undefined
    node.enqueued.delete(item)
    if (item.messages.length > 0) {
      item.resident.wasEnqueued(verdict._tag === "Done" ? verdict.pushed : undefined, sentAt)
    }
    for (const message of item.messages) {
      if (message.caller !== undefined && (message.mode === "cast" || failed !== undefined)) {
        settled.push({ caller: message.caller, answer: failed ?? nothing })
      }
    }
    if (item.caller !== undefined) settled.push({ caller: item.caller, answer: failed ?? nothing })
  }

  const ofErrand = (errand: Errand): Member => ({
    _tag: "Enqueue",
    outgoing: [],
    replies: [],
    later: errand.writes.toLater(node.now())
  })

  /** How many callers the last group had. */
  let lastGroup = 0

  const commitGroup = Effect.gen(function*() {
    const members: Array<Member> = []
    const owners: Array<Resident | Enqueueing | Errand> = []
    const taken = node.toCommit.takeUnsafe(maxGroup)
    let size = 0
    for (const [index, item] of taken.entries()) {
      if (size > maxGroupSize) {
        node.toCommit.putBack(taken.slice(index))
        break
      }
      if (item instanceof Resident) {
        node.takenUp(item)
        const member = item.seal()
        if (member === undefined) continue
        members.push(member)
        size += sizeOf(member)
      } else {
        const member: Member = "writes" in item ? ofErrand(item) : {
          _tag: "Enqueue",
          outgoing: item.messages.map((message) => ({ id: item.resident.id, message: message.stored() })),
          replies: item.replies
        }
        members.push(member)
        size += sizeOf(member)
      }
      owners.push(item)
    }
    if (members.length === 0) {
      node.checkQuiet()
      return
    }
    const started = node.clock.currentTimeMillisUnsafe()
    const sentAt = node.arrivals()
    const verdicts = yield* node.storage.commit(members).pipe(
      // Nothing of it counts. Steps are made anew once the node is back; what was to be put in line still is, and first.
      Effect.tapCause(() =>
        Effect.sync(() => node.toCommit.putBack(owners.filter((item) => !(item instanceof Resident))))
      )
    )
    const settled: Array<Settlement> = []
    let refused = 0
    for (let index = 0; index < owners.length; index++) {
      const owner = owners[index]
      const verdict = verdicts[index]
      if (owner === undefined || verdict === undefined) continue
      if (verdict._tag !== "Done") refused++
      if (owner instanceof Resident) owner.decided(verdict, settled)
      else if ("writes" in owner) {
        node.errands.delete(owner)
        settled.push({ caller: owner.caller, answer: owner.answer(verdict) })
      } else settleEnqueued(owner, verdict, sentAt, settled)
    }
    lastGroup = settled.length
    // Callers go on at once, within these calls, and send what they have to send next into the group that forms now.
    for (const { answer, caller } of settled) caller.settle(answer)
    node.checkQuiet()
    metrics.recordGroup(members.length, refused, node.clock.currentTimeMillisUnsafe() - started)
  })

  // Under load, callers that have to take a turn of the event loop before they send again are waited for that long: else the
  // group would split in two halves that take turns. Alone, there is nobody to wait for.
  const gather = Effect.suspend(() => lastGroup > 1 ? Effect.yieldNow : Effect.void)
  return Effect.andThen(
    gather,
    Effect.suspend(() => node.toCommit.size > 0 ? Effect.void : Effect.andThen(node.toCommit.some, gather))
  ).pipe(Effect.andThen(node.committing.withPermit(commitGroup)))
}
