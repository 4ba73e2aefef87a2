/**
 * Durable servers in Postgres: states, lines and answers in the schema `holdfast`, committed in groups by this process's
 * lane, with hints between processes through LISTEN and NOTIFY.
 *
 * A group of steps is one statement, one round trip and one wait for the disk, however many servers it is about.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import type { ConnectionFailed } from "../datastore/ConnectionFailed.ts"
import { isConnectionLost } from "../datastore/internal/lostConnection.ts"
import { perClient } from "../datastore/internal/perClient.ts"
import { ensureInstalled, librarySource } from "../datastore/internal/schemaInstall.ts"
import type { SchemaNotInstalled, Source } from "../datastore/Migrations.ts"
import { Gathering } from "../member/internal/gathering.ts"
import { int8s } from "../member/internal/parameters.ts"
import * as Member from "../member/Member.ts"
import { CurrentTransition } from "./CurrentTransition.ts"
import {
  type Address,
  type Claim,
  DurableStorage,
  type Hint,
  type JoinOptions,
  type Located,
  NodeLost,
  type NodeStorage,
  type Verdict
} from "./DurableStorage.ts"
import { PostgresJournal } from "./internal/journals.ts"
import {
  apart,
  checksSql,
  checkVerdicts,
  groupStatement,
  type GrownLine,
  type Part
} from "./internal/postgres/commit.ts"
import { linesGrew, replies, room, toHint, unattended, wasKilled } from "./internal/postgres/hints.ts"
import { killStatement } from "./internal/postgres/kill.ts"
import { Patience } from "./internal/postgres/patience.ts"
import * as statements from "./internal/postgres/statements.ts"
import { open, PostgresTransaction } from "./internal/postgres/transaction.ts"
import { sql } from "./internal/sql.gen.ts"

/**
 * The tables that durable servers need, for `DatastoreAdmin.upgrade`. They stand on those of `Member.migrations`.
 *
 * @since 0.1.0
 * @category migrations
 */
export const migrations: Source = librarySource("durable", sql)

/** How many messages for later are put in line by one statement. */
const duePerStatement = 1000

/** After how many milliseconds to look again for what somebody else was just putting in line. */
const othersTurn = 20

