/**
 * This process as a member of a database: the one mechanism by which everything in this library knows who is alive, commits
 * what must happen exactly once, and wakes others.
 *
 * A member has a lease, renewed by a heartbeat on a connection of its own. When it runs out, another member declares this one
 * dead and thereby closes its lane: nothing that was under way is committed any more, however late it arrives. The member
 * learns that, and comes back under a new id. The lease decides how soon others take over, never whether something is safe.
 *
 * Several rooms of this library may stand on one member: they share its lease, its heartbeat, its lane and its connections.
 * Each has hints of its own, and each finds out for itself that an id was lost, and says when it goes on under the next.
 *
 * A member opens four connections beside the client's own: for commits, for reads, for the heartbeat and hints to others, and
 * for listening; and now and then one more, for as long as it takes to tidy up.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { SqlError } from "effect/sql/SqlError"
import { type ConnectionFailed, fromSqlError } from "../datastore/ConnectionFailed.ts"
import { targetOf } from "../datastore/internal/connection.ts"
import { perClient } from "../datastore/internal/perClient.ts"
import { ensureInstalled, librarySource } from "../datastore/internal/schemaInstall.ts"
import type { SchemaNotInstalled, Source } from "../datastore/Migrations.ts"
import { type EngineConnection, make as makeConnection, untilAnswered } from "./internal/engineConnection.ts"
import { Heartbeat } from "./internal/heartbeat.ts"
import { type Lane, make as makeLane } from "./internal/lane.ts"
import { type Lease, MemberLease } from "./internal/lease.ts"
import { lost as lostMembers } from "./internal/metrics.ts"
import { addressed, addressedTo, type Hint, listen, sendAll } from "./internal/notifications.ts"
import { millisOf } from "./internal/options.ts"
import { watch } from "./internal/snapshots.ts"
import { sql } from "./internal/sql.gen.ts"

/**
 * How a member goes about it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** For how long this process counts as alive without a sign of it. It is renewed three times in that time. */
  readonly lease: Duration.Input
  /** How long one statement of the engine's may take before it is given up and decided anew. */
  readonly statementTimeout: Duration.Input
  /** What this process is called in the table of members. */
  readonly name: string
}

/**
 * The options of members, with their defaults: a lease of 5 seconds, statements of at most 30.
 *
 * @since 0.1.0
 * @category services
 */
export const MemberOptions = Context.Reference<Options>("holdfast/member/MemberOptions", {
  defaultValue: () => ({ lease: "5 seconds", statementTimeout: "30 seconds", name: "holdfast" })
})

/**
 * The tables that members need, for `DatastoreAdmin.upgrade`.
 *
 * @since 0.1.0
 * @category migrations
 */
export const migrations: Source = librarySource("member", sql)

/**
 * This process as a member of a database. What it offers is for the library's own rooms; applications see `id` and `trouble`.
 *
 * @since 0.1.0
 * @category services
 */
export class Member extends Context.Service<Member, {
  /** This member's id. It changes when the member was declared dead and has come back. */
  readonly id: () => number
  /** Why nothing gets through at the moment, where that is so. */
  readonly trouble: () => string | undefined
  /**
   * What a room commits, reads and hints by. Rooms tell their hints apart by their names.
   *
   * @internal
   */
  readonly "~enter": (room: string) => Engine
}>()("holdfast/member/Member") {}

/**
 * What a room of the library commits, reads and hints by.
 *
 * @since 0.1.0
 * @category models
 */
