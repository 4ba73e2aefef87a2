/** The floor of appends: whatever is there is inserted in one statement, while the next group forms. No versions, no checks, no library. */
import { PgConnection } from "@effect/sql-pg"
import { Effect, type Schema } from "effect"
import type { Case, Database } from "../Case.ts"
import { once } from "../load.ts"
import { data, distinctStreams, eventType, streamOf } from "./streams.ts"

const table = `
CREATE TABLE bench_event (
  position bigint PRIMARY KEY, stream text COLLATE "C" NOT NULL, version bigint NOT NULL, id uuid NOT NULL UNIQUE,
  type text NOT NULL, data text NOT NULL, created_epoch bigint NOT NULL, UNIQUE (stream, version)
)`
const insert = `
INSERT INTO bench_event SELECT $1::bigint + e.o, e.stream, $1::bigint + e.o, e.id::uuid, '${eventType}', e.data, 0
FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS e(stream, id, data, o)`

/** Appends of one event each to a table of their own, all with the same data. */
export const groupedInserts = Effect.fnUntraced(function*({ observer, url }: Database, data: Schema.Json) {
  yield* observer.query(table)
  const connection = yield* PgConnection.make({ url })
  let waiting: Array<{ readonly stream: string; readonly done: () => void }> = []
  let busy = false
  let position = 0
  const flush = Effect.gen(function*() {
    while (waiting.length > 0) {
      yield* Effect.yieldNow
      const group = waiting
      waiting = []
      yield* connection.query(insert, [
        BigInt(position),
        group.map(({ stream }) => stream),
        group.map(() => crypto.randomUUID()),
        group.map(() => JSON.stringify(data))
      ])
      position += group.length
      for (const { done } of group) done()
    }
    busy = false
  })
  const context = yield* Effect.context<never>()
  return (stream: string) =>
    Effect.callback<void>((resume) => {
      waiting.push({ stream, done: () => resume(Effect.void) })
      if (busy) return
      busy = true
      Effect.runForkWith(context)(flush)
    })
}, Effect.orDie)

export const bareEvents: Case = {
  open: Effect.fnUntraced(function*(database) {
    const append = yield* groupedInserts(database, data)
    return {
      operations: {
        append: once((_, caller, nth) => append(`s${streamOf({ streams: distinctStreams }, caller, nth)}`)),
        hot: once(() => append("hot"))
      },
      stored: Effect.orDie(Effect.map(
        database.observer.queryValues("select count(*)::float8 from bench_event"),
        ([row]) => Number(row?.[0])
      ))
    }
  })
}
