/**
 * Appends of this process, in groups: everything that is ready goes in one statement of one transaction, and while that is
 * under way the next group forms by itself. What a group may not have together (two expectations of one stream, two events
 * of one id) goes in one after the other.
 *
 * A stream that somebody has locked holds up nobody else: its appends are tried again soon. Where that does not help, since
 * transactions stand in line for it, they do so too, one at a time and on a connection of their own.
 *
 * Everything goes through a lane. When the answer to a group is lost, the lane tells what became of it; when this process was
 * declared dead meanwhile, nothing of it was done, and it is sent again once the process is back.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import { backOff } from "../../../member/internal/backOff.ts"
import { Gathering } from "../../../member/internal/gathering.ts"
import type { GroupStatement, Lane } from "../../../member/internal/lane.ts"
import type * as Member from "../../../member/Member.ts"
import { type EventStoreError, StoreUnavailable } from "../../EventStoreError.ts"
import { failure } from "../checks.ts"
import * as metrics from "../metrics.ts"
import type { Append } from "../storage.ts"
import { appendAnyStatement, appendStatement, isPlain, type Verdict } from "./groups.ts"

/** How many appends go into one group at most, and how many characters of data. */
const maxGroup = 256
const maxGroupSize = 16 * 1024 * 1024
const maxGroupEvents = 10_000

const sizeOf = ({ events }: Append): number =>
  events.reduce((size, { data, metadata }) => size + data.length + (metadata?.length ?? 0), 0)

/** Of how many streams it is remembered that they are there and were free. */
const maxKnown = 10_000

/** After how many times an append whose stream was locked stands in line for it. */
const patience = 5

/** An append that somebody waits for. */
interface Waiting {
  readonly store: string
  readonly append: Append
  /** Which stream it is for, among those of all stores. */
  readonly stream: string
  readonly size: number
  readonly deadline: number
  sent: boolean
  /** How often its stream was found locked. */
  busy: number
  done: boolean
  readonly settle: (verdict: Exit.Exit<Verdict, EventStoreError>) => void
}

export interface Committer {
  /** Begins an append, and tells once what became of it. What is given back stops waiting for that. */
  readonly append: (
    store: string,
    append: Append,
    settle: (verdict: Exit.Exit<Verdict, EventStoreError>) => void
  ) => () => void
  /** Commits one part alone, once: nobody who stops waiting stops it. */
  readonly commit: <Part>(
    store: string,
    statement: GroupStatement<Part, Verdict>,
    part: Part
  ) => Effect.Effect<Verdict, EventStoreError>
}

