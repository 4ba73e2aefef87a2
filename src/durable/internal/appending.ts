/**
 * The appends of one attempt at a message. They are only staged: what becomes of them is decided by the commit. Where that has
 * refused some of them at an earlier attempt, those are told so at once.
 */
import type { Staging } from "../CurrentTransition.ts"
import type { Append, AppendRefusal, Journal } from "../DurableStorage.ts"
import { givenIdsOf, streamOf } from "./journals.ts"

/** What the commit has refused to append for a message. */
export type Refused = ReadonlyMap<Append, AppendRefusal>

/** What earlier appends of the attempt make of a stream: what they expect of it, and how many events they are. */
interface Begun {
  /** Where it was before, where that is known. */
  base: number | undefined
  /** The place of the first append. */
  readonly first: number
  count: number
}

const baseOf = ({ expectedVersion }: Append): number | undefined =>
  expectedVersion === "noStream" ? -1 : typeof expectedVersion === "number" ? expectedVersion : undefined

/** Whether what was refused to one append is refused to another. */
const concerns = (refused: Append, refusal: AppendRefusal, append: Append): boolean => {
  if (refused.journal.store !== append.journal.store) return false
  switch (refusal._tag) {
    case "NoStore":
      return true
    case "Known":
      return append.events.some(({ id }) => id === refusal.eventId)
    case "Deleted":
      return refused.eventStreamId === append.eventStreamId
    case "WrongVersion":
      return refused.eventStreamId === append.eventStreamId && refused.expectedVersion === append.expectedVersion
  }
}

export class Appending {
  readonly #refused: Refused
  readonly #takes: (journal: Journal) => boolean
  readonly #appends: Array<Append> = []
  readonly #begun = new Map<string, Begun>()
  readonly #given = new Set<string>()

  constructor(refused: Refused | undefined, takes: (journal: Journal) => boolean) {
    this.#refused = refused ?? new Map()
    this.#takes = takes
  }

  /** What is to be appended, of each stream in the order in which it was asked for. */
  get appends(): ReadonlyArray<Append> {
    return this.#appends
  }

  add(append: Append): Staging {
    if (!this.#takes(append.journal)) return { _tag: "Elsewhere" }
    const begun = this.#begun.get(streamOf(append))
    const refusal = this.#refusalOf(append) ?? (begun === undefined ? undefined : this.#misfit(append, begun))
    if (refusal !== undefined) return refusal
    for (const id of givenIdsOf(append)) this.#given.add(id)
    const { length } = append.events
    if (begun === undefined) {
      const base = baseOf(append)
      this.#begun.set(streamOf(append), { base, first: this.#appends.length, count: length })
      this.#appends.push(append)
      return { _tag: "Staged", version: base === undefined ? undefined : base + length }
    }
    begun.count += length
    this.#appends.push({ ...append, expectedVersion: "any" })
    return { _tag: "Staged", version: begun.base === undefined ? undefined : begun.base + begun.count }
  }

  #refusalOf(append: Append): AppendRefusal | undefined {
    for (const [refused, refusal] of this.#refused) if (concerns(refused, refusal, append)) return refusal
    const twice = givenIdsOf(append).findIndex((id) => this.#given.has(id))
    const eventId = append.events.filter(({ idGiven }) => idGiven)[twice]?.id
    if (eventId === undefined) return undefined
    // Where it will be is known no more than where it is.
    return { _tag: "Known", eventId, eventStreamId: append.eventStreamId, version: -1 }
  }

  /** Why an append does not fit behind those before it, of which it expects something. */
  #misfit(append: Append, begun: Begun): AppendRefusal | undefined {
    const expected = baseOf(append)
    if (expected === undefined) return undefined
    const base = expected - begun.count
    const first = this.#appends[begun.first]
    if (begun.base === undefined && base >= -1 && first !== undefined) {
      // Then it is the first of them that has to meet the stream there.
      const tightened: Append = { ...first, expectedVersion: base }
      const refusal = this.#refusalOf({ ...tightened, events: [] })
      if (refusal?._tag === "WrongVersion") return { ...refusal, version: refusal.version + begun.count }
      this.#appends[begun.first] = tightened
      begun.base = base
      return undefined
    }
    const current = (begun.base ?? -1) + begun.count
    return current === expected ? undefined : { _tag: "WrongVersion", version: current }
  }
}
