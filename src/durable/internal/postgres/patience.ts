/**
 * Patience with streams of event stores that somebody has locked.
 *
 * Such a stream is left alone at first, and its step tried again soon: nobody else waits for it. A step that has found it locked
 * again and again would find it free by luck alone, where there are always others; so in the end it stands in line with them: for
 * a short while, for those who have it for a moment, as other processes do, and then for longer, for transactions. The whole group
 * waits with it, so that is done for a fifth of the time at most, however many steps have been unlucky.
 */
import type { GroupStatement } from "../../../member/internal/lane.ts"
import type { Verdict } from "../../DurableStorage.ts"
import type { Part } from "./commit.ts"

type Statement = GroupStatement<Part, Verdict>

/** After how many times in line is stood for how many milliseconds. */
const stages: ReadonlyArray<{ readonly times: number; readonly waitMillis: number }> = [
  { times: 8, waitMillis: 250 },
  { times: 3, waitMillis: 20 }
]

/** For how many times as long as was waited nothing is waited for again. */
const pause = 4

export class Patience {
  readonly #now: () => number
  readonly #hasty: Statement
  readonly #patient: ReadonlyArray<{ readonly times: number; readonly statement: Statement }>
  /** How often in a row a step of a server found a stream locked. */
  readonly #foundBusy = new Map<number, number>()
  #waitsAgainAt = Number.NEGATIVE_INFINITY

  /** `statement`: the one that waits for so many milliseconds. `now`: milliseconds, by whichever clock. */
  constructor(statement: (waitMillis: number) => Statement, now: () => number) {
    this.#now = now
    this.#hasty = statement(0)
    this.#patient = stages.map(({ times, waitMillis }) => ({ times, statement: statement(waitMillis) }))
  }

  /** The statement for these parts, which are sent now; and what is to be told of each, and at last, when they were decided. */
  begin(parts: ReadonlyArray<Part>): {
    readonly statement: Statement
    readonly decided: (verdicts: ReadonlyArray<Verdict | undefined>) => void
  } {
    const startedAt = this.#now()
    const statement = startedAt < this.#waitsAgainAt ? this.#hasty : this.#statementFor(parts)
    return {
      statement,
      decided: (verdicts) => {
        parts.forEach((part, index) => this.#note(part, verdicts[index]))
        if (statement === this.#hasty) return
        const now = this.#now()
        this.#waitsAgainAt = now + pause * (now - startedAt)
      }
    }
  }

  #statementFor(parts: ReadonlyArray<Part>): Statement {
    if (this.#foundBusy.size === 0) return this.#hasty
    const most = Math.max(...parts.map((part) => part._tag === "Transition" ? this.#foundBusy.get(part.id) ?? 0 : 0))
    return this.#patient.find(({ times }) => most >= times)?.statement ?? this.#hasty
  }

  #note(part: Part, verdict: Verdict | undefined): void {
    if (part._tag !== "Transition") return
    if (verdict?._tag === "Busy") this.#foundBusy.set(part.id, (this.#foundBusy.get(part.id) ?? 0) + 1)
    else if (this.#foundBusy.size > 0) this.#foundBusy.delete(part.id)
  }
}