export const make = Effect.fnUntraced(function*(options: {
  readonly engine: Member.Engine
  readonly trouble: () => string | undefined
  readonly clock: Clock.Clock
  readonly timeoutMillis: number
  /** How long an append stands in line for a stream in one go: well below the lease, which says that things go on. */
  readonly waitMillis: number
  /** Something was appended to this store. */
  readonly appended: (store: string) => void
}): Effect.fn.Return<Committer, SqlError, Scope.Scope> {
  const { appended, clock, engine, timeoutMillis, trouble, waitMillis } = options
  const lane: () => Lane = yield* engine.openLane("append")
  const scope = yield* Effect.scope
  /** Opened when it is needed first, and so hardly ever. */
  const waitingLane = yield* Effect.cached(
    Effect.retry(Scope.provide(engine.openLane("append wait"), scope), Schedule.spaced("1 second"))
  )
  const queue = new Gathering<Waiting>()
  const inLine = new Gathering<Waiting>()
  /** Everything that was not answered, the oldest first. */
  const outstanding = new Set<Waiting>()
  let closed = false

  const unavailable = (store: string, operation: string, mayBeDone: boolean, detail?: string) =>
    failure(
      new StoreUnavailable({
        store,
        operation,
        detail: detail ?? trouble() ?? `no answer within ${timeoutMillis} ms`,
        mayBeDone
      })
    )

  const settle = (waiting: Waiting, verdict: Exit.Exit<Verdict, EventStoreError>): void => {
    if (waiting.done) return
    waiting.done = true
    outstanding.delete(waiting)
    waiting.settle(verdict)
  }

  /** Commits, as whoever this process is by then. */
  const through = <Part>(
    lane: () => Lane,
    statement: GroupStatement<Part, Verdict>,
    parts: ReadonlyArray<Part>
  ): Effect.Effect<ReadonlyArray<Verdict>> =>
    Effect.suspend(() => {
      const id = engine.id()
      const again = Effect.andThen(engine.rejoin(id), Effect.suspend(() => through(lane, statement, parts)))
      return engine.isLost() ? again : Effect.catchTag(lane().commit(statement, parts), "LaneClosed", () => again)
    })

  // ---------------------------------------------------------------------------------------------- groups

  /** What may go together, by store; the rest is put back. */
  const formed = (taken: ReadonlyArray<Waiting>): Map<string, Array<Waiting>> => {
    const groups = new Map<string, Array<Waiting>>()
    const streams = new Set<string>()
    const ids = new Set<string>()
    /** What comes later for a stream does not overtake what was put back. */
    const blocked = new Set<string>()
    const left: Array<Waiting> = []
    let size = 0
    let count = 0
    for (const waiting of taken) {
      if (waiting.done) continue
      const { append: { events, expectedVersion }, store, stream } = waiting
      const given = events.some(({ idGiven }) => idGiven)
        ? events.filter(({ idGiven }) => idGiven).map(({ id }) => `${store} ${id}`)
        : []
      const isLarge = count > 0 && (size + waiting.size > maxGroupSize || count + events.length > maxGroupEvents)
      const isStrict = expectedVersion !== "any"
      if (isLarge || blocked.has(stream) || (isStrict && streams.has(stream)) || given.some((id) => ids.has(id))) {
        left.push(waiting)
        blocked.add(stream)
        continue
      }
      streams.add(stream)
      for (const id of given) ids.add(id)
      size += waiting.size
      count += events.length
      waiting.sent = true
      const group = groups.get(store)
      if (group === undefined) groups.set(store, [waiting])
      else group.push(waiting)
    }
    if (left.length > 0) queue.putBack(left)
    return groups
  }

  const later = (waiting: Waiting): void => {
    waiting.sent = false
    queue.add(waiting)
  }

  /** Tries again soon those whose stream somebody else has, a little later each time. */
  const retryLater = (waiting: Waiting) =>
    Effect.suspend(() => backOff(waiting.busy++)).pipe(
      Effect.andThen(Effect.sync(() => later(waiting))),
      Effect.forkIn(scope)
    )

  /** Streams that were there and free when they were appended to last. */
  const known = new Set<string>()
  const isKnownAndPlain = ({ append, stream }: Waiting): boolean => known.has(stream) && isPlain(append)
  const note = ({ stream }: Waiting, verdict: Verdict): void => {
    if (verdict._tag !== "Done") known.delete(stream)
    else if (known.size < maxKnown || known.has(stream)) known.add(stream)
    else known.clear()
  }

  const commitGroup = (store: string, group: ReadonlyArray<Waiting>, lane: () => Lane, waitFor: number) =>
    Effect.gen(function*() {
      const started = clock.currentTimeMillisUnsafe()
      const statement = waitFor === 0 && group.every(isKnownAndPlain)
        ? appendAnyStatement(store)
        : appendStatement(store, waitFor)
      const verdicts = yield* through(lane, statement, group.map(({ append }) => append))
      let refused = 0
      let events = 0
      for (const [index, waiting] of group.entries()) {
        const verdict = verdicts[index] ?? { _tag: "Again" }
        note(waiting, verdict)
        switch (verdict._tag) {
          case "Busy":
            metrics.count(metrics.busy)
            if (waiting.done) break
            if (waiting.busy >= patience) inLine.add(waiting)
            else yield* retryLater(waiting)
            break
          case "Again":
            later(waiting)
            break
          case "Done":
            events += waiting.append.events.length
            settle(waiting, Exit.succeed(verdict))
            break
          default:
            refused++
            settle(waiting, Exit.succeed(verdict))
        }
      }
      metrics.count(metrics.appended, events)
      metrics.recordGroup(events, refused, clock.currentTimeMillisUnsafe() - started)
      if (events > 0) appended(store)
    })

  const round = queue.several.pipe(
    Effect.andThen(Effect.suspend(() =>
      Effect.uninterruptible(
        Effect.forEach(formed(queue.takeUnsafe(maxGroup)), ([store, group]) => commitGroup(store, group, lane, 0), {
          discard: true
        })
      )
    ))
  )

  const fiber = yield* Effect.forkIn(Effect.forever(round), scope)

  const roundInLine = Effect.flatMap(inLine.take(1), ([waiting]) =>
    waiting === undefined || waiting.done
      ? Effect.void
      : Effect.flatMap(waitingLane, (lane) =>
        Effect.uninterruptible(Effect.suspend(() => {
          waiting.sent = true
          return commitGroup(waiting.store, [waiting], lane, waitMillis)
        }))))
  const fiberInLine = yield* Effect.forkIn(Effect.forever(roundInLine), scope)

  // Those who have waited too long are told, whatever becomes of what they sent.
  yield* Effect.sleep(Duration.millis(timeoutMillis / 20)).pipe(
    Effect.andThen(Effect.sync(() => {
      const now = clock.currentTimeMillisUnsafe()
      for (const waiting of outstanding) {
        if (waiting.deadline > now) break
        settle(waiting, Exit.fail(unavailable(waiting.store, "appendEvents", waiting.sent)))
      }
    })),
    Effect.forever,
    Effect.forkIn(scope)
  )

  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      closed = true
      // What is under way is let end, as long as anybody answers.
      yield* Effect.timeoutOption(Fiber.interruptAll([fiber, fiberInLine]), Duration.millis(timeoutMillis))
      for (const waiting of outstanding) {
        settle(waiting, Exit.fail(unavailable(waiting.store, "appendEvents", waiting.sent, "the store was closed")))
      }
    })
  )

  return {
    append: (store, append, settle) => {
      if (closed) {
        settle(Exit.fail(unavailable(store, "appendEvents", false, "the store was closed")))
        return () => {}
      }
      const waiting: Waiting = {
        store,
        append,
        stream: `${store} ${append.eventStreamId}`,
        size: sizeOf(append),
        deadline: clock.currentTimeMillisUnsafe() + timeoutMillis,
        sent: false,
        busy: 0,
        done: false,
        settle
      }
      outstanding.add(waiting)
      queue.add(waiting)
      return () => {
        // Not sent yet: it never will be. Sent: it is done, and nobody is told.
        waiting.done = true
        outstanding.delete(waiting)
      }
    },
    commit: (store, statement, part) => {
      const deadline = clock.currentTimeMillisUnsafe() + timeoutMillis
      const once: Effect.Effect<Verdict> = Effect.flatMap(through(lane, statement, [part]), (verdicts) => {
        const verdict = verdicts[0] ?? { _tag: "Again" }
        if (verdict._tag === "Again") return once
        return verdict._tag === "Busy" && clock.currentTimeMillisUnsafe() < deadline
          ? Effect.andThen(Effect.sleep("5 millis"), once)
          : Effect.succeed(verdict)
      })
      return Effect.flatMap(Effect.forkIn(once, scope), (fiber) =>
        Effect.timeoutOrElse(Fiber.join(fiber), {
          duration: Duration.millis(timeoutMillis),
          orElse: () => Effect.fail(unavailable(store, "change", true))
        }))
    }
  }
})
