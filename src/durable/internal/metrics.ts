/**
 * What durable servers count. All of it is counted once per group or per failure, never per message.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

export const groups = Metric.counter("holdfast_durable_groups", {
  description: "Groups committed by this process",
  incremental: true
})

export const members = Metric.histogram("holdfast_durable_group_members", {
  description: "Members of a group: transitions, checks and messages put in line",
  boundaries: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
})

export const commitMillis = Metric.histogram("holdfast_durable_commit_millis", {
  description: "How long a group took to commit, in milliseconds",
  boundaries: [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
})

export const refused = Metric.counter("holdfast_durable_refused", {
  description: "Members that were refused because the line had moved, the server had a new holder, or a key was known",
  incremental: true
})

export const failedAttempts = Metric.counter("holdfast_durable_failed_attempts", {
  description: "Attempts of handlers that ended in a defect",
  incremental: true
})

export const parked = Metric.counter("holdfast_durable_parked", {
  description: "Messages set aside because their handler failed at every attempt",
  incremental: true
})

export const failedCasts = Metric.counter("holdfast_durable_failed_casts", {
  description: "Casts answered with a typed failure, which nobody hears",
  incremental: true
})

export const residents = Metric.gauge("holdfast_durable_residents", {
  description: "Servers in the memory of this process"
})

export const mailboxDepth = Metric.gauge("holdfast_durable_mailbox_depth", {
  description: "Messages sent in this process that wait in its memory for their turn, or for a place in line"
})

export const lineDepth = Metric.gauge("holdfast_durable_line_depth", {
  description: "Messages in line of the servers that this process holds, as far as it knows of them"
})

/** Counts a group. Outside of any fiber, in the registry that all share: a group must not wait for its own counting. */
export const recordGroup = (size: number, refusedMembers: number, millis: number): void => {
  const context = Context.empty()
  groups.updateUnsafe(1, context)
  members.updateUnsafe(size, context)
  commitMillis.updateUnsafe(millis, context)
  if (refusedMembers > 0) refused.updateUnsafe(refusedMembers, context)
}
