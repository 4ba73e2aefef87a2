/** The `holdfast` command as a process, in a folder of its own. What was compiled once is kept for the other times. */
import { Effect, FileSystem, Redacted } from "effect"
import { execFile } from "node:child_process"
import { tmpdir } from "node:os"
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
  const run = (...args: ReadonlyArray<string>) =>
    Effect.callback<Ran>((resume) => {
      const child = execFile(process.execPath, ["--conditions=holdfast-source", bin, ...args], {
        cwd: folder,
        env: {
          ...process.env,
          NO_COLOR: "1",
          NODE_COMPILE_CACHE: join(tmpdir(), "holdfast-cli-tests"),
          ...values
        }
      }, (error, out, err) => resume(Effect.succeed({ code: error === null ? 0 : Number(error.code), out, err })))
      child.stdin?.end()
      return Effect.sync(() => child.kill())
    })
  const json = (...args: ReadonlyArray<string>) =>
    Effect.map(run(...args, "--json"), (ran) => ({ ...ran, value: JSON.parse(ran.out) }))
  return { folder, run, json, write: (file: string, text: string) => fs.writeFileString(join(folder, file), text) }
})
