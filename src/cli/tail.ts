/**
 * `holdfast tail`: what goes on, as it goes on.
 *
 * What it shows is what one looks for when something is wrong. Is anything done at all (steps a second, by kind; commits a
 * second, by member)? Does it keep up (messages in line, and in how many lines)? Is something stuck (locked, parked, not held
 * although it waits)? And who is there (members, and what is left of their leases)? All of it is read from the database
 * and needs nothing of the processes themselves, so it tells also of those that have lost their way.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import type { StorageFailed } from "../durable/AdminStorage.ts"
import type { Sample } from "../durable/DurableAdmin.ts"
import { administered, flags } from "./administered.ts"
import { ConfigurationInvalid } from "./configuration.ts"
import { progress } from "./output.ts"
import { kindsTable, membersTable } from "./servers.ts"
import { plain, rate } from "./table.ts"

/** Home, and nothing below. */
const clear = "\u001b[H\u001b[J"

/** A screen full of it. */
const screen = ({ at, kinds, members }: Sample, size: { readonly columns: number; readonly rows: number }): string =>
  clear +
  [`holdfast tail   ${DateTime.formatIso(at)}`, "", ...membersTable(members, at, true), "", ...kindsTable(kinds, true)]
    // Of some terminals the size is not known.
    .slice(0, size.rows > 1 ? size.rows - 1 : undefined)
    .map((line) => line.slice(0, size.columns > 0 ? size.columns : undefined))
    .join("\n")

/** All of it on one line. */
const line = ({ at, kinds, members }: Sample): string => {
  const sum = (count: (kind: Sample["kinds"][number]) => number) =>
    kinds.reduce((total, kind) => total + count(kind), 0)
  const isFirst = kinds.every(({ perSecond }) => perSecond === undefined)
  return [
    DateTime.formatIso(at),
    `members=${members.length}`,
    `servers=${sum(({ servers }) => servers)}`,
    `held=${sum(({ held }) => held)}`,
    `waiting=${sum(({ waiting }) => waiting)}`,
    `queue=${sum(({ queue }) => queue)}`,
    `locked=${sum(({ locked }) => locked)}`,
    `parked=${sum(({ parked }) => parked)}`,
    `steps=${rate(isFirst ? undefined : sum(({ perSecond }) => perSecond ?? 0))}`,
    ...kinds.filter(({ perSecond, queue }) => queue > 0 || (perSecond ?? 0) > 0).map(({ kind, perSecond, queue }) =>
      `${plain(kind)}=${queue},${rate(perSecond)}`
    )
  ].join(" ")
}

const usage = (problem: string) => new ConfigurationInvalid({ file: "command line", problem })

const units: ReadonlyMap<string, number> = new Map([["ms", 1], ["s", 1000], ["m", 60_000], ["h", 3_600_000]])

/** A time such as 500ms or 2s; without a unit it is in seconds. */
const intervalOf = (text: string): Effect.Effect<Duration.Duration, ConfigurationInvalid> => {
  const [, amount, unit] = /^(\d+(?:\.\d+)?) *(ms|s|m|h)?$/.exec(text.trim()) ?? []
  const millis = Number(amount) * (units.get(unit ?? "s") ?? Number.NaN)
  return millis >= 10 && millis <= 86_400_000
    ? Effect.succeed(Duration.millis(millis))
    : Effect.fail(usage(`--interval must be a time from 10ms to 24h, such as 2s, not ${JSON.stringify(text)}`))
}

/** Says that the storage does not answer once for each time that it stops to. */
const patiently = (interval: Duration.Duration) => (stream: Stream.Stream<Sample, StorageFailed>) => {
  let silent = false
  return stream.pipe(
    Stream.tap(() =>
      Effect.sync(() => {
        silent = false
      })
    ),
    Stream.tapError((error) => {
      if (silent) return Effect.void
      silent = true
      return progress(`holdfast: ${error.message}; trying again`)
    }),
    Stream.retry(
      Schedule.spaced(interval).pipe(
        Schedule.setInputType<StorageFailed>(),
        Schedule.while(({ input }) => input.isRetryable)
      )
    )
  )
}

const tail = Command.make(
  "tail",
  {
    ...flags,
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print each look as one JSON value on a line of its own"),
      Flag.withDefault(false)
    ),
    interval: Flag.String("interval").pipe(
      Flag.withAlias("i"),
      Flag.withDescription("How long to wait between two looks: 500ms, 2s, 1m (default: 2s)"),
      Flag.withDefault("2s")
    ),
    count: Flag.Int("count").pipe(
      Flag.withDescription("End after that many looks (default: go on until interrupted)"),
      Flag.optional
    )
  },
  ({ count, interval, ...given }) =>
    administered(given, (admin) =>
      Effect.gen(function*() {
        const every = yield* intervalOf(interval)
        if (Option.isSome(count) && count.value < 1) return yield* usage("--count must be at least 1")
        const terminal = yield* Terminal.Terminal
        const onTerminal = !given.json && (yield* (yield* Stdio.Stdio).stdoutIsTerminal)
        const show = (sample: Sample) =>
          onTerminal
            ? Effect.flatMap(
              Effect.all({ columns: terminal.columns, rows: terminal.rows }),
              (size) => Console.log(screen(sample, size))
            )
            : Console.log(given.json ? JSON.stringify(sample) : line(sample))
        const looks = patiently(every)(admin.follow(every))
        yield* Stream.runForEach(Option.isSome(count) ? Stream.take(looks, count.value) : looks, show)
      }))
).pipe(
  Command.withShortDescription("Follow what goes on"),
  Command.withDescription(
    "Follows what goes on, until interrupted: members with their leases and commits a second, and of each kind the servers, " +
      "those that are held, wait or are locked, the messages in line and set aside, and the steps a second. A table that " +
      "refreshes on a terminal, otherwise a line for each look. Each look reads something of every server there is."
  ),
  Command.withExamples([
    { command: "holdfast tail --interval 10s --json | jq .kinds", description: "For another program" }
  ])
)

/** This command. */
export const commands = [tail] as const
