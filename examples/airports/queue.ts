/**
 * What the database says about the work: how much is done, how much waits, and who holds what. An onlooker's view, straight
 * from the library's tables; durable servers do not need it.
 */
import { Effect, Schema } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"

const Count = Schema.Finite

/** How many messages were handled, and how many wait in line. */
export const look = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  return yield* SqlSchema.findOne({
    Request: Schema.Void,
    Result: Schema.Struct({ handled: Count, waiting: Count }),
    execute: () =>
      sql`SELECT
        (SELECT count(*) FROM holdfast.outcome WHERE answered_at IS NOT NULL)::float8
          + (SELECT count(*) FROM holdfast.parked)::float8 AS handled,
        (SELECT coalesce(sum(pushed), 0) FROM holdfast.inbox)::float8
          - (SELECT coalesce(sum(taken), 0) FROM holdfast.server)::float8 AS waiting`
  })(undefined)
})

/** How many airports a process holds, the latest of that name. */
export const heldBy = Effect.fn("queue.heldBy")(function*(name: string) {
  const sql = yield* SqlClient.SqlClient
  const { held } = yield* SqlSchema.findOne({
    Request: Schema.String,
    Result: Schema.Struct({ held: Count }),
    execute: (name) =>
      sql`SELECT count(*)::float8 AS held FROM holdfast.server
        WHERE holder = (SELECT max(id) FROM holdfast.member WHERE name = ${name})`
  })(name)
  return held
})
