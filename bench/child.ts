/**
 * Another process of this benchmark, over Node's own channel: requests and replies, one at a time. It ends with its scope; a
 * process that ends by itself is a defect of whoever waits for it.
 */
import { Effect, Redacted, type Scope } from "effect"
import { fork } from "node:child_process"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"

export interface Child<Request, Reply> {
  readonly pid: number
  /** The next thing it says. */
  readonly next: Effect.Effect<Reply>
  readonly ask: (request: Request) => Effect.Effect<Reply>
}

export interface Options {
  readonly file: URL
  readonly args: ReadonlyArray<string>
  readonly url: Redacted.Redacted
  readonly env?: Readonly<Record<string, string>>
  /** What to say so that it ends by itself. It has five seconds. */
  readonly close: unknown
}

export const start = <Request extends object, Reply>(
  options: Options
): Effect.Effect<Child<Request, Reply>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = fork(fileURLToPath(options.file), options.args, {
          env: {
            // Every process loads much the same code: it is compiled by the first of them.
            NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache"),
            ...process.env,
            ...options.env,
            HOLDFAST_BENCH_URL: Redacted.value(options.url)
          },
          // Not every peer keeps up with what its driver deprecates.
          execArgv: ["--no-deprecation"],
          stdio: ["ignore", "inherit", "inherit", "ipc"]
        })
        const heard: Array<Reply> = []
        const state: { waiting?: ((reply: Effect.Effect<Reply>) => void) | undefined; ended: boolean } = {
          ended: false
        }
        child.on("message", (message) => {
          const reply = message as Reply
          const waiting = state.waiting
          state.waiting = undefined
          if (waiting === undefined) heard.push(reply)
          else waiting(Effect.succeed(reply))
        })
        const gone = Effect.die(new Error(`the process of ${options.args.join(" ")} ended by itself`))
        child.on("exit", () => {
          state.ended = true
          state.waiting?.(gone)
        })
        const next = Effect.callback<Reply>((resume) => {
          const reply = heard.shift()
          if (reply !== undefined) resume(Effect.succeed(reply))
          else if (state.ended) resume(gone)
          else state.waiting = resume
          // Whoever does not wait any longer takes nothing away from who comes next.
          return Effect.sync(() => {
            if (state.waiting === resume) state.waiting = undefined
          })
        })
        return { child, next }
      }),
      ({ child }) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.once("exit", () => resume(Effect.void))
          const late = setTimeout(() => child.kill("SIGKILL"), 5000)
          child.once("exit", () => clearTimeout(late))
          if (child.connected) child.send(options.close as object, () => {})
        })
    ),
    ({ child, next }): Child<Request, Reply> => ({
      pid: child.pid ?? 0,
      next,
      ask: (request) =>
        Effect.suspend(() => {
          child.send(request)
          return next
        })
    })
  )
