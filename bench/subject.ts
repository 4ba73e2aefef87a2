/**
 * The process in which a case lives, so that what it costs in processor time and memory is its own, and no library's timers run
 * in another's event loop. It is started by `measure.ts` with the work and the name of the case, and does what it is told.
 */
import { PgConnection } from "@effect/sql-pg"
import { Effect, Redacted, Scope } from "effect"
import process from "node:process"
import type { Case, CastCase, Database, Helper, Load, Meter } from "./Case.ts"
import { sessionOf } from "./casts.ts"
import { entryOf } from "./catalogue.ts"
import { runUntilTold } from "./ending.ts"
import type { Measured, Reply, Request } from "./protocol.ts"
import { cpuMicrosOf, megabytesOf, reapedCpuMicros, serverCpuMicros } from "./spent.ts"

const [work = "", name = "", most = "1"] = process.argv.slice(2)
const postmaster = Number(process.env["HOLDFAST_BENCH_POSTMASTER"] ?? "")

/**
 * How many transactions that wrote have begun: the ids given out so far. Exact at any moment, where the counters in
 * `pg_stat_database` are a second late; reads are not in it.
 */
const transactions = ({ observer }: Database) =>
  Effect.map(
    observer.queryValues("select pg_snapshot_xmax(pg_current_snapshot())::text::float8"),
    ([row]) => Number(row?.[0])
  )

interface Spent {
  readonly at: number
  readonly transactions: number
  readonly client: number
  readonly server: number | undefined
}

const spent = Effect.fnUntraced(function*(database: Database, helpers: ReadonlyArray<Helper>) {
  const of = (side: Helper["side"]) => helpers.filter((helper) => helper.side === side)
  const sum = (some: ReadonlyArray<Helper>) => some.reduce((total, { pid }) => total + (cpuMicrosOf(pid) ?? 0), 0)
  const { system, user } = process.cpuUsage()
  const server = postmaster > 0 ? serverCpuMicros(postmaster) : undefined
  return {
    at: performance.now(),
    transactions: yield* Effect.orDie(transactions(database)),
    // With what it has started and waited for, which is how pgbench runs.
    client: user + system + reapedCpuMicros() + sum(of("client")),
    server: server === undefined ? undefined : server + sum(of("server"))
  } satisfies Spent
})

const sample = Effect.fnUntraced(function*(
  database: Database,
  session: Effect.Success<ReturnType<Case["open"]>>,
  operation: string,
  load: Load
) {
  const helpers = session.helpers ?? []
  const marks: Array<Spent> = []
  const mark = Effect.flatMap(spent(database, helpers), (spent) => Effect.sync(() => marks.push(spent)))
  const meter: Meter = { begin: Effect.asVoid(mark), end: Effect.asVoid(mark) }
  const run = session.operations[operation]
  if (run === undefined) return yield* Effect.die(new Error(`${name} does not do ${operation}`))
  const { answered, measured, ...figures } = yield* run(load, meter)
  const [before, after] = marks
  if (before === undefined || after === undefined) return yield* Effect.die(new Error(`${name} was not metered`))
  return {
    ...figures,
    answered,
    commitsPerSecond: (after.transactions - before.transactions) / (after.at - before.at) * 1000,
    clientMicros: (after.client - before.client) / measured,
    serverMicros: before.server === undefined || after.server === undefined
      ? undefined
      : (after.server - before.server) / measured
  } satisfies Measured
})

const answer = (reply: Reply) => process.send?.(reply)

const program = Effect.gen(function*() {
  const url = Redacted.make(process.env["HOLDFAST_BENCH_URL"] ?? "")
  const database: Database = { url, observer: yield* PgConnection.make({ url }) }
  const loaded = yield* Effect.promise(entryOf(work, name).load)
  const one: Case = "open" in loaded ? loaded : sessionOf(name, loaded satisfies CastCase)
  const session = yield* one.open(database, Number(most))
  answer({ _tag: "Open", operations: Object.keys(session.operations) })

  const scope = yield* Scope.Scope
  const context = yield* Effect.context<never>()
  return yield* Effect.callback<void>((resume) => {
    const answering = (effect: Effect.Effect<Reply>) => {
      Effect.runForkWith(context)(Effect.matchCause(Scope.provide(effect, scope), {
        onFailure: (cause) => resume(Effect.failCause(cause)),
        onSuccess: answer
      }))
    }
    process.on("message", (request: Request) => {
      switch (request._tag) {
        case "Sample":
          return answering(Effect.map(
            sample(database, session, request.operation, request.load),
            (measured): Reply => ({ _tag: "Measured", measured })
          ))
        case "Finish":
          return answering(Effect.map(session.stored, (stored): Reply => {
            const pids = [process.pid, ...(session.helpers ?? []).map(({ pid }) => pid)]
            return { _tag: "Finished", stored, megabytes: pids.reduce((sum, pid) => sum + (megabytesOf(pid) ?? 0), 0) }
          }))
      }
    })
  })
})

runUntilTold(`${work} ${name}`, program)
