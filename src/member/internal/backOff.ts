/**
 * Letting something be that somebody else has locked: for a few milliseconds, longer each time in a row, and not in step with others.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

const longestMillis = 64

/** After it was found locked so often in a row before. */
export const backOff = (inARow: number): Effect.Effect<void> =>
  Effect.flatMap(
    Random.nextBetween(0.5, 1),
    (jitter) => Effect.sleep(Duration.millis(Math.min(2 ** inARow, longestMillis) * jitter))
  )
