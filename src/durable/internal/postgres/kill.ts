/**
 * Ending the life of a server on Postgres: a group of its own in the member's lane, so that it happens once, whatever becomes
 * of the answer.
 */
import type { GroupStatement } from "../../../member/internal/lane.ts"
import { numbers } from "./commit.ts"

/** The server to be killed, and what the calls in its line are answered. */
export interface Kill {
  readonly id: number
  readonly answer: string
}

/** What became of it. Where only the lane could tell that it was done, nobody is known who should hear of it. */
export interface KillVerdict {
  readonly version: number
  readonly holder: number | undefined
  readonly told: ReadonlyArray<number>
}

const unknown: KillVerdict = { version: Number.MAX_SAFE_INTEGER, holder: undefined, told: [] }

export const killStatement: GroupStatement<Kill, KillVerdict> = {
  prepare: ([kill], lane, seq) => ({
    sql: "SELECT refused, version::float8, holder::float8, told::float8[] FROM holdfast.kill_server($1, $2, $3, $4)",
    params: [BigInt(lane), BigInt(seq), BigInt(kill?.id ?? 0), kill?.answer]
  }),
  verdicts: (_, [refused, version, holder, told]) =>
    refused === null || refused === undefined
      ? undefined
      : [{ version: Number(version), holder: holder === null ? undefined : Number(holder), told: numbers(told) }],
  verdictsFromLane: () => [unknown],
  failed: (_, problem) => {
    throw new Error(`a server could not be killed: ${problem}`)
  }
}
