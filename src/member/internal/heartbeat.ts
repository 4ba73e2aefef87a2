/**
 * What a heartbeat has to remember: when the lease was renewed and what kept it from being, so that whoever loses it can say
 * why; and whether this member may judge others by theirs.
 *
 * Whoever was kept from renewing in time leaves the others alone for two beats. What kept it may have kept them: a machine that
 * slept, a server or a disk that stood still. Without that, after such a pause the first one up would bury all others.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Exit from "effect/Exit"
import { isSqlError } from "effect/sql/SqlError"
import { errorText } from "../../datastore/internal/sqlState.ts"
import { MemberLease, type Moment } from "./lease.ts"

/** For how many beats. By the third they have had the time to renew. */
const leftAlone = 2

const seconds = (millis: number): string => `${Math.round(millis / 100) / 10} s`

export class Heartbeat {
  readonly #clock: Clock.Clock
  readonly #lease: MemberLease
  readonly #leaseMillis: number
  /** When the next beat is to begin. */
  #due: Moment
  /** For how long this process stood still since the last renewal, at most. */
  #stoodStill = 0
  #stuckMillis = 0
  #failure: string | undefined
  #isRenewing = false
  #patience = 0
  #hasJudged = true

  constructor(clock: Clock.Clock, lease: MemberLease, leaseMillis: number) {
    this.#clock = clock
    this.#lease = lease
    this.#leaseMillis = leaseMillis
    this.#due = MemberLease.now(clock)
  }

  /** For how long the next beat has been due. Nothing while one is under way. */
  get #behind(): number {
    return this.#isRenewing ? 0 : MemberLease.between(this.#due, MemberLease.now(this.#clock))
  }

  /** At the beginning of a beat: whether a group that has been under way for so long forbids it. */
  isStuck(busyMillis: number): boolean {
    this.#stoodStill = Math.max(this.#stoodStill, this.#behind)
    this.#isRenewing = true
    this.#stuckMillis = busyMillis > this.#leaseMillis ? busyMillis : 0
    return this.#stuckMillis > 0
  }

  /** The database has renewed the lease, by a statement that was sent at that moment. */
  renewed(sent: Moment): void {
    // Not for ever: on machines that are often late somebody has to judge now and then.
    if (this.#lease.isLate && this.#hasJudged) {
      this.#patience = leftAlone
      this.#hasJudged = false
    }
    this.#lease.renewed(sent)
    this.#isRenewing = false
    this.#stoodStill = 0
    this.#failure = undefined
  }

  /** Asked once a beat. */
  mayBury(): boolean {
    if (this.#patience === 0) {
      this.#hasJudged = true
      return true
    }
    this.#patience--
    return false
  }

  /** At the end of a beat: in how many milliseconds the next one is to begin. One that came to nothing is made up for soon. */
  pause(exit: Exit.Exit<void, unknown>): number {
    if (Exit.isFailure(exit) && this.#isRenewing) {
      const error = Cause.squash(exit.cause)
      this.#failure = isSqlError(error) ? errorText(error) : String(error)
    }
    this.#isRenewing = false
    const millis = this.#leaseMillis / (Exit.isSuccess(exit) && this.#stuckMillis === 0 ? 3 : 20)
    const now = MemberLease.now(this.#clock)
    this.#due = { wall: now.wall + millis, monotonic: now.monotonic + millis }
    return millis
  }

  /** Why the lease was lost, as far as can be known here, and what can be done about it. */
  whyLost(): string {
    const { age } = this.#lease
    const stoodStill = Math.max(this.#stoodStill, this.#behind)
    const lease = `its lease of ${seconds(this.#leaseMillis)}`
    if (age < this.#leaseMillis / 2) return `it was declared dead although it renewed ${lease} ${seconds(age)} ago`
    const why = this.#stuckMillis > 0
      ? `a commit has been under way for ${seconds(this.#stuckMillis)}`
      : this.#failure !== undefined
      ? `the database could not be reached (${this.#failure})`
      : stoodStill > this.#leaseMillis / 3
      ? `this process stood still for ${seconds(stoodStill)}, paused or with its event loop blocked`
      : "the database did not answer in time"
    return `${lease} was last renewed ${seconds(age)} ago, and ${why} (Member.MemberOptions sets the lease: ` +
      "a longer one bears more, and has others wait longer for those that died)"
  }
}