export interface Engine {
  /** The id under which this room goes about its work: it changes with `rejoin` alone. */
  readonly id: () => number
  /** The lane of that id. */
  readonly lane: () => Lane
  /** A lane of the room's own, on a connection of its own: its groups do not wait for those of another room. */
  readonly openLane: (name: string) => Effect.Effect<() => Lane, SqlError, Scope.Scope>
  /** Reads, and writes that may be repeated: sent again for as long as the connection is the trouble. */
  readonly query: (statement: string, params: ReadonlyArray<unknown>) => Effect.Effect<
    ReadonlyArray<ReadonlyArray<unknown>>,
    SqlError
  >
  /** The same for what nobody waits for: on a connection of its own, which is there for as long as that takes. */
  readonly background: (statement: string, params: ReadonlyArray<unknown>) => Effect.Effect<
    ReadonlyArray<ReadonlyArray<unknown>>,
    SqlError
  >
  /** Whether that id was declared dead. */
  readonly isLost: () => boolean
  /** Why it was, as far as can be known here, in words. */
  readonly whyLost: () => string
  /** Goes on under the next id after that one was lost. The first room that does so joins anew, the others follow. */
  readonly rejoin: (lost: number) => Effect.Effect<void>
  /** What the member itself may count on. */
  readonly lease: Lease
  readonly hint: (hint: Hint) => void
  /** Adds somebody who hears this room's hints. After a time of possible deafness, everybody hears `"missed"`. */
  readonly onHint: (heard: (hint: string) => void) => Effect.Effect<void, never, Scope.Scope>
}

const join = (connection: EngineConnection, name: string, leaseMillis: number) =>
  Effect.map(
    connection.use((session) =>
      session.queryValues("SELECT member::float8, lane::float8 FROM holdfast.join_member($1, $2::float8)", [
        name,
        leaseMillis
      ])
    ),
    ([row]) => ({ member: Number(row?.[0]), lane: Number(row?.[1]) })
  )

const rejoinAs = (connection: EngineConnection, lost: number, name: string, leaseMillis: number) =>
  Effect.andThen(
    connection.use((session) => session.queryValues("SELECT holdfast.bury_members(ARRAY[$1::bigint])", [lost])),
    join(connection, name, leaseMillis)
  )

/** A lane more for a member that is alive: its row is locked against being declared dead meanwhile. */
const addLane = `
INSERT INTO holdfast.lane (member)
SELECT m.id FROM (SELECT id FROM holdfast.member WHERE id = $1 AND NOT dead FOR SHARE) m
RETURNING id::float8`

/** The member under one id: its lane, and those that rooms have opened, by their connections. */
interface Standing {
  readonly id: number
  readonly lane: Lane
  readonly opened: Map<EngineConnection, Lane>
  /** Why the id was lost, once it is known that it was. */
  whyLost?: string
}

/** Forgets members that died long ago, with their lanes. */
const tidy = `
WITH gone AS (
  SELECT id FROM holdfast.member WHERE dead AND lease_until < clock_timestamp() - interval '7 days'
  ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
), lanes AS (
  DELETE FROM holdfast.lane WHERE member IN (SELECT id FROM gone)
)
DELETE FROM holdfast.member WHERE id IN (SELECT id FROM gone)`

