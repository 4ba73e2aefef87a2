/**
 * What steps append to event stores, as the statement that commits a group takes it, and what it says could not be appended.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import { int4s, int8s, isOpaque, texts, uuids } from "../../../member/internal/parameters.ts"
import type { Append, AppendRefusal, Enqueue, JournalEvent, Transition, Verdict } from "../../DurableStorage.ts"
import { PostgresJournal } from "../journals.ts"

type Part = Transition | Enqueue

/** The appends of all parts, each with the number of its part. */
const appendsOf = (parts: ReadonlyArray<Part>): ReadonlyArray<readonly [number, Append]> =>
  parts.flatMap((part, index) =>
    part._tag === "Transition" ? part.appends?.map((append) => [index + 1, append] as const) ?? [] : []
  )

const schemaOf = ({ journal }: Append): string => journal instanceof PostgresJournal ? journal.schema : ""

/** What is expected of a stream, as event stores in Postgres have it: a version, -1 no stream, -2 any, -3 a stream that is there. */
export const expectedNumber = (expected: Append["expectedVersion"]): number => {
  switch (expected) {
    case "noStream":
      return -1
    case "any":
      return -2
    case "streamExists":
      return -3
    default:
      return expected
  }
}

const row = ({ data, dataContentType, id, metadata, metadataContentType, type }: JournalEvent) => ({
  id,
  type,
  data,
  metadata,
  data_type: dataContentType,
  metadata_type: metadataContentType,
  opaque: isOpaque(data) || (metadata !== null && isOpaque(metadata))
})

/** `waitMillis`: for how long streams that somebody has locked are waited for. */
export const appendParams = (parts: ReadonlyArray<Part>, waitMillis: number): ReadonlyArray<PgTypes.Parameter> => {
  const appends = appendsOf(parts)
  const given = appends.flatMap(([, { events }], index) =>
    events.flatMap(({ id, idGiven }) => idGiven ? [[index + 1, id] as const] : [])
  )
  return [
    int4s(appends.map(([m]) => m)),
    texts(appends.map(([, append]) => schemaOf(append))),
    texts(appends.map(([, { eventStreamId }]) => eventStreamId)),
    int8s(appends.map(([, append]) => expectedNumber(append.expectedVersion))),
    texts(appends.map(([, { events }]) => JSON.stringify(events.map(row)))),
    int4s(given.map(([a]) => a)),
    uuids(given.map(([, id]) => id)),
    PgTypes.int4(waitMillis)
  ]
}

/** One that could not be appended, as the statement tells it: its number, and why. */
interface Unappended {
  readonly a: number
  readonly why: string
  readonly version?: number
  readonly stream?: string
  readonly id?: string
}

/** `undefined`: somebody has the stream locked. */
const refusalOf = ({ id = "", stream = "", version = -1, why }: Unappended): AppendRefusal | undefined => {
  switch (why) {
    case "version":
      return { _tag: "WrongVersion", version }
    case "deleted":
      return { _tag: "Deleted" }
    case "known":
      return { _tag: "Known", eventId: id, eventStreamId: stream, version }
    case "store":
      return { _tag: "NoStore" }
    default:
      return undefined
  }
}

/** The verdicts on parts of which something could not be appended, by the numbers of the parts. */
export const unappended = (parts: ReadonlyArray<Part>, value: unknown): ReadonlyMap<number, Verdict> => {
  const verdicts = new Map<number, Verdict>()
  if (!Array.isArray(value)) return verdicts
  const appends = appendsOf(parts)
  const refusals = new Map<number, Map<Append, AppendRefusal>>()
  for (const one of value as ReadonlyArray<Unappended>) {
    const [m, append] = appends[one.a - 1] ?? []
    if (m === undefined || append === undefined) continue
    const refusal = refusalOf(one)
    if (refusal === undefined) {
      if (!verdicts.has(m)) verdicts.set(m, { _tag: "Busy", elsewhere: true })
      continue
    }
    const ofPart = refusals.get(m) ?? new Map<Append, AppendRefusal>()
    refusals.set(m, ofPart.set(append, refusal))
    verdicts.set(m, { _tag: "Unappended", refusals: ofPart })
  }
  return verdicts
}
