/**
 * A persistent subscription whose handler works in the database: what it writes and how far the subscription is commit in one
 * transaction, so that each event counts exactly once, whatever crashes.
 *
 * The checkpoint moves from exactly the place where the events were read, as the last statement of the transaction. Where it
 * is not there any more, somebody else has taken over, and the transaction is rolled back. Where nobody knows whether a
 * transaction has committed, the subscription is claimed anew: the claim waits for the row's lock, and then the row tells.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { isConnectionLost, withTransaction } from "../../../datastore/internal/lostConnection.ts"
import { errorText } from "../../../datastore/internal/sqlState.ts"
import { type EventStoreError, SubscriptionNotFound } from "../../EventStoreError.ts"
import type { RecordedEvent } from "../../RecordedEvent.ts"
import type { Selector } from "../../Selector.ts"
import { failure } from "../checks.ts"
import type { Claimed, EventStorage, Placed } from "../storage.ts"
import { schemaOf } from "./groups.ts"
import { int8 } from "./parameters.ts"

export interface Settings {
  readonly store: string
  readonly name: string
  readonly selector: Selector
  /** How many events share a transaction at most. */
  readonly batchSize: number
  readonly pollMillis: number
  readonly leaseMillis: number
}

/** Another process has taken over, or nobody knows what became of the transaction. */
class ClaimEnded extends Data.TaggedError("ClaimEnded")<{}> {}

/** What the handler failed with, kept apart from what everything round it may fail with. */
class HandlerFailed<E> {
  readonly _tag = "HandlerFailed"
  readonly error: E

  constructor(error: E) {
    this.error = error
  }
}

/** How many events are read at once. */
const pageSize = 500

const isPassing = (error: unknown): error is SqlError =>
  isSqlError(error) && (isConnectionLost(error) || error.isRetryable)

export const run = <E, R>(
  storage: EventStorage,
  client: PgClient.PgClient,
  { batchSize, leaseMillis, name, pollMillis, selector, store }: Settings,
  handler: (event: RecordedEvent) => Effect.Effect<unknown, E, R>
): Effect.Effect<never, E | EventStoreError, R> => {
  const sql = client.withoutTransforms()
  const advanceSql = `SELECT ${schemaOf(store)}.advance($1, $2, $3, $4, $5) AS done`

  const advance = (claim: Claimed, from: number, to: number) =>
    Effect.flatMap(
      sql.unsafe<{ readonly done: string }>(advanceSql, [
        int8(claim.id),
        int8(claim.token),
        int8(from),
        int8(to),
        leaseMillis
      ]),
      ([row]) => row?.done === "done" ? Effect.void : Effect.fail(new ClaimEnded())
    )

  /** Handles some events and moves the checkpoint over them, or nothing of both. */
  const handle = (
    claim: Claimed,
    events: ReadonlyArray<Placed>,
    from: number,
    to: number
  ): Effect.Effect<void, HandlerFailed<E> | ClaimEnded, R> =>
    Effect.forEach(
      events,
      ({ event }) => Effect.mapError(handler(event), (error) => new HandlerFailed(error)),
      { discard: true }
    ).pipe(
      Effect.andThen(advance(claim, from, to)),
      withTransaction(sql),
      Effect.catch((error): Effect.Effect<never, HandlerFailed<E> | ClaimEnded> => {
        const trouble = error._tag === "HandlerFailed" ? error.error : error
        if (!isSqlError(trouble) || (error._tag === "HandlerFailed" && !isPassing(trouble))) {
          return Effect.fail(error._tag === "SqlError" ? new ClaimEnded() : error)
        }
        return Effect.andThen(
          Effect.logWarning(`the subscription "${name}" tries a transaction again: ${errorText(trouble)}`),
          Effect.fail(new ClaimEnded())
        )
      })
    )

  const work = (claim: Claimed): Effect.Effect<void, HandlerFailed<E> | EventStoreError | ClaimEnded, R> =>
    Effect.gen(function*() {
      const signals = [storage.eventsOf(store), storage.ownersOf(store)] as const
      let position = claim.position
      while (true) {
        const seen = signals.map(({ count }) => count)
        const page = yield* storage.scan(store, selector, position, pageSize)
        for (let index = 0; index < page.events.length; index += batchSize) {
          const batch = page.events.slice(index, index + batchSize)
          const isLast = index + batchSize >= page.events.length
          const to = isLast ? page.scannedTo : batch.at(-1)?.cursor ?? position
          yield* handle(claim, batch, position, to)
          position = to
        }
        // What was not selected needs no transaction; and whoever waits sees whether it is still his.
        if (page.events.length === 0) {
          const written = yield* storage.checkpoint(store, claim, page.scannedTo)
          if (written === "gone") return yield* failure(new SubscriptionNotFound({ store, name }))
          if (written === "lost") return yield* new ClaimEnded()
          position = page.scannedTo
          if (page.atEnd) {
            yield* Effect.raceAllFirst([
              signals[0].after(seen[0] ?? 0),
              signals[1].after(seen[1] ?? 0),
              Effect.sleep(Duration.millis(pollMillis))
            ])
          }
        }
      }
    })

  const owners = storage.ownersOf(store)
  const round: Effect.Effect<void, HandlerFailed<E> | EventStoreError, R> = Effect.gen(function*() {
    const seen = owners.count
    const claim = yield* storage.claim(store, name, selector)
    if (claim._tag === "Gone") return yield* failure(new SubscriptionNotFound({ store, name }))
    if (claim._tag === "Held") {
      return yield* Effect.raceFirst(owners.after(seen), Effect.sleep(Duration.millis(pollMillis)))
    }
    return yield* work(claim).pipe(
      Effect.onExit(() => Effect.ignore(storage.release(store, claim))),
      Effect.catchTag("ClaimEnded", () => Effect.sleep("10 millis"))
    )
  })
  return round.pipe(
    // A store that is not there for now is waited for.
    Effect.catchTag("EventStoreError", (error) =>
      error.reason._tag === "StoreUnavailable"
        ? Effect.logWarning(`the subscription "${name}" waits: ${error.message}`)
        : Effect.fail(error)),
    Effect.forever,
    Effect.mapError((error) => error instanceof HandlerFailed ? error.error : error)
  )
}
