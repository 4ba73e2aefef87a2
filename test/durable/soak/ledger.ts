/**
 * What a process of the soak writes down: what it is about to send, and what it was told. Each entry is one line of JSON, in the
 * file before the message leaves, or at once after the answer came. Nothing waits in the process: whatever kills it, what it was
 * told is known. (That the machine may lose power is not what is tested here.)
 *
 * Times are microseconds of the machine's monotonic clock, the same for all of its processes.
 */
import { Schema } from "effect"
import { closeSync, openSync, readFileSync, writeSync } from "node:fs"
import { Seen } from "./servers.ts"

const place = [Schema.String, Schema.String, Schema.Int, Schema.Int] as const

export const Entry = Schema.Union([
  /** Sends number n of a sender, in a run, to an account. */
  Schema.Tuple([Schema.Literal("send"), ...place]),
  /** It was acknowledged, at that time. */
  Schema.Tuple([Schema.Literal("sent"), ...place, Schema.Int]),
  /** Asked at a time (0 for one with priority), and had its answer at another one: what the account has seen. */
  Schema.Tuple([Schema.Literal("look"), Schema.String, Schema.Int, Schema.Int, Seen]),
  /** Sends the message of that key to an account; it was acknowledged, as the so-manieth, unless it was a cast. */
  Schema.Tuple([Schema.Literal("send once"), Schema.String, Schema.String]),
  Schema.Tuple([Schema.Literal("sent once"), Schema.String, Schema.String, Schema.NullOr(Schema.Int)]),
  /** Schedules a message; it was acknowledged; is about to be cancelled; was cancelled, or had been delivered. */
  Schema.Tuple([Schema.Literal("schedule"), Schema.String, Schema.String]),
  Schema.Tuple([Schema.Literal("scheduled"), Schema.String, Schema.String]),
  Schema.Tuple([Schema.Literal("cancel"), Schema.String, Schema.String]),
  Schema.Tuple([Schema.Literal("cancelled"), Schema.String, Schema.String, Schema.Boolean]),
  /** Something that should never be. */
  Schema.Tuple([Schema.Literal("wrong"), Schema.String])
])

export type Entry = typeof Entry.Type

export const now = (): number => Number(process.hrtime.bigint() / 1000n)

export interface Ledger {
  readonly write: (entry: Entry) => void
  readonly close: () => void
}

export const open = (path: string): Ledger => {
  const file = openSync(path, "a")
  return {
    write: (entry) => {
      writeSync(file, `${JSON.stringify(entry)}\n`)
    },
    close: () => closeSync(file)
  }
}

const isEntry = Schema.is(Entry)

/** What was written. The last line may be torn: the process ended while it wrote, and had been told nothing by it. */
export const read = (path: string): ReadonlyArray<Entry> => {
  const lines = readFileSync(path, "utf8").split("\n")
  lines.pop()
  return lines.map((line) => {
    const entry: unknown = JSON.parse(line)
    if (!isEntry(entry)) throw new Error(`not an entry: ${line}`)
    return entry
  })
}
