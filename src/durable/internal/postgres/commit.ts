/**
 * Committing a group on Postgres, by one of the functions in `0002_commit.sql` and `0007_commit_lines.sql`: there are short ones for
 * groups in which servers only change their state, for a single such server, and for those in which messages are only put in line
 * or lines are only worked off. Where nothing changes, a SELECT will do.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import type { GroupStatement, Row } from "../../../member/internal/lane.ts"
import { bools, float8s, int4s, int8s, texts } from "../../../member/internal/parameters.ts"
import type { Check, Due, Enqueue, Member, ScheduledId, Transition, Verdict } from "../../DurableStorage.ts"
import { orderOf } from "../journals.ts"
import { appendParams, unappended } from "./appends.ts"

/** A member that goes through the lane. */
export type Part = Transition | Enqueue

/** The line of a server that got longer, and the living member that should look at it. */
export interface GrownLine {
  readonly id: number
  /** Whether something with priority was put there. */
  readonly priority: boolean
  readonly holder: number | undefined
}

/** What a group changed that others should look at. */
export interface Changes {
  readonly grown: (lines: ReadonlyArray<GrownLine>) => void
  /** Something was scheduled that is due in so many milliseconds. */
  readonly scheduled: (millis: number) => void
}

export const numbers = (value: unknown): ReadonlyArray<number> =>
  Array.isArray(value) ? value.map((item) => item === null ? 0 : Number(item)) : []

// ------------------------------------------------------------------------------------------------ states only

const stepsSql = "SELECT refused, pushed::float8[] FROM holdfast.commit_steps($1, $2, $3, $4, $5, $6, NULL)"

/** The same for servers whose states lie in fragments. */
const stepsInFragmentsSql =
  "SELECT refused, pushed::float8[] FROM holdfast.commit_steps_in_fragments($1, $2, $3, $4, $5, $6, $7, $8, $9)"

/** The same for a single server. */
const stepSql = "SELECT refused, ARRAY[pushed::float8] FROM holdfast.commit_step($1, $2, $3, $4, $5, $6)"

/** A turn that takes nothing, and tells nobody elsewhere. */
const isPlainStep = (turn: Transition): boolean => turn.taken === turn.takenBefore && turn.replies.length === 0

// ------------------------------------------------------------------------------------------------ lines only

const messagesSql = `
SELECT refused, NULL, NULL, NULL, NULL, line_id::float8[], line_pushed::float8[], line_holder::float8[]
FROM holdfast.commit_messages($1, $2, $3, $4, $5, $6, $7, $8, $9)`

const isPlainEnqueue = (part: Part): part is Enqueue =>
  part._tag === "Enqueue" && part.later === undefined && part.replies.length === 0 &&
  part.outgoing.length > 0 && part.outgoing.every(({ message }) => message.primaryKey === undefined)

const turnsSql =
  "SELECT refused, pushed::float8[] FROM holdfast.commit_turns($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"

/** What the short forms of turns write. */
type Plain = "_tag" | "id" | "version" | "guard" | "takenBefore" | "taken" | "state" | "fragments" | "replies"

/** Whether a turn does without the rest. A field that a turn gets one day belongs either here or above: the compiler asks. */
const without: { readonly [Field in Exclude<keyof Transition, Plain>]-?: (turn: Transition) => boolean } = {
  consumed: ({ consumed }) => consumed.length === 0,
  stateVersion: ({ stateVersion }) => stateVersion === undefined,
  lock: ({ lock }) => lock === undefined,
  outcomes: ({ outcomes }) => outcomes.length === 0,
  outgoing: ({ outgoing }) => outgoing.length === 0,
  parked: ({ parked }) => parked.length === 0,
  transaction: ({ transaction }) => transaction === undefined,
  later: ({ later }) => later === undefined,
  appends: ({ appends }) => appends === undefined
}
const withoutAll = Object.values(without)

/** A step that takes from the head of the line, and replies. */
const isPlainTurn = (part: Part): part is Transition =>
  part._tag === "Transition" && withoutAll.every((isWithout) => isWithout(part))

// ------------------------------------------------------------------------------------------------ everything

const groupSql = `
SELECT refused, pushed::float8[], known_m, known_key, known_reply, line_id::float8[], line_pushed::float8[],
  line_holder::float8[], missed, due_in, unappended
FROM holdfast.commit_group($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
  $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45,
  $46, $47, $48, $49, $50, $51, $52, $53, $54, $55, $56, $57, $58, $59, $60, $61, $62)`