const join = Effect.fnUntraced(function*(
  client: PgClient.PgClient,
  member: Member.Member["Service"],
  options: JoinOptions
): Effect.fn.Return<NodeStorage, never, Scope.Scope> {
  const engine = member["~enter"](room)
  const hints = new Gathering<Hint>()
  /** The numbers this member has had: replies to any of them are for us. */
  const ids = new Set([engine.id()])
  yield* engine.onHint((payload) => hints.add(toHint(payload)))

  const lost = (node = engine.id()) => new NodeLost({ node, why: engine.whyLost() })
  /** The storage answers, or it is not there: what it says of our own statements is a mistake of ours. */
  const alive = <A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, NodeLost> =>
    Effect.suspend(() => engine.isLost() ? Effect.fail(lost()) : Effect.orDie(effect))

  const grown = (grownLines: ReadonlyArray<GrownLine>): void => {
    for (const group of Map.groupBy(grownLines, ({ holder, priority }) => `${holder} ${priority}`).values()) {
      const [{ holder, priority } = { holder: undefined, priority: false }] = group
      const ids = group.map(({ id }) => id)
      if (holder === engine.id()) hints.add({ _tag: "Lines", ids, priority })
      else {
        if (holder === undefined) hints.add({ _tag: "Unattended" })
        for (const hint of linesGrew(holder, ids, priority)) engine.hint(hint)
      }
    }
  }
  const changes = { grown, scheduled: (millis: number) => hints.add({ _tag: "Scheduled", millis }) }
  const clock = yield* Clock.Clock
  const patience = new Patience(
    (waitMillis) => groupStatement(changes, waitMillis),
    () => clock.currentTimeMillisUnsafe()
  )

  const find = (servers: ReadonlyArray<Address>): Effect.Effect<ReadonlyArray<Located | undefined>, SqlError> =>
    Effect.map(engine.query(statements.find.sql, statements.find.params(servers)), (rows) => {
      const found: Array<Located | undefined> = servers.map(() => undefined)
      for (const { holder, id, index } of statements.find.rows(rows)) found[index] = { id, holder }
      return found
    })

  /** A server that somebody wants is there: it is only a name. */
  const locate = Effect.fnUntraced(function*(servers: ReadonlyArray<Address>) {
    const found = yield* find(servers)
    const missing = servers.filter((_, index) => found[index] === undefined)
    if (missing.length === 0) return found
    yield* engine.query(statements.make.sql, statements.make.params(missing))
    return yield* find(servers)
  })

  yield* engine.background(statements.tidy.sql, statements.tidy.params(Duration.toMillis(options.outcomeRetention)))
    .pipe(
      Effect.repeat({ while: ([row]) => Number(row?.[0]) > 0 }),
      Effect.ignore,
      Effect.repeat(Schedule.spaced("10 minutes").pipe(Schedule.jittered)),
      Effect.delay("1 minute"),
      Effect.forkScoped
    )

  return {
    node: engine.id,
    trouble: member.trouble,
    locate: (servers) =>
      alive(Effect.map(locate(servers), (found) => found.map((one) => one ?? { id: 0, holder: undefined }))),
    claim: (servers) =>
      alive(Effect.gen(function*() {
        const found = yield* locate(servers)
        const wanted = found.flatMap((one, index) => {
          const server = servers[index]
          return one === undefined || server === undefined
            ? []
            : [{ id: one.id, stateVersion: statements.knownVersion(server) }]
        })
        const rows = yield* engine.query(statements.claim.sql, statements.claim.params(engine.id(), wanted))
        const claimed = new Map(statements.claim.rows(rows).map((claim) => [claim.id, claim]))
        return found.map((one): Claim =>
          claimed.get(one?.id ?? 0) ?? { _tag: "HeldElsewhere", id: one?.id ?? 0, holder: one?.holder }
        )
      })),
    release: (servers) =>
      alive(Effect.map(
        engine.query(statements.release.sql, statements.release.params(engine.id(), servers)),
        ([row]) => {
          if (row?.[0] === true) engine.hint({ to: "everyone", payload: unattended })
        }
      )),
    appendsTo: (journal) => journal instanceof PostgresJournal && journal.client === client,
    commit: (group) =>
      Effect.suspend(() => {
        if (engine.isLost()) return Effect.fail(lost())
        const node = engine.id()
        // One lane for all of it: once that is closed nothing of the group is committed any more, by whichever way.
        const lane = engine.lane()
        const { checkAt, checks, partAt, parts, waitingAt, within, withinAt } = apart(group)
        const tellReplies = (part: Part, verdict: Verdict | undefined): void => {
          if (verdict?._tag === "Done") {
            for (const { node } of part.replies) engine.hint({ to: node, payload: replies })
          }
        }
        const written: Effect.Effect<ReadonlyArray<Verdict>, NodeLost> = parts.length === 0
          ? Effect.succeed([])
          : Effect.suspend(() => {
            const { decided, statement } = patience.begin(parts)
            return lane.commit(statement, parts).pipe(
              Effect.mapError(() => lost(node)),
              Effect.tap((verdicts) =>
                Effect.sync(() => {
                  decided(verdicts)
                  parts.forEach((part, index) => tellReplies(part, verdicts[index]))
                })
              )
            )
          })
        const writtenWithin = Effect.forEach(within, (part) => {
          const { transaction } = part
          if (!(transaction instanceof PostgresTransaction) || transaction.client !== client) {
            return Effect.succeed<Verdict>({ _tag: "Failed", failure: "the transaction is not one of this storage" })
          }
          const { decided, statement } = patience.begin([part])
          return lane.commitWithin(statement, part, transaction.send).pipe(
            // Whatever it came to nothing for, the handler is to begin anew. That is so where the node was lost, too: others of the
            // group are committed, perhaps, and what became of them is not to be forgotten over this one.
            Effect.catch(() => Effect.succeed(undefined)),
            Effect.map((verdict): Verdict => verdict ?? { _tag: "Superseded" }),
            Effect.tap((verdict) =>
              Effect.sync(() => {
                decided([verdict])
                tellReplies(part, verdict)
              })
            )
          )
        })
        const checked: Effect.Effect<ReadonlyArray<Verdict>, NodeLost> = checks.length === 0
          ? Effect.succeed([])
          : Effect.map(
            alive(engine.query(checksSql, [int8s(checks.map((check) => check.id))])),
            ([row]) => checkVerdicts(checks, row)
          )
        if (parts.length === group.length && partAt.every((place, index) => place === index)) return written
        if (checks.length === group.length) return checked
        // None ends the others early, nor decides about them: what is written stays under way until it is known what became of it,
        // and then that is told, also where the node was lost before the checks were answered. They are made anew.
        const checkedOrNot = Effect.catchCause(checked, () => Effect.succeed<ReadonlyArray<Verdict>>([]))
        const all = Effect.all([written, writtenWithin, checkedOrNot].map(Effect.exit), { concurrency: "unbounded" })
        return Effect.map(Effect.flatMap(all, Effect.all), (verdicts) => {
          const inOrder: Array<Verdict> = []
          const places = [partAt, withinAt, checkAt]
          places.forEach((at, kind) =>
            at.forEach((place, index) => inOrder[place] = verdicts[kind]?.[index] ?? { _tag: "Superseded" })
          )
          for (const place of waitingAt) inOrder[place] = { _tag: "Busy", elsewhere: false }
          return inOrder
        })
      }),
    kill: (server, answer) =>
      Effect.flatMap(alive(find([server])), ([found]) => {
        if (found === undefined) return Effect.succeed(undefined)
        const node = engine.id()
        return engine.lane().commit(killStatement, [{ id: found.id, answer }]).pipe(
          Effect.mapError(() => lost(node)),
          Effect.map(([verdict]) => {
            for (const to of verdict?.told ?? []) engine.hint({ to, payload: replies })
            const killed = { id: found.id, version: verdict?.version ?? 0 }
            const holder = verdict?.holder
            if (holder !== undefined && holder !== node) engine.hint(wasKilled(holder, killed, answer))
            return killed
          })
        )
      }),
    read: (wanted) =>
      alive(Effect.map(
        engine.query(statements.read.sql, statements.read.params(wanted)),
        (rows) => statements.read.rows(rows, wanted.length)
      )),
    unattended: (kinds, after) =>
      alive(Effect.map(
        engine.query(statements.unattended.sql, statements.unattended.params(engine.id(), kinds, after)),
        statements.unattended.rows
      )),
    replies: (from) =>
      alive(
        Effect.suspend(() =>
          Effect.map(
            engine.query(statements.replies.sql, statements.replies.params([...ids.add(engine.id())], from)),
            statements.replies.rows
          )
        )
      ),
    forget: (replies) => alive(Effect.asVoid(engine.query(statements.forget.sql, statements.forget.params(replies)))),
    deliverDue: alive(Effect.map(
      engine.query(statements.deliverDue.sql, statements.deliverDue.params(duePerStatement)),
      (rows) => {
        const due = statements.deliverDue.rows(rows)
        grown(due.grown)
        if (due.nextIn === undefined || due.nextIn > 0) return due.nextIn
        // What is due and was left alone is somebody else's for now.
        return due.moved !== undefined && due.moved > 0 ? 0 : othersTurn
      }
    )),
    mayLoseHints: true,
    hints: hints.take(Number.MAX_SAFE_INTEGER),
    rejoin: Effect.suspend(() =>
      Effect.map(engine.rejoin(engine.id()), () => {
        ids.add(engine.id())
      })
    )
  }
})

