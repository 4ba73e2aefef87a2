/**
 * Durable servers as those see them who look after them: which there are, what they hold and wait for, and the messages that
 * were set aside because their handlers failed.
 *
 * It needs no handlers and no definitions, and no process that uses it becomes a member: it may run beside a cluster that
 * is in trouble, and in one of its processes. The command (`holdfast ps`, `inspect`, `tail`, `parked`) is a face of it.
 *
 * A message that was set aside is out of the line, and whoever called was told. From there it is **retried** or **dropped**:
 *
 * - A retried message joins the end of its server's line, once, and is handled as a cast: nobody waits for it any more. What
 *   its handler replies is recorded under its primary key, where it has one, and otherwise heard by nobody; a typed failure is
 *   logged and counted, as that of any cast. To its handler it is the same message: it keeps its `messageId`, its priority
 *   and its primary key, also when its payload was edited.
 * - While it is set aside, a repeat with its primary key is a message of its own. So it may have been done by the time it is
 *   retried: then that is refused with `PrimaryKeyKnown`. From the moment it is in line, repeats join it, as with any message.
 * - A dropped message is forgotten. Its primary key is free, unless a repeat has been answered under it.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { ConnectionFailed } from "../datastore/ConnectionFailed.ts"
import { perClient } from "../datastore/internal/perClient.ts"
import { requireInstalled } from "../datastore/internal/schemaInstall.ts"
import type { SchemaNotInstalled } from "../datastore/Migrations.ts"
import { millisOf } from "../member/internal/options.ts"
import * as Member from "../member/Member.ts"
import {
  type AdminStorage,
  type KindSummary,
  type MemberSummary,
  type Overview,
  type Page,
  type ParkedFilter,
  type ParkedMessage,
  ParkedNotFound,
  PayloadInvalid,
  PrimaryKeyKnown,
  type ServerDetails,
  type ServerFilter,
  ServerNotFound,
  type ServerSummary,
  type StorageFailed
} from "./AdminStorage.ts"
import { DurableStorage } from "./DurableStorage.ts"
import { checkJson } from "./internal/codec.ts"
import { adminStorageOf } from "./internal/memoryAdmin.ts"
import * as postgres from "./internal/postgres/admin.ts"
import * as PostgresStorage from "./PostgresStorage.ts"

/**
 * One look of `follow`: what there is, and how much was done each second since the look before. The first one has no rates.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sample {
  readonly at: Overview["at"]
  /** What `versions` has grown by each second: steps, and changes of hands. */
  readonly kinds: ReadonlyArray<KindSummary & { readonly perSecond: number | undefined }>
  /** What `groups` has grown by each second. */
  readonly members: ReadonlyArray<MemberSummary & { readonly perSecond: number | undefined }>
}

/**
 * What an operator does with durable servers.
 *
 * Every operation may be interrupted and done again. One that changes something and fails with a retryable `StorageFailed`
 * may have done it: the next one is told so by `ParkedNotFound`.
 *
 * @since 0.1.0
 * @category services
 */
export class DurableAdmin extends Context.Service<DurableAdmin, {
  /**
   * Lists servers, a page at a time: by kind and key; with `only`, in the order in which they were made. Each page is as of
   * when it was read.
   */
  readonly servers: (filter?: ServerFilter) => Stream.Stream<ServerSummary, StorageFailed>
  /** Looks at one server: with it come the first 20 messages in its line, and the first 20 that were set aside. */
  readonly inspect: (kind: string, key: string) => Effect.Effect<ServerDetails, ServerNotFound | StorageFailed>
  /** Counts the servers of each kind, and names the living members. It reads something of every server there is. */
  readonly overview: Effect.Effect<Overview, StorageFailed>
  /** Takes an overview again and again, with that much time in between, and tells how much was done meanwhile. */
  readonly follow: (interval: Duration.Input) => Stream.Stream<Sample, StorageFailed>
  /**
   * Lists the messages that were set aside, in the order in which they were, a page at a time; only those that were when it
   * began, so that one may retry them on the way.
   */
  readonly parked: (filter?: ParkedFilter) => Stream.Stream<ParkedMessage, ServerNotFound | StorageFailed>
  /** Looks at one message that was set aside. */
  readonly parkedMessage: (id: number) => Effect.Effect<ParkedMessage, ParkedNotFound | StorageFailed>
  /**
   * Puts a message that was set aside back in line, at the end, with another payload where one is given: a JSON text, as its
   * operation's schema encodes it. However many do so at once, it is in line once. Gives its position there.
   */
  readonly retry: (id: number, options?: { readonly payload?: string | undefined }) => Effect.Effect<
    number,
    ParkedNotFound | PrimaryKeyKnown | PayloadInvalid | StorageFailed
  >
  /** Forgets a message that was set aside. There is no way back. */
  readonly drop: (id: number) => Effect.Effect<void, ParkedNotFound | StorageFailed>
}>()("holdfast/durable/DurableAdmin") {}

