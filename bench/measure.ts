/**
 * Taking samples: a number of callers, each in a fiber of its own, call one after the other for a while; then it is counted
 * what was answered, how long each answer took, what the process spent, and how many transactions the server committed.
 *
 * Cases are interleaved within each round and change their order from round to round, so that whatever else the machine does
 * hits all of them alike; ratios are taken within a round, and medians over rounds.
 */
import { Effect, Fiber } from "effect"
import process from "node:process"
import type { CallError, Case, Database, Session } from "./Case.ts"

export interface Cell {
  readonly servers: number
  readonly concurrency: number
}

export interface Sample extends Cell {
  readonly name: string
  readonly round: number
  readonly callsPerSecond: number
  readonly p50Millis: number
  readonly p99Millis: number
  readonly commitsPerSecond: number
  /** User and system time of this process, for each call. */
  readonly cpuMicrosPerCall: number
}

export interface Plan {
  readonly cases: ReadonlyArray<Case>
  readonly servers: ReadonlyArray<number>
  readonly concurrency: ReadonlyArray<number>
  readonly rounds: number
  readonly warmMillis: number
  readonly sampleMillis: number
}

/** Latencies of a sample in milliseconds. One array for all samples, so that noting one costs next to nothing. */
const latencies = new Float64Array(1 << 22)

const quantile = (sorted: Float64Array, q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN

/**
 * How many transactions that wrote have begun: the ids given out so far. Exact at any moment, where the counters in
 * `pg_stat_database` are a second late; reads are not in it.
 */
const transactions = ({ observer }: Database) =>
  Effect.map(
    observer.queryValues("select pg_snapshot_xmax(pg_current_snapshot())::text::float8"),
    ([row]) => Number(row?.[0])
  )

/** Who calls which server: an xorshift generator for each caller, the same in every run. */
const pickerOf = (caller: number, servers: number) => {
  let seed = Math.imul(caller + 1, 0x9e3779b1) | 1
  return () => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return (seed >>> 0) % servers
  }
}

interface Load extends Cell {
  readonly warmMillis: number
  readonly sampleMillis: number
}

/** Puts a session under load for a while. Also tells how many calls were answered in all, warming up included. */
const sample = Effect.fnUntraced(function*(database: Database, session: Session, load: Load) {
  const { concurrency, sampleMillis, servers, warmMillis } = load
  const state = { running: true, answered: 0, noted: 0 }
  const caller = Effect.fnUntraced(function*(index: number) {
    const pick = pickerOf(index, servers)
    while (state.running) {
      const started = performance.now()
      yield* session.call(pick())
      state.answered++
      latencies[state.noted++ % latencies.length] = performance.now() - started
    }
  })
  const callers = yield* Effect.forkChild(
    Effect.forEach(Array.from({ length: concurrency }, (_, index) => index), caller, {
      concurrency: "unbounded",
      discard: true
    })
  )

  yield* Effect.sleep(warmMillis)
  const transactionsBefore = yield* transactions(database)
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  state.noted = 0

  yield* Effect.sleep(sampleMillis)
  const seconds = (performance.now() - startedAt) / 1000
  const calls = state.noted
  const cpu = process.cpuUsage(cpuBefore)
  const transactionsAfter = yield* transactions(database)
  const secondsOfTransactions = (performance.now() - startedAt) / 1000

  state.running = false
  yield* Fiber.join(callers).pipe(
    Effect.timeout("30 seconds"),
    Effect.catchTag("TimeoutError", (error) => Effect.die(error))
  )

  const sorted = latencies.slice(0, Math.min(calls, latencies.length)).sort()
  return {
    answered: state.answered,
    result: {
      servers,
      concurrency,
      callsPerSecond: calls / seconds,
      p50Millis: quantile(sorted, 0.5),
      p99Millis: quantile(sorted, 0.99),
      commitsPerSecond: (transactionsAfter - transactionsBefore) / secondsOfTransactions,
      cpuMicrosPerCall: (cpu.user + cpu.system) / calls
    }
  }
})

/** The combinations that are measured. */
export const cellsOf = (plan: Plan): ReadonlyArray<Cell> =>
  plan.servers.flatMap((servers) => plan.concurrency.map((concurrency) => ({ servers, concurrency })))

/** Whether a case is measured there: one that makes sense only alone is measured on one server. */
const covers = (one: Case, cell: Cell): boolean =>
  cell.concurrency <= one.maxConcurrency && (one.maxConcurrency > 1 || cell.servers === 1)

/**
 * Takes all samples of a plan. In the end every case must have stored exactly what it answered; the difference is given with the name
 * of the case, and is 0 where all is well.
 */
export const measure = Effect.fnUntraced(function*(
  database: Database,
  plan: Plan,
  onProgress: (text: string) => void
) {
  const most = Math.max(...plan.servers)
  const open: Array<{ readonly one: Case; readonly session: Session; answered: number }> = []
  for (const one of plan.cases) open.push({ one, session: yield* one.open(database, most), answered: 0 })

  const cells = cellsOf(plan)
  for (const entry of open) {
    onProgress(`warming up: ${entry.one.name}`)
    for (const servers of plan.servers) {
      // Many callers, so that the code is compiled before it is measured with a few.
      const cell = { servers, concurrency: Math.min(64, entry.one.maxConcurrency) }
      const load = { ...cell, warmMillis: 0, sampleMillis: plan.warmMillis * 5 }
      entry.answered += (yield* sample(database, entry.session, load)).answered
    }
  }

  const samples: Array<Sample> = []
  for (let round = 1; round <= plan.rounds; round++) {
    for (const cell of cells) {
      const inOrder = round % 2 === 0 ? open.toReversed() : open
      for (const entry of inOrder.filter(({ one }) => covers(one, cell))) {
        const { name } = entry.one
        onProgress(
          `round ${round} of ${plan.rounds}: ${name}, servers ${cell.servers}, concurrency ${cell.concurrency}`
        )
        const { answered, result } = yield* sample(database, entry.session, { ...plan, ...cell })
        entry.answered += answered
        samples.push({ name, round, ...result })
      }
    }
  }

  const verified: Array<{ readonly name: string; readonly answered: number; readonly missing: number }> = []
  for (const { answered, one, session } of open) {
    const total: Effect.Effect<number, CallError> = session.total
    verified.push({ name: one.name, answered, missing: answered - (yield* total) })
  }
  return { samples, verified }
})
