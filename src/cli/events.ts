/**
 * `holdfast streams`, `holdfast events` and `holdfast subscriptions`: what is in the event stores of the datastore that a
 * configuration file describes, seen as one of its contexts. Thin: everything is asked of `EventStore`.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Datastore from "../datastore/Datastore.ts"
import * as DatastoreContext from "../datastore/DatastoreContext.ts"
import { EventStore } from "../events/EventStore.ts"
import * as PostgresEventStore from "../events/PostgresEventStore.ts"
import { all } from "../events/RecordedEvent.ts"
import * as Member from "../member/Member.ts"
import { ConfigurationInvalid, read } from "./configuration.ts"
import { reportFailures, result } from "./output.ts"

const shared = {
  config: Flag.String("config").pipe(
    Flag.withAlias("c"),
    Flag.withDescription("The configuration file (default: holdfast.toml)"),
    Flag.withDefault("holdfast.toml")
  ),
  context: Flag.String("context").pipe(
    Flag.withDescription("As which context of the datastore (default: app)"),
    Flag.withDefault("app")
  ),
  store: Flag.String("store").pipe(
    Flag.withAlias("s"),
    Flag.withDescription("The id of the event store; needed where there are several"),
    Flag.optional
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Print the result as one JSON value"),
    Flag.withDefault(false)
  )
}

interface Shared {
  readonly config: string
  readonly context: string
  readonly store: Option.Option<string>
  readonly json: boolean
}

/** The store that is meant: the one that was named, or the only one there is. */
const storeOf = Effect.fnUntraced(function*({ config, store }: Shared) {
  if (Option.isSome(store)) return store.value
  const stores = yield* EventStore.use((events) => events.listStores)
  const [only] = stores
  if (only !== undefined && stores.length === 1) return only
  const problem = only === undefined
    ? "the datastore has no event store"
    : `say which event store with --store: ${stores.join(", ")}`
  return yield* new ConfigurationInvalid({ file: config, problem })
})

/** Runs a command with the events of the datastore, and reports what fails. */
const withEvents = <A, E, R>(
  flags: Shared,
  run: (store: string, events: EventStore["Service"]) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const configuration = yield* read(flags.config)
    const { admin: _admin, contexts, ...options } = yield* configuration.options
    const context = contexts[flags.context]
    if (context === undefined) {
      return yield* new ConfigurationInvalid({ file: flags.config, problem: `there is no context ${flags.context}` })
    }
    const Live = PostgresEventStore.layer.pipe(
      Layer.provide(DatastoreContext.layer(flags.context)),
      Layer.provide(Datastore.layer({ ...options, contexts: { [flags.context]: context } })),
      Layer.provide(Layer.succeed(Member.MemberOptions, {
        name: "holdfast command",
        lease: "5 seconds",
        statementTimeout: "30 seconds"
      }))
    )
    return yield* Effect.provide(
      Effect.flatMap(storeOf(flags), (store) => EventStore.use((events) => run(store, events))),
      Live
    )
  }).pipe(reportFailures(flags.json))

const lines = (rows: ReadonlyArray<string>, nothing: string): string => rows.length === 0 ? nothing : rows.join("\n")

const count = (what: string, otherwise: number) =>
  Flag.Int("count").pipe(
    Flag.withAlias("n"),
    Flag.withDescription(`How many ${what} at most (default: ${otherwise})`),
    Flag.withDefault(otherwise)
  )

export const streams = Command.make(
  "streams",
  {
    ...shared,
    count: count("streams", 1000),
    after: Flag.String("after").pipe(
      Flag.withDescription("Begin behind the stream of this id"),
      Flag.withDefault("")
    )
  },
  ({ after, count, ...flags }) =>
    withEvents(
      flags,
      (store, events) =>
        Effect.flatMap(events.getStreams(store, { after, limit: count }), (streams) =>
          result(
            flags.json,
            {
              store,
              streams: streams.map(({ created, ...stream }) => ({ ...stream, created: DateTime.formatIso(created) }))
            },
            lines(
              streams.map(({ deleted, eventStreamId, version }) =>
                `${String(version + 1).padStart(9)}  ${eventStreamId}${deleted ? "  (deleted)" : ""}`
              ),
              `the event store ${store} has no streams`
            )
          ))
    )
).pipe(
  Command.withShortDescription("List the streams of an event store"),
  Command.withDescription(
    "Lists the streams of an event store in the order of their ids, with how many events each has."
  )
)

export const events = Command.make(
  "events",
  {
    ...shared,
    stream: Argument.String("stream").pipe(
      Argument.withDescription("The id of the stream; without it, all events of the store in their global order"),
      Argument.withDefault(all)
    ),
    count: count("events", 100),
    from: Flag.Int("from").pipe(
      Flag.withDescription("The number of the first event, or its global position"),
      Flag.optional
    ),
    backward: Flag.Boolean("backward").pipe(
      Flag.withDescription("From the last event towards the first"),
      Flag.withDefault(false)
    )
  },
  ({ backward, count, from, stream, ...flags }) =>
    withEvents(flags, (store, events) => {
      const start = Option.getOrElse(from, () => backward ? Number.MAX_SAFE_INTEGER : 0)
      return Effect.flatMap(
        events.getEvents(store, stream, start, count, backward ? "backward" : "forward"),
        (recorded) =>
          result(
            flags.json,
            {
              store,
              events: recorded.map(({ created, ...event }) => ({ ...event, created: DateTime.formatIso(created) }))
            },
            lines(
              recorded.map(({ created, data, eventNumber, eventStreamId, eventType, globalPosition, link }) =>
                [
                  String(stream === all ? globalPosition : link?.eventNumber ?? eventNumber).padStart(9),
                  DateTime.formatIso(created),
                  ...(stream === eventStreamId ? [] : [`${eventStreamId}/${eventNumber}`]),
                  eventType,
                  JSON.stringify(data)
                ].join("  ")
              ),
              "there are no such events"
            )
          )
      )
    })
).pipe(
  Command.withShortDescription("Show the events of a stream"),
  Command.withDescription("Shows the events of a stream, or of all streams, with their data.")
)

export const subscriptions = Command.make(
  "subscriptions",
  shared,
  (flags) =>
    withEvents(flags, (store, events) =>
      Effect.flatMap(events.getSubscriptions(store), (subscriptions) =>
        result(
          flags.json,
          { store, subscriptions },
          lines(
            subscriptions.map(({ active, lag, name, parked, position, selector: { _tag, ...what } }) =>
              `${name}  at ${position}, ${lag} behind, ${parked} parked, ${active ? "active" : "nobody has it"}  ` +
              `${_tag} ${Object.values(what).map((value) => JSON.stringify(value)).join(" ")}`
            ),
            `the event store ${store} has no persistent subscriptions`
          )
        )))
).pipe(
  Command.withShortDescription("Show the persistent subscriptions of an event store"),
  Command.withDescription(
    "Shows the persistent subscriptions of an event store: how far each is, how much it is behind, and what was set aside."
  )
)
