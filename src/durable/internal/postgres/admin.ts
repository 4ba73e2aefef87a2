/**
 * Looking after durable servers on Postgres: statements on a plain client, beside all members, from any process and under any
 * role that may use the library's tables.
 *
 * Whatever is read of several tables is read in one snapshot, which is closed at once: one held open would make every hot row
 * slow. What is written is one statement each, and is decided by the row of the message that was set aside.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { isConnectionLost, withTransaction } from "../../../datastore/internal/lostConnection.ts"
import { errorText, sqlState } from "../../../datastore/internal/sqlState.ts"
import { addressedTo, channelOf } from "../../../member/internal/notifications.ts"
import {
  type AdminStorage,
  type KindSummary,
  type MemberSummary,
  type ParkedFilter,
  type ParkedMessage,
  type RetryVerdict,
  type ServerFilter,
  type ServerSummary,
  StorageFailed,
  type WaitingMessage
} from "../../AdminStorage.ts"
import type { Address, StoredMessage } from "../../DurableStorage.ts"
import { storedText } from "../state/stored.ts"
import { linesGrew, room } from "./hints.ts"
import { fragments } from "./statements.ts"

// ------------------------------------------------------------------------------------------------ rows

interface ServerRow extends Address {
  readonly id: number
  readonly holder: number | null
  readonly version: number
  readonly queue: number
  readonly lock: string | null
  readonly parked: number
}

interface MessageRow {
  readonly mode: string
  readonly rpc: string
  readonly payload: string
  readonly primary_key: string | null
  readonly priority: boolean
  readonly member: number
  readonly call: number
}

interface ParkedRow extends MessageRow, Address {
  readonly id: number
  readonly attempts: number
  readonly failure: string
  readonly at: number
}

const lockOf = (lock: string | null): StoredMessage | undefined =>
  lock === null ? undefined : JSON.parse(lock) as StoredMessage

const toServer = ({ holder, id, key, kind, lock, parked, queue, version }: ServerRow): ServerSummary => ({
  id,
  kind,
  key,
  holder: holder ?? undefined,
  version,
  queue,
  lockedBy: lockOf(lock)?.rpc,
  parked
})

const toMessage = (row: MessageRow): StoredMessage => ({
  mode: row.mode === "call" ? "call" : "cast",
  rpc: row.rpc,
  payload: row.payload,
  primaryKey: row.primary_key ?? undefined,
  priority: row.priority,
  node: row.member,
  call: row.call
})

const toParked = (row: ParkedRow): ParkedMessage => ({
  id: row.id,
  kind: row.kind,
  key: row.key,
  message: toMessage(row),
  attempts: row.attempts,
  failure: row.failure,
  parkedAt: DateTime.makeUnsafe(row.at)
})

const millisOf = (column: string): string => `(extract(epoch FROM ${column}) * 1000)::float8`

const messageColumns = (of: string): string =>
  `${of}.mode, ${of}.rpc, ${of}.payload, ${of}.key AS primary_key, ${of}.priority, ${of}.member::float8, ${of}.call::float8`

/** What is said of a server `s`, and which living member holds it. */
const serverColumns = `s.id::float8, s.kind, s.key, s.version::float8, s.lock,
  (SELECT h.id::float8 FROM holdfast.member h WHERE h.id = s.holder AND NOT h.dead) AS holder,
  (SELECT count(*)::float8 FROM holdfast.message m WHERE m.server_id = s.id) AS queue,
  (SELECT count(*)::float8 FROM holdfast.parked p WHERE p.server_id = s.id) AS parked`

const parkedColumns = `p.id::float8, s.kind, s.key, ${messageColumns("p")}, p.attempts, p.failure,
  ${millisOf("p.parked_at")} AS at`

// ------------------------------------------------------------------------------------------------ statements

type Sql = SqlClient.SqlClient

/** The state, in JSON, however it is stored. */
const readState = (sql: Sql, id: number): Effect.Effect<string | undefined, SqlError> =>
  Effect.map(
    sql<{ readonly head: string | null; readonly numbers: unknown; readonly texts: unknown }>`
      SELECT s.state AS head, f.numbers::float8[] AS numbers, f.texts
      FROM holdfast.server s CROSS JOIN LATERAL holdfast.fragments_of(s.id) f WHERE s.id = ${id}::float8::bigint`,
    ([row]) =>
      row === undefined || row.head === null ? undefined : storedText(row.head, fragments(row.numbers, row.texts))
  )

