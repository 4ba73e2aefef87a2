/**
 * What datastores count: contexts that are lost and found again, and migrations.
 */
import * as Metric from "effect/Metric"

export const contextsLost = Metric.counter("holdfast_datastore_contexts_lost", {
  description: "Times that a context was found not to be reachable",
  incremental: true
})

export const outageMillis = Metric.histogram("holdfast_datastore_outage_millis", {
  description: "How long a context was not reachable until it was again, in milliseconds",
  boundaries: [50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000]
})

export const migrationMillis = Metric.histogram("holdfast_datastore_migration_millis", {
  description: "How long a migration took to be applied, in milliseconds",
  boundaries: [1, 5, 10, 50, 100, 500, 1000, 5000, 10_000, 60_000, 600_000]
})
