/**
 * `holdfast ps`, `inspect` and `members`: which durable servers there are, one of them from close by, and who runs them. Thin:
 * everything is asked of `DurableAdmin`.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { KindSummary, MemberSummary, ParkedMessage } from "../durable/AdminStorage.ts"
import type { StoredMessage } from "../durable/DurableStorage.ts"
import { administered, flags } from "./administered.ts"
import { progress, result } from "./output.ts"
import { brief, plain, plainLines, rate, seconds, table } from "./table.ts"

/** How many are shown at most. */
export const limit = Flag.Int("limit").pipe(
  Flag.withAlias("n"),
  Flag.withDescription("How many to show at most (default: 200)"),
  Flag.withDefault(200)
)

/** Takes as many as are to be shown, and whether there are more. */
export const upTo = <A, E, R>(stream: Stream.Stream<A, E, R>, limit: number) =>
  Effect.map(Stream.runCollect(Stream.take(stream, Math.max(0, limit) + 1)), (items) => ({
    items: items.slice(0, Math.max(0, limit)),
    more: items.length > limit
  }))

/** The command ends with a note where there is more than it shows. */
export const noteMore = (more: boolean) =>
  more ? progress("there are more: --limit says how many to show") : Effect.void

const flag = (name: "waiting" | "locked" | "parked", description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

const ps = Command.make(
  "ps",
  {
    ...flags,
    kind: Argument.String("KIND").pipe(Argument.withDescription("Only servers of this kind"), Argument.optional),
    waiting: flag("waiting", "Only those with messages in line, or with another of these flags"),
    locked: flag("locked", "Only those that are locked"),
    parked: flag("parked", "Only those with messages that were set aside"),
    limit
  },
  ({ kind, limit, locked, parked, waiting, ...given }) =>
    administered(given, (admin) =>
      Effect.gen(function*() {
        const wanted = { waiting, locked, parked }
        const only = (["waiting", "locked", "parked"] as const).filter((what) => wanted[what])
        const { items, more } = yield* upTo(admin.servers({ kind: Option.getOrUndefined(kind), only }), limit)
        yield* result(
          given.json,
          { servers: items, more },
          table(
            ["KIND", "KEY", "HOLDER", "VERSION", "QUEUE", "PARKED", "LOCKED BY"],
            items.map(({ holder, key, kind, lockedBy, parked, queue, version }) => [
              kind,
              key,
              holder === undefined ? undefined : String(holder),
              version,
              queue,
              parked,
              lockedBy
            ])
          ).join("\n")
        )
        yield* noteMore(more)
      }))
).pipe(
  Command.withShortDescription("List durable servers"),
  Command.withDescription(
    "Lists durable servers: their kind and key, the member that runs them, how many steps they made, how many messages " +
      "wait in line and how many were set aside, and the operation that locked them."
  ),
  Command.withExamples([
    { command: "holdfast ps Airport", description: "All servers of a kind" },
    { command: "holdfast ps --waiting --locked --parked", description: "Whatever is not at rest" }
  ])
)

// ------------------------------------------------------------------------------------------------ one server

const indented = (text: string): ReadonlyArray<string> => plainLines(text).map((line) => `  ${line}`)

/** JSON as people read it; what is none, as it is. */
export const readable = (text: string): string => {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2)
  } catch {
    return text
  }
}

const messageLine = ({ mode, payload, primaryKey, priority, rpc }: StoredMessage): string =>
  `${priority ? "priority " : ""}${mode} ${plain(rpc)} ${plain(brief(payload, 200))}` +
  (primaryKey === undefined ? "" : ` (key ${plain(primaryKey)})`)

/** A message that was set aside, on one line. */
export const parkedLine = ({ attempts, failure, id, message }: ParkedMessage): string =>
  `${id}  ${messageLine(message)}  after ${attempts} attempts: ${plain(brief(failure.split("\n")[0] ?? "", 120))}`