/** Along the index of names, from where the last page ended. */
const serversByName = (
  sql: Sql,
  kind: string | undefined,
  after: readonly [kind: string, key: string] | undefined,
  limit: number
): Effect.Effect<ReadonlyArray<ServerRow>, SqlError> =>
  sql<ServerRow>`
    SELECT ${sql.literal(serverColumns)} FROM holdfast.server s
    WHERE ${kind === undefined ? sql.literal("true") : sql`s.kind = ${kind}::text`}
      AND ${after === undefined ? sql.literal("true") : sql`(s.kind, s.key) > (${after[0]}::text, ${after[1]}::text)`}
    ORDER BY s.kind, s.key LIMIT ${limit}::int`

/** Hops from server to server in an index: what it costs depends on the servers found, not on the rows of each. */
const hop = (table: string): string => `
  WITH RECURSIVE hop AS (
    (SELECT server_id FROM ${table} WHERE server_id > (SELECT id FROM start) ORDER BY server_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.server_id FROM ${table} t WHERE t.server_id > h.server_id ORDER BY t.server_id LIMIT 1)
    FROM hop h WHERE h.server_id IS NOT NULL
  )
  SELECT server_id AS id FROM hop WHERE server_id IS NOT NULL LIMIT (SELECT most FROM start)`

/** Where servers of which something is true are found, in the order of their ids. */
const sources: { readonly [what in NonNullable<ServerFilter["only"]>[number]]: string } = {
  waiting: hop("holdfast.message"),
  parked: hop("holdfast.parked"),
  locked: `SELECT id FROM holdfast.server WHERE lock IS NOT NULL AND id > (SELECT id FROM start)
  ORDER BY id LIMIT (SELECT most FROM start)`
}

/** The first candidates behind an id, with what is said of those that are of that kind; the others are only counted. */
const serversWith = (
  sql: Sql,
  only: NonNullable<ServerFilter["only"]>,
  kind: string | undefined,
  after: number,
  limit: number
) =>
  sql<ServerRow & { readonly candidate: number }>`
    WITH start AS MATERIALIZED (SELECT ${after}::float8::bigint AS id, ${limit}::int AS most), candidate AS MATERIALIZED (
      ${sql.literal(Array.from(new Set(only), (what) => `SELECT id FROM (${sources[what]}) x`).join("\nUNION\n"))}
      ORDER BY id LIMIT (SELECT most FROM start)
    )
    SELECT c.id::float8 AS candidate, ${sql.literal(serverColumns)}
    FROM candidate c LEFT JOIN holdfast.server s ON s.id = c.id
      AND ${kind === undefined ? sql.literal("true") : sql`s.kind = ${kind}::text`}
    ORDER BY c.id`

const serverNamed = (sql: Sql, { key, kind }: Address) =>
  sql<ServerRow>`
    SELECT ${sql.literal(serverColumns)} FROM holdfast.server s WHERE s.kind = ${kind}::text AND s.key = ${key}::text`

const headOfLine = (sql: Sql, id: number, limit: number) =>
  sql<MessageRow & { readonly position: number; readonly at: number }>`
    SELECT m.seq::float8 AS position, ${sql.literal(messageColumns("m"))}, ${sql.literal(millisOf("m.sent_at"))} AS at
    FROM holdfast.message m WHERE m.server_id = ${id}::float8::bigint ORDER BY m.seq LIMIT ${limit}::int`

/** Up to the last one there is when the listing begins: what is retried meanwhile and fails again is not met again. */
const parkedBehind = (
  sql: Sql,
  { key, kind }: ParkedFilter,
  { after, until }: { readonly after: number; readonly until: number | undefined },
  limit: number
) =>
  sql<ParkedRow & { readonly until: number }>`
    WITH last AS MATERIALIZED (
      SELECT ${until === undefined ? sql.literal("max(id)") : sql`${until}::float8::bigint`} AS id
      FROM ${sql.literal(until === undefined ? "holdfast.parked" : "(SELECT) x")}
    )
    SELECT ${sql.literal(parkedColumns)}, (SELECT id::float8 FROM last) AS until
    FROM holdfast.parked p JOIN holdfast.server s ON s.id = p.server_id
    WHERE p.id > ${after}::float8::bigint AND p.id <= (SELECT id FROM last)
      AND ${kind === undefined ? sql.literal("true") : sql`s.kind = ${kind}::text`}
      AND ${key === undefined ? sql.literal("true") : sql`s.key = ${key}::text`}
    ORDER BY p.id LIMIT ${limit}::int`