/** The messages of all parts, without their keys. */
const messageParams = (parts: ReadonlyArray<Part>): ReadonlyArray<unknown> => {
  const outgoing = parts.flatMap((part) => part.outgoing)
  return [
    int8s(outgoing.map(({ id }) => id)),
    texts(outgoing.map(({ message }) => message.mode)),
    texts(outgoing.map(({ message }) => message.rpc)),
    texts(outgoing.map(({ message }) => message.payload)),
    bools(outgoing.map(({ message }) => message.priority)),
    int8s(outgoing.map(({ message }) => message.node)),
    int8s(outgoing.map(({ message }) => message.call))
  ]
}

/** The messages of all parts, each with the number of its part. */
const outgoingParams = (parts: ReadonlyArray<Part>): ReadonlyArray<unknown> => [
  int4s(parts.flatMap((part, index) => part.outgoing.map(() => index + 1))),
  ...messageParams(parts),
  texts(parts.flatMap((part) => part.outgoing.map(({ message }) => message.primaryKey ?? null)))
]

/** The replies of all parts, each with the number of its part. */
const replyParams = (parts: ReadonlyArray<Part>): ReadonlyArray<unknown> => {
  const replies = parts.flatMap((part, index) => part.replies.map((item) => [index + 1, item] as const))
  return [
    int4s(replies.map(([m]) => m)),
    int8s(replies.map(([, { node }]) => node)),
    int8s(replies.map(([, { call }]) => call)),
    texts(replies.map(([, { value }]) => value))
  ]
}

/** The year 0. Whatever is due before it is due as much as what is due then, and Postgres knows no times before 4714 BC. */
const earliest = -62_167_219_200_000

const atOf = (due: Due): number | null => due._tag === "At" ? Math.max(earliest, due.millis) : null
const afterOf = (due: Due): number | null => due._tag === "After" ? due.millis : null

/** The messages for later that the parts cancel, each with the number of its part. */
const cancelledBy = (parts: ReadonlyArray<Part>): ReadonlyArray<readonly [number, ScheduledId]> =>
  parts.flatMap((part, index) => part.later?.cancelled.map((id) => [index + 1, id] as const) ?? [])

const laterParams = (parts: ReadonlyArray<Part>): ReadonlyArray<unknown> => {
  const scheduled = parts.flatMap((part, index) =>
    part.later?.scheduled.map((item) => [index + 1, item] as const) ?? []
  )
  const cancelled = cancelledBy(parts)
  return [
    int4s(scheduled.map(([m]) => m)),
    int8s(scheduled.map(([, { id }]) => id)),
    texts(scheduled.map(([, { message }]) => message.rpc)),
    texts(scheduled.map(([, { message }]) => message.payload)),
    texts(scheduled.map(([, { message }]) => message.primaryKey ?? null)),
    int8s(scheduled.map(([, { message }]) => message.node)),
    int8s(scheduled.map(([, { message }]) => message.call)),
    float8s(scheduled.map(([, { due }]) => atOf(due))),
    float8s(scheduled.map(([, { due }]) => afterOf(due))),
    int4s(cancelled.map(([m]) => m)),
    int8s(cancelled.map(([, { server }]) => server)),
    int8s(cancelled.map(([, { node }]) => node)),
    int8s(cancelled.map(([, { call }]) => call))
  ]
}

/** The fragments of all parts, each with the number of its part; `undefined` where there are none. */
const fragmentParams = (parts: ReadonlyArray<Part>): ReadonlyArray<unknown> | undefined => {
  const fragments = parts.flatMap((part, index) =>
    part._tag === "Transition" ? part.fragments.map((fragment) => ({ m: index + 1, ...fragment })) : []
  )
  return fragments.length === 0 ? undefined : [
    int4s(fragments.map(({ m }) => m)),
    int8s(fragments.map(({ number }) => number)),
    texts(fragments.map(({ text }) => text ?? null))
  ]
}
const noFragments = [int4s([]), int8s([]), texts([])]

