/**
 * What members say to each other about lines and replies. A word that is not known means: look at everything.
 */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"
import type { Hint as Sent } from "../../../member/internal/notifications.ts"
import type { Hint, Killed } from "../../DurableStorage.ts"

/** The name by which members tell these hints from those of other rooms. */
export const room = "durable"

const lines = "lines:"
const urgentLines = "urgent lines:"

const killed = "killed:"
export const replies = "replies"
export const unattended = "unattended"

/** How many ids go into one hint. */
const idsPerHint = 100

/** What another member's hint says. */
export const toHint = (payload: string): Hint => {
  if (payload === replies) return { _tag: "Replies" }
  if (payload === unattended) return { _tag: "Unattended" }
  if (payload.startsWith(killed)) {
    const [id, version, answer = ""] = payload.slice(killed.length).split(":")
    const text = Result.getOrElse(Base64Url.decodeString(answer), () => "")
    return { _tag: "Killed", id: Number(id), version: Number(version), answer: text }
  }
  for (const prefix of [lines, urgentLines]) {
    if (!payload.startsWith(prefix)) continue
    const ids = payload.slice(prefix.length).split(",").map(Number)
    return { _tag: "Lines", ids, priority: prefix === urgentLines }
  }
  return { _tag: "Everything" }
}

/** A server's life was ended: for the member that holds it, with what those who wait there are told. */
export const wasKilled = (holder: number, server: Killed, answer: string): Sent => ({
  to: holder,
  // A hint has no room for whatever characters there are in a reason.
  payload: `${killed}${server.id}:${server.version}:${Base64Url.encode(answer)}`
})

/** Lines of these servers got longer: for the living member that holds them, or where there is none for whoever may take them. */
export const linesGrew = (
  holder: number | undefined,
  ids: ReadonlyArray<number>,
  priority: boolean
): ReadonlyArray<Sent> => {
  if (holder === undefined) return [{ to: "everyone", payload: unattended }]
  const hints: Array<Sent> = []
  for (let index = 0; index < ids.length; index += idsPerHint) {
    const part = ids.slice(index, index + idsPerHint).join(",")
    hints.push({ to: holder, payload: (priority ? urgentLines : lines) + part })
  }
  return hints
}
