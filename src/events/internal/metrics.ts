/**
 * What event stores count. All of it is counted once per group, page or failure, never per event.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })

export const appended = counter("holdfast_events_appended", "Events appended by this process")
export const groups = counter("holdfast_events_groups", "Groups of appends committed by this process")
export const conflicts = counter(
  "holdfast_events_conflicts",
  "Appends refused: the stream was elsewhere, or an id known"
)
export const busy = counter("holdfast_events_busy", "Appends that found their stream locked, and were tried again")
export const delivered = counter("holdfast_events_read", "Events read for subscriptions by this process")
export const parked = counter("holdfast_events_parked", "Events set aside by subscribers")

export const commitMillis = Metric.histogram("holdfast_events_commit_millis", {
  description: "How long a group of appends took to commit, in milliseconds",
  boundaries: [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
})

export const groupEvents = Metric.histogram("holdfast_events_group_events", {
  description: "Events in a group of appends",
  boundaries: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096]
})

const nowhere = Context.empty()

/** Counts outside of any fiber, in the registry that all share. */
export const count = (metric: Metric.Counter<number>, by = 1): void => {
  if (by > 0) metric.updateUnsafe(by, nowhere)
}

export const recordGroup = (events: number, refused: number, millis: number): void => {
  groups.updateUnsafe(1, nowhere)
  groupEvents.updateUnsafe(events, nowhere)
  commitMillis.updateUnsafe(millis, nowhere)
  count(conflicts, refused)
}

// What gateway workers count tells of no store and of no client: whoever may read these numbers need not know them.

export const gatewaySessions = Metric.gauge("holdfast_gateway_sessions", {
  description: "Clients connected to this worker"
})

export const gatewayRequests = Metric.gauge("holdfast_gateway_requests", {
  description: "Requests in flight at this worker"
})

export const gatewaySubscriptions = Metric.gauge("holdfast_gateway_subscriptions", {
  description: "Subscriptions that this worker serves"
})

export const gatewayRefused = Metric.counter("holdfast_gateway_refused", {
  description: "Clients that were refused for their token",
  incremental: true
})