const groupParams = (parts: ReadonlyArray<Part>, waitMillis: number): ReadonlyArray<unknown> => {
  const steps = parts.map((part) => part._tag === "Transition" ? part : undefined)
  /** What all parts have of something, each with the number of its part. */
  const each = <A>(of: (part: Transition) => ReadonlyArray<A>): ReadonlyArray<readonly [number, A]> =>
    steps.flatMap((step, index) => step === undefined ? [] : of(step).map((item) => [index + 1, item] as const))
  const consumed = each((step) => step.consumed)
  const outcomes = each((step) => step.outcomes)
  const parked = each((step) => step.parked)
  return [
    int8s(steps.map((step) => step?.id)),
    int8s(steps.map((step) => step?.version)),
    int8s(steps.map((step) => step?.guard)),
    int8s(steps.map((step) => step?.taken)),
    texts(steps.map((step) => step?.state ?? null)),
    texts(steps.map((step) => step?.lock === undefined ? null : step.lock === "none" ? "" : JSON.stringify(step.lock))),
    int4s(steps.map((step) => step?.stateVersion ?? null)),
    ...(fragmentParams(parts) ?? noFragments),
    int4s(consumed.map(([m]) => m)),
    int8s(consumed.map(([, position]) => position)),
    int4s(outcomes.map(([m]) => m)),
    texts(outcomes.map(([, { primaryKey }]) => primaryKey)),
    texts(outcomes.map(([, { reply }]) => reply ?? null)),
    bools(outcomes.map(([, { late }]) => late)),
    ...replyParams(parts),
    ...outgoingParams(parts),
    int4s(parked.map(([m]) => m)),
    texts(parked.map(([, { message }]) => message.mode)),
    texts(parked.map(([, { message }]) => message.rpc)),
    texts(parked.map(([, { message }]) => message.payload)),
    texts(parked.map(([, { message }]) => message.primaryKey ?? null)),
    bools(parked.map(([, { message }]) => message.priority)),
    int8s(parked.map(([, { message }]) => message.node)),
    int8s(parked.map(([, { message }]) => message.call)),
    int4s(parked.map(([, { attempts }]) => attempts)),
    texts(parked.map(([, { failure }]) => failure.replaceAll("\0", ""))),
    ...laterParams(parts),
    ...appendParams(parts, waitMillis)
  ]
}

/** Why a refused part was refused, from what is known of its server's line. */
const refusal = (part: Part, pushed: number): Verdict =>
  part._tag === "Transition" && part.guard !== undefined && part.guard !== pushed
    ? { _tag: "LineMoved", pushed }
    : { _tag: "Superseded" }

/** What the parts of a group became, from the row of either statement. */
const groupVerdicts = (
  parts: ReadonlyArray<Part>,
  row: Row,
  changes: Changes
): ReadonlyArray<Verdict> | undefined => {
  if (row[0] === null || row[0] === undefined) return undefined
  const refused = numbers(row[0])
  const pushed = numbers(row[1])
  const known = new Map<number, Map<string, string>>()
  const knownKeys = (row[3] ?? []) as ReadonlyArray<string>
  const knownReplies = (row[4] ?? []) as ReadonlyArray<string>
  numbers(row[2]).forEach((m, index) => {
    const replies = known.get(m) ?? new Map<string, string>()
    replies.set(knownKeys[index] ?? "", knownReplies[index] ?? "")
    known.set(m, replies)
  })
  const ids = numbers(row[5])
  const ends = numbers(row[6])
  const holders = numbers(row[7])
  const endOf = new Map(ids.map((id, index) => [id, ends[index] ?? 0]))
  if (ids.length > 0) {
    const urgent = new Set(
      parts.flatMap(({ outgoing }) => outgoing.filter(({ message }) => message.priority).map(({ id }) => id))
    )
    changes.grown(ids.map((id, index) => ({ id, holder: holders[index] || undefined, priority: urgent.has(id) })))
  }
  if (typeof row[9] === "number") changes.scheduled(row[9])
  const missed = missedOf(parts, numbers(row[8]))
  const notAppended = unappended(parts, row[10])
  return parts.map((part, index): Verdict => {
    const end = part._tag === "Enqueue" ? endOf.get(part.outgoing[0]?.id ?? 0) : pushed[index]
    if (!refused.includes(index + 1)) return { _tag: "Done", pushed: end }
    const replies = known.get(index + 1)
    if (replies !== undefined) return { _tag: "Known", replies }
    const cancelled = missed.get(index + 1)
    if (cancelled !== undefined) return { _tag: "Missed", cancelled }
    return notAppended.get(index + 1) ?? refusal(part, end ?? 0)
  })
}

/** What each part would have cancelled in vain, from the places of all that in the whole group. */
const missedOf = (
  parts: ReadonlyArray<Part>,
  places: ReadonlyArray<number>
): ReadonlyMap<number, ReadonlyArray<ScheduledId>> => {
  const missed = new Map<number, Array<ScheduledId>>()
  if (places.length === 0) return missed
  const all = cancelledBy(parts)
  for (const place of places) {
    const entry = all[place - 1]
    if (entry === undefined) continue
    const [m, id] = entry
    const ofPart = missed.get(m)
    if (ofPart === undefined) missed.set(m, [id])
    else ofPart.push(id)
  }
  return missed
}

/** When only the lane can tell. A part that only cancels has one thing that can refuse it. */
const verdictFromLane = (part: Part, isRefused: boolean): Verdict =>
  !isRefused
    ? { _tag: "Done", pushed: undefined }
    : part._tag === "Enqueue" && part.later !== undefined
    ? { _tag: "Missed", cancelled: part.later.cancelled }
    : { _tag: "Superseded" }

interface Statement {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
}

