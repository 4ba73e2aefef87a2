/**
 * What gateway workers count. Nothing here tells of a store or of a client: whoever may read these numbers need not know them.
 */
import * as Metric from "effect/Metric"

export const sessions = Metric.gauge("holdfast_gateway_sessions", { description: "Clients connected to this worker" })

export const requests = Metric.gauge("holdfast_gateway_requests", { description: "Requests in flight at this worker" })

export const subscriptions = Metric.gauge("holdfast_gateway_subscriptions", {
  description: "Subscriptions that this worker serves"
})

export const refused = Metric.counter("holdfast_gateway_refused", {
  description: "Clients that were refused for their token",
  incremental: true
})
