/**
 * What a gateway worker does with each kind of request: looks whether what it says can be meant, and asks the storage. Everything
 * that comes in is looked at as if nobody had looked at it before. Whether the client may ask at all, `guard` sees to.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { EventStoreError, InvalidArgument } from "../../EventStoreError.ts"
import { type Appended, GatewayRpcs } from "../../GatewayRpcs.ts"
import { allows } from "../../GatewayToken.ts"
import { all } from "../../RecordedEvent.ts"
import {
  checkCount,
  checkEventId,
  checkExpectedVersion,
  checkName,
  checkNewStore,
  checkReadable,
  checkSelector,
  checkStore,
  checkStream,
  failure,
  isJson
} from "../checks.ts"
import * as eventText from "../eventText.ts"
import type { Checkpointed, Claimed, EventStorage } from "../storage.ts"
import { checking } from "../subscribing.ts"
import { beginning, checked } from "./appending.ts"
import type { Session } from "./clients.ts"
import { type Caller, guard, type Guarding } from "./guard.ts"
import { Holdings } from "./holdings.ts"
import * as wire from "./wire.ts"

/** How many characters of events go in one answer, where one event alone is not longer. */
const maxAnswer = 1024 * 1024

/** How many events are read, and how many streams are told, for one answer at most. */
const maxRead = 1000

export interface Serving extends Guarding {
  readonly storage: EventStorage
}

