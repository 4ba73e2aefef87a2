/**
 * The statements by which a node finds, takes and gives back servers, and reads lines and replies. All of them may be sent
 * twice without harm.
 */
import { int8s, texts } from "../../../member/internal/parameters.ts"
import type {
  Address,
  Claimed,
  Fragment,
  LineRead,
  QueuedMessage,
  Reply,
  StoredMessage,
  TooNew,
  Wanted
} from "../../DurableStorage.ts"
import type { GrownLine } from "./commit.ts"

type Rows = ReadonlyArray<ReadonlyArray<unknown>>

const optional = (value: unknown): string | undefined => typeof value === "string" ? value : undefined

export const fragments = (numbers: unknown, texts: unknown): ReadonlyArray<Fragment> =>
  Array.isArray(numbers) && Array.isArray(texts)
    ? numbers.map((number, index) => ({ number: Number(number), text: String(texts[index]) }))
    : []

/** Finds servers by name, with the living member that holds each. */
export const find = {
  sql: `
SELECT x.m::integer, s.id::float8, h.id::float8
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS x(kind, key, m)
JOIN holdfast.server s ON s.kind = x.kind AND s.key = x.key
LEFT JOIN holdfast.member h ON h.id = s.holder AND NOT h.dead`,
  params: (servers: ReadonlyArray<Address>) => [
    texts(servers.map((server) => server.kind)),
    texts(servers.map((server) => server.key))
  ],
  rows: (rows: Rows) =>
    rows.map(([m, id, holder]) => ({
      index: Number(m) - 1,
      id: Number(id),
      holder: holder === null ? undefined : Number(holder)
    }))
}

/** Makes servers that are not there yet, in the order of their names, so that two makers never wait for each other. */
export const make = {
  sql: `
INSERT INTO holdfast.server (kind, key)
SELECT x.kind, x.key FROM unnest($1::text[], $2::text[]) AS x(kind, key) ORDER BY x.kind, x.key
ON CONFLICT DO NOTHING`,
  params: find.params
}

/**
 * Takes servers that no living member holds. The version goes up: whatever the last holder still has under way is refused. One
 * whose state is of a newer version than the claimer knows is left as it is, and comes back without anything but that.
 */
export const claim = {
  sql: `
WITH wanted AS MATERIALIZED (
  SELECT w.id, w.known FROM unnest($2::bigint[], $3::bigint[]) AS w(id, known) ORDER BY w.id
), got AS (
  UPDATE holdfast.server s SET holder = $1, version = s.version + 1
  FROM wanted w
  WHERE s.id = w.id AND s.state_version <= w.known
    AND (s.holder IS NULL OR s.holder = $1
      OR NOT EXISTS (SELECT FROM holdfast.member h WHERE h.id = s.holder AND NOT h.dead))
    AND EXISTS (SELECT FROM holdfast.member me WHERE me.id = $1 AND NOT me.dead)
  RETURNING s.id, s.version, s.taken, s.state, s.lock, s.state_version
)
SELECT g.id::float8, g.version::float8, g.taken::float8, g.state, g.lock,
  coalesce((SELECT b.pushed FROM holdfast.inbox b WHERE b.id = g.id), 0)::float8, g.state_version, f.numbers::float8[], f.texts
FROM got g CROSS JOIN LATERAL holdfast.fragments_of(g.id) f
UNION ALL
SELECT s.id::float8, NULL, NULL, NULL, NULL, NULL, s.state_version, NULL, NULL
FROM wanted w JOIN holdfast.server s ON s.id = w.id
WHERE s.state_version > w.known AND NOT EXISTS (SELECT FROM holdfast.member h WHERE h.id = s.holder AND NOT h.dead)`,
  params: (member: number, wanted: ReadonlyArray<{ readonly id: number; readonly stateVersion: number }>) => [
    BigInt(member),
    int8s(wanted.map(({ id }) => id)),
    int8s(wanted.map(({ stateVersion }) => stateVersion))
  ],
  rows: (rows: Rows) =>
    rows.map(([id, version, taken, state, lock, pushed, stateVersion, numbers, texts]): Claimed | TooNew =>
      version === null
        ? { _tag: "TooNew", id: Number(id), stateVersion: Number(stateVersion) }
        : {
          _tag: "Claimed",
          id: Number(id),
          version: Number(version),
          taken: Number(taken),
          pushed: Number(pushed),
          state: optional(state),
          fragments: fragments(numbers, texts),
          stateVersion: Number(stateVersion),
          lock: typeof lock === "string" ? JSON.parse(lock) as StoredMessage : undefined
        }
    )
}

