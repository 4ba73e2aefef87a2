/**
 * The one who starts the processes of the soak and does everything to them that can happen to processes: kills them, stops them for
 * longer than their leases, asks them to leave, cuts their connections, and stops the database as if its machine had failed.
 * Each process that ends is started again. In the end there is peace, everything that was sent is waited for, and `check.ts` compares
 * what the processes wrote down with what is stored.
 *
 * All choices come from a seed. The processes and the database have a will of their own, so that the same seed is the same
 * kind of weather, not the same run.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Exit, Fiber, Layer, Option, Random, Redacted } from "effect"
import { DurableNode } from "holdfast/durable"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { EmbeddedPostgres } from "../../../src/testing/EmbeddedPostgres.ts"
import * as CuttableProxy from "../../support/CuttableProxy.ts"
import * as Processes from "../../support/Processes.ts"
import { checkAt, type Found } from "./check.ts"
import { tables } from "./servers.ts"

export interface Options {
  readonly seconds: number
  readonly processes: number
  readonly accounts: number
  readonly seed: string
  readonly progress: (text: string) => void
}

export interface Report extends Found {
  readonly kills: number
  readonly stops: number
  readonly leaves: number
  readonly cuts: number
  readonly restarts: number
  readonly starts: number
  /** Where the ledgers are, if something was wrong. */
  readonly folder: string
}

const leaseMillis = 1000
/** How long everything that was sent may take to be answered, once there is peace. */
const patience = "60 seconds"

/** A process, and the one that takes its place when it has ended. */
class Slot {
  readonly index: number
  readonly proxy: CuttableProxy.CuttableProxy
  run = 0
  process: Processes.TestProcess | undefined
  /** It runs, and nobody is at it. */
  ready = false
  /** Somebody has seen to it that it ends. */
  condemned = false
  constructor(index: number, proxy: CuttableProxy.CuttableProxy) {
    this.index = index
    this.proxy = proxy
  }
}

const makeDatabase = Effect.gen(function*() {
  const server = yield* EmbeddedPostgres
  const name = `holdfast_soak_${randomBytes(4).toString("hex")}`
  const administer = (statement: string) =>
    Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(statement)).pipe(
      Effect.provide(Layer.fresh(PgClient.layer({ url: server.url, maxConnections: 1 })))
    )
  yield* Effect.acquireRelease(
    administer(`CREATE DATABASE ${name}`),
    () => Effect.ignore(administer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
  )
  const url = server.urlOf(name)
  // Everything is installed before anything is done to anybody.
  yield* Effect.scoped(Effect.flatMap(
    Layer.build(Layer.fresh(DurableNode.layerPostgres.pipe(Layer.provideMerge(PgClient.layer({ url }))))),
    (context) =>
      Effect.provide(
        Effect.flatMap(PgClient.PgClient, (sql) => Effect.forEach(tables, (table) => sql.unsafe(table))),
        context
      )
  ))
  return url
})

