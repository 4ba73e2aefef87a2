/**
 * What the user sees: lines, and below them a progress bar that is drawn over and over. Where there is no terminal, the
 * progress is a line a second.
 */
import { Clock, Context, Effect, Layer, Stdio, Terminal } from "effect"

/** How far the job is. */
export interface Progress {
  readonly done: number
  readonly total: number
  /** How many messages wait in line. */
  readonly waiting: number
}

export const count = (n: number): string => Math.round(n).toLocaleString("en")

const width = 30

/** For how many milliseconds back the rate is looked at. */
const window = 2000

const make = Effect.gen(function*() {
  const terminal = yield* Terminal.Terminal
  const isTerminal = yield* (yield* Stdio.Stdio).stdoutIsTerminal
  const samples: Array<{ readonly at: number; readonly done: number }> = []
  let shownAt = Number.NEGATIVE_INFINITY
  let bar = ""

  const display = (text: string) => Effect.ignore(terminal.display(text))

  const render = ({ done, total, waiting }: Progress, at: number): string => {
    samples.push({ at, done })
    while (samples.length > 2 && at - (samples[0]?.at ?? at) > window) samples.shift()
    const [oldest = { at, done }] = samples
    const rate = at === oldest.at ? 0 : (done - oldest.done) * 1000 / (at - oldest.at)
    const full = Math.floor(width * done / total)
    const figures = `${count(done)} of ${count(total)} messages, ${count(rate)}/s, ${count(waiting)} in line`
    return `${"█".repeat(full)}${"░".repeat(width - full)} ${
      `${Math.floor(100 * done / total)}`.padStart(3)
    } %  ${figures}`
  }

  const clear = Effect.suspend(() => bar === "" ? Effect.void : display("\r\x1b[K"))

  return {
    /** Writes a line. */
    say: (line: string): Effect.Effect<void> =>
      clear.pipe(Effect.andThen(display(`${line}\n`)), Effect.andThen(Effect.suspend(() => display(bar)))),

    /** Shows how far the job is. */
    show: (progress: Progress): Effect.Effect<void> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const line = render(progress, now)
        if (isTerminal) {
          bar = line
          return display(`\r\x1b[K${bar}`)
        }
        if (now - shownAt < 1000 && progress.done < progress.total) return Effect.void
        shownAt = now
        return display(`${line}\n`)
      }),

    /** Leaves the bar where it is: what is said from now on comes below. */
    settle: Effect.suspend(() => {
      const below = bar === "" ? Effect.void : display("\n")
      bar = ""
      return below
    })
  }
})

export class Screen
  extends Context.Service<Screen, Effect.Success<typeof make>>()("holdfast/examples/airports/Screen")
{
  static readonly layer = Layer.effect(this, make)
}