/** The version that a claim asks for: none is newer than what a column of its type can hold. */
export const knownVersion = ({ stateVersion }: Wanted): number => stateVersion ?? 2 ** 31 - 1

/** Gives servers back, where they are still ours. */
export const release = {
  sql: `
WITH given AS MATERIALIZED (
  SELECT * FROM unnest($2::bigint[], $3::bigint[]) AS x(id, version) ORDER BY x.id
), freed AS (
  UPDATE holdfast.server s SET holder = NULL
  FROM given g WHERE s.id = g.id AND (g.version IS NULL OR s.version = g.version) AND s.holder = $1
  RETURNING s.id, s.taken, s.lock
)
SELECT coalesce(bool_or(f.lock IS NOT NULL OR b.pushed > f.taken), false)
FROM freed f LEFT JOIN holdfast.inbox b ON b.id = f.id`,
  params: (member: number, servers: ReadonlyArray<{ readonly id: number; readonly version: number | undefined }>) => [
    BigInt(member),
    int8s(servers.map((server) => server.id)),
    int8s(servers.map((server) => server.version))
  ]
}

/** Reads on in lines. A message whose key is answered already comes with the answer. */
export const read = {
  sql: `
SELECT x.m::integer, q.head, q.seq::float8, q.mode, q.rpc, q.payload, q.key, q.priority, q.member::float8, q.call::float8,
  o.reply
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS x(id, after, most, m)
CROSS JOIN LATERAL (
  (SELECT true AS head, q.* FROM holdfast.message q
   WHERE q.server_id = x.id AND q.seq > x.after ORDER BY q.seq LIMIT x.most)
  UNION ALL
  (SELECT false AS head, q.* FROM holdfast.message q
   WHERE q.server_id = x.id AND q.seq > x.after AND q.priority ORDER BY q.seq LIMIT 1000)
) q
LEFT JOIN holdfast.outcome o ON q.key IS NOT NULL AND o.server_id = x.id AND o.key = q.key
ORDER BY x.m, q.head, q.seq`,
  params: (lines: ReadonlyArray<{ readonly id: number; readonly after: number; readonly limit: number }>) => [
    int8s(lines.map((line) => line.id)),
    int8s(lines.map((line) => line.after)),
    int8s(lines.map((line) => line.limit))
  ],
  rows: (rows: Rows, lines: number): ReadonlyArray<LineRead> => {
    const read = Array.from({ length: lines }, () => ({
      head: Array<QueuedMessage>(),
      priority: Array<QueuedMessage>()
    }))
    for (const [m, head, position, mode, rpc, payload, key, priority, node, call, recorded] of rows) {
      read[Number(m) - 1]?.[head === true ? "head" : "priority"].push({
        position: Number(position),
        mode: mode === "call" ? "call" : "cast",
        rpc: String(rpc),
        payload: String(payload),
        primaryKey: optional(key),
        priority: priority === true,
        node: Number(node),
        call: Number(call),
        recorded: optional(recorded)
      })
    }
    return read
  }
}

/**
 * Servers that have a line or a lock and are ours or nobody's, in the order of their ids. Hops from line to line in the index, and
 * stops where there are enough: what it costs depends neither on the number of messages nor on that of the servers behind.
 * The planner is left no choice (each server is looked up by the line it hops to): on a table that nobody has analysed yet it makes a
 * wrong one, and compares every line with every server.
 */
