/**
 * What goes through the lane: groups of appends, and single links and deletions.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import { expectedNumber } from "../../../durable/internal/postgres/appends.ts"
import type { GroupStatement } from "../../../member/internal/lane.ts"
import { bools, int4s, int8s, texts, uuids } from "../../../member/internal/parameters.ts"
import type { ExpectedVersion } from "../../EventStoreError.ts"
import type { Append } from "../storage.ts"
import { columns, int8, mayCreate, numbers, strings, text } from "./parameters.ts"

/** What became of a member. */
export type Verdict =
  /** No version: it was done, and the answer that had it was lost. */
  | { readonly _tag: "Done"; readonly version: number | undefined }
  | { readonly _tag: "WrongVersion"; readonly version: number }
  | { readonly _tag: "Known"; readonly eventId: string; readonly stream: string; readonly version: number }
  | { readonly _tag: "Unknown"; readonly eventId: string }
  | { readonly _tag: "Deleted" }
  | { readonly _tag: "Missing" }
  /** Somebody has the stream locked. */
  | { readonly _tag: "Busy" }
  /** It was refused, and the answer that said why was lost. */
  | { readonly _tag: "Again" }
  | { readonly _tag: "Failed"; readonly problem: string }

/** The schema of a store. Its id has nothing that would need quoting. */
export const schemaOf = (store: string): string => `holdfast_events_${store}`

const isNothing = (value: unknown): boolean => value === null || value === undefined

const lost = (parts: ReadonlyArray<unknown>, refused: ReadonlySet<number>): ReadonlyArray<Verdict> =>
  parts.map((_, index) => refused.has(index + 1) ? { _tag: "Again" } : { _tag: "Done", version: undefined })

const failed = (_: unknown, problem: string): Verdict => ({ _tag: "Failed", problem })

/** Why one part was refused, from the word for it. */
const refusal = (why: unknown, version: number, known: () => Verdict): Verdict => {
  switch (why) {
    case "version":
      return { _tag: "WrongVersion", version }
    case "deleted":
      return { _tag: "Deleted" }
    case "missing":
      return { _tag: "Missing" }
    case "known":
    case "unknown":
      return known()
    default:
      return { _tag: "Busy" }
  }
}

// ------------------------------------------------------------------------------------------------ appends

/** The streams of a group, each once, and which of them each part is about, counted from 1. */
const streamsOf = (parts: ReadonlyArray<Append>) => {
  const indexes = new Map<string, number>()
  const creates: Array<boolean> = []
  const streams = parts.map(({ eventStreamId, expectedVersion }) => {
    let index = indexes.get(eventStreamId)
    if (index === undefined) {
      indexes.set(eventStreamId, index = indexes.size + 1)
      creates.push(false)
    }
    if (mayCreate(expectedVersion)) creates[index - 1] = true
    return index
  })
  return { names: Array.from(indexes.keys()), creates, streams }
}

/**
 * The group of a store: at most one part of a stream expects anything of it, and is the first of that stream. One that waits
 * stands in line for the locks of its streams, for so many milliseconds; the others find them free or are told that they are busy.
 */
export const appendStatement = (store: string, waitMillis: number): GroupStatement<Append, Verdict> => {
  const sql = `
SELECT refused, why, s_version::float8[], k_m, k_id, k_stream, k_version::float8[]
FROM ${schemaOf(store)}.append_group($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`
  return {
    prepare: (parts, lane, seq) => {
      const { creates, names, streams } = streamsOf(parts)
      const members: Array<number> = []
      const eventStreams: Array<number> = []
      parts.forEach(({ events }, index) => {
        for (let n = 0; n < events.length; n++) {
          members.push(index + 1)
          eventStreams.push(streams[index] ?? 0)
        }
      })
      const events = parts.flatMap((part) => part.events)
      return {
        sql,
        params: [
          int8(lane),
          int8(seq),
          texts(names),
          bools(creates),
          int4s(streams),
          int8s(parts.map(({ expectedVersion }) => expectedNumber(expectedVersion))),
          int4s(members),
          int4s(eventStreams),
          ...columns(events),
          events.some(({ idGiven }) => idGiven),
          PgTypes.int4(waitMillis)
        ]
      }
    },
    verdicts: (parts, row) => {
      if (row[0] === null || row[0] === undefined) return undefined
      const refused = new Map(numbers(row[0]).map((m, index) => [m, strings(row[1])[index]]))
      const { streams } = streamsOf(parts)
      const versions = [...numbers(row[2])]
      const knownMembers = numbers(row[3])
      return parts.map((part, index): Verdict => {
        const stream = (streams[index] ?? 1) - 1
        const version = versions[stream] ?? -1
        if (!refused.has(index + 1)) {
          const last = version + part.events.length
          versions[stream] = last
          return { _tag: "Done", version: last }
        }
        return refusal(refused.get(index + 1), version, () => {
          const at = knownMembers.indexOf(index + 1)
          return {
            _tag: "Known",
            eventId: strings(row[4])[at] ?? "",
            stream: strings(row[5])[at] ?? "",
            version: numbers(row[6])[at] ?? -1
          }
        })
      })
    },
    verdictsFromLane: lost,
    failed
  }
}

