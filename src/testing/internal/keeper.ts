/**
 * The keeper: a small program, run as a process of its own between us and Postgres, that makes sure nothing is left behind.
 *
 * It owns a temporary folder and runs one command at a time, as a real parent, so that it always knows whether the command
 * still lives. Its life hangs on the channel to the process that forked it: when that closes, because a scope was closed or
 * because the other process is gone in whatever way (SIGKILL included), it ends its command, waits for that, removes the
 * folder and exits. Closing the channel is the only way to stop it, so an orderly end and a crash take the same path.
 *
 * It is started in a session of its own: a Ctrl-C in the terminal reaches neither the keeper nor Postgres, and it takes no
 * notice of the signals sent to whole groups. Time is kept here, on the real clock, whatever clock the other side runs on.
 *
 * It speaks by messages: `Request` one way, `Report` the other. It imports nothing but Node.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"

/** A command to run. */
export interface Command {
  readonly file: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  /** Who runs it; as the keeper itself when absent. */
  readonly account?: { readonly uid: number; readonly gid: number } | undefined
  /** A `postmaster.pid` file: when it says that this command's process is ready, `Ready` is reported. */
  readonly statusFile?: string | undefined
  /** A folder that the command fills, removed unless the command succeeds. */
  readonly output?: string | undefined
}

/** What the keeper is asked. */
export type Request =
  | { readonly _tag: "Run"; readonly command: Command }
  | { readonly _tag: "Signal"; readonly signal: NodeJS.Signals }

/** What the keeper tells. */
export type Report =
  /** The temporary folder is there, and a command may be run. */
  | { readonly _tag: "Opened"; readonly folder: string }
  /** There is none, and the keeper has ended. */
  | { readonly _tag: "Failed"; readonly message: string }
  | { readonly _tag: "Started"; readonly pid: number }
  | { readonly _tag: "Ready" }
  /** The command has ended, or could not be started; with the last lines of its output. */
  | {
    readonly _tag: "Exited"
    readonly outcome: string
    readonly success: boolean
    readonly log: ReadonlyArray<string>
  }

const keptLines = 20
const lineLength = 1000
const statusInterval = 10
/** How long a shutdown may take until the next, harsher signal. */
const patience: ReadonlyArray<readonly [signal: NodeJS.Signals, milliseconds: number]> = [
  ["SIGINT", 0],
  ["SIGQUIT", 10_000],
  ["SIGKILL", 15_000]
]
/** How long to wait, when a command has ended, for those it has started and for the rest of the output. */
const outputGrace = 5000

let child: ChildProcess | undefined
/** Whether the command's work is thrown away when it is ended, so that there is no need to be gentle. */
let discardable = false
let folder: string | undefined
let ending = false

const report = (message: Report): void => {
  // The other side may be gone at any moment; what it does not hear, it does not need.
  if (process.connected) process.send?.(message, undefined, {}, () => {})
}

const isReady = (statusFile: string, pid: number): boolean => {
  try {
    const lines = readFileSync(statusFile, "utf8").split("\n")
    return lines[0] === `${pid}` && lines[7]?.trim() === "ready"
  } catch {
    return false
  }
}

const run = (command: Command): void => {
  const log: Array<string> = []
  let partial = ""
  const read = (chunk: string): void => {
    const lines = (partial + chunk).split("\n")
    partial = (lines.pop() ?? "").slice(0, lineLength)
    log.push(...lines.map((line) => line.slice(0, lineLength)))
    log.splice(0, log.length - keptLines)
  }

  const started = spawn(command.file, command.args, {
    cwd: "/",
    // A group of its own, so that a signal reaches those that the command has started as well.
    detached: true,
    env: command.env,
    stdio: ["ignore", "pipe", "pipe"],
    ...command.account
  })
  child = started
  discardable = command.output !== undefined
  started.stdout.setEncoding("utf8").on("data", read)
  started.stderr.setEncoding("utf8").on("data", read)

  let watch: NodeJS.Timeout | undefined
  let exited = false
  const onExit = (outcome: string, success: boolean): void => {
    if (exited) return
    exited = true
    clearInterval(watch)
    child = undefined
    if (!success && command.output !== undefined) remove(command.output)
    report({ _tag: "Exited", outcome, success, log: partial === "" ? log : [...log, partial] })
    if (ending) finish()
  }

  started.once("error", (error) => {
    // Without a pid it never ran; with one this is a signal that could not be sent, and the exit is still to come.
    if (started.pid === undefined) onExit(error.message, false)
  })
  started.once("exit", (code, signal) => {
    const outcome = signal === null ? `exit code ${code}` : `signal ${signal}`
    const settle = () => onExit(outcome, code === 0)
    started.once("close", settle)
    setTimeout(settle, outputGrace).unref()
  })

  const { pid } = started
  if (pid === undefined) return
  report({ _tag: "Started", pid })
  const { statusFile } = command
  if (statusFile !== undefined) {
    watch = setInterval(() => {
      if (!isReady(statusFile, pid)) return
      clearInterval(watch)
      report({ _tag: "Ready" })
    }, statusInterval)
  }
}

const remove = (path: string): void => {
  // What is written or removed by others meanwhile makes rmSync stop half-way, at times without a word.
  for (let attempt = 0; attempt < 100 && existsSync(path); attempt++) {
    try {
      rmSync(path, { recursive: true, force: true })
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    }
  }
}

const finish = (): void => {
  if (folder !== undefined) remove(folder)
  process.exit(0)
}

const signalAll = (signal: NodeJS.Signals): void => {
  if (child?.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // They are gone already.
  }
}

const end = (): void => {
  if (ending) return
  ending = true
  if (child === undefined) return finish()
  for (const [signal, after] of discardable ? [["SIGKILL", 0] as const] : patience) {
    setTimeout(() => {
      signalAll(signal)
      // A process that was stopped hears nothing until it is continued.
      signalAll("SIGCONT")
    }, after)
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {})
process.once("disconnect", end)
process.on("message", (request: Request) => {
  if (ending) return
  if (request._tag === "Run") run(request.command)
  else signalAll(request.signal)
})

try {
  folder = mkdtempSync(join(realpathSync(tmpdir()), "holdfast-postgres-"))
  // Postgres may run as another user, who has to reach what lies inside; each thing inside has a mode of its own.
  chmodSync(folder, 0o755)
  report({ _tag: "Opened", folder })
} catch (error) {
  report({ _tag: "Failed", message: error instanceof Error ? error.message : String(error) })
  ending = true
  if (process.connected) process.disconnect()
}
if (!process.connected) end()