const section = (title: string, lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.length === 0 ? [] : [title, ...lines]

const inspect = Command.make(
  "inspect",
  {
    ...flags,
    kind: Argument.String("KIND").pipe(Argument.withDescription("The kind of the server")),
    key: Argument.String("KEY").pipe(Argument.withDescription("Its key, as it is encoded"))
  },
  ({ key, kind, ...given }) =>
    administered(given, (admin) =>
      Effect.gen(function*() {
        const server = yield* admin.inspect(kind, key)
        const { head, holder, id, lock, parked, parkedHead, queue, state, version } = server
        yield* result(
          given.json,
          { server: { ...server, state: state ?? null } },
          [
            `${plain(kind)} ${plain(JSON.stringify(key))}, server ${id}`,
            `holder: ${
              holder === undefined ? "none" : `member ${holder}`
            }   version: ${version}   in line: ${queue}   parked: ${parked}`,
            ...section("locked by:", lock === undefined ? [] : [`  ${messageLine(lock)}`]),
            ...section("state:", indented(state === undefined ? "none yet" : readable(state))),
            ...section(
              queue > head.length ? `in line, the first ${head.length}:` : "in line:",
              head.map((message) =>
                `  ${message.position}  ${DateTime.formatIso(message.sentAt)}  ${messageLine(message)}`
              )
            ),
            ...section(
              parked > parkedHead.length ? `parked, the first ${parkedHead.length}:` : "parked:",
              parkedHead.map((message) => `  ${parkedLine(message)}`)
            )
          ].join("\n")
        )
      }))
).pipe(
  Command.withShortDescription("Show one durable server"),
  Command.withDescription(
    "Shows one durable server: its state as it is stored, the message that locked it, the first messages in its line, and " +
      "the first that were set aside."
  )
)

// ------------------------------------------------------------------------------------------------ at a glance

/** The kinds there are, as a table. */
export const kindsTable = (
  kinds: ReadonlyArray<KindSummary & { readonly perSecond?: number | undefined }>,
  rates: boolean
): ReadonlyArray<string> =>
  table(
    ["KIND", "SERVERS", "HELD", "WAITING", "QUEUE", "LOCKED", "PARKED", ...(rates ? ["STEPS"] : [])],
    kinds.map(({ held, kind, locked, parked, perSecond, queue, servers, waiting }) => [
      kind,
      servers,
      held,
      waiting,
      queue,
      locked,
      parked,
      ...(rates ? [rate(perSecond)] : [])
    ])
  )

/** The members there are, as a table. */
export const membersTable = (
  members: ReadonlyArray<MemberSummary & { readonly perSecond?: number | undefined }>,
  at: DateTime.Utc,
  rates: boolean
): ReadonlyArray<string> =>
  table(
    ["MEMBER", "NAME", "SINCE", "LEASE", "SERVERS", "GROUPS", ...(rates ? ["COMMITS"] : [])],
    members.map(({ groups, id, joinedAt, leaseMillis, name, perSecond, servers }) => [
      String(id),
      name,
      seconds(DateTime.toEpochMillis(at) - DateTime.toEpochMillis(joinedAt)),
      leaseMillis === undefined
        ? undefined
        : leaseMillis < 0
        ? `overdue ${seconds(-leaseMillis)}`
        : `${seconds(leaseMillis)} left`,
      servers,
      groups,
      ...(rates ? [rate(perSecond)] : [])
    ])
  )

const members = Command.make("members", flags, (given) =>
  administered(given, (admin) =>
    Effect.gen(function*() {
      const { at, kinds, members } = yield* admin.overview
      yield* result(
        given.json,
        { at, members, kinds },
        [...membersTable(members, at, false), "", ...kindsTable(kinds, false)].join("\n")
      )
    }))).pipe(
    Command.withShortDescription("Show the living members, and count the servers of each kind"),
    Command.withDescription(
      "Shows the living members: the processes that take part, for how long, what is left of their leases, how many servers " +
        "they hold and how many groups they have committed. And counts the servers of each kind. It reads something of every " +
        "server there is."
    )
  )

/** These commands. */
export const commands = [ps, inspect, members] as const
