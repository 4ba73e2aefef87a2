/**
 * Starts workers and feeders, as child processes of their own. They end with the scope they are started in, and by
 * themselves when this process dies.
 */
import { Deferred, Effect, Fiber, Result, Schema, Stream } from "effect"
import { ChildProcess } from "effect/process"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { type Access, toEnvironment } from "./database.ts"
import { Screen } from "./Screen.ts"

/** A child that ended though nobody told it to. */
export class ChildEnded extends Schema.TaggedError<ChildEnded>()("ChildEnded", {
  name: Schema.String,
  outcome: Schema.String
}) {
  override get message() {
    return `the ${this.name} ended unexpectedly: ${this.outcome}`
  }
}

/** A child process. */
export interface Child {
  readonly name: string
  readonly pid: number
  /** Resolves when it has ended of its own accord and in order; fails when it ended otherwise. */
  readonly ended: Effect.Effect<void, ChildEnded>
  /** Ends it by SIGKILL: it is not asked and notices nothing. */
  readonly kill: Effect.Effect<void>
}

/** Starts a program of this folder. `heard` is given each line that it writes on standard output. */
const start = Effect.fn("processes.start")(function*(options: {
  readonly program: "worker" | "feeder"
  readonly name: string
  readonly args: ReadonlyArray<string>
  readonly access: Access
  readonly heard: (line: string) => Effect.Effect<void>
}) {
  const { access, args, heard, name, program } = options
  const screen = yield* Screen
  const handle = yield* ChildProcess.make(
    process.execPath,
    [...process.execArgv, fileURLToPath(new URL(`${program}.ts`, import.meta.url)), name, ...args],
    { env: toEnvironment(access), extendEnv: true, forceKillAfter: "5 seconds" }
  )
  const lines = (stream: typeof handle.stdout, heard: (line: string) => Effect.Effect<void>) =>
    Effect.forkScoped(stream.pipe(Stream.decodeText(), Stream.splitLines, Stream.runForEach(heard), Effect.ignore))
  const output = yield* lines(handle.stdout, heard)
  const errors = yield* lines(handle.stderr, (line) => screen.say(`${name}: ${line}`))

  let told = false
  const ended = Effect.result(handle.exitCode).pipe(
    // What it wrote last is heard before it counts as ended.
    Effect.tap(Fiber.awaitAll([output, errors])),
    Effect.flatMap((code) => {
      if (told) return Effect.never
      if (Result.isSuccess(code) && code.success === 0) return Effect.void
      return new ChildEnded({ name, outcome: Result.isSuccess(code) ? `exit code ${code.success}` : "by a signal" })
    })
  )
  const kill = Effect.suspend(() => {
    told = true
    return Effect.ignore(handle.kill({ killSignal: "SIGKILL" }))
  })
  return { name, pid: handle.pid, ended, kill } satisfies Child
})

/** Starts a worker, and waits until it holds handlers. */
export const startWorker = Effect.fn("processes.startWorker")(function*(name: string, access: Access) {
  const ready = yield* Deferred.make<void>()
  const worker = yield* start({
    program: "worker",
    name,
    args: [],
    access,
    heard: (line) => line === "ready" ? Effect.asVoid(Deferred.succeed(ready, undefined)) : Effect.void
  })
  yield* Effect.raceFirst(Deferred.await(ready), worker.ended)
  return worker
})

/** Starts the feeder. `sent` is told, again and again, how many messages are acknowledged. */
export const startFeeder = (options: {
  readonly file: string
  readonly concurrency: number
  readonly access: Access
  readonly sent: (messages: number) => void
}) =>
  start({
    program: "feeder",
    name: "feeder",
    args: [options.file, `${options.concurrency}`],
    access: options.access,
    heard: (line) => Effect.sync(() => options.sent(Number(line)))
  })
