/**
 * The event stores that the library's own storages can append to with a step: those in the memory of the same process, and those
 * in the database that the same client is connected to.
 */
import type * as PgClient from "@effect/sql-pg/PgClient"
import type { Append, AppendRefusal, Journal, Member, Transition } from "../DurableStorage.ts"

/** An event store in memory. What is asked of it is done at once, so a commit that asks it first is one with what it writes. */
export class MemoryJournal implements Journal {
  readonly store: string
  readonly appended: (events: number) => void
  /** Why this cannot be appended as things stand. */
  readonly refusal: (append: Append) => AppendRefusal | undefined
  readonly write: (append: Append) => void

  constructor(options: Journal & Pick<MemoryJournal, "refusal" | "write">) {
    this.store = options.store
    this.appended = options.appended
    this.refusal = options.refusal
    this.write = options.write
  }
}

/** An event store in Postgres: a schema of its own, with functions that lock streams, look at them, and append. */
export class PostgresJournal implements Journal {
  readonly store: string
  readonly appended: (events: number) => void
  readonly client: PgClient.PgClient
  readonly schema: string

  constructor(options: Journal & Pick<PostgresJournal, "client" | "schema">) {
    this.store = options.store
    this.appended = options.appended
    this.client = options.client
    this.schema = options.schema
  }
}

/** What a stream is called among those of all stores. */
export const streamOf = ({ eventStreamId, journal }: Append): string => `${journal.store} ${eventStreamId}`

/** The ids that were given to its events, among those of all stores. */
export const givenIdsOf = ({ events, journal }: Append): ReadonlyArray<string> =>
  events.flatMap(({ id, idGiven }) => idGiven ? [`${journal.store} ${id}`] : [])

/** Whether it can only be decided by whoever appends to its stream first. */
const isStrict = ({ expectedVersion }: Append): boolean => expectedVersion !== "any"

/** What is appended together, and whether more can go with it: what is expected of a stream is known of its first append only. */
export class Together {
  readonly #streams = new Set<string>()
  readonly #given = new Set<string>()

  takes(appends: ReadonlyArray<Append>): boolean {
    return !appends.some((append) =>
      (isStrict(append) && this.#streams.has(streamOf(append))) ||
      givenIdsOf(append).some((id) => this.#given.has(id))
    )
  }

  add(appends: ReadonlyArray<Append>): void {
    for (const append of appends) {
      this.#streams.add(streamOf(append))
      for (const id of givenIdsOf(append)) this.#given.add(id)
    }
  }
}

/** A member that appends. */
const appending = (member: Member): member is Transition & { readonly appends: ReadonlyArray<Append> } =>
  member._tag === "Transition" && member.appends !== undefined && member.appends.length > 0

/**
 * Of a group, the members that expect something of a stream, which are to come first, and those that have to wait for others to
 * be decided. `undefined` where no member appends.
 */
export const orderOf = (
  group: ReadonlyArray<Member>
): { readonly first: ReadonlySet<Member>; readonly waiting: ReadonlySet<Member> } | undefined => {
  const all = group.filter(appending)
  if (all.length === 0) return undefined
  const first = new Set(all.filter(({ appends }) => appends.some(isStrict)))
  const waiting = new Set<Member>()
  const together = new Together()
  for (const member of [...first, ...all.filter((member) => !first.has(member))]) {
    if (together.takes(member.appends)) together.add(member.appends)
    else waiting.add(member)
  }
  return { first, waiting }
}
