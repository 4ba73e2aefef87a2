/**
 * The fibers that serve the durable servers of a process.
 *
 * - The committer (`committing`) takes every step that is ready and everything that is to be put in line, commits it as one
 *   group, and only then tells the callers. While a group is under way the next one gathers.
 * - The locator finds out who holds a server, and takes those that are free and whose handlers are here.
 * - The reader reads on in the lines of the servers held here.
 * - The listener follows the storage's hints, and the poller covers the lost ones.
 * - The courier puts messages for later in line when they are due, those of other processes too.
 * - The sweeper lets servers leave memory that were idle for long; those whose handlers said `stop` leave at once.
 *
 * Whoever of them learns that the node was lost declares everything here void, and has the node come back.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import type { Claim, Hint, Located, NodeLost } from "../DurableStorage.ts"
import type { Answer } from "./answer.ts"
import { decodeBroken, encodeBroken, nothing } from "./answer.ts"
import { release } from "./closing.ts"
import { committing } from "./committing.ts"
import type { Settlement } from "./environment.ts"
import * as metrics from "./metrics.ts"
import type { Residency } from "./residency.ts"
import type { Resident } from "./resident.ts"

/** How a node goes about it. All durations are in milliseconds. */
export interface Settings {
  readonly pollMillis: number
  /** How many members go into one group at most. */
  readonly maxGroup: number
  /** When servers of kinds without handlers here leave memory. */
  readonly clientIdleMillis: number
}

/** How many servers are looked up, and how many lines are read, in one statement at most. */
const maxServers = 1000
/** How many replies make it worth while to forget them at once, and how long to gather them else. */
const manyReplies = 1000
const forgetMillis = 20
/** How many messages of one line are read at once, and of all lines that are read by one statement. */
const maxRead = 256
const maxReadInAll = 32 * maxServers

