/**
 * One supervised profile: a loop that holds the profile, and opens a connection whenever there should be one and is none.
 *
 * Whatever happens to it, from outside (disconnect, reconnect, stop, a lease that is lost) or from inside (the connection
 * ends), ends the connection of the time, with its scope, and the loop looks again at what is wanted. So there is never more
 * than one connection, and none is open while the profile is not held.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Held, Refusal, Restore } from "./holders.ts"
import * as metrics from "./metrics.ts"

/** From 100 ms up to 10 seconds, for ever. */
export const defaultRestart: Schedule.Schedule<unknown, unknown> = Schedule.min([
  Schedule.exponential("100 millis", 2).pipe(Schedule.jittered),
  Schedule.spaced("10 seconds")
])

/** What is supervised. Its services are there already. */
export interface Supervised<Profile, Holder> {
  readonly acquire: Effect.Effect<Holder, unknown, Scope.Scope>
  readonly watch: (holder: Holder) => Effect.Effect<unknown, unknown, Scope.Scope>
  readonly restart: Schedule.Schedule<unknown, unknown>
  readonly stableMillis: number
  /** Comes to hold the profile again after it was lost: see `Holders.claim`. */
  readonly claim: (restore: Restore) => Effect.Effect<Held<Profile, Holder>, Refusal<Profile, Holder>>
  readonly giveBack: (held: Held<Profile, Holder>) => Effect.Effect<void>
  /** Somebody may be waiting for a connection. */
  readonly connected: (held: Held<Profile, Holder>) => void
}

/** How long to wait before asking a backend again that did not answer. */
const claimAgain = Duration.millis(250)

export class Supervision<Profile, Holder> {
  readonly #supervised: Supervised<Profile, Holder>
  #held: Held<Profile, Holder>
  #wanted = true
  #stopping = false
  /** Done when something was asked for; then there is another one. */
  #asked = Deferred.makeUnsafe<void>()
  /** Done when the connection of the time is closed. */
  #closed: Deferred.Deferred<void> | undefined
  readonly #over = Deferred.makeUnsafe<void>()

  constructor(held: Held<Profile, Holder>, supervised: Supervised<Profile, Holder>) {
    this.#held = held
    this.#supervised = supervised
  }

  #ask(change: () => void): Effect.Effect<void> {
    return Effect.sync(() => {
      change()
      const asked = this.#asked
      this.#asked = Deferred.makeUnsafe()
      Deferred.doneUnsafe(asked, Effect.void)
    })
  }

  readonly disconnect: Effect.Effect<void> = this.#ask(() => {
    this.#wanted = false
  }).pipe(Effect.andThen(Effect.suspend(() => this.#closed === undefined ? Effect.void : Deferred.await(this.#closed))))

  readonly reconnect: Effect.Effect<void> = this.#ask(() => {
    this.#wanted = true
  })

  readonly stop: Effect.Effect<void> = this.#ask(() => {
    this.#stopping = true
  }).pipe(Effect.andThen(Deferred.await(this.#over)))

  /** A connection, from its opening to its end. Tells when it was opened, if it was. */
  #connection(held: Held<Profile, Holder>, opened: (at: number) => void) {
    const closed = this.#closed = Deferred.makeUnsafe<void>()
    return Effect.scoped(
      Effect.gen({ self: this }, function*() {
        const holder = yield* this.#supervised.acquire
        // Nobody may find it once it has begun to close, nor when the profile was lost while it was opened.
        if (held.isOver) return
        held.current = { holder }
        held.detail = undefined
        metrics.onConnected()
        opened(yield* Clock.currentTimeMillis)
        this.#supervised.connected(held)
        yield* Effect.ensuring(
          Effect.suspend(() => this.#supervised.watch(holder)),
          Effect.sync(() => {
            held.current = undefined
          })
        )
      })
    ).pipe(Effect.ensuring(Effect.sync(() => {
      this.#closed = undefined
      Deferred.doneUnsafe(closed, Effect.void)
    })))
  }

  /** Runs until it is stopped, or comes to an end by itself. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => this.#loop).pipe(
    Effect.ensuring(Effect.suspend(() => this.#supervised.giveBack(this.#held))),
    Effect.ensuring(Effect.sync(() => Deferred.doneUnsafe(this.#over, Effect.void)))
  )

  readonly #loop: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    const { restart, stableMillis } = this.#supervised
    let pace = yield* Schedule.toStep(restart)
    let isFailing = false
    while (!this.#stopping) {
      const asked = this.#asked
      const held = this.#held
      const interrupted = Effect.raceFirst(Deferred.await(asked), Effect.ignore(Deferred.await(held.ended)))
      if (held.isOver) {
        if (!(yield* this.#claimAgain(asked))) return
        continue
      }
      if (!this.#wanted) {
        yield* interrupted
        continue
      }

      let openedAt: number | undefined
      const exit = yield* Effect.exit(Effect.raceFirst(
        this.#connection(held, (at) => {
          openedAt = at
        }),
        interrupted
      ))
      // It was ended on purpose.
      if (asked !== this.#asked || held.isOver) continue

      const now = yield* Clock.currentTimeMillis
      const why = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "it has ended"
      held.detail = Exit.isFailure(exit) ? errorText(exit.cause) : undefined
      metrics.onCrashed()
      if (openedAt !== undefined && now - openedAt >= stableMillis) {
        pace = yield* Schedule.toStep(restart)
        isFailing = false
      }
      if (!isFailing) yield* Effect.logWarning(`a connection is gone, and is opened again: ${why}`)
      isFailing = true
      const next = yield* Effect.exit(pace(now, Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined))
      if (Exit.isFailure(next)) {
        yield* Effect.logError(`a connection is given up after the last attempt of its schedule: ${why}`)
        return
      }
      yield* Effect.raceFirst(Effect.sleep(next.value[1]), interrupted)
    }
  })

  /** Whether the profile is to be held on: after a loss it is claimed anew, unless somebody else has it by now. */
  #claimAgain(asked: Deferred.Deferred<void>): Effect.Effect<boolean> {
    const claim = Effect.uninterruptibleMask((restore) =>
      Effect.map(this.#supervised.claim(restore), (held) => {
        this.#held = held
      })
    )
    return Effect.raceFirst(Effect.as(claim, true), Effect.as(Deferred.await(asked), true)).pipe(
      Effect.catch((refusal) =>
        refusal._tag === "RegistryUnavailable"
          ? Effect.as(Effect.raceFirst(Effect.sleep(claimAgain), Deferred.await(asked)), true)
          : Effect.as(
            Effect.logWarning(
              `the profile was lost, and ${
                refusal._tag === "Theirs" ? `node ${refusal.remote.node}` : "another holder in this process"
              } holds it now: its supervision here ends`
            ),
            false
          )
      )
    )
  }
}

const errorText = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}
