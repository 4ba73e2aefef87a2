/**
 * What the user sees: lines, and below them the departures board and a progress bar, which are drawn over and over. Where there is
 * no terminal, the progress is a line a second, and the board another one.
 */
import { Clock, Context, Effect, Layer, Stdio, Terminal } from "effect"

/** How far the job is. */
export interface Progress {
  readonly done: number
  readonly total: number
  /** How many messages wait in line. */
  readonly waiting: number
}

/** What is on the departures board. */
export interface Board {
  /** How many departures it has shown. */
  readonly shown: number
  /** The latest, the newest first. */
  readonly rows: ReadonlyArray<string>
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
  /** What is drawn over and over: the board, and the bar below it. */
  let panel: ReadonlyArray<string> = []

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

  const clear = Effect.suspend(() => {
    const up = panel.length - 1
    return up < 0 ? Effect.void : display(`\r${up > 0 ? `\x1b[${up}A` : ""}\x1b[J`)
  })
  // A line that is broken in two would not be cleared whole.
  const draw = Effect.flatMap(
    terminal.columns,
    (columns) => display(panel.map((line) => columns > 0 ? line.slice(0, columns - 1) : line).join("\n"))
  )

  return {
    /** Writes a line. */
    say: (line: string): Effect.Effect<void> => clear.pipe(Effect.andThen(display(`${line}\n`)), Effect.andThen(draw)),

    /** Shows how far the job is, and what is on the board. */
    show: (progress: Progress, board: Board): Effect.Effect<void> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const bar = render(progress, now)
        if (isTerminal) {
          return clear.pipe(
            Effect.andThen(Effect.sync(() => {
              panel = board.shown === 0 ? [bar] : [
                "",
                `Departures${count(board.shown).padStart(width - 10)}`,
                ...board.rows.map((row) => `  ${row}`),
                "",
                bar
              ]
            })),
            Effect.andThen(draw)
          )
        }
        if (now - shownAt < 1000 && progress.done < progress.total) return Effect.void
        shownAt = now
        const [latest] = board.rows
        const departures = latest === undefined ? "" : `${count(board.shown)} departures, the latest: ${latest}\n`
        return display(`${bar}\n${departures}`)
      }),

    /** Leaves board and bar where they are: what is said from now on comes below. */
    settle: Effect.suspend(() => {
      const below = panel.length === 0 ? Effect.void : display("\n")
      panel = []
      return below
    })
  }
})

export class Screen
  extends Context.Service<Screen, Effect.Success<typeof make>>()("holdfast/examples/airports/Screen")
{
  static readonly layer = Layer.effect(this, make)
}