/**
 * That this storage is the one: what `transaction` needs.
 *
 * @since 0.1.0
 * @category services
 */
export class PostgresStorage extends Context.Service<PostgresStorage, {
  /** @internal */
  readonly "~client": PgClient.PgClient
}>()("holdfast/durable/PostgresStorage") {}

/** Waits between attempts to open a transaction on a database that is away. */
const reopening = Schedule.min([
  Schedule.exponential("20 millis", 2).pipe(Schedule.jittered),
  Schedule.spaced("1 second")
])

const isAway = (error: unknown): boolean => isSqlError(error) && isConnectionLost(error)

/**
 * Runs SQL inside a handler, in the very transaction that commits the handler's step: the state, everything that the handler
 * sends, and the effect of the SQL are there together, or none of it is.
 *
 * **Details**
 *
 * The effect runs over the client of the storage that the server lives in. A second `transaction` in the same handler goes on in
 * the first one's. What fails in the effect is undone alone, and a handler that does not come to an outcome leaves nothing.
 * An `SqlError` that the effect does not catch is a failed attempt at the message; where the database is away, the handler waits
 * for it. A transaction that is refused in the end, since another process has taken the server over or a constraint that is
 * checked at the end fails, is rolled back, and the message is handled again.
 *
 * The message is committed alone, not in a group with others, and takes three trips to the database more: use it where the SQL
 * has to be exact, not for speed. Rows that it locks stay locked until the handler has ended: come to it last. Events that are
 * appended inside the effect are given their numbers at once, and keep their stream for as long.
 *
 * **Example** (A table beside the state)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { SqlClient } from "effect/sql"
 * import { DurableServer, PostgresStorage } from "holdfast/durable"
 *
 * class Account extends DurableServer.make("Account", {
 *   state: Schema.Struct({ balance: Schema.Int }),
 *   protocol: [Rpc.make("Deposit", { payload: { amount: Schema.Int } })]
 * }) {}
 *
 * export const AccountLive = Account.toLayer({
 *   init: () => ({ balance: 0 }),
 *   handlers: {
 *     Deposit: Effect.fnUntraced(function*({ key, noReply, payload, state }) {
 *       yield* PostgresStorage.transaction(Effect.gen(function*() {
 *         const sql = yield* SqlClient.SqlClient
 *         yield* sql`INSERT INTO entry (account, amount) VALUES (${key}, ${payload.amount})`
 *       }))
 *       return noReply({ balance: state.balance + payload.amount })
 *     })
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category transactions
 */
