/**
 * Taking samples. Each case of a work lives in a process and a database of its own, all of them on one server. They are
 * interleaved within each round and change their order from round to round, so that whatever else the machine does hits all of
 * them alike; ratios are taken within a round, and medians over rounds. Only one of them is asked to do something at a time.
 */
import { Effect } from "effect"
import type { Load } from "./Case.ts"
import type { Cell, Entry } from "./catalogue.ts"
import { start } from "./child.ts"
import * as Database from "./database.ts"
import type { Measured, Reply, Request } from "./protocol.ts"

export interface Sample extends Cell, Measured {
  readonly work: string
  readonly name: string
  readonly round: number
}

export interface Plan {
  readonly work: string
  readonly cases: ReadonlyArray<Entry>
  readonly cells: ReadonlyArray<Cell>
  readonly rounds: number
  readonly warmMillis: number
  readonly sampleMillis: number
}

/** What a case stored, compared with what it answered, and what memory its processes took in the end. */
export interface Verified {
  readonly work: string
  readonly name: string
  readonly answered: number
  readonly missing: number
  /** Resident memory of all its processes but Postgres, in megabytes. */
  readonly megabytes: number
}

/** A case has a database of its own, on the server that all share. */
const open = Effect.fnUntraced(function*(one: Entry, servers: number) {
  const database = yield* Database.make()
  const child = yield* start<Request, Reply>({
    file: new URL("subject.ts", import.meta.url),
    args: [one.work, one.name, String(servers)],
    url: database.url,
    env: { HOLDFAST_BENCH_POSTMASTER: String(database.postmaster ?? "") },
    close: { _tag: "Close" } satisfies Request
  })
  const opened = yield* child.next
  if (opened._tag !== "Open") return yield* Effect.die(new Error(`${one.name} did not open`))
  return { one, child, operations: new Set(opened.operations), answered: 0 }
})

type Subject = Effect.Success<ReturnType<typeof open>>

const sample = Effect.fnUntraced(function*(subject: Subject, operation: string, load: Load) {
  const reply = yield* subject.child.ask({ _tag: "Sample", operation, load }).pipe(
    Effect.timeoutOrElse({
      duration: "5 minutes",
      orElse: () =>
        Effect.die(new Error(`${subject.one.work}: ${subject.one.name} does not get done with ${operation}`))
    })
  )
  if (reply._tag !== "Measured") return yield* Effect.die(new Error(`${subject.one.name} did not measure`))
  subject.answered += reply.measured.answered
  return reply.measured
})

/**
 * Takes all samples of a plan. In the end every case must have stored exactly what it answered; the difference is given with its name,
 * and is 0 where all is well.
 */
export const measure = Effect.fnUntraced(function*(plan: Plan, onProgress: (text: string) => void) {
  const most = Math.max(1, ...plan.cells.map(({ servers }) => servers))
  onProgress(`${plan.work}: opening ${plan.cases.map(({ name }) => name).join(", ")}`)
  const subjects = yield* Effect.forEach(plan.cases, (one) => open(one, most), { concurrency: 3 })
  const takesPart = (subject: Subject, cell: Cell) =>
    subject.operations.has(cell.operation) && (subject.one.covers?.(cell) ?? true)

  // Each operation once with the most callers, so that the code is compiled before it is measured with a few.
  for (const subject of plan.warmMillis > 0 ? subjects : []) {
    const warmed = new Set<string>()
    for (const cell of plan.cells.toSorted((a, b) => b.concurrency - a.concurrency)) {
      const key = `${cell.operation} ${cell.servers}`
      if (warmed.has(key) || !takesPart(subject, cell)) continue
      warmed.add(key)
      onProgress(`${plan.work}: warming up ${subject.one.name}, ${cell.operation}`)
      yield* sample(subject, cell.operation, { ...cell, warmMillis: 0, sampleMillis: plan.warmMillis * 5 })
    }
  }

  const samples: Array<Sample> = []
  for (let round = 1; round <= plan.rounds; round++) {
    for (const cell of plan.cells) {
      const inOrder = round % 2 === 0 ? subjects.toReversed() : subjects
      for (const subject of inOrder.filter((subject) => takesPart(subject, cell))) {
        const { name } = subject.one
        onProgress(
          `${plan.work}, round ${round} of ${plan.rounds}: ${name}, ${cell.operation}, servers ${cell.servers}, concurrency ${cell.concurrency}`
        )
        const measured = yield* sample(subject, cell.operation, { ...plan, ...cell })
        samples.push({ work: plan.work, name, round, ...cell, ...measured })
      }
    }
  }

  const verified: Array<Verified> = []
  for (const { answered, child, one } of subjects) {
    const reply = yield* child.ask({ _tag: "Finish" })
    if (reply._tag !== "Finished") return yield* Effect.die(new Error(`${one.name} did not finish`))
    verified.push({
      work: plan.work,
      name: one.name,
      answered,
      missing: answered - reply.stored,
      megabytes: reply.megabytes
    })
  }
  return { samples, verified }
}, Effect.scoped)