/** Serves the node until interrupted. */
export const serve = (node: Residency, settings: Settings): Effect.Effect<never> => {
  const comeBack = (lost: number, why: string): Effect.Effect<void> =>
    node.committing.withPermit(Effect.gen(function*() {
      if (node.storage.node() === lost) {
        yield* Effect.annotateLogs(
          Effect.logWarning(
            `this node was given up: everything under way is void, and it comes back anew. Why: ${why}`
          ),
          { node: lost }
        )
        yield* node.storage.rejoin
      }
      node.cameBack()
    }))

  /**
   * Repeats for ever; a lost node comes back in between, and the round starts over with whatever is there then. What the
   * storage says that it should never say (a missing table, a right that was taken away) must not leave the node silent.
   */
  const forever = (
    round: Effect.Effect<void, NodeLost>,
    afterDefect: Effect.Effect<void> = Effect.void
  ): Effect.Effect<never> =>
    round.pipe(
      Effect.catchTag("NodeLost", (lost) => comeBack(lost.node, lost.why ?? "its storage says no more")),
      Effect.catchDefect((defect) =>
        Effect.logError("a part of this node failed, and is tried again", Cause.die(defect)).pipe(
          Effect.annotateLogs({ node: node.storage.node() }),
          Effect.andThen(afterDefect),
          Effect.andThen(Effect.sleep(settings.pollMillis)),
          Effect.andThen(Effect.sync(() => {
            for (const resident of node.all()) resident.pump()
          }))
        )
      ),
      // Every round waits for something: there is no need to let others have a turn between two of them.
      Effect.forever({ disableYield: true })
    )

  // ---------------------------------------------------------------------------------------------- locating

  const located = (
    resident: Resident,
    answer: Claim | (Located & { readonly _tag: "HeldElsewhere" }),
    sentAt: number
  ) => {
    const registration = node.registration(resident.kind)
    if (answer._tag === "TooNew") return resident.heldElsewhere(answer.id, undefined, answer.stateVersion)
    if (answer._tag !== "Claimed") return resident.heldElsewhere(answer.id, answer.holder)
    if (registration !== undefined && resident.isLocating) {
      node.byId.set(answer.id, resident)
      resident.claimed(answer, registration, sentAt)
    } else {
      // Its handlers have gone meanwhile.
      node.giveBack([{ id: answer.id, version: answer.version }])
    }
  }

  const locate = Effect.gen(function*() {
    const residents = yield* node.toLocate.take(maxServers)
    const ours = residents.filter((resident) =>
      node.registration(resident.kind) !== undefined && !node.isClosing(resident.kind)
    )
    const taken = new Set(ours)
    const others = residents.filter((resident) => !taken.has(resident))
    const sentAt = node.arrivals()
    const attempt = Effect.gen(function*() {
      if (ours.length > 0) {
        const claims = yield* node.storage.claim(ours.map(({ key, kind }) => ({
          kind,
          key,
          stateVersion: node.registration(kind)?.definition.stateVersion
        })))
        ours.forEach((resident, index) => {
          const claim = claims[index]
          if (claim !== undefined) located(resident, claim, sentAt)
        })
      }
      if (others.length > 0) {
        const found = yield* node.storage.locate(others)
        others.forEach((resident, index) => {
          const server = found[index]
          if (server !== undefined) located(resident, { ...server, _tag: "HeldElsewhere" }, sentAt)
        })
      }
    })
    yield* attempt.pipe(
      Effect.tapCause(() =>
        Effect.sync(() => {
          for (const resident of residents) resident.notLocated()
        })
      )
    )
    node.checkQuiet()
  })

  const find = Effect.gen(function*() {
    const wanted = yield* node.toFind.take(maxServers)
    const found = yield* node.storage.locate(wanted.map(({ server }) => server)).pipe(
      Effect.tapCause(() => Effect.sync(() => node.toFind.putBack(wanted)))
    )
    wanted.forEach((one, index) => one.found(found[index]?.id ?? 0))
  })

  // ---------------------------------------------------------------------------------------------- reading lines

  const read = Effect.gen(function*() {
    const residents = (yield* node.toRead.take(maxServers)).filter((resident) => {
      if (resident.phase === "held" || resident.phase === "broken") return true
      resident.notRead()
      return false
    })
    const most = Math.min(maxRead, Math.floor(maxReadInAll / Math.max(1, residents.length)))
    const lines = residents.map((resident) => ({
      id: resident.id,
      after: resident.lineRead,
      limit: resident.readsHead ? most : 0
    }))
    const read = lines.length === 0 ? [] : yield* node.storage.read(lines).pipe(
      Effect.tapCause(() =>
        Effect.sync(() => {
          for (const resident of residents) resident.notRead()
        })
      )
    )
    residents.forEach((resident, index) => {
      const registration = node.registration(resident.kind)
      const lineRead = read[index]
      const line = lines[index]
      if (registration === undefined || lineRead === undefined || line === undefined) return resident.notRead()
      const [head, priority] = [lineRead.head, lineRead.priority].map((rows) =>
        rows.map((row) => node.fromLine(registration.definition, row))
      )
      if (lineRead.head.length + lineRead.priority.length > 0) resident.lastUsed = node.clock.currentTimeMillisUnsafe()
      resident.lineWasRead(line.after, head ?? [], priority ?? [], lineRead.head.length < most)
    })
    node.checkQuiet()
  })

  // ---------------------------------------------------------------------------------------------- hints and polls

  const follow = (hint: Hint): void => {
    switch (hint._tag) {
      case "Lines":
        for (const id of hint.ids) {
          const resident = node.byId.get(id)
          if (resident === undefined) node.toPoll.add("lines")
          else resident.lineMayHaveGrown(hint.priority)
        }
        return
      case "Replies":
        return node.toPoll.add("replies")
      case "Unattended":
        return node.toPoll.add("lines")
      case "Killed": {
        const error = decodeBroken(hint.answer)
        if (error !== undefined) node.toKill.add({ _tag: "Done", id: hint.id, version: hint.version, error })
        return
      }
      case "Scheduled":
        return node.alarm.set(hint.millis)
      case "Everything":
        node.toPoll.add("replies")
        return node.toPoll.add("lines")
    }
  }

  const listen = Effect.map(node.storage.hints, (hints) => hints.forEach(follow))

  const pollLines = Effect.gen(function*() {
    const kinds = Array.from(node.registrations.keys()).filter((kind) => !node.isClosing(kind))
    let after = 0
    while (kinds.length > 0) {
      const page = yield* node.storage.unattended(kinds, after)
      for (const server of page) {
        after = server.id
        const key = node.registration(server.kind)?.definition.key.decode(server.key)
        if (key === undefined || !key.ok) continue
        node.resident(server.kind, { text: server.key, value: key.value }).lineMayHaveGrown(true)
      }
      if (page.length < maxServers) return
      yield* Effect.yieldNow
    }
  })

  const pollReplies: Effect.Effect<void, NodeLost> = Effect.gen(function*() {
    const replies = yield* node.storage.replies(node.oldestAwaited)
    if (replies.length === 0) return
    const settled: Array<Settlement> = []
    for (const reply of replies) {
      const kept = node.keptCaller(reply)
      if (kept !== undefined) settled.push(kept)
    }
    for (const { answer, caller } of settled) caller.settle(answer)
    // Only now, when they are handed over: a reply whose answer to us got lost is still there.
    if (replies.length < manyReplies) return replies.forEach((reply) => node.toForget.add(reply))
    yield* node.storage.forget(replies)
    return yield* pollReplies
  })

  /** Nobody waits for this: some of them are gathered first. */
  const forget = Effect.gen(function*() {
    const replies = yield* node.toForget.take(manyReplies)
    yield* node.storage.forget(replies).pipe(
      Effect.tapCause(() => Effect.sync(() => node.toForget.putBack(replies)))
    )
    yield* Effect.sleep(forgetMillis)
  })

  const poll = Effect.gen(function*() {
    const what = new Set(yield* node.toPoll.take(Number.MAX_SAFE_INTEGER))
    const polls = Effect.andThen(
      what.has("replies") ? pollReplies : Effect.void,
      what.has("lines") ? pollLines : Effect.void
    )
    yield* Effect.tapCause(polls, () => Effect.sync(() => node.toPoll.putBack([...what])))
  })

  // Where no hint gets lost there is nothing to be found while nobody is in memory: a test's clock may go on by a year.
  const slowPoll = Effect.sync(() => {
    if (node.expectsReplies) node.toPoll.add("replies")
    if (node.registrations.size > 0) node.toPoll.add("lines")
  }).pipe(
    Effect.andThen(node.storage.mayLoseHints ? Effect.void : node.inhabited.await),
    Effect.repeat(Schedule.spaced(settings.pollMillis)),
    Effect.andThen(Effect.never)
  )

  // ---------------------------------------------------------------------------------------------- messages for later

  /** What is scheduled meanwhile sets the alarm as well. What others schedule is seen by the next poll at the latest. */
  const deliver = Effect.gen(function*() {
    node.alarm.reset()
    const next = yield* node.storage.deliverDue
    if (next !== undefined) node.alarm.set(next)
    if (node.storage.mayLoseHints) node.alarm.set(settings.pollMillis)
    yield* node.alarm.wait
  })

  // ---------------------------------------------------------------------------------------------- leaving memory

  /** With no group under way: what was committed before the end of a life is told before it. */
  const kill = Effect.gen(function*() {
    const [item] = yield* node.toKill.take(1)
    if (item === undefined) return
    const settled: Array<Settlement> = []
    const answer: Answer = { _tag: "Broken", error: item.error }
    const ended = (resident: Resident | undefined, version: number): void => {
      for (const { caller, messages } of resident?.killed(version) ?? []) {
        if (caller !== undefined) settled.push({ caller, answer })
        for (const message of messages) {
          if (message.caller !== undefined) settled.push({ caller: message.caller, answer })
        }
      }
    }
    yield* node.committing.withPermit(Effect.gen(function*() {
      if (item._tag === "Done") return ended(node.byId.get(item.id), item.version)
      const killed = yield* node.storage.kill(item.server, encodeBroken(item.error)).pipe(
        Effect.tapCause(() => Effect.sync(() => node.toKill.putBack([item])))
      )
      if (killed !== undefined) ended(node.known(item.server), killed.version)
      settled.push({ caller: item.caller, answer: nothing })
    }))
    for (const { answer, caller } of settled) caller.settle(answer)
    node.checkQuiet()
  })

  const sweep = Effect.gen(function*() {
    yield* node.inhabited.await
    const idle = Array.from(node.registrations.values(), (registration) => registration.maxIdleMillis)
    yield* Effect.sleep(Math.max(1, Math.min(settings.clientIdleMillis, ...idle) / 4))
    const now = node.clock.currentTimeMillisUnsafe()
    const leaving: Array<Resident> = []
    let waiting = 0
    let inLine = 0
    for (const resident of node.all()) {
      waiting += resident.waiting
      inLine += resident.inLine
      const maxIdle = node.registration(resident.kind)?.maxIdleMillis ?? settings.clientIdleMillis
      if (now - resident.lastUsed < maxIdle || !resident.isIdle) continue
      if (resident.beginRelease()) leaving.push(resident)
      else if (resident.phase !== "locating" && resident.phase !== "releasing") node.forget(resident)
    }
    if (leaving.length > 0) yield* release(node, leaving)
    yield* Metric.update(metrics.residents, node.size)
    yield* Metric.update(metrics.mailboxDepth, waiting)
    yield* Metric.update(metrics.lineDepth, inLine)
  })

  const stop = Effect.flatMap(node.toStop.take(maxServers), (residents) => release(node, residents))

  return Effect.all(
    [
      // What became of the group is not known then: as somebody else, this node starts from what is stored.
      forever(
        committing(node, settings.maxGroup),
        Effect.suspend(() => comeBack(node.storage.node(), "a commit failed in a way that nobody expected"))
      ),
      forever(locate),
      forever(find),
      forever(read),
      forever(listen),
      forever(poll),
      forever(forget),
      slowPoll,
      forever(deliver),
      forever(stop),
      forever(kill),
      forever(sweep)
    ],
    { concurrency: "unbounded", discard: true }
  ) as Effect.Effect<never>
}