/** Whether nothing is expected, and nothing can be known: such parts go together by the short statement. */
export const isPlain = ({ events, expectedVersion }: Append): boolean =>
  expectedVersion === "any" && !events.some(({ idGiven }) => idGiven)

/** The group of a store whose parts are all plain, on streams that are believed to be there and free. */
export const appendAnyStatement = (store: string): GroupStatement<Append, Verdict> => {
  const sql = `
SELECT refused, s_version::float8[]
FROM ${schemaOf(store)}.append_any($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`
  return {
    prepare: (parts, lane, seq) => {
      const { names, streams } = streamsOf(parts)
      const counts = names.map(() => 0)
      const eventStreams: Array<number> = []
      const places: Array<number> = []
      parts.forEach(({ events }, index) => {
        const stream = streams[index] ?? 1
        for (let n = 0; n < events.length; n++) {
          const place = (counts[stream - 1] ?? 0) + 1
          counts[stream - 1] = place
          eventStreams.push(stream)
          places.push(place)
        }
      })
      return {
        sql,
        params: [
          int8(lane),
          int8(seq),
          PgTypes.int4(parts.length),
          texts(names),
          int8s(counts),
          int4s(eventStreams),
          int8s(places),
          ...columns(parts.flatMap((part) => part.events))
        ]
      }
    },
    verdicts: (parts, [refused, versionsNow]) => {
      if (isNothing(refused)) return undefined
      if (Array.isArray(refused) && refused.length > 0) return parts.map(() => ({ _tag: "Again" }))
      const { streams } = streamsOf(parts)
      const versions = [...numbers(versionsNow)]
      return parts.map((part, index): Verdict => {
        const stream = (streams[index] ?? 1) - 1
        const version = (versions[stream] ?? -1) + part.events.length
        versions[stream] = version
        return { _tag: "Done", version }
      })
    },
    verdictsFromLane: lost,
    failed
  }
}

// ------------------------------------------------------------------------------------------------ links and deletions

export interface Linking {
  readonly eventStreamId: string
  readonly expectedVersion: ExpectedVersion
  readonly eventIds: ReadonlyArray<string>
}

export const linkStatement = (store: string): GroupStatement<Linking, Verdict> => ({
  prepare: ([part], lane, seq) => ({
    sql: `
SELECT refused, why, version::float8, known_id, known_version::float8
FROM ${schemaOf(store)}.link_events($1, $2, $3, $4, $5)`,
    params: [
      int8(lane),
      int8(seq),
      text(part?.eventStreamId),
      int8(expectedNumber(part?.expectedVersion ?? "any")),
      uuids(part?.eventIds ?? [])
    ]
  }),
  verdicts: ([part], [refused, why, version, knownId, knownVersion]) => {
    if (isNothing(refused)) return undefined
    if (isNothing(why)) return [{ _tag: "Done", version: Number(version) }]
    const eventId = String(knownId)
    return [
      refusal(why, Number(version), () =>
        why === "unknown"
          ? { _tag: "Unknown", eventId }
          : { _tag: "Known", eventId, stream: part?.eventStreamId ?? "", version: Number(knownVersion) })
    ]
  },
  verdictsFromLane: lost,
  failed
})

export interface Deletion {
  readonly eventStreamId: string
  readonly expectedVersion: ExpectedVersion
  readonly hard: boolean
}

export const deleteStatement = (store: string): GroupStatement<Deletion, Verdict> => ({
  prepare: ([part], lane, seq) => ({
    sql: `SELECT refused, why, version::float8 FROM ${schemaOf(store)}.delete_stream($1, $2, $3, $4, $5)`,
    params: [
      int8(lane),
      int8(seq),
      text(part?.eventStreamId),
      int8(expectedNumber(part?.expectedVersion ?? "any")),
      part?.hard === true
    ]
  }),
  verdicts: (_, [refused, why, version]) =>
    isNothing(refused)
      ? undefined
      : isNothing(why)
      ? [{ _tag: "Done", version: Number(version) }]
      : [refusal(why, Number(version), () => ({ _tag: "Busy" }))],
  verdictsFromLane: lost,
  failed
})
