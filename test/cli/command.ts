/** The `holdfast` command as a process, in a folder of its own. */
import { Effect, FileSystem, Redacted } from "effect"
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const bin = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url))

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** A folder, and the command run in it with these variables. */
export const commandIn = Effect.fnUntraced(function*(env: Readonly<Record<string, string | Redacted.Redacted>>) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped()
  const values = Object.fromEntries(
    Object.entries(env).map(([name, value]) => [name, typeof value === "string" ? value : Redacted.value(value)])
  )
  const options = {
    cwd: folder,
    env: {
      ...process.env,
      NO_COLOR: "1",
      ...values
    }
  }
  const argv = (args: ReadonlyArray<string>) => ["--conditions=holdfast-source", bin, ...args]
  /** Runs it, and calls these with what it says as it says it. */
  const follow = (
    args: ReadonlyArray<string>,
    heard: (child: ChildProcess, from: "out" | "err", text: string) => void
  ) =>
    Effect.callback<number>((resume) => {
      const child = spawn(process.execPath, argv(args), options)
      child.stdout.on("data", (text: Buffer) => heard(child, "out", text.toString()))
      child.stderr.on("data", (text: Buffer) => heard(child, "err", text.toString()))
      child.on("close", (code) => resume(Effect.succeed(code ?? -1)))
      return Effect.sync(() => child.kill())
    })
  const run = (...args: ReadonlyArray<string>) =>
    Effect.callback<Ran>((resume) => {
      const child = execFile(
        process.execPath,
        argv(args),
        options,
        (error, out, err) => resume(Effect.succeed({ code: error === null ? 0 : Number(error.code), out, err }))
      )
      child.stdin?.end()
      return Effect.sync(() => child.kill())
    })
  const json = (...args: ReadonlyArray<string>) =>
    Effect.map(run(...args, "--json"), (ran) => ({ ...ran, value: JSON.parse(ran.out) }))
  return {
    folder,
    run,
    follow,
    json,
    write: (file: string, text: string) => fs.writeFileString(join(folder, file), text)
  }
})
