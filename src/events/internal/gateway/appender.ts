/**
 * The appends of a client at one worker: all that are ready go in one request, and the worker tells of each when it is decided.
 *
 * While some requests are under way the next ones gather, so that there are few of them when there is much to do. A request
 * counts as under way until the first of its appends is decided: one that has to wait for its stream keeps nobody else waiting.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Gathering } from "../../../member/internal/gathering.ts"
import type { Append, Appended } from "../../GatewayRpcs.ts"

/** How many appends go in one request. */
const maxAppends = 128

/** How many requests may be under way while there is enough for another one. Of what is less, one. */
const maxUnderWay = 4

/** For how many times the usual time a request that hears nothing counts as under way, and for how long at least and at most. */
const patience = { times: 4, leastMillis: 20, mostMillis: 1000 }

export type WireAppend = Append

interface Waiting {
  readonly store: string
  readonly append: WireAppend
  readonly length: number
  settle: ((outcome: Effect.Effect<number, unknown>) => void) | undefined
}

const lengthOf = ([, , events]: WireAppend): number =>
  events.reduce((sum, [, , , data, metadata]) => sum + data.length + (metadata?.length ?? 0), 0)

export type Appender = (store: string, append: WireAppend) => Effect.Effect<number, unknown>

export const make = Effect.fnUntraced(function*(
  /** Sends one request, and gives what is answered: for an append that is alone there is a shorter way. */
  request: {
    readonly one: (store: string, append: WireAppend) => Effect.Effect<number, unknown>
    readonly several: (
      store: string,
      appends: readonly [WireAppend, ...ReadonlyArray<WireAppend>]
    ) => Stream.Stream<typeof Appended.Type, unknown>
  },
  /** How many characters of events go in one request, where one append alone is not longer. */
  maxLength: number
): Effect.fn.Return<Appender, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const queue = new Gathering<Waiting>()
  const settle = (waiting: Waiting | undefined, outcome: Effect.Effect<number, unknown>): void => {
    const resume = waiting?.settle
    if (waiting === undefined || resume === undefined) return
    waiting.settle = undefined
    resume(outcome)
  }

  const brokenOff = Effect.failCause(Cause.interrupt())

  /** One request: resolves `heard` when something was heard of it. */
  const send = (store: string, group: ReadonlyArray<Waiting>, heard: Deferred.Deferred<void>) => {
    const [first, ...rest] = group.map(({ append }) => append)
    if (first === undefined) return Effect.void
    if (rest.length === 0) {
      return Effect.ignoreCause(
        Effect.onExit(request.one(store, first), (exit) =>
          Effect.sync(() => {
            Deferred.doneUnsafe(heard, Effect.void)
            settle(group[0], exit)
          }))
      )
    }
    return Stream.runForEachArray(
      request.several(store, [first, ...rest]),
      (results) =>
        Effect.sync(() => {
          Deferred.doneUnsafe(heard, Effect.void)
          for (const [index, result] of results) {
            settle(group[index], typeof result === "number" ? Effect.succeed(result) : Effect.fail(result))
          }
        })
    ).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          Deferred.doneUnsafe(heard, Effect.void)
          const outcome = Exit.isFailure(exit) ? Effect.failCause(exit.cause) : Effect.failCause(Cause.interrupt())
          for (const waiting of group) settle(waiting, outcome)
        })
      ),
      Effect.ignoreCause
    )
  }

  /** Takes what goes together; the rest is put back. */
  const formed = (): ReadonlyArray<Waiting> => {
    const group: Array<Waiting> = []
    const left: Array<Waiting> = []
    let length = 0
    for (const waiting of queue.takeUnsafe(Number.MAX_SAFE_INTEGER)) {
      if (waiting.settle === undefined) continue
      const fits = group.length === 0 ||
        (group.length < maxAppends && left.length === 0 && waiting.store === group[0]?.store &&
          length + waiting.length <= maxLength)
      if (!fits) left.push(waiting)
      else {
        group.push(waiting)
        length += waiting.length
      }
    }
    if (left.length > 0) queue.putBack(left)
    return group
  }

  /** How long it takes, for some time past, until something is heard. */
  let usualMillis = 5
  const underWay: Array<Deferred.Deferred<void>> = []
  yield* Effect.gen(function*() {
    yield* queue.some
    while (underWay.length >= (queue.size < maxAppends ? 1 : maxUnderWay)) {
      const oldest = underWay.shift()
      if (oldest !== undefined && !Deferred.isDoneUnsafe(oldest)) {
        const millis = Math.min(Math.max(usualMillis * patience.times, patience.leastMillis), patience.mostMillis)
        yield* Effect.timeoutOption(Deferred.await(oldest), Duration.millis(millis))
      }
    }
    yield* queue.several
    // What was taken is sent, or settled, whatever happens in between.
    yield* Effect.uninterruptible(Effect.suspend(() => {
      const group = formed()
      const store = group[0]?.store
      if (store === undefined) return Effect.void
      const heard = Deferred.makeUnsafe<void>()
      underWay.push(heard)
      const sent = clock.currentTimeMillisUnsafe()
      return Effect.forkIn(Effect.interruptible(send(store, group, heard)), scope, { startImmediately: true }).pipe(
        Effect.andThen(
          Deferred.await(heard).pipe(
            Effect.map(() => {
              usualMillis += (clock.currentTimeMillisUnsafe() - sent - usualMillis) / 8
            }),
            Effect.interruptible,
            Effect.forkIn(scope)
          )
        )
      )
    }))
  }).pipe(Effect.forever, Effect.forkIn(scope))

  // What nobody will send any more was not sent: it is as if the worker had broken it off.
  let isClosed = false
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isClosed = true
      for (const waiting of queue.takeUnsafe(Number.MAX_SAFE_INTEGER)) settle(waiting, brokenOff)
    })
  )

  return (store, append) =>
    Effect.callback<number, unknown>((resume) => {
      if (isClosed) return resume(brokenOff)
      const waiting: Waiting = { store, append, length: lengthOf(append), settle: resume }
      queue.add(waiting)
      return Effect.sync(() => {
        // Not sent yet: it never will be. Sent: it may be done, and nobody is told.
        waiting.settle = undefined
      })
    })
})
