/**
 * The statements of the registry on Postgres: what is committed in groups, and what is read.
 */
import type { GroupStatement, Row } from "../../../member/internal/lane.ts"
import { int8s, texts } from "../../../member/internal/parameters.ts"

/** A profile of a registry. */
export interface Name {
  readonly registry: string
  readonly key: string
}

/** What goes through the lane. */
export type Part =
  | Name & { readonly _tag: "Ask"; readonly address: string | undefined }
  | Name & { readonly _tag: "GiveBack"; readonly token: bigint }

/** What became of it. */
export type Verdict =
  | { readonly _tag: "Granted"; readonly token: bigint }
  | { readonly _tag: "Held"; readonly member: number; readonly token: bigint; readonly address: string | undefined }
  /** Given back, or not held any more. */
  | { readonly _tag: "Free" }
  /** Somebody has the row locked at the moment. */
  | { readonly _tag: "Busy" }
  /** It ran, and its answer was lost. */
  | { readonly _tag: "Unknown" }
  | { readonly _tag: "Failed"; readonly problem: string }

const items = (value: unknown): ReadonlyArray<unknown> => Array.isArray(value) ? value : []
const optional = (value: unknown): string | undefined =>
  value === null || value === undefined ? undefined : String(value)

/** What is given back comes first, so the two kinds are numbered apart. */
export const commit: GroupStatement<Part, Verdict> = {
  prepare: (parts, lane, seq) => {
    const back = parts.filter((part) => part._tag === "GiveBack")
    const asked = parts.filter((part) => part._tag === "Ask")
    return {
      sql: `
SELECT refused, back_busy, became, holder::float8[], token, address
FROM holdfast.commit_registrations($1, $2, $3, $4, $5, $6, $7, $8)`,
      params: [
        BigInt(lane),
        BigInt(seq),
        texts(back.map((part) => part.registry)),
        texts(back.map((part) => part.key)),
        int8s(back.map((part) => part.token)),
        texts(asked.map((part) => part.registry)),
        texts(asked.map((part) => part.key)),
        texts(asked.map((part) => part.address ?? null))
      ]
    }
  },
  verdicts: (parts, row) => {
    if (row[0] === null || row[0] === undefined) return undefined
    const backBusy = new Set(items(row[1]).map(Number))
    const [became, holders, tokens, addresses] = [items(row[2]), items(row[3]), items(row[4]), items(row[5])]
    let back = 0
    let asked = 0
    return parts.map((part): Verdict => {
      if (part._tag === "GiveBack") return backBusy.has(++back) ? { _tag: "Busy" } : { _tag: "Free" }
      const n = asked++
      const token = BigInt(String(tokens[n] ?? 0))
      if (became[n] === "granted") return { _tag: "Granted", token }
      if (became[n] !== "held") return { _tag: "Busy" }
      return { _tag: "Held", member: Number(holders[n]), token, address: optional(addresses[n]) }
    })
  },
  verdictsFromLane: (parts) => parts.map(() => ({ _tag: "Unknown" })),
  failed: (_, problem) => ({ _tag: "Failed", problem })
}

/** A row as it was at the time of a read. */
export interface RegistrationRow extends Name {
  /** The member that holds it; `undefined`: nobody. */
  readonly member: number | undefined
  readonly token: bigint
  readonly address: string | undefined
  readonly alive: boolean
}

/**
 * What has changed in some registries since an earlier snapshot, or, from the start, all that is held; and from where to read
 * on the next time. There is always a row, if only to say that.
 */
export const changes = {
  sql: `
SELECT s.xmin, r.registry, r.profile, r.member::float8, r.token, r.address,
  EXISTS (SELECT FROM holdfast.member m WHERE m.id = r.member AND NOT m.dead)
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin) s
LEFT JOIN LATERAL (
  SELECT g.* FROM unnest($1::text[]) AS x(registry)
  JOIN holdfast.registration g ON g.registry = x.registry AND g.changed >= $2::text::xid8
  WHERE $2::text <> '0' OR g.member IS NOT NULL
) r ON true`,
  params: (registries: ReadonlyArray<string>, since: string) => [texts(registries), since],
  rows: (rows: ReadonlyArray<Row>) => ({
    since: String(rows[0]?.[0] ?? "0"),
    rows: rows.flatMap(([, registry, key, member, token, address, alive]): ReadonlyArray<RegistrationRow> =>
      registry === null ? [] : [{
        registry: String(registry),
        key: String(key),
        member: member === null ? undefined : Number(member),
        token: BigInt(String(token)),
        address: optional(address),
        alive: alive === true
      }]
    )
  })
}

/** Which of these members are dead. */
export const dead = {
  sql: `
SELECT x.id::float8 FROM unnest($1::bigint[]) AS x(id)
WHERE NOT EXISTS (SELECT FROM holdfast.member m WHERE m.id = x.id AND NOT m.dead)`,
  params: (members: ReadonlyArray<number>) => [int8s(members)],
  rows: (rows: ReadonlyArray<Row>) => rows.map(([id]) => Number(id))
}

/** For how long it is told that a profile was given back. Whoever heard nothing for half of that starts over. */
export const retentionMillis = 60 * 60 * 1000

/**
 * Gives back what dead members hold, and forgets what was given back long ago. A part at a time: tells how much that was. Hops
 * from member to member in the index, so that what it costs depends on the number of those.
 */
export const tidy = {
  sql: `
WITH RECURSIVE holder AS (
  (SELECT member FROM holdfast.registration WHERE member IS NOT NULL ORDER BY member LIMIT 1)
  UNION ALL
  SELECT (SELECT r.member FROM holdfast.registration r WHERE r.member > h.member ORDER BY r.member LIMIT 1)
  FROM holder h WHERE h.member IS NOT NULL
), theirs AS (
  SELECT r.registry, r.profile, r.token
  FROM holder h JOIN holdfast.registration r ON r.member = h.member
  WHERE NOT EXISTS (SELECT FROM holdfast.member m WHERE m.id = h.member AND NOT m.dead)
  LIMIT 1000 FOR NO KEY UPDATE OF r SKIP LOCKED
), given_back AS (
  UPDATE holdfast.registration r
  SET member = NULL, address = NULL, changed = pg_current_xact_id(), changed_at = clock_timestamp()
  FROM theirs t WHERE r.registry = t.registry AND r.profile = t.profile AND r.token = t.token
  RETURNING 1
), old AS (
  SELECT registry, profile FROM holdfast.registration
  WHERE member IS NULL AND changed_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
  ORDER BY changed_at LIMIT 1000 FOR UPDATE SKIP LOCKED
), forgotten AS (
  DELETE FROM holdfast.registration r USING old o WHERE r.registry = o.registry AND r.profile = o.profile
  RETURNING 1
)
SELECT (SELECT count(*) FROM given_back)::float8 + (SELECT count(*) FROM forgotten)::float8`,
  params: [retentionMillis]
}