/** For turns alone. `undefined`: there is no short form for them. */
const turnsStatement = (turns: ReadonlyArray<Transition>): Statement | undefined => {
  const fragments = fragmentParams(turns)
  const areSteps = turns.every(isPlainStep)
  const [only] = turns
  if (areSteps && turns.length === 1 && only !== undefined && fragments === undefined) {
    return {
      sql: stepSql,
      params: [
        PgTypes.int8(BigInt(only.id)),
        PgTypes.int8(BigInt(only.version)),
        PgTypes.int8(only.guard === undefined ? null : BigInt(only.guard)),
        PgTypes.text(only.state ?? null)
      ]
    }
  }
  const fence = [
    int8s(turns.map((turn) => turn.id)),
    int8s(turns.map((turn) => turn.version)),
    int8s(turns.map((turn) => turn.guard))
  ]
  const states = texts(turns.map((turn) => turn.state ?? null))
  if (areSteps) {
    return fragments === undefined
      ? { sql: stepsSql, params: [...fence, states] }
      : { sql: stepsInFragmentsSql, params: [...fence, states, ...fragments] }
  }
  if (fragments !== undefined) return undefined
  return { sql: turnsSql, params: [...fence, int8s(turns.map((turn) => turn.taken)), states, ...replyParams(turns)] }
}

const statementFor = (parts: ReadonlyArray<Part>, waitMillis: number): Statement => {
  if (parts.every(isPlainEnqueue)) return { sql: messagesSql, params: messageParams(parts) }
  const short = parts.every(isPlainTurn) ? turnsStatement(parts) : undefined
  return short ?? { sql: groupSql, params: groupParams(parts, waitMillis) }
}

/**
 * The statement for groups that write. Tells of lines that got longer and of what was scheduled. Streams of event stores that
 * somebody has locked are waited for that long.
 */
export const groupStatement = (changes: Changes, waitMillis = 0): GroupStatement<Part, Verdict> => ({
  prepare: (parts, lane, seq) => {
    const { params, sql } = statementFor(parts, waitMillis)
    return { sql, params: [BigInt(lane), BigInt(seq), ...params] }
  },
  verdicts: (parts, row) => groupVerdicts(parts, row, changes),
  // Which lines grew is not known any more; the poll finds them. A refused step is looked at anew from the start.
  verdictsFromLane: (parts, refused) => parts.map((part, index) => verdictFromLane(part, refused.has(index + 1))),
  failed: (_, problem) => ({ _tag: "Failed", failure: problem })
})

// ------------------------------------------------------------------------------------------------ nothing changes

export const checksSql = `
SELECT array_agg(coalesce(s.version, -1)::float8 ORDER BY x.m), array_agg(coalesce(b.pushed, 0)::float8 ORDER BY x.m)
FROM unnest($1::bigint[]) WITH ORDINALITY AS x(id, m)
LEFT JOIN holdfast.server s ON s.id = x.id
LEFT JOIN holdfast.inbox b ON b.id = x.id`

/** Holds what the checks believed against what is stored. */
export const checkVerdicts = (checks: ReadonlyArray<Check>, row: Row | undefined): ReadonlyArray<Verdict> => {
  const versions = numbers(row?.[0])
  const pushed = numbers(row?.[1])
  return checks.map((check, index): Verdict => {
    if (versions[index] !== check.version) return { _tag: "Superseded" }
    const end = pushed[index] ?? 0
    return check.guard !== undefined && check.guard !== end
      ? { _tag: "LineMoved", pushed: end }
      : { _tag: "Done", pushed: end }
  })
}

/**
 * Takes a group apart into what is written together, what is committed in transactions that handlers have opened, what is
 * only checked, and what waits for the next group, with their places in it. What expects something of a stream is written first.
 */
export const apart = (group: ReadonlyArray<Member>) => {
  const order = orderOf(group)
  const waitingAt: Array<number> = []
  const parts: Array<Part> = []
  const partAt: Array<number> = []
  const within: Array<Transition> = []
  const withinAt: Array<number> = []
  const checks: Array<Check> = []
  const checkAt: Array<number> = []
  const put = (member: Member, index: number): void => {
    if (order?.waiting.has(member) === true) {
      waitingAt.push(index)
    } else if (member._tag === "Check") {
      checks.push(member)
      checkAt.push(index)
    } else if (member._tag === "Transition" && member.transaction !== undefined) {
      within.push(member)
      withinAt.push(index)
    } else {
      parts.push(member)
      partAt.push(index)
    }
  }
  if (order === undefined) group.forEach(put)
  else {
    group.forEach((member, index) => order.first.has(member) && put(member, index))
    group.forEach((member, index) => !order.first.has(member) && put(member, index))
  }
  return { parts, partAt, within, withinAt, checks, checkAt, waitingAt }
}
