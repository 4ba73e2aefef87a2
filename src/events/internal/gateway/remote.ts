/**
 * Event stores at the other end of a wire: the storage that a gateway's client stands on.
 *
 * Reads that have lost their worker go to another one. So do appends, whose events have had their ids before they were sent first:
 * where an append was repeated and is refused, it is looked whether its own events are the reason, and then it was done. Claims of
 * persistent subscriptions stay with the worker that has made them, and are lost with it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as RpcClientError from "effect/rpc/RpcClientError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { EventStoreError, type ExpectedVersion } from "../../EventStoreError.ts"
import type { Append, EncodedEvent } from "../../GatewayRpcs.ts"
import type { RecordedEvent, StreamInfo } from "../../RecordedEvent.ts"
import { Signal } from "../signal.ts"
import type { Checkpointed, Claim, Claimed, EventStorage } from "../storage.ts"
import type { Client, Connection } from "./connection.ts"
import type { Asking, Pool } from "./pool.ts"
import * as wire from "./wire.ts"

/** A claim, and the connection to the worker that has made it. */
interface RemoteClaim extends Claimed {
  readonly connection: Connection
}

/** Changes when a worker says so. One is asked to for as long as anybody waits. */
class WatchedSignal extends Signal {
  readonly #watch: Effect.Effect<void>

  constructor(watch: Effect.Effect<void>) {
    super()
    this.#watch = watch
  }

