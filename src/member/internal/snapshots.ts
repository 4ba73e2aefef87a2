/**
 * The known enemy of rows that change often: a snapshot that somebody holds open for minutes, in a dump, a report or a
 * transaction that was forgotten. As long as it lives no version of a row newer than it is cleared away, and each look at a
 * row has to pass all of them. It cannot be avoided, so it is measured, and said once when it goes on.
 *
 * A role sees its own sessions and all prepared transactions; those of others only as a member of `pg_read_all_stats`.
 * Replication slots hold back the same, and have no age.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import type { EngineConnection } from "./engineConnection.ts"
import { oldestSnapshotMillis } from "./metrics.ts"

const oldestSnapshot = `
SELECT (extract(epoch FROM clock_timestamp() - s.since) * 1000)::float8, s.who
FROM (
  SELECT a.xact_start AS since, 'session ' || a.pid || ' (' || a.application_name || ')' AS who
  FROM pg_stat_activity a
  WHERE a.datname = current_database() AND a.backend_xmin IS NOT NULL AND a.backend_type <> 'autovacuum worker'
    AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
  UNION ALL
  SELECT p.prepared, 'prepared transaction ' || p.gid FROM pg_prepared_xacts p WHERE p.database = current_database()
) s
ORDER BY s.since LIMIT 1`

/** From how old on it is said. */
const oldMillis = 60_000

/** Measures it every ten seconds, until interrupted. */
export const watch = (connection: EngineConnection): Effect.Effect<unknown> => {
  let isOld = false
  return connection.use((session) => session.queryValues(oldestSnapshot, [])).pipe(
    Effect.flatMap(([row]) => {
      const millis = Math.max(0, Number(row?.[0] ?? 0))
      const said = isOld
      isOld = millis > oldMillis
      return Effect.andThen(
        Metric.update(oldestSnapshotMillis, millis),
        isOld && !said
          ? Effect.logWarning(
            `${String(row?.[1])} has held a snapshot open for ${Math.round(millis / 1000)} s: ` +
              "rows that change often get slow until it ends"
          )
          : Effect.void
      )
    }),
    // Where it cannot be measured now, it is the next time.
    Effect.ignore,
    Effect.repeat(Schedule.spaced("10 seconds").pipe(Schedule.jittered))
  )
}
