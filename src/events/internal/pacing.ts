/**
 * Saying things no more often than that: a few are said at once, and where they come faster than the pace, what comes in between
 * is said together. Nothing is left out, and what is the same is said once.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Gathering } from "../../member/internal/gathering.ts"

export interface Pace {
  /** In the long run things are said once in so many milliseconds. */
  readonly periodMillis: number
  /** How often more at once, after nothing was said for as many periods. */
  readonly burst: number
}

/** Gives what takes the words. What is left at the end of the scope is said then. */
export const make = Effect.fnUntraced(function*(
  { burst, periodMillis }: Pace,
  say: (words: ReadonlySet<string>) => void
): Effect.fn.Return<(word: string) => void, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const words = new Gathering<string>()
  /** When all that was said so far would have been said, had it been at this pace. */
  let spentUntil = 0
  const sayAll = Effect.sync(() => {
    if (words.size === 0) return
    spentUntil = Math.max(spentUntil, clock.currentTimeMillisUnsafe()) + periodMillis
    say(new Set(words.takeUnsafe(Number.POSITIVE_INFINITY)))
  })
  const pause = Effect.suspend(() => {
    const ahead = spentUntil - clock.currentTimeMillisUnsafe() - burst * periodMillis
    return ahead > 0 ? Effect.sleep(Duration.millis(ahead)) : Effect.void
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(words.some, Effect.andThen(sayAll, pause))))
  yield* Effect.addFinalizer(() => sayAll)
  return (word) => words.add(word)
})