  override after(count: number): Effect.Effect<void> {
    return Effect.andThen(this.#watch, super.after(count))
  }
}

/** For how long a store is watched when nobody waits any more. */
const linger = "10 seconds"

export const make = Effect.fnUntraced(function*(
  pool: Pool,
  pollMillis: number
): Effect.fn.Return<EventStorage, never, Scope.Scope> {
  const scope = yield* Effect.scope

  /** Asks for something that may be asked for twice. */
  const read = <A>(store: string, operation: string, f: (client: Client) => Effect.Effect<A, unknown>) =>
    pool.ask({ store, operation, kind: "read" }, ({ client }) => f(client))

  /** Changes something in a way that may be done twice. */
  const repeat = <A>(store: string, operation: string, f: (client: Client) => Effect.Effect<A, unknown>) =>
    pool.ask({ store, operation, kind: "recognised" }, ({ client }) => f(client))

  /** Asks for something that is done with the first answer, and told as uncertain where there is none. */
  const once = <A>(store: string, operation: string, f: (client: Client) => Effect.Effect<A, unknown>) =>
    pool.ask({ store, operation, kind: "once" }, ({ client }) => f(client))

  // ---------------------------------------------------------------------------------------------- appending

  /** Where the first of some events has to be, if they are the reason for which they were refused. */
  const firstOf = (error: EventStoreError, eventStreamId: string, ids: ReadonlyArray<string>): number | undefined => {
    const { reason } = error
    if (reason._tag === "DuplicateEvent") {
      const index = ids.indexOf(reason.eventId)
      return reason.eventStreamId !== eventStreamId || reason.eventNumber === undefined || index < 0
        ? undefined
        : reason.eventNumber - index
    }
    if (reason._tag !== "WrongExpectedVersion") return undefined
    return typeof reason.expectedVersion === "number"
      ? reason.expectedVersion + 1
      : reason.expectedVersion === "noStream"
      ? 0
      : undefined
  }

  /** Repeats what may have been done, and recognises it where it was. */
  const recognised = (
    asking: Asking,
    eventStreamId: string,
    ids: ReadonlyArray<string>,
    f: (connection: Connection, uncertain: boolean) => Effect.Effect<number, unknown>
  ): Effect.Effect<number, EventStoreError> =>
    pool.ask(asking, (connection, uncertain) => {
      const asked = f(connection, uncertain)
      if (!uncertain) return asked
      const { client } = connection
      return Effect.catch(asked, (error): Effect.Effect<number, unknown> => {
        const first = error instanceof EventStoreError ? firstOf(error, eventStreamId, ids) : undefined
        if (first === undefined || first < 0) return Effect.fail(error)
        return client("Holds", { store: asking.store, eventStreamId, first, eventIds: ids }).pipe(
          // A stream that was deleted since has nothing to say of that.
          Effect.mapError((other) => other instanceof RpcClientError.RpcClientError ? other : error),
          Effect.flatMap((isThere) => isThere ? Effect.succeed(first + ids.length - 1) : Effect.fail(error))
        )
      })
    })

  const append: EventStorage["append"] = (store, { eventStreamId, events, expectedVersion }) => {
    const [first, ...rest] = events.map(wire.toWire)
    if (first === undefined) return Effect.die(new Error("an append of nothing"))
    const ids = events.map(({ id }) => id)
    return recognised(
      { store, operation: "appendEvents", kind: "recognised" },
      eventStreamId,
      ids,
      (connection, again) => {
        // By the second time somebody may have used them.
        const given = ([id, , ...fields]: EncodedEvent): EncodedEvent => [id, true, ...fields]
        const sent: Append[2] = again ? [given(first), ...rest.map(given)] : [first, ...rest]
        return connection.append(store, [eventStreamId, expectedVersion, sent])
      }
    )
  }

  const link = (
    store: string,
    eventStreamId: string,
    eventIds: ReadonlyArray<string>,
    expectedVersion: ExpectedVersion
  ) => {
    const [first, ...rest] = eventIds
    if (first === undefined) return Effect.die(new Error("a link to nothing"))
    return recognised(
      { store, operation: "linkToStream", kind: "recognised" },
      eventStreamId,
      eventIds,
      ({ client }) => client("Link", { store, eventStreamId, expectedVersion, eventIds: [first, ...rest] })
    )
  }

  // ---------------------------------------------------------------------------------------------- signals

  const watched = new Map<string, { readonly events: WatchedSignal; readonly owners: WatchedSignal }>()

  const watchOf = (store: string) => {
    const known = watched.get(store)
    if (known !== undefined) return known
    let isRunning = false
    const isAwaited = () => signals.events.isAwaited || signals.owners.isAwaited
    const changed = () => {
      signals.events.changed()
      signals.owners.changed()
    }
    const once = Effect.flatMap(
      pool.connect(store, "subscribe"),
      ({ client }) =>
        Stream.runForEach(client("Watch", { store }), (what) =>
          Effect.sync(() => {
            // What came before it began to watch, it does not tell.
            if (what === "watching") changed()
            else if (what === "events") signals.events.changed()
            else signals.owners.changed()
          }))
    ).pipe(
      Effect.ignoreCause,
      // Whoever waits looks for himself, and finds out what the matter is, if there is one.
      Effect.andThen(Effect.sync(changed)),
      Effect.andThen(Effect.sleep(pollMillis))
    )
    const unused: Effect.Effect<void> = Effect.suspend(() => {
      if (isAwaited()) return Effect.andThen(Effect.sleep(linger), unused)
      return Effect.andThen(Effect.sleep(linger), Effect.suspend(() => isAwaited() ? unused : Effect.void))
    })
    const watch = Effect.suspend(() => {
      if (isRunning) return Effect.void
      isRunning = true
      return Effect.raceFirst(Effect.forever(once), unused).pipe(
        Effect.ensuring(Effect.sync(() => {
          isRunning = false
        })),
        Effect.forkIn(scope),
        Effect.asVoid
      )
    })
    const signals = { events: new WatchedSignal(watch), owners: new WatchedSignal(watch) }
    watched.set(store, signals)
    return signals
  }

  // ---------------------------------------------------------------------------------------------- subscriptions

  /** Something under a claim, asked of the worker that has made it; without it, the claim is lost. */
  const under = (
    claim: Claimed,
    f: (client: Client) => Effect.Effect<Checkpointed | void, EventStoreError | RpcClientError.RpcClientError>
  ): Effect.Effect<Checkpointed, EventStoreError> =>
    Effect.suspend(() => {
      // Claims come from here.
      const { connection } = claim as RemoteClaim
      if (!connection.isOpen()) return Effect.succeed("lost" as const)
      return Effect.exit(Effect.timeout(f(connection.client), "10 seconds")).pipe(
        Effect.flatMap((exit): Effect.Effect<Checkpointed, EventStoreError> => {
          if (Exit.isSuccess(exit)) return Effect.succeed(exit.value ?? "done")
          const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
          return error instanceof EventStoreError ? Effect.fail(error) : Effect.succeed("lost")
        })
      )
    })

  const claimed: EventStorage["claim"] = (store, name, selector) =>
    Effect.gen(function*() {
      const connection = yield* pool.connect(store, "subscribe")
      const exit = yield* Effect.exit(
        Effect.timeout(connection.client("Claim", { store, name, selector }), "10 seconds")
      )
      if (Exit.isFailure(exit)) {
        const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
        if (error instanceof EventStoreError) return yield* error
        // Where it was made, it ends with the connection.
        yield* connection.close
        return { _tag: "Held" } satisfies Claim
      }
      const claim = exit.value
      if (claim._tag !== "Claimed") return claim
      const remote: RemoteClaim = { ...claim, connection }
      // Where its worker is lost, so is the claim: whoever has it looks at once.
      yield* Effect.forkIn(
        Effect.andThen(connection.closed, Effect.sync(() => watchOf(store).owners.changed())),
        scope
      )
      return remote
    })

  return {
    append,
    // What goes through a gateway is never part of a handler's step: no storage knows it, and so the handler is told.
    journal: (store) => Effect.succeed({ store, appended: () => undefined }),
    link,
    deleteStream: (store, eventStreamId, expectedVersion, hard) =>
      once(store, "deleteStream", (client) => client("DeleteStream", { store, eventStreamId, expectedVersion, hard })),

    read: (store, eventStreamId, start, count, direction) =>
      Effect.gen(function*() {
        const events: Array<RecordedEvent> = []
        let next: number | null = start
        while (next !== null && events.length < count) {
          const from: number = next
          const piece = yield* read(store, "getEvents", (client) =>
            client("Read", { store, eventStreamId, start: from, count: count - events.length, direction }))
          for (const { event } of wire.decode(piece.events)) {
            events.push(event)
          }
          next = piece.next
        }
        return events
      }),
    streamInfo: (store, eventStreamId) =>
      Effect.map(
        read(store, "streamInfo", (client) => client("StreamInfo", { store, eventStreamId })),
        (info) => info ?? undefined
      ),
    streams: (store, after, limit) =>
      Effect.gen(function*() {
        const streams: Array<StreamInfo> = []
        while (streams.length < limit) {
          const from: string = streams.at(-1)?.eventStreamId ?? after
          const some = yield* read(store, "getStreams", (client) =>
            client("Streams", { store, after: from, limit: limit - streams.length }))
          streams.push(...some)
          if (some.length === 0 || (streams.length < limit && some.length < 1000)) {
            break
          }
        }
        return streams
      }),
    scan: (store, selector, after, limit) =>
      Effect.map(
        read(store, "subscribe", (client) => client("Scan", { store, selector, after, limit })),
        ({ atEnd, events, scannedTo }) => ({ events: wire.decode(events), scannedTo, atEnd })
      ),
    head: (store, selector) => read(store, "head", (client) => client("Head", { store, selector })),
    eventsOf: (store) => watchOf(store).events,
    ownersOf: (store) => watchOf(store).owners,

    save: (store, name, selector, position) =>
      repeat(store, "saveSubscription", (client) => client("SaveSubscription", { store, name, selector, position })),
    remove: (store, name, selector) =>
      once(
        store,
        "removeSubscription",
        (client) => client("RemoveSubscription", { store, name, selector: selector ?? null })
      ),
    subscriptions: (store) => read(store, "getSubscriptions", (client) => client("Subscriptions", { store })),
    claim: claimed,
    checkpoint: (store, claim, position) =>
      under(claim, (client) => client("Checkpoint", { store, id: claim.id, token: claim.token, position })),
    park: (store, claim, parking) =>
      under(claim, (client) => client("Park", { store, id: claim.id, token: claim.token, ...parking })),
    release: (store, claim) =>
      Effect.asVoid(under(claim, (client) => client("Release", { store, id: claim.id, token: claim.token }))),

    recordSnapshot: (store, sourceId, eventStreamId, version, record) =>
      read(
        store,
        "recordSnapshot",
        (client) => client("RecordSnapshot", { store, sourceId, eventStreamId, version, record })
      ),
    snapshots: (store, { eventStreamId, limit, sourceId, version }) =>
      read(store, "readSnapshot", (client) =>
        Stream.runCollect(client("Snapshots", {
          store,
          sourceId: sourceId ?? null,
          eventStreamId: eventStreamId ?? null,
          version: version ?? null,
          limit: limit ?? null
        }))),
    deleteSnapshot: (store, sourceId, eventStreamId, version) =>
      once(store, "deleteSnapshot", (client) => client("DeleteSnapshot", { store, sourceId, eventStreamId, version })),

    createStore: (store, config) => once(store, "createStore", (client) => client("CreateStore", { store, config })),
    removeStore: (store, purge) => once(store, "removeStore", (client) => client("RemoveStore", { store, purge })),
    stores: read("", "listStores", (client) => client("Stores", {})),
    storeStatus: (store) => read(store, "getStoreStatus", (client) => client("StoreStatus", { store })),
    storeConfig: (store) => read(store, "getStoreConfig", (client) => client("StoreConfig", { store }))
  }
})
