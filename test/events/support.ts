/**
 * Event stores on Postgres for tests, each as a process would have it: a membership and connections of its own.
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Exit, Layer, type Redacted, References, Scope } from "effect"
import { EventStore, type EventStoreError, PostgresEventStore } from "holdfast/events"
import { Member } from "holdfast/member"

export interface Options {
  readonly url: Redacted.Redacted
  readonly member?: Partial<Member.Options>
  readonly events?: Partial<PostgresEventStore.Options>
}

/** The layer of a store, with its client. */
export const layer = ({ events, member, url }: Options) =>
  PostgresEventStore.layer.pipe(
    Layer.provideMerge(PgClient.layer({ url, maxConnections: 8 })),
    Layer.provide(Layer.mergeAll(
      Layer.succeed(Member.MemberOptions, {
        lease: "5 seconds",
        statementTimeout: "30 seconds",
        name: "test",
        ...member
      }),
      Layer.succeed(PostgresEventStore.EventStoreOptions, {
        timeout: "10 seconds",
        pollInterval: "1 second",
        ...events
      }),
      Layer.succeed(References.MinimumLogLevel, process.env["HOLDFAST_TEST_LOG"] === undefined ? "None" : "All")
    ))
  )

/** Opens a store for as long as the scope lasts, or until it is closed. */
export const open = Effect.fnUntraced(function*(options: Options) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(Layer.fresh(layer(options)), scope)
  return {
    context,
    events: Context.get(context, EventStore.EventStore),
    sql: Context.get(context, PgClient.PgClient),
    close: Scope.close(scope, Exit.void)
  }
})

/** Events with numbers. */
export const counted = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => ({ eventType: "Counted", data: { n: from + index } }))

export const range = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: to - from }, (_, index) => from + index)

/** The tag of the reason for which an append or the like fails; "none" where it does not. */
export const tagOf = <A>(effect: Effect.Effect<A, EventStoreError.EventStoreError>) =>
  Effect.match(effect, { onSuccess: () => "none", onFailure: ({ reason }) => reason._tag })
