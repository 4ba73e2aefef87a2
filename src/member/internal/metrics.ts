/**
 * What members count: how they fare with their leases, and what makes their database slow.
 */
import * as Metric from "effect/Metric"

export const lost = Metric.counter("holdfast_member_lost", {
  description: "Times that this process was declared dead because its lease ran out, and came back under a new number",
  incremental: true
})

export const oldestSnapshotMillis = Metric.gauge("holdfast_member_oldest_snapshot_millis", {
  description: "Age of the oldest snapshot held open in the database, of those that the role may see, in milliseconds"
})
