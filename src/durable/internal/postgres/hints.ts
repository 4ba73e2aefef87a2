/**
 * What members say to each other about lines and replies. A word that is not known means: look at everything.
 */
import type { Hint as Sent } from "../../../member/internal/notifications.ts"
import type { Hint } from "../../DurableStorage.ts"

/** The name by which members tell these hints from those of other rooms. */
export const room = "durable"

const lines = "lines:"
const urgentLines = "urgent lines:"

/** A server's life was ended: its id, the version of its next one, and what its callers are told. */
export const killed = "killed:"
export const replies = "replies"
export const unattended = "unattended"

/** How many ids go into one hint. */
const idsPerHint = 100

/** What another member's hint says. */
export const toHint = (payload: string): Hint => {
  if (payload === replies) return { _tag: "Replies" }
  if (payload === unattended) return { _tag: "Unattended" }
  if (payload.startsWith(killed)) {
    const [id, version, ...answer] = payload.slice(killed.length).split(":")
    return { _tag: "Killed", id: Number(id), version: Number(version), answer: answer.join(":") }
  }
  for (const prefix of [lines, urgentLines]) {
    if (!payload.startsWith(prefix)) continue
    const ids = payload.slice(prefix.length).split(",").map(Number)
    return { _tag: "Lines", ids, priority: prefix === urgentLines }
  }
  return { _tag: "Everything" }
}

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
