/**
 * `holdfast parked`: the messages that were set aside because their handlers failed at every attempt. Thin: everything is done
 * by `DurableAdmin`.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ParkedFilter } from "../durable/AdminStorage.ts"
import type { DurableAdmin } from "../durable/DurableAdmin.ts"
import { administered, flags } from "./administered.ts"
import { ConfigurationInvalid } from "./configuration.ts"
import { confirm, yes } from "./confirmation.ts"
import { Ended, exitCodes, progress, result } from "./output.ts"
import { limit, noteMore, readable, upTo } from "./servers.ts"
import { brief, plain, plainLines, table } from "./table.ts"

type Admin = DurableAdmin["Service"]

const usage = (problem: string) => new ConfigurationInvalid({ file: "command line", problem })

const kind = Argument.String("KIND").pipe(Argument.withDescription("Only those of this kind"), Argument.optional)
const key = Argument.String("KEY").pipe(
  Argument.withDescription("Only those of the server with this key"),
  Argument.optional
)
const id = Argument.Int("ID").pipe(Argument.withDescription("The number of the message"))

const filterOf = (kind: Option.Option<string>, key: Option.Option<string>): ParkedFilter =>
  Option.isSome(kind) ? { kind: kind.value, key: Option.getOrUndefined(key) } : {}

const list = Command.make(
  "list",
  { ...flags, kind, key, limit },
  ({ key, kind, limit, ...given }) =>
    administered(given, (admin) =>
      Effect.gen(function*() {
        const { items, more } = yield* upTo(admin.parked(filterOf(kind, key)), limit)
        yield* result(
          given.json,
          { parked: items, more },
          table(
            ["ID", "KIND", "KEY", "MESSAGE", "ATTEMPTS", "PARKED AT", "FAILURE"],
            items.map(({ attempts, failure, id, key, kind, message, parkedAt }) => [
              String(id),
              kind,
              key,
              message.rpc,
              attempts,
              DateTime.formatIso(parkedAt),
              brief(failure.split("\n")[0] ?? "", 80)
            ])
          ).join("\n")
        )
        yield* noteMore(more)
      }))
).pipe(
  Command.withDescription("Lists the messages that were set aside: of all servers, of a kind, or of one server.")
)

const show = Command.make(
  "show",
  { ...flags, id },
  ({ id, ...given }) =>
    administered(given, (admin) =>
      Effect.gen(function*() {
        const parked = yield* admin.parkedMessage(id)
        const { attempts, failure, key, kind, message, parkedAt } = parked
        yield* result(
          given.json,
          { parked },
          [
            `${id}: ${message.priority ? "priority " : ""}${message.mode} of ${plain(message.rpc)} to ${plain(kind)} ${
              plain(JSON.stringify(key))
            }`,
            `message ${message.node}.${message.call}, parked ${
              DateTime.formatIso(parkedAt)
            } after ${attempts} attempts`,
            ...(message.primaryKey === undefined ? [] : [`primary key: ${plain(message.primaryKey)}`]),
            "payload:",
            ...plainLines(readable(message.payload)).map((line) => `  ${line}`),
            "failure:",
            ...plainLines(failure).map((line) => `  ${line}`)
          ].join("\n")
        )
      }))
).pipe(Command.withDescription("Shows one of them: its payload, its attempts, and how it failed."))

// ------------------------------------------------------------------------------------------------ several

const several = {
  ids: Argument.Int("ID").pipe(
    Argument.withDescription("The numbers of the messages"),
    Argument.variadic()
  ),
  all: Flag.Boolean("all").pipe(
    Flag.withDescription("All that are set aside now, or those that --kind and --key say"),
    Flag.withDefault(false)
  ),
  kind: Flag.String("kind").pipe(Flag.withDescription("With --all: only those of this kind"), Flag.optional),
  key: Flag.String("key").pipe(
    Flag.withDescription("With --all and --kind: only those of the server with this key"),
    Flag.optional
  )
}

interface Several {
  readonly ids: ReadonlyArray<number>
  readonly all: boolean
  readonly kind: Option.Option<string>
  readonly key: Option.Option<string>
}

/** The numbers that the command line means. */
const wanted = Effect.fnUntraced(function*(admin: Admin, { all, ids, key, kind }: Several) {
  const isNarrow = Option.isSome(kind) || Option.isSome(key)
  if (all === (ids.length > 0)) return yield* usage("say which messages: their numbers, or --all")
  if (isNarrow && !all) return yield* usage("--kind and --key go with --all")
  if (Option.isSome(key) && Option.isNone(kind)) return yield* usage("--key goes with --kind")
  return all
    ? yield* Stream.runCollect(Stream.map(admin.parked(filterOf(kind, key)), ({ id }) => id))
    : Array.from(new Set(ids))
})