const parkedNumbered = (sql: Sql, id: number) =>
  sql<ParkedRow>`
    SELECT ${sql.literal(parkedColumns)} FROM holdfast.parked p JOIN holdfast.server s ON s.id = p.server_id
    WHERE p.id = ${id}::float8::bigint`

const retryParked = (sql: Sql, id: number, payload: string | undefined) =>
  sql<{
    readonly is_there: boolean
    readonly known_key: string | null
    readonly known_answered: boolean | null
    readonly server: number
    readonly holder: number | null
    readonly position: number
    readonly priority: boolean
  }>`
    SELECT is_there, known_key, known_answered, server::float8, holder::float8, "position"::float8, priority
    FROM holdfast.retry_parked(${id}::float8::bigint, ${payload ?? null}::text)`

const dropParked = (sql: Sql, id: number) =>
  sql`DELETE FROM holdfast.parked WHERE id = ${id}::float8::bigint RETURNING id`

const countKinds = (sql: Sql) =>
  sql<KindSummary>`
    WITH line AS (SELECT server_id, count(*) AS n FROM holdfast.message GROUP BY server_id),
      aside AS (SELECT server_id, count(*) AS n FROM holdfast.parked GROUP BY server_id)
    SELECT s.kind, count(*)::float8 AS servers, count(h.id)::float8 AS held, count(l.n)::float8 AS waiting,
      coalesce(sum(l.n), 0)::float8 AS queue, count(s.lock)::float8 AS locked, coalesce(sum(a.n), 0)::float8 AS parked,
      sum(s.version)::float8 AS versions
    FROM holdfast.server s
    LEFT JOIN holdfast.member h ON h.id = s.holder AND NOT h.dead
    LEFT JOIN line l ON l.server_id = s.id
    LEFT JOIN aside a ON a.server_id = s.id
    GROUP BY s.kind ORDER BY s.kind`

const livingMembers = (sql: Sql) =>
  sql<{
    readonly id: number
    readonly name: string
    readonly at: number
    readonly lease: number
    readonly servers: number
    readonly groups: number
  }>`
    SELECT m.id::float8, m.name, ${sql.literal(millisOf("m.joined_at"))} AS at,
      ${sql.literal(millisOf("m.lease_until - clock_timestamp()"))} AS lease, coalesce(h.n, 0)::float8 AS servers,
      (SELECT coalesce(sum(l.seq), 0)::float8 FROM holdfast.lane l WHERE l.member = m.id) AS groups
    FROM holdfast.member m
    LEFT JOIN (SELECT holder, count(*) AS n FROM holdfast.server WHERE holder IS NOT NULL GROUP BY holder) h ON h.holder = m.id
    WHERE NOT m.dead ORDER BY m.id`

// ------------------------------------------------------------------------------------------------ the storage

/** What the server gave up on its own, for the sake of somebody else: nothing of it was done. */
const wasRolledBack = (error: SqlError): boolean => ["40001", "40P01"].includes(sqlState(error) ?? "")

const failedAs = (operation: string) => (error: SqlError): StorageFailed => {
  const code = sqlState(error)
  return new StorageFailed({
    operation,
    problem: errorText(error),
    isRetryable: isConnectionLost(error) || error.isRetryable,
    ...(code === undefined ? {} : { sqlState: code })
  })
}