export const unattended = {
  sql: `
WITH RECURSIVE line AS (
  (SELECT server_id FROM holdfast.message WHERE server_id > $3 ORDER BY server_id LIMIT 1)
  UNION ALL
  SELECT (SELECT m.server_id FROM holdfast.message m WHERE m.server_id > l.server_id ORDER BY m.server_id LIMIT 1)
  FROM line l WHERE l.server_id IS NOT NULL
), waiting AS MATERIALIZED (
  SELECT w.* FROM line l CROSS JOIN LATERAL (
    SELECT s.id, s.kind, s.key FROM holdfast.server s
    WHERE s.id = l.server_id AND s.kind = ANY ($2::text[])
      AND (s.holder IS NULL OR s.holder = $1
        OR NOT EXISTS (SELECT FROM holdfast.member h WHERE h.id = s.holder AND NOT h.dead))
    OFFSET 0
  ) w
  LIMIT 1000
), locked AS MATERIALIZED (
  SELECT s.id, s.kind, s.key FROM holdfast.server s
  WHERE s.lock IS NOT NULL AND s.id > $3 AND s.kind = ANY ($2::text[])
    AND (s.holder IS NULL OR s.holder = $1
      OR NOT EXISTS (SELECT FROM holdfast.member h WHERE h.id = s.holder AND NOT h.dead))
  ORDER BY s.id LIMIT 1000
)
SELECT id::float8, kind, key FROM (SELECT * FROM waiting UNION SELECT * FROM locked) x ORDER BY id LIMIT 1000`,
  params: (
    member: number,
    kinds: ReadonlyArray<string>,
    after: number
  ) => [BigInt(member), texts(kinds), BigInt(after)],
  rows: (rows: Rows) => rows.map(([id, kind, key]) => ({ id: Number(id), kind: String(kind), key: String(key) }))
}

/** Puts messages for later that are due in line, in their order, this many at most. */
export const deliverDue = {
  sql: "SELECT moved, next_in, line_id::float8[], line_holder::float8[] FROM holdfast.deliver_due($1)",
  params: (most: number) => [most],
  rows: ([row]: Rows) => {
    const ids = (row?.[2] ?? []) as ReadonlyArray<number>
    const holders = (row?.[3] ?? []) as ReadonlyArray<number | null>
    return {
      /** `undefined`: somebody else is at it. */
      moved: typeof row?.[0] === "number" ? row[0] : undefined,
      nextIn: typeof row?.[1] === "number" ? row[1] : undefined,
      grown: ids.map((id, index): GrownLine => ({ id, holder: holders[index] ?? undefined, priority: false }))
    }
  }
}

/** Starts behind what is over with, of which the index may still be full. */
export const replies = {
  sql: `
SELECT r.member::float8, r.call::float8, r.value
FROM unnest($1::bigint[]) AS m(id) CROSS JOIN LATERAL (
  SELECT * FROM holdfast.reply r WHERE r.member = m.id AND r.call >= $2 ORDER BY r.call LIMIT 10000
) r`,
  params: (members: ReadonlyArray<number>, from: number) => [int8s(members), BigInt(from)],
  rows: (rows: Rows) =>
    rows.map(([node, call, value]): Reply => ({ node: Number(node), call: Number(call), value: String(value) }))
}

export const forget = {
  sql: `
DELETE FROM holdfast.reply r USING unnest($1::bigint[], $2::bigint[]) AS x(member, call)
WHERE r.member = x.member AND r.call = x.call`,
  params: (replies: ReadonlyArray<Reply>) => [
    int8s(replies.map((reply) => reply.node)),
    int8s(replies.map((reply) => reply.call))
  ]
}

/** Drops answers that were kept long enough, and replies that nobody came for. A part at a time. */
export const tidy = {
  sql: `
WITH answers AS (
  DELETE FROM holdfast.outcome WHERE (server_id, key) IN (
    SELECT server_id, key FROM holdfast.outcome
    WHERE answered_at < clock_timestamp() - $1::float8 * interval '1 millisecond' LIMIT 5000
  ) RETURNING 1
), strays AS (
  DELETE FROM holdfast.reply WHERE (member, call) IN (
    SELECT member, call FROM holdfast.reply WHERE written_at < clock_timestamp() - interval '1 day' LIMIT 5000
  ) RETURNING 1
)
SELECT (SELECT count(*) FROM answers)::float8 + (SELECT count(*) FROM strays)::float8`,
  params: (retentionMillis: number) => [retentionMillis]
}