export const soak = Effect.fnUntraced(
  function*(options: Options) {
    const server = yield* EmbeddedPostgres
    const isOurs = Option.isSome(server.dataDirectory)
    const url = yield* makeDatabase
    const folder = mkdtempSync(join(tmpdir(), "holdfast-soak-"))
    let keep = false
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (!keep) rmSync(folder, { recursive: true, force: true })
      })
    )
    const ledgers: Array<string> = []
    const wrong: Array<string> = []
    const done = { kills: 0, stops: 0, leaves: 0, cuts: 0, restarts: 0, starts: 0 }
    let ending = false
    const at = new URL(Redacted.value(url))
    const slots = yield* Effect.forEach(
      Array.from({ length: options.processes }, (_, index) => index),
      (index) =>
        Effect.map(
          CuttableProxy.make({ host: at.hostname, port: Number(at.port || 5432) }, { remembers: false }),
          (proxy) => new Slot(index, proxy)
        )
    )

    // ------------------------------------------------------------------------------------------------ processes

    /** One life of a process. */
    const live = Effect.fnUntraced(function*(slot: Slot) {
      const run = ++slot.run
      const ledger = join(folder, `${slot.index}.${run}.jsonl`)
      ledgers.push(ledger)
      slot.condemned = false
      const process = yield* Processes.start(
        new URL("worker.ts", import.meta.url),
        [slot.index, run, ledger, options.accounts, options.seed, leaseMillis].map(String),
        {
          HOLDFAST_SOAK_URL: Redacted.value(slot.proxy.through(url)),
          // They are started so often that it matters how soon they are ready.
          NODE_COMPILE_CACHE: join(folder, "compiled")
        }
      )
      slot.process = process
      done.starts++
      const isUp = yield* Effect.exit(process.line("ready"))
      slot.ready = Exit.isSuccess(isUp)
      const code = yield* process.ended
      slot.ready = false
      const expected = slot.condemned || ending || (Exit.isFailure(isUp) && code === 3)
      if (!expected) wrong.push(`process ${slot.index}.${run} ended by itself, with ${code}: ${yield* process.errors}`)
      if (code === 3) yield* Effect.sleep("100 millis")
    }, Effect.scoped)

    const living = yield* Effect.forEach(
      slots,
      (slot) => Effect.forkScoped(Effect.repeat(live(slot), { while: () => !ending }))
    )

    options.progress("starting")
    yield* Effect.sleep("20 millis").pipe(Effect.repeat({ while: () => slots.some((slot) => !slot.ready) }))

    /** Somebody at random who runs and is left alone by the others. */
    const someone = Effect.gen(function*() {
      const ready = slots.filter((slot) => slot.ready)
      return ready[yield* Random.nextIntBetween(0, ready.length - 1)]
    })
    const end = (signal: "SIGKILL" | "SIGTERM", count: "kills" | "leaves") =>
      Effect.gen(function*() {
        const slot = yield* someone
        if (slot?.process === undefined) return
        slot.ready = false
        slot.condemned = true
        done[count]++
        yield* slot.process.signal(signal)
      })
    const stop = Effect.gen(function*() {
      const slot = yield* someone
      const process = slot?.process
      if (slot === undefined || process === undefined) return
      const millis = leaseMillis * (yield* Random.nextBetween(0.5, 3))
      slot.ready = false
      done.stops++
      // The weather may end meanwhile: it goes on then, and can be spoken to.
      yield* Effect.acquireUseRelease(
        process.signal("SIGSTOP"),
        () => Effect.sleep(millis),
        () =>
          Effect.andThen(
            process.signal("SIGCONT"),
            Effect.sync(() => {
              slot.ready = true
            })
          )
      )
    })
    const sessions = ["commit", "commit", "commit", "read", "heartbeat", "listen"].map((name) => `holdfast ${name}`)
    const cut = Effect.gen(function*() {
      const slot = slots[yield* Random.nextIntBetween(0, slots.length - 1)]
      const session = sessions[yield* Random.nextIntBetween(0, sessions.length - 1)]
      if (slot === undefined) return
      done.cuts += yield* slot.proxy.cut((yield* Random.next) < 0.05 ? undefined : session)
    })
    const restart = Effect.gen(function*() {
      done.restarts++
      yield* Effect.andThen(server.stop("immediate"), Effect.sleep(yield* Random.nextIntBetween(0, 1000))).pipe(
        Effect.ensuring(Effect.orDie(server.start))
      )
    })

    /** Does it again and again, with so many milliseconds in between. */
    const every = (from: number, to: number, what: Effect.Effect<void, unknown>) =>
      Effect.andThen(Effect.flatMap(Random.nextIntBetween(from, to), Effect.sleep), Effect.orDie(what)).pipe(
        Effect.forever,
        Effect.forkScoped
      )

    const weather = [
      yield* every(700, 1300, end("SIGKILL", "kills")),
      yield* every(2000, 5000, stop),
      yield* every(6000, 12_000, end("SIGTERM", "leaves")),
      yield* every(50, 500, cut),
      ...(isOurs
        ? [yield* every(Math.min(5000, options.seconds * 250), Math.min(30_000, options.seconds * 500), restart)]
        : [])
    ]
    for (let second = 0; second < options.seconds; second++) {
      options.progress(
        `${second} of ${options.seconds} s, seed ${options.seed}: ${done.kills} killed, ${done.stops} stopped, ` +
          `${done.leaves} left, ${done.cuts} connections cut, ${done.restarts} restarts of Postgres`
      )
      yield* Effect.sleep("1 second")
    }
    yield* Fiber.interruptAll(weather)

    // ------------------------------------------------------------------------------------------------ peace

    options.progress("waiting for what is under way")
    /** Those that are on their way up or down have to be up before they can be told. */
    const told = Effect.forEach(slots, (slot) =>
      Effect.gen(function*() {
        for (;;) {
          const process = slot.process
          if (slot.ready && process !== undefined) {
            yield* process.say("stop")
            if (Exit.isSuccess(yield* Effect.exit(process.line("stopped")))) return
          }
          yield* Effect.sleep("20 millis")
        }
      }).pipe(
        Effect.timeoutOrElse({
          duration: patience,
          orElse: () =>
            Effect.sync(() => wrong.push(`process ${slot.index}.${slot.run} waits for answers that do not come`))
        })
      ), { concurrency: "unbounded", discard: true })
    yield* told

    options.progress("checking")
    const found = yield* checkAt(url, { ledgers, patience })
    ending = true
    const report: Report = { ...found, ...done, wrong: [...wrong, ...found.wrong], folder }
    for (const slot of slots) yield* slot.process?.signal("SIGKILL") ?? Effect.void
    yield* Effect.forEach(living, Fiber.join)
    options.progress("")
    keep = report.wrong.length > 0
    return report
  },
  Effect.scoped,
  (effect, options) => Random.withSeed(effect, options.seed)
)

/** A report as it is printed. */
export const summary = (report: Report): string =>
  [
    `${report.kills} killed, ${report.stops} stopped, ${report.leaves} left, ${report.cuts} connections cut, ` +
    `${report.restarts} restarts of Postgres, ${report.starts} starts of processes`,
    `${report.sent} messages sent, ${report.acknowledged} times told of it, ${report.looks} looks; ${report.keyed} keyed, ` +
    `${report.scheduled} for later (${report.cancelled} cancelled), ${report.between} between servers, ` +
    `${report.stragglers} stragglers`,
    ...(report.wrong.length === 0 ? ["nothing is wrong"] : [
      "WRONG:",
      ...report.wrong,
      `what the processes wrote down is kept in ${report.folder}`
    ])
  ].join("\n")