const serversPerPage = 500
/** Messages that were set aside come with their payloads. */
const parkedPerPage = 100
const messagesShown = 20

const pages = <A, E>(page: (after: string | undefined) => Effect.Effect<Page<A>, E>): Stream.Stream<A, E> =>
  Stream.paginate(
    undefined as string | undefined,
    (after) => Effect.map(page(after), ({ items, next }) => [items, Option.fromUndefinedOr(next)] as const)
  )

/** How much something has grown each second. What was there before and is gone leaves less than there was: that is no growth. */
const growth = (before: number | undefined, after: number, millis: number): number | undefined =>
  before === undefined || millis <= 0 ? undefined : Math.max(0, after - before) * 1000 / millis

const sampleOf = (before: Overview | undefined, { at, kinds, members }: Overview): Sample => {
  const millis = before === undefined ? 0 : DateTime.toEpochMillis(at) - DateTime.toEpochMillis(before.at)
  const versions = new Map(before?.kinds.map(({ kind, versions }) => [kind, versions]))
  const groups = new Map(before?.members.map(({ groups, id }) => [id, groups]))
  return {
    at,
    kinds: kinds.map((kind) => ({ ...kind, perSecond: growth(versions.get(kind.kind), kind.versions, millis) })),
    members: members.map((member) => ({ ...member, perSecond: growth(groups.get(member.id), member.groups, millis) }))
  }
}

/**
 * The service on any storage that has what it takes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (storage: AdminStorage): DurableAdmin["Service"] => {
  const serversPage = Effect.fn("DurableAdmin.servers")((filter: ServerFilter, after: string | undefined) =>
    storage.servers(filter, after, serversPerPage)
  )
  const parkedPage = Effect.fn("DurableAdmin.parked")(
    function*(filter: ParkedFilter, after: string | undefined) {
      const page = yield* storage.parked(filter, after, parkedPerPage)
      const { key, kind } = filter
      if (page.items.length === 0 && after === undefined && kind !== undefined && key !== undefined) {
        // Nothing is set aside of it, or there is no such server at all.
        if ((yield* storage.server({ kind, key }, 0)) === undefined) return yield* new ServerNotFound({ kind, key })
      }
      return page
    }
  )
  /** Numbers that no message can have are asked of no storage. */
  const numbered = (id: number): Effect.Effect<number, ParkedNotFound> =>
    Number.isSafeInteger(id)
      ? Effect.succeed(id)
      : Effect.fail(new ParkedNotFound({ id: Number.isFinite(id) ? id : -1 }))

  return {
    servers: (filter = {}) => pages((after) => serversPage(filter, after)),
    inspect: Effect.fn("DurableAdmin.inspect")(function*(kind: string, key: string) {
      yield* Effect.annotateCurrentSpan({ "holdfast.kind": kind, "holdfast.key": key })
      return (yield* storage.server({ kind, key }, messagesShown)) ?? (yield* new ServerNotFound({ kind, key }))
    }),
    overview: Effect.withSpan(storage.overview, "DurableAdmin.overview"),
    follow: (interval) =>
      Stream.fromEffectSchedule(
        Effect.withSpan(storage.overview, "DurableAdmin.follow"),
        Schedule.spaced(millisOf("interval", interval))
      ).pipe(
        Stream.mapAccum(
          () => undefined as Overview | undefined,
          (before, overview) => [overview, [sampleOf(before, overview)]]
        )
      ),
    parked: (filter = {}) => pages((after) => parkedPage(filter, after)),
    parkedMessage: Effect.fn("DurableAdmin.parkedMessage")(function*(id: number) {
      return (yield* storage.parkedMessage(yield* numbered(id))) ?? (yield* new ParkedNotFound({ id }))
    }),
    retry: Effect.fn("DurableAdmin.retry")(
      function*(id: number, options?: { readonly payload?: string | undefined }) {
        yield* Effect.annotateCurrentSpan({ "holdfast.parked": id })
        const payload = options?.payload === undefined ? undefined : checkJson(options.payload)
        if (payload?.ok === false) return yield* new PayloadInvalid({ id, problem: payload.issue })
        const verdict = yield* storage.retry(yield* numbered(id), payload?.value)
        switch (verdict._tag) {
          case "InLine":
            return verdict.position
          case "NotFound":
            return yield* new ParkedNotFound({ id })
          case "KeyKnown":
            return yield* new PrimaryKeyKnown({ id, primaryKey: verdict.primaryKey, answered: verdict.answered })
        }
      }
    ),
    drop: Effect.fn("DurableAdmin.drop")(function*(id: number) {
      yield* Effect.annotateCurrentSpan({ "holdfast.parked": id })
      if (!(yield* storage.drop(yield* numbered(id)))) return yield* new ParkedNotFound({ id })
    })
  }
}