export const make = ({ breaker, clock, sessionOf, storage, stores }: Serving) => {
  const guarding = guard({ breaker, clock, sessionOf, stores })
  const { within } = guarding
  const begin = beginning(guarding, storage)
  const holdings = new Holdings(storage)

  const underClaim = (
    caller: Caller,
    operation: string,
    payload: { readonly store: string; readonly id: number; readonly token: number },
    f: (claimed: Claimed) => Effect.Effect<Checkpointed, EventStoreError>
  ) =>
    within(
      caller,
      payload.store,
      ["subscribe"],
      operation,
      (session) => holdings.under(session, payload.store, payload, f)
    )

  const handlers = GatewayRpcs.of({
    // -------------------------------------------------------------------------------------------- appending
    Append: ({ append, store }, caller) =>
      within(caller, store, ["append"], "appendEvents", () => {
        const appended = checked(store, append)
        return appended instanceof EventStoreError ? Effect.fail(appended) : storage.append(store, appended)
      }),
    AppendEach: ({ appends, store }, caller) =>
      Effect.gen(function*() {
        const results = yield* Queue.unbounded<typeof Appended.Type, EventStoreError | Cause.Done>()
        const session = sessionOf(caller.client.id)
        const refused = session?.admit(appends.length - 1)
        if (session === undefined || refused !== undefined) {
          yield* refused === undefined ? Queue.end(results) : Queue.fail(results, refused)
          return results
        }
        yield* Effect.addFinalizer(() => Effect.sync(() => session.leave(appends.length - 1)))
        let left = appends.length
        yield* begin(caller, store, appends, (result) => {
          Queue.offerUnsafe(results, result)
          if (--left === 0) Queue.endUnsafe(results)
        })
        return results
      }),
    Link: ({ eventIds, eventStreamId, expectedVersion, store }, caller) =>
      within(caller, store, ["append"], "linkToStream", () =>
        Effect.andThen(
          checking(
            checkStore(store),
            checkStream(eventStreamId),
            checkExpectedVersion(expectedVersion),
            ...eventIds.map(checkEventId),
            new Set(eventIds).size === eventIds.length
              ? undefined
              : failure(new InvalidArgument({ field: "eventIds", issue: "Expected each once" }))
          ),
          storage.link(store, eventStreamId, eventIds.map((id) => id.toLowerCase()), expectedVersion)
        )),
    Holds: ({ eventIds, eventStreamId, first, store }, caller) =>
      within(caller, store, ["append", "read"], "appendEvents", () =>
        Effect.gen(function*() {
          yield* checking(checkStore(store), checkStream(eventStreamId), checkCount("first", first, 0))
          for (let at = 0; at < eventIds.length; at += maxRead) {
            const ids = eventIds.slice(at, at + maxRead)
            const events = yield* storage.read(store, eventStreamId, first + at, ids.length, "forward")
            const isThere = ids.every((id, index) => {
              const event = events[index]
              return event?.eventId === id && (event.link?.eventNumber ?? event.eventNumber) === first + at + index
            })
            if (!isThere) return false
          }
          return true
        })),
    DeleteStream: ({ eventStreamId, expectedVersion, hard, store }, caller) =>
      within(caller, store, ["admin"], "deleteStream", () =>
        Effect.andThen(
          checking(checkStore(store), checkStream(eventStreamId), checkExpectedVersion(expectedVersion)),
          storage.deleteStream(store, eventStreamId, expectedVersion, hard)
        )),

    // -------------------------------------------------------------------------------------------- reading
    Read: ({ count, direction, eventStreamId, start, store }, caller) =>
      within(caller, store, ["read"], "getEvents", () =>
        Effect.gen(function*() {
          yield* checking(
            checkStore(store),
            checkReadable(eventStreamId),
            checkCount("start", start, 0),
            checkCount("count", count, 1)
          )
          const asked = Math.min(count, maxRead)
          const texts = storage.readText === undefined
            ? (yield* storage.read(store, eventStreamId, start, asked, direction)).map((event) =>
              eventText.toText({
                cursor: eventStreamId === all ? event.globalPosition : event.link?.eventNumber ?? event.eventNumber,
                event
              })
            )
            : yield* storage.readText(store, eventStreamId, start, asked, direction)
          const { count: sent, events: encoded } = wire.encode(texts, maxAnswer)
          const last = texts[sent - 1]
          const isAll = last === undefined || sent === count || (sent === texts.length && texts.length < asked)
          const next = isAll ? -1 : last.cursor + (direction === "forward" ? 1 : -1)
          return { events: encoded, next: next < 0 ? null : next }
        })),
    StreamInfo: ({ eventStreamId, store }, caller) =>
      within(caller, store, ["read", "append", "subscribe"], "streamInfo", () =>
        Effect.andThen(
          checking(checkStore(store), checkStream(eventStreamId)),
          Effect.map(storage.streamInfo(store, eventStreamId), (info) => info ?? null)
        )),
    Streams: ({ after, limit, store }, caller) =>
      within(caller, store, ["read"], "getStreams", () =>
        Effect.andThen(
          checking(
            checkStore(store),
            checkCount("limit", limit, 1),
            after === "" ? undefined : checkName("after", after)
          ),
          storage.streams(store, after, Math.min(limit, maxRead))
        )),
    Head: ({ selector, store }, caller) =>
      within(
        caller,
        store,
        ["read", "subscribe"],
        "head",
        () => Effect.andThen(checking(checkStore(store), checkSelector(selector)), storage.head(store, selector))
      ),

    // -------------------------------------------------------------------------------------------- subscriptions
    Scan: ({ after, limit, selector, store }, caller) =>
      within(caller, store, ["subscribe"], "subscribe", () =>
        Effect.gen(function*() {
          yield* checking(
            checkStore(store),
            checkSelector(selector),
            checkCount("after", after, -1),
            checkCount("limit", limit, 1)
          )
          const page = yield* storage.scan(store, selector, after, Math.min(limit, maxRead))
          const { count, events } = wire.encode(page.events.map(eventText.toText), maxAnswer)
          const last = page.events[count - 1]
          return count === page.events.length || last === undefined
            ? { events, scannedTo: page.scannedTo, atEnd: page.atEnd }
            : { events, scannedTo: last.cursor, atEnd: false }
        })),
    Watch: ({ store }, caller) =>
      Stream.unwrap(Effect.gen(function*() {
        yield* within(caller, store, ["subscribe"], "subscribe", (session) =>
          session.stays
            ? Effect.andThen(checking(checkStore(store)), storage.storeConfig(store))
            : Effect.fail(failure(new InvalidArgument({ field: "transport", issue: "Expected a socket" }))))
        const session = sessionOf(caller.client.id)
        if (session === undefined) return Stream.empty
        yield* Effect.acquireRelease(
          Effect.suspend(() => {
            const refused = session.subscribe()
            return refused === undefined ? Effect.void : Effect.fail(refused)
          }),
          () => Effect.sync(() => session.unsubscribe())
        )
        const events = storage.eventsOf(store)
        const owners = storage.ownersOf(store)
        let seen = events.count
        let seenOwners = owners.count
        const pull = Effect.suspend(() =>
          Effect.map(
            Effect.raceFirst(
              Effect.as(events.after(seen), "events" as const),
              Effect.as(owners.after(seenOwners), "subscriptions" as const)
            ),
            (what) => {
              if (what === "events") seen = events.count
              else seenOwners = owners.count
              return [what] as const
            }
          )
        )
        return Stream.concat(Stream.succeed("watching" as const), Stream.fromPull(Effect.succeed(pull)))
      })),
    SaveSubscription: ({ name, position, selector, store }, caller) =>
      within(caller, store, ["subscribe"], "saveSubscription", () =>
        Effect.andThen(
          checking(
            checkStore(store),
            checkName("name", name),
            checkSelector(selector),
            checkCount("position", position, -1)
          ),
          storage.save(store, name, selector, position)
        )),
    RemoveSubscription: ({ name, selector, store }, caller) =>
      within(caller, store, ["subscribe"], "removeSubscription", () =>
        Effect.andThen(
          checking(
            checkStore(store),
            checkName("name", name),
            selector === null ? undefined : checkSelector(selector)
          ),
          storage.remove(store, name, selector ?? undefined)
        )),
    Subscriptions: ({ store }, caller) =>
      within(
        caller,
        store,
        ["read", "subscribe"],
        "getSubscriptions",
        () => Effect.andThen(checking(checkStore(store)), storage.subscriptions(store))
      ),
    Claim: ({ name, selector, store }, caller) =>
      within(caller, store, ["subscribe"], "subscribe", (session) =>
        Effect.gen(function*() {
          if (!session.stays) {
            return yield* failure(new InvalidArgument({ field: "transport", issue: "Expected a socket" }))
          }
          yield* checking(checkStore(store), checkName("name", name), checkSelector(selector))
          const claim = yield* holdings.claim(session, store, name, selector)
          if (claim._tag !== "Claimed") return claim
          const { id, position, token } = claim
          return { _tag: "Claimed", id, token, position } as const
          // What was claimed has to be known here, also where nobody waits for it any more.
        }).pipe(Effect.uninterruptible)),
    Checkpoint: ({ position, ...payload }, caller) =>
      underClaim(caller, "ack", payload, (claimed) => storage.checkpoint(payload.store, claimed, position)),
    Park: ({ attempts, cursor, eventId, reason, ...payload }, caller) =>
      underClaim(caller, "park", payload, (claimed) =>
        Effect.andThen(
          checking(checkEventId(eventId), checkCount("cursor", cursor, 0), checkCount("attempts", attempts, 1)),
          storage.park(payload.store, claimed, { attempts, cursor, eventId, reason })
        )),
    Release: (payload, caller) =>
      Effect.asVoid(
        underClaim(caller, "release", payload, (claimed) =>
          Effect.as(storage.release(payload.store, claimed), "gone" as const))
      ),

    // -------------------------------------------------------------------------------------------- snapshots
    RecordSnapshot: ({ eventStreamId, record, sourceId, store, version }, caller) =>
      within(caller, store, ["append"], "recordSnapshot", () =>
        Effect.andThen(
          checking(
            checkStore(store),
            checkName("sourceId", sourceId),
            checkStream(eventStreamId),
            checkCount("version", version, 0),
            isJson(record) ? undefined : failure(new InvalidArgument({ field: "record", issue: "Expected JSON" }))
          ),
          storage.recordSnapshot(store, sourceId, eventStreamId, version, record)
        )),
    Snapshots: ({ eventStreamId, limit, sourceId, store, version }, caller) =>
      Stream.unwrap(
        within(caller, store, ["read"], "readSnapshot", () =>
          Effect.gen(function*() {
            yield* checking(
              checkStore(store),
              sourceId === null ? undefined : checkName("sourceId", sourceId),
              eventStreamId === null ? undefined : checkStream(eventStreamId),
              version === null ? undefined : checkCount("version", version, 0),
              limit === null ? undefined : checkCount("limit", limit, 1)
            )
            const snapshots = yield* storage.snapshots(store, {
              sourceId: sourceId ?? undefined,
              eventStreamId: eventStreamId ?? undefined,
              version: version ?? undefined,
              limit: limit ?? undefined
            })
            return Stream.rechunk(Stream.fromArray(snapshots), 8)
          }))
      ),
    DeleteSnapshot: ({ eventStreamId, sourceId, store, version }, caller) =>
      within(caller, store, ["append"], "deleteSnapshot", () =>
        Effect.andThen(
          checking(
            checkStore(store),
            checkName("sourceId", sourceId),
            checkStream(eventStreamId),
            checkCount("version", version, 0)
          ),
          storage.deleteSnapshot(store, sourceId, eventStreamId, version)
        )),

    // -------------------------------------------------------------------------------------------- stores
    CreateStore: ({ config, store }, caller) =>
      within(
        caller,
        store,
        ["admin"],
        "createStore",
        () => Effect.andThen(checking(checkNewStore(store)), storage.createStore(store, config))
      ),
    RemoveStore: ({ purge, store }, caller) =>
      within(
        caller,
        store,
        ["admin"],
        "removeStore",
        () => Effect.andThen(checking(checkStore(store)), storage.removeStore(store, purge))
      ),
    Stores: (_, { client }) =>
      Effect.suspend(() => {
        const session = sessionOf(client.id)
        return session === undefined
          ? Effect.interrupt
          : Effect.map(storage.stores, (ids) =>
            ids.filter((id) => allows(session.claims, id, ["read", "append", "subscribe", "admin"])))
      }),
    StoreStatus: ({ store }, caller) =>
      within(
        caller,
        store,
        ["read", "admin"],
        "getStoreStatus",
        () => Effect.andThen(checking(checkStore(store)), storage.storeStatus(store))
      ),
    StoreConfig: ({ store }, caller) =>
      within(
        caller,
        store,
        ["read", "admin"],
        "getStoreConfig",
        () => Effect.andThen(checking(checkStore(store)), storage.storeConfig(store))
      )
  })

  return { handlers, leave: (session: Session) => holdings.leave(session) }
}