const makeMember = Effect.fnUntraced(function*(client: PgClient.PgClient) {
  const options = yield* MemberOptions
  const clock = yield* Clock.Clock
  const leaseMillis = millisOf("lease", options.lease, { atLeast: 100 })
  const statementMillis = millisOf("statementTimeout", options.statementTimeout, { atLeast: 100 })
  const session = (name: string, { durable, lockMillis = 10_000, pipelined = false }: {
    readonly durable: boolean
    readonly pipelined?: boolean
    readonly lockMillis?: number
  }) =>
    makeConnection(client.config, {
      name,
      durable,
      pipelined,
      statementMillis,
      lockMillis: Math.min(statementMillis, lockMillis)
    })

  const committer = yield* session("commit", { durable: true })
  const reader = yield* session("read", { durable: true, pipelined: true })
  // What it may have to wait for, in order to bury others, must not keep it from renewing its own lease.
  const heart = yield* session("heartbeat", { durable: false, lockMillis: Math.ceil(leaseMillis / 3) })
  const ear = yield* session("listen", { durable: false })

  const now = () => clock.currentTimeMillisUnsafe()
  const joinedAt = MemberLease.now(clock)
  const first = yield* join(committer, options.name, leaseMillis)
  const lease = new MemberLease(clock, leaseMillis, joinedAt)
  let current: Standing = { id: first.member, lane: makeLane(committer, first.lane, now), opened: new Map() }
  let lost = false

  // ------------------------------------------------------------------------------------------------ hints

  const outgoing = yield* Queue.unbounded<Hint>()
  const rooms = new Map<string, Set<(hint: string) => void>>()
  const missed = () => {
    for (const ears of rooms.values()) for (const ear of ears) ear("missed")
  }
  const heard = (payload: string) => {
    const [room, hint] = addressed(payload)
    if (room === undefined) return missed()
    for (const ear of rooms.get(room) ?? []) ear(hint)
  }
  yield* Effect.forkScoped(sendAll(heart, outgoing))
  yield* Effect.forkScoped(Effect.forever(
    Effect.suspend(() => {
      const id = current.id
      // Whatever was said while nobody listened is made up for by looking at everything once.
      return Effect.raceFirst(
        listen(ear, id, heard, missed),
        Effect.sleep("100 millis").pipe(Effect.repeat({ while: () => current.id === id }))
      )
    }).pipe(Effect.ignore, Effect.andThen(Effect.sleep("50 millis")))
  ))

  // ------------------------------------------------------------------------------------------------ life

  const heartbeat = new Heartbeat(clock, lease, leaseMillis)

  const declareLost = Effect.suspend(() => {
    if (lost) return Effect.void
    lost = true
    current.whyLost ??= heartbeat.whyLost()
    lease.lapse()
    missed()
    return Metric.update(lostMembers, 1)
  })

  const beat = Effect.gen(function*() {
    if (lost) return
    // To renew the lease is to say that things go on. A group that is stuck for a whole lease says the opposite.
    const since = Math.min(...[current.lane, ...current.opened.values()].map(({ busySince }) => busySince() ?? now()))
    if (heartbeat.isStuck(now() - since)) return
    const id = current.id
    let sent = MemberLease.now(clock)
    const alive = yield* heart.use((session) => {
      sent = MemberLease.now(clock)
      return session.queryValues(
        `UPDATE holdfast.member SET lease_until = clock_timestamp() + $2::float8 * interval '1 millisecond'
         WHERE id = $1 AND NOT dead RETURNING true`,
        [id, leaseMillis]
      )
    })
    if (id === current.id) {
      if (alive.length === 0) return yield* declareLost
      heartbeat.renewed(sent)
    }
    if (!heartbeat.mayBury()) return
    const [buried] = yield* heart.use((session) =>
      session.queryValues("SELECT buried IS NOT NULL FROM holdfast.bury_overdue_members($1, $2::float8)", [
        id,
        leaseMillis
      ])
    )
    if (buried?.[0] === true) {
      missed()
      Queue.offerUnsafe(outgoing, { to: "everyone", payload: "missed" })
    }
  })
  yield* Effect.forkScoped(
    Effect.exit(beat).pipe(
      Effect.flatMap((exit) =>
        Effect.flatMap(
          Random.nextBetween(0.9, 1.1),
          (jitter) => Effect.sleep(Duration.millis(heartbeat.pause(exit) * jitter))
        )
      ),
      Effect.forever
    )
  )

  yield* Effect.forkScoped(lease.watch)

  yield* untilAnswered(heart.use((session) => session.queryValues(tidy, []))).pipe(
    Effect.ignore,
    Effect.repeat(Schedule.spaced("1 hour").pipe(Schedule.jittered)),
    Effect.delay("1 minute"),
    Effect.forkScoped
  )

  yield* Effect.forkScoped(watch(heart))

  yield* Effect.addFinalizer(() =>
    // Leaving is being buried by one's own hand: others go on at once.
    heart.use((session) => session.queryValues("SELECT holdfast.bury_members(ARRAY[$1::bigint])", [current.id])).pipe(
      Effect.andThen(
        heart.use((session) => session.queryValues("SELECT pg_notify('holdfast_everyone', 'missed')", []))
      ),
      Effect.interruptible,
      Effect.timeoutOption(Duration.millis(leaseMillis)),
      Effect.ignore
    )
  )

  const one = Semaphore.makeUnsafe(1)

  /** Nothing where the member has been declared dead meanwhile. */
  const newLane = (connection: EngineConnection, member: number): Effect.Effect<Lane | undefined, SqlError> =>
    Effect.map(
      untilAnswered(connection.use((session) => session.queryValues(addLane, [BigInt(member)]))),
      ([row]) => row === undefined ? undefined : makeLane(connection, Number(row[0]), now)
    )

  const comeBack = (lostId: number): Effect.Effect<void, SqlError> =>
    Effect.gen(function*() {
      // Nothing counts on the id any more, and by then it is buried for certain: nothing of it can be committed.
      current.whyLost ??= heartbeat.whyLost()
      lease.lapse()
      let sent = MemberLease.now(clock)
      const next = yield* untilAnswered(Effect.suspend(() => {
        sent = MemberLease.now(clock)
        return rejoinAs(committer, lostId, options.name, leaseMillis)
      }))
      const opened = new Map<EngineConnection, Lane>()
      for (const connection of current.opened.keys()) {
        const lane = yield* newLane(connection, next.member)
        if (lane === undefined) return yield* comeBack(next.member)
        opened.set(connection, lane)
      }
      current = { id: next.member, lane: makeLane(committer, next.lane, now), opened }
      lost = false
      heartbeat.renewed(sent)
    })

  const rejoin = (lostId: number): Effect.Effect<void> =>
    one.withPermit(Effect.suspend(() => current.id === lostId ? Effect.orDie(comeBack(lostId)) : Effect.void))

  const openLane = Effect.fnUntraced(function*(name: string) {
    const connection = yield* session(name, { durable: true })
    yield* one.withPermit(Effect.gen(function*() {
      let lane = yield* newLane(connection, current.id)
      while (lane === undefined) {
        yield* comeBack(current.id)
        lane = yield* newLane(connection, current.id)
      }
      current.opened.set(connection, lane)
    }))
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        current.opened.delete(connection)
      })
    )
    return connection
  })

  const query = (connection: EngineConnection): Engine["query"] => (statement, params) =>
    untilAnswered(connection.use((session) => session.queryValues(statement, params)))

  const enter = (room: string): Engine => {
    const ears = rooms.get(room) ?? new Set()
    rooms.set(room, ears)
    /** Who the member is for this room: it stays so until the room knows better. */
    let own = current
    return {
      id: () => own.id,
      lane: () => own.lane,
      // A room that does not know yet that its id is lost has the closed lane of that id.
      openLane: (name) => Effect.map(openLane(name), (connection) => () => own.opened.get(connection) ?? own.lane),
      query: query(reader),
      background: (statement, params) =>
        Effect.scoped(
          Effect.flatMap(session("background", { durable: false }), (own) => query(own)(statement, params))
        ),
      isLost: () => own !== current || lost,
      whyLost: () => own.whyLost ?? heartbeat.whyLost(),
      rejoin: (lostId) =>
        Effect.suspend(() => own.id !== lostId ? Effect.void : rejoin(lostId)).pipe(
          Effect.andThen(Effect.sync(() => {
            own = current
          }))
        ),
      lease: {
        isHeld: () => own === current && lease.isHeld(),
        held: lease.held,
        onLapse: lease.onLapse
      },
      hint: ({ payload, to }) => {
        Queue.offerUnsafe(outgoing, { to, payload: addressedTo(room, payload) })
      },
      onHint: (heard) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            ears.add(heard)
          }),
          () =>
            Effect.sync(() => {
              ears.delete(heard)
            })
        )
    }
  }

  return Member.of({
    id: () => current.id,
    trouble: () => committer.trouble() ?? reader.trouble(),
    "~enter": enter
  })
})

/**
 * This process as a member of the database that the client is connected to. Built once for each client.
 *
 * Fails with `ConnectionFailed` when the database cannot be reached or refuses the login, and with `SchemaNotInstalled` when the
 * tables are missing and this role may not create them.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerPostgres: Layer.Layer<Member, SchemaNotInstalled | ConnectionFailed, PgClient.PgClient> = perClient((
  client
) =>
  Layer.effect(
    Member,
    Effect.andThen(
      ensureInstalled(migrations),
      Effect.mapError(makeMember(client), (error) => fromSqlError(error, targetOf(client.config)))
    )
  ).pipe(Layer.provide(Layer.succeed(PgClient.PgClient, client)))
)
