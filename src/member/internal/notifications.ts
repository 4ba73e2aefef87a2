/**
 * Hints between the members of a database. They make things fast and may be lost: nothing depends on one arriving.
 *
 * They are sent after the commit and from a connection of their own, many at once: inside a committing transaction, NOTIFY
 * takes a lock of the whole server until the disk has answered. Each member listens on a channel of its own, and all of them
 * on one for what concerns whoever is there.
 */
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { EngineConnection } from "./engineConnection.ts"

/** What is sent: to one member, or to whoever is there. */
export interface Hint {
  readonly to: number | "everyone"
  /** What it is about, in at most 7,000 bytes. There is no `;` in it. */
  readonly payload: string
}

/** Hints of a room bear its name; one without is for all. */
export const addressedTo = (room: string, hint: string): string => `${room}/${hint}`

/** The room that a payload is for, and the hint itself. */
export const addressed = (payload: string): readonly [room: string | undefined, hint: string] => {
  const end = payload.indexOf("/")
  return end < 0 ? [undefined, payload] : [payload.slice(0, end), payload.slice(end + 1)]
}

/** Where it is heard. */
export const channelOf = (to: number | "everyone"): string => to === "everyone" ? "holdfast_everyone" : `holdfast_${to}`

const maxPayload = 7000

/** Sends hints as they come, in as few statements as that allows. Runs until interrupted. */
export const sendAll = (connection: EngineConnection, hints: Queue.Dequeue<Hint>): Effect.Effect<never> =>
  Effect.gen(function*() {
    const taken = yield* Queue.takeAll(hints)
    const byChannel = new Map<string, Set<string>>()
    for (const { payload, to } of taken) {
      const channel = channelOf(to)
      const payloads = byChannel.get(channel)
      if (payloads === undefined) byChannel.set(channel, new Set([payload]))
      else payloads.add(payload)
    }
    const channels: Array<string> = []
    const payloads: Array<string> = []
    for (const [channel, hints] of byChannel) {
      for (const payload of joined(hints)) {
        channels.push(channel)
        payloads.push(payload)
      }
    }
    // A hint that cannot be sent is a hint that was lost.
    yield* Effect.ignore(connection.use((session) =>
      session.queryValues(
        "SELECT pg_notify(h.channel, h.payload) FROM unnest($1::text[], $2::text[]) AS h(channel, payload)",
        [channels, payloads]
      )
    ))
  }).pipe(Effect.forever)

function* joined(hints: Iterable<string>): Generator<string> {
  let text = ""
  for (const hint of hints) {
    if (text !== "" && text.length + hint.length + 1 > maxPayload) {
      yield text
      text = ""
    }
    text = text === "" ? hint : `${text};${hint}`
  }
  if (text !== "") yield text
}

/**
 * Hears the hints for a member until the connection is lost or another member id is to be listened for.
 */
export const listen = (
  connection: EngineConnection,
  member: number,
  heard: (payload: string) => void,
  ready: () => void
) =>
  connection.hold((session) =>
    Effect.scoped(Effect.gen(function*() {
      const pinned: PgConnection.PgConnection = yield* session.pin
      const own = yield* pinned.listen(channelOf(member))
      const everyone = yield* pinned.listen(channelOf("everyone"))
      ready()
      const follow = (queue: typeof own) =>
        Effect.forever(Effect.map(Queue.take(queue), ({ payload }) => {
          for (const hint of payload.split(";")) heard(hint)
        }))
      return yield* Effect.raceFirst(follow(own), follow(everyone))
    }))
  )
