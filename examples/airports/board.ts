/**
 * The departures board: what airports write of their departures, shown as it comes. It follows the store by a persistent
 * subscription, so a run on kept data shows what no run before it has shown.
 */
import { Effect, type Schema, Stream } from "effect"
import { EventStore } from "holdfast/events"
import { type Departed, Departures } from "./Departures.ts"
import { type Board, count } from "./Screen.ts"

/** How many departures are on it at once. */
const height = 8

const punctuality = (delay: number): string =>
  delay > 0 ? `${count(delay)} min late` : delay < 0 ? `${count(-delay)} min early` : "on time"

const row = (origin: string, { date, delay, destination }: Schema.Schema.Type<typeof Departed>): string =>
  `${date}  ${origin.padEnd(4)} → ${destination.padEnd(4)}  ${punctuality(delay)}`

/** What became of the board: whether it has shown each departure that is in the store, in order, none twice. */
export interface Proof {
  readonly shown: number
  readonly stored: number
  readonly isComplete: boolean
}

/** How long the end of the store may be away when everything is handled. */
const patience = "30 seconds"

/** Hangs the board up, until the scope ends. */
export const hang = Effect.gen(function*() {
  const events = yield* EventStore.EventStore
  const departures = yield* Departures.client()
  const known = (yield* events.getSubscriptions(Departures.id)).find(({ name }) => name === "board")
  const rows: Array<string> = []
  /** The global position of the departure that comes next. */
  let next = (known?.position ?? -1) + 1
  let shown = 0
  let isInOrder = true

  yield* departures.subscribe({ name: "board", bufferSize: 2000, checkpointThreshold: 1000 }).pipe(
    Stream.chunks,
    Stream.runForEach((deliveries) =>
      Effect.suspend(() => {
        for (const { event: { data, eventStreamId, globalPosition } } of deliveries) {
          isInOrder &&= globalPosition === next
          next = globalPosition + 1
          shown++
          rows.unshift(row(eventStreamId, data))
        }
        rows.length = Math.min(rows.length, height)
        return deliveries.at(-1)?.ackUpTo ?? Effect.void
      })
    ),
    Effect.tapCause(Effect.logError),
    Effect.forkScoped
  )

  return {
    look: Effect.sync((): Board => ({ shown, rows: rows.slice() })),
    /** Waits until it has come to the end of the store. */
    prove: Effect.gen(function*() {
      const stored = (yield* departures.getVersion("$all")) + 1
      yield* Effect.sleep("20 millis").pipe(
        Effect.repeat({ while: () => next < stored }),
        Effect.timeoutOption(patience)
      )
      return { shown, stored, isComplete: isInOrder && next === stored } satisfies Proof
    })
  }
})