/** The storage behind a client. */
export const make = (client: PgClient.PgClient): AdminStorage => {
  const sql = client.withoutTransforms()
  const asking = <A>(operation: string, effect: Effect.Effect<A, SqlError>): Effect.Effect<A, StorageFailed> =>
    Effect.mapError(effect, failedAs(operation))
  const inOneSnapshot = <A>(operation: string, effect: Effect.Effect<A, SqlError>) =>
    asking(
      operation,
      Effect.provideService(
        withTransaction(sql)(effect),
        SqlClient.BeginTransaction,
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
      )
    )
  const changing = <A>(operation: string, effect: Effect.Effect<A, SqlError>) =>
    asking(operation, Effect.retry(effect, { times: 5, while: wasRolledBack }))

  /** A hint that cannot be sent is a hint that was lost: the poll finds what it was about. */
  const wake = (server: number, holder: number | undefined, priority: boolean) =>
    Effect.forEach(
      linesGrew(holder, [server], priority),
      ({ payload, to }) => Effect.ignore(sql`SELECT pg_notify(${channelOf(to)}, ${addressedTo(room, payload)})`),
      { discard: true }
    )

  return {
    servers: ({ kind, only = [] }, after, limit) => {
      if (only.length === 0) {
        const name = after === undefined ? undefined : JSON.parse(after) as readonly [string, string]
        return Effect.map(asking("listing servers", serversByName(sql, kind, name, limit)), (rows) => {
          const last = rows.length < limit ? undefined : rows.at(-1)
          return {
            items: rows.map(toServer),
            next: last === undefined ? undefined : JSON.stringify([last.kind, last.key])
          }
        })
      }
      const page = serversWith(sql, only, kind, after === undefined ? 0 : Number(after), limit)
      return Effect.map(asking("listing servers", page), (rows) => ({
        items: rows.filter((row) => row.id !== null).map(toServer),
        next: rows.length < limit ? undefined : String(rows.at(-1)?.candidate)
      }))
    },
    server: (server, messages) =>
      inOneSnapshot(
        "looking at a server",
        Effect.gen(function*() {
          const [row] = yield* serverNamed(sql, server)
          if (row === undefined) return undefined
          const head = yield* headOfLine(sql, row.id, messages)
          const parked = yield* parkedBehind(sql, server, { after: 0, until: undefined }, messages)
          return {
            ...toServer(row),
            state: yield* readState(sql, row.id),
            lock: lockOf(row.lock),
            head: head.map((message): WaitingMessage => ({
              ...toMessage(message),
              position: message.position,
              sentAt: DateTime.makeUnsafe(message.at)
            })),
            parkedHead: parked.map(toParked)
          }
        })
      ),
    parked: (filter, from, limit) => {
      const [after = 0, until] = from === undefined ? [] : JSON.parse(from) as readonly [number, number]
      return Effect.map(
        asking("listing parked messages", parkedBehind(sql, filter, { after, until }, limit)),
        (rows) => {
          const last = rows.length < limit ? undefined : rows.at(-1)
          return {
            items: rows.map(toParked),
            next: last === undefined ? undefined : JSON.stringify([last.id, last.until])
          }
        }
      )
    },
    parkedMessage: (id) =>
      Effect.map(
        asking("looking at a parked message", parkedNumbered(sql, id)),
        ([row]) => row === undefined ? undefined : toParked(row)
      ),
    retry: (id, payload) =>
      Effect.flatMap(
        changing("retrying a parked message", retryParked(sql, id, payload)),
        ([row]): Effect.Effect<RetryVerdict> => {
          if (row?.is_there !== true) return Effect.succeed({ _tag: "NotFound" })
          if (row.known_key !== null) {
            return Effect.succeed({
              _tag: "KeyKnown",
              primaryKey: row.known_key,
              answered: row.known_answered === true
            })
          }
          return Effect.as(wake(row.server, row.holder ?? undefined, row.priority), {
            _tag: "InLine",
            position: row.position
          })
        }
      ),
    drop: (id) => Effect.map(changing("dropping a parked message", dropParked(sql, id)), (rows) => rows.length > 0),
    overview: inOneSnapshot(
      "counting servers",
      Effect.gen(function*() {
        const [now] = yield* sql<{ readonly at: number }>`
          SELECT ${sql.literal(millisOf("clock_timestamp()"))} AS at`
        const kinds = yield* countKinds(sql)
        const members = yield* livingMembers(sql)
        return {
          at: DateTime.makeUnsafe(now?.at ?? 0),
          kinds,
          members: members.map(({ at, groups, id, lease, name, servers }): MemberSummary => ({
            id,
            name,
            joinedAt: DateTime.makeUnsafe(at),
            leaseMillis: lease,
            servers,
            groups
          }))
        }
      })
    )
  }
}
