/** Runs the programs of `examples/` as a user does: as processes of their own. */
import { Effect, FileSystem, Stream } from "effect"
import { ChildProcess } from "effect/process"
import process from "node:process"
import { fileURLToPath } from "node:url"

/** How a program ended, and what it wrote. */
export interface Run {
  readonly code: number
  readonly lines: ReadonlyArray<string>
  readonly errors: string
}

/** Runs `examples/<program>`. `heard` sees each line as it comes, and may signal the process. */
export const run = Effect.fnUntraced(function*(program: string, options: {
  readonly args?: ReadonlyArray<string>
  readonly env?: Record<string, string | undefined>
  readonly cwd?: string
  readonly heard?: (line: string, signal: (signal: NodeJS.Signals) => void) => void
} = {}) {
  const handle = yield* ChildProcess.make(
    process.execPath,
    [
      "--conditions=holdfast-source",
      fileURLToPath(new URL(`../../examples/${program}`, import.meta.url)),
      ...(options.args ?? [])
    ],
    { env: options.env ?? {}, extendEnv: true, cwd: options.cwd, forceKillAfter: "10 seconds" }
  )
  const lines: Array<string> = []
  const signal = (signal: NodeJS.Signals) => {
    process.kill(handle.pid, signal)
  }
  const [, errors, code] = yield* Effect.all([
    handle.stdout.pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.runForEach((line) =>
        Effect.sync(() => {
          lines.push(line)
          options.heard?.(line, signal)
        })
      )
    ),
    Stream.mkString(Stream.decodeText(handle.stderr)),
    handle.exitCode
  ], { concurrency: "unbounded" })
  return { code, lines, errors } satisfies Run
}, Effect.scoped)

/** A folder that is removed with the scope. Postgres may work in it as another user. */
export const temporaryFolder = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "holdfast-examples-" })
  yield* fs.chmod(folder, 0o755)
  return folder
})

/** Whether there is such a process. */
export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