/**
 * Durable servers in a database, under any role that may use the library's tables: a context of the datastore does. It
 * installs nothing and opens no connections of its own.
 *
 * Fails with `ConnectionFailed` when the database cannot be reached, and with `SchemaNotInstalled` when it has no durable
 * servers, or those of another version of this library.
 *
 * **Example** (Trying everything again that was set aside of one kind)
 *
 * ```ts
 * import { Effect, Layer, Stream } from "effect"
 * import { DatastoreContext } from "holdfast/datastore"
 * import { DurableAdmin } from "holdfast/durable"
 *
 * export const retryAll = Effect.gen(function*() {
 *   const admin = yield* DurableAdmin.DurableAdmin
 *   yield* admin.parked({ kind: "Airport" }).pipe(
 *     Stream.runForEach(({ failure, id }) =>
 *       Effect.andThen(Effect.log(`again: ${failure}`), admin.retry(id)).pipe(
 *         // Somebody else was faster, or it was sent and done again meanwhile.
 *         Effect.catchTag("ParkedNotFound", () => Effect.void),
 *         Effect.catchTag("PrimaryKeyKnown", () => admin.drop(id))
 *       )
 *     )
 *   )
 * })
 *
 * export const AdminLive = DurableAdmin.layerPostgres.pipe(Layer.provide(DatastoreContext.layer("app")))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPostgres: Layer.Layer<DurableAdmin, SchemaNotInstalled | ConnectionFailed, PgClient.PgClient> =
  perClient((client) =>
    Layer.effect(
      DurableAdmin,
      Effect.gen(function*() {
        yield* requireInstalled(Member.migrations)
        yield* requireInstalled(PostgresStorage.migrations)
        return make(postgres.make(client))
      })
    ).pipe(Layer.provide(Layer.succeed(PgClient.PgClient, client)))
  )

/**
 * Durable servers in a `MemoryStorage`, for tests. Another storage is a defect.
 *
 * **Example** (What was set aside, in a test)
 *
 * ```ts
 * import { Layer } from "effect"
 * import { DurableAdmin, DurableNode } from "holdfast/durable"
 *
 * export const TestLive = DurableAdmin.layerMemory.pipe(Layer.provideMerge(DurableNode.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<DurableAdmin, never, DurableStorage> = Layer.effect(
  DurableAdmin,
  DurableStorage.useSync((storage) => make(adminStorageOf(storage)))
)
