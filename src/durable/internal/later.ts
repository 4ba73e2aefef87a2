/**
 * Messages for later: what they are called, when they are due, and what one step does about them.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { LaterCast } from "../CurrentTransition.ts"
import type { Address, Due, Later, ScheduledId, Verdict } from "../DurableStorage.ts"
import type { Answer } from "./answer.ts"
import type { Checked } from "./definition.ts"
import type { Caller } from "./message.ts"

/** The id of a message for later: its server, the node that sent it, and its number there. */
export const Scheduled = Schema.String.check(Schema.isPattern(/^\d{1,15}\.\d{1,15}\.\d{1,15}$/)).pipe(
  Schema.brand("holdfast/durable/Scheduled")
)

export type Scheduled = typeof Scheduled.Type

const makeScheduled = Schema.decodeSync(Scheduled)

export const nameOf = ({ call, node, server }: ScheduledId): string => `${server}.${node}.${call}`

/** The name of a message for later, as everybody else knows it. */
export const scheduledOf = ({ id, message }: LaterCast): Scheduled =>
  makeScheduled(nameOf({ server: id, node: message.node, call: message.call }))

export const idOf = (scheduled: Scheduled): ScheduledId => {
  const [server = 0, node = 0, call = 0] = scheduled.split(".").map(Number)
  return { server, node, call }
}

const maxDays = 1_000_000

/** Due after a duration. */
export const after = (input: Duration.Input): Checked<Due> => {
  const duration = typeof input === "number" && Number.isNaN(input) ? Option.none() : Duration.fromInput(input)
  if (Option.isNone(duration)) return { ok: false, issue: "Expected a duration" }
  const millis = Duration.toMillis(duration.value)
  return millis >= 0 && millis <= maxDays * 86_400_000
    ? { ok: true, value: { _tag: "After", millis } }
    : { ok: false, issue: `Expected a duration between 0 and ${maxDays} days` }
}

/** Due at a time. */
export const at = (input: DateTime.DateTime | Date): Checked<Due> => {
  const millis = DateTime.isDateTime(input)
    ? DateTime.toEpochMillis(input)
    : input instanceof Date
    ? input.getTime()
    : Number.NaN
  return Number.isNaN(millis)
    ? { ok: false, issue: "Expected a DateTime, or a Date that is a time" }
    : { ok: true, value: { _tag: "At", millis } }
}

/** What a step, or an attempt at one, does about messages for later, by their names. */
export class LaterWrites {
  readonly #scheduled = new Map<string, LaterCast>()
  readonly #cancelled = new Map<string, ScheduledId>()

  get isEmpty(): boolean {
    return this.#scheduled.size === 0 && this.#cancelled.size === 0
  }

  hasCancelled(id: ScheduledId): boolean {
    return this.#cancelled.has(nameOf(id))
  }

  schedule(cast: LaterCast): void {
    this.#scheduled.set(nameOf({ server: cast.id, node: cast.message.node, call: cast.message.call }), cast)
  }

  /** Takes back what is to be scheduled here; `false` where that is not so. */
  unschedule(id: ScheduledId): boolean {
    return this.#scheduled.delete(nameOf(id))
  }

  cancel(id: ScheduledId): void {
    this.#cancelled.set(nameOf(id), id)
  }

  /** Adds what an attempt does to what its step does. */
  add(other: LaterWrites): void {
    for (const id of other.#cancelled.values()) if (!this.unschedule(id)) this.cancel(id)
    for (const cast of other.#scheduled.values()) this.schedule(cast)
  }

  /** For the storage, at a moment of the clock that `madeAt` is by. */
  toLater(now: number): Later {
    return {
      scheduled: Array.from(this.#scheduled.values(), ({ due, id, madeAt, message }) => ({
        id,
        message,
        due: due._tag === "At" ? due : { _tag: "After", millis: Math.max(0, due.millis - (now - madeAt)) }
      })),
      cancelled: Array.from(this.#cancelled.values())
    }
  }
}

/** Something to be done about messages for later beside any step. */
export interface Errand {
  /** What it is about, for errors. */
  readonly server: Address
  readonly rpc: string
  readonly caller: Caller
  readonly writes: LaterWrites
  /** What the caller is told. */
  readonly answer: (verdict: Verdict) => Answer
}