/** Does something with each, tells of all, and ends with a failure where one of them failed. */
const each = Effect.fnUntraced(function*<A extends object>(
  json: boolean,
  done: "retried" | "dropped",
  ids: ReadonlyArray<number>,
  act: (id: number) => Effect.Effect<A, { readonly _tag: string; readonly message: string }>
) {
  const succeeded: Array<{ readonly id: number } & A> = []
  const failed: Array<{ readonly id: number; readonly error: { readonly _tag: string; readonly message: string } }> = []
  for (const id of ids) {
    yield* Effect.match(act(id), {
      onSuccess: (value) => succeeded.push({ id, ...value }),
      onFailure: ({ _tag, message }) => failed.push({ id, error: { _tag, message } })
    })
  }
  if (!json) yield* Effect.forEach(failed, ({ error }) => progress(`holdfast: ${error.message}`))
  yield* result(
    json,
    { ok: failed.length === 0, [done]: succeeded, failed },
    `${succeeded.length} ${done}${failed.length === 0 ? "" : `, ${failed.length} not`}`
  )
  if (failed.length > 0) return yield* new Ended({ exitCode: exitCodes.failed })
})

const retry = Command.make(
  "retry",
  { ...flags, ...several },
  ({ all, ids, key, kind, ...given }) =>
    administered(
      given,
      (admin) =>
        Effect.flatMap(wanted(admin, { all, ids, key, kind }), (ids) =>
          each(given.json, "retried", ids, (id) => Effect.map(admin.retry(id), (position) => ({ position }))))
    )
).pipe(
  Command.withShortDescription("Put messages back in line"),
  Command.withDescription(
    "Puts messages back in line, each at the end of its server's, once. Nobody waits for their replies any more. One whose " +
      "primary key was used again meanwhile stays set aside, to be dropped."
  ),
  Command.withExamples([
    { command: "holdfast parked retry 4711", description: "One of them" },
    { command: "holdfast parked retry --all --kind Airport", description: "All of a kind, once it is mended" }
  ])
)

const drop = Command.make(
  "drop",
  { ...flags, ...several, yes },
  ({ all, ids, key, kind, yes, ...given }) =>
    administered(given, (admin) =>
      Effect.gen(function*() {
        const numbers = yield* wanted(admin, { all, ids, key, kind })
        if (numbers.length > 0) {
          const what = numbers.length === 1 ? `message ${numbers[0]}` : `${numbers.length} messages`
          yield* confirm(yes, `Drop ${what} for good?`)
        }
        yield* each(given.json, "dropped", numbers, (id) => Effect.as(admin.drop(id), {}))
      }))
).pipe(Command.withDescription("Forgets messages, once it is confirmed. There is no way back."))

const edit = Command.make(
  "edit",
  {
    ...flags,
    id,
    payload: Flag.String("payload").pipe(Flag.withDescription("The payload, as JSON"), Flag.optional),
    file: Flag.String("payload-file").pipe(Flag.withDescription("A file with the payload, as JSON"), Flag.optional)
  },
  ({ file, id, payload, ...given }) =>
    administered(given, (admin) =>
      Effect.gen(function*() {
        if (Option.isSome(file) === Option.isSome(payload)) {
          return yield* usage("say the payload: --payload JSON, or --payload-file FILE")
        }
        const fileSystem = yield* FileSystem.FileSystem
        const text = Option.isSome(file)
          ? yield* Effect.mapError(
            fileSystem.readFileString(file.value),
            (error) => usage(`--payload-file: ${error.message}`)
          )
          : Option.getOrElse(payload, () => "")
        const position = yield* admin.retry(id, { payload: text })
        yield* result(
          given.json,
          { id, position },
          `message ${id} is in line with its new payload, at position ${position}`
        )
      }))
).pipe(
  Command.withShortDescription("Retry a message with another payload"),
  Command.withDescription(
    "Puts a message back in line with another payload, in JSON as its operation's schema encodes it: `parked show` has the one " +
      "it was sent with. It keeps its primary key."
  ),
  Command.withExamples([
    { command: `holdfast parked edit 4711 --payload '{"delay":4}'`, description: "What should have been sent" }
  ])
)

const parked = Command.make("parked").pipe(
  Command.withShortDescription("Messages that were set aside"),
  Command.withDescription(
    "Messages that were set aside because their handlers failed at every attempt: whoever called was told, and the messages " +
      "behind them went on. They stay until they are retried or dropped."
  ),
  Command.withSubcommands([list, show, retry, edit, drop])
)

/** `holdfast parked` and all below it. */
export const commands = [parked] as const