export const transaction = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<
  A,
  Exclude<E, SqlError>,
  Exclude<R, PgClient.PgClient | SqlClient.SqlClient> | CurrentTransition | PostgresStorage
> =>
  Effect.gen(function*() {
    const client = (yield* PostgresStorage)["~client"]
    const transition = yield* CurrentTransition
    const inside = effect.pipe(
      Effect.provideService(PgClient.PgClient, client),
      Effect.provideService(SqlClient.SqlClient, client)
    )
    const own = transition.transaction()
    if (own instanceof PostgresTransaction) return yield* own.run(inside)
    const first = Effect.gen(function*() {
      const opened = yield* open(client)
      if (!transition.within(opened)) {
        yield* opened.close
        return yield* Effect.die(new Error("a transaction belongs to a handler, and this one runs no more"))
      }
      return yield* Effect.tapError(opened.run(inside), (error) => {
        if (!isAway(error)) return Effect.void
        transition.within(undefined)
        return opened.close
      })
    })
    return yield* Effect.retry(first, { schedule: reopening, while: isAway })
  }).pipe(Effect.catchIf(isSqlError, Effect.die)) as never

/**
 * The storage on this process's membership in a database.
 *
 * Fails with `SchemaNotInstalled` when the tables are missing and the client's role may not create them: install them with
 * `DatastoreAdmin.upgrade([Member.migrations, PostgresStorage.migrations])`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  DurableStorage | PostgresStorage,
  SchemaNotInstalled | ConnectionFailed,
  PgClient.PgClient
> = perClient((client) =>
  Layer.effect(
    DurableStorage,
    Effect.gen(function*() {
      const member = yield* Member.Member
      yield* ensureInstalled(migrations)
      /** One membership is one node: two of them would take each other's replies. */
      let nodes = 0
      let inUse = false
      return DurableStorage.of({
        join: (options) =>
          Effect.acquireRelease(
            Effect.suspend(() => {
              if (inUse) {
                return Effect.die(new Error("a PostgresStorage has one node: build another one for another node"))
              }
              inUse = true
              // A node that comes after another one has numbers of its own.
              return nodes++ === 0 ? Effect.void : member["~enter"](room).rejoin(member.id())
            }),
            () =>
              Effect.sync(() => {
                inUse = false
              })
          ).pipe(Effect.andThen(join(client, member, options)))
      })
    })
  ).pipe(
    Layer.merge(Layer.succeed(PostgresStorage, { "~client": client })),
    Layer.provide(Member.layerPostgres),
    Layer.provide(Layer.succeed(PgClient.PgClient, client))
  )
)
