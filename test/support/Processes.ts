/**
 * Processes that a test starts, listens to by the line, signals, and never leaves behind: each is ended by its own pid when
 * the scope closes, also one that was stopped.
 */
import { Deferred, Effect, type Scope } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

export interface TestProcess {
  readonly pid: number
  /** The first line, from the start on, that begins with this. Fails the test when the process ends without. */
  readonly line: (prefix: string) => Effect.Effect<string>
  readonly lines: Effect.Effect<ReadonlyArray<string>>
  /** What it has written to its error output. */
  readonly errors: Effect.Effect<string>
  /** Writes a line to its input. */
  readonly say: (line: string) => Effect.Effect<void>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Waits until it is gone. Gives the exit code, or the signal that ended it. */
  readonly ended: Effect.Effect<number | string>
}

/** Starts a program beside the test, with the sources of the library. */
export const start = (
  program: URL,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): Effect.Effect<TestProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, ["--conditions=holdfast-source", fileURLToPath(program), ...args], {
        env: { ...process.env, ...env },
        stdio: ["pipe", "pipe", "pipe"]
      })
      const lines: Array<string> = []
      const errors: Array<string> = []
      const watchers = new Set<() => void>()
      const ended = Deferred.makeUnsafe<number | string>()
      let over = false
      let rest = ""
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        const parts = (rest + text).split("\n")
        rest = parts.pop() ?? ""
        lines.push(...parts)
        for (const watcher of watchers) watcher()
      })
      child.stderr.setEncoding("utf8").on("data", (text: string) => errors.push(text))
      child.stdin.on("error", () => undefined)
      child.once("close", (code, signal) => {
        over = true
        Deferred.doneUnsafe(ended, Effect.succeed(signal ?? code ?? 0))
        for (const watcher of watchers) watcher()
      })
      const line = (prefix: string) =>
        Effect.callback<string>((resume) => {
          const look = () => {
            const found = lines.find((line) => line.startsWith(prefix))
            if (found === undefined && !over) return
            watchers.delete(look)
            resume(
              found === undefined
                ? Effect.die(new Error(`ended without "${prefix}": ${[...lines, ...errors].join("\n")}`))
                : Effect.succeed(found)
            )
          }
          watchers.add(look)
          look()
          return Effect.sync(() => watchers.delete(look))
        })
      const self: TestProcess = {
        pid: child.pid ?? 0,
        line,
        lines: Effect.sync(() => lines.slice()),
        errors: Effect.sync(() => errors.join("")),
        say: (text) => Effect.sync(() => child.stdin.write(`${text}\n`)),
        signal: (signal) => Effect.sync(() => child.kill(signal)),
        ended: Deferred.await(ended)
      }
      return self
    }),
    (self) => Effect.andThen(self.signal("SIGKILL"), self.ended)
  )
