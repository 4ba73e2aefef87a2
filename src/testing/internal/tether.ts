/**
 * Our end of the keeper (see `keeper.ts`): a process that runs commands for us and outlives us just long enough to end
 * them. `open` forks one into a scope; closing the scope, or the death of this process, ends the command that runs and
 * removes the keeper's temporary folder.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { fork } from "node:child_process"
import { rm } from "node:fs/promises"
import process from "node:process"
import { fileURLToPath } from "node:url"
import type { Command, Report, Request } from "./keeper.ts"

/** How a command ended. */
export interface Ended {
  /** Such as `exit code 1`, `signal SIGQUIT`, or why it could not be started. */
  readonly outcome: string
  readonly success: boolean
  /** The last lines of its output. */
  readonly log: ReadonlyArray<string>
}

/** A command under way. */
export interface Running {
  /** Its process id while it runs. */
  readonly pid: Effect.Effect<Option.Option<number>>
  /** `true` once its status file says that it is ready; `false` when it ended first. */
  readonly ready: Effect.Effect<boolean>
  readonly ended: Effect.Effect<Ended>
  readonly isRunning: Effect.Effect<boolean>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
}

/** A keeper of our own. */
export interface Tether {
  /** The keeper's temporary folder, which ends with it. */
  readonly folder: string
  /** Starts a command. One at a time: the one before must have ended. */
  readonly run: (command: Command) => Effect.Effect<Running>
}

interface Current {
  pid: number | undefined
  readonly ready: Deferred.Deferred<boolean>
  readonly ended: Deferred.Deferred<Ended>
}

// The file beside this one: `.ts` in the sources, `.js` in the built package.
const program = fileURLToPath(new URL(import.meta.url.replace(/tether\.(ts|js)$/, "keeper.$1")))

const lost: Ended = { outcome: "its keeper process was ended from outside", success: false, log: [] }

const remove = (folder: string): Effect.Effect<void> =>
  Effect.ignore(Effect.tryPromise(() => rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })))

/**
 * Forks a keeper into the scope. Fails with a sentence when it cannot be started. Waits, when the scope closes, until the
 * command has ended and the folder is gone.
 */
export const open: Effect.Effect<Tether, string, Scope.Scope> = Effect.acquireRelease(
  Effect.callback<{ readonly tether: Tether; readonly close: Effect.Effect<void> }, string>((resume) => {
    const gone = Deferred.makeUnsafe<{ readonly inOrder: boolean }>()
    let current: Current | undefined

    const settle = (ended: Ended): void => {
      if (current === undefined) return
      current.pid = undefined
      Deferred.doneUnsafe(current.ready, Effect.succeed(false))
      Deferred.doneUnsafe(current.ended, Effect.succeed(ended))
    }

    const { NODE_OPTIONS: _, ...env } = process.env
    const keeper = fork(program, [], {
      cwd: "/",
      detached: true,
      env,
      execArgv: ["--no-warnings"],
      stdio: ["ignore", "ignore", "ignore", "ipc"]
    })
    const ask = (request: Request): void => {
      if (keeper.connected) keeper.send(request, () => {})
    }

    const onGone = (why: string, inOrder: boolean): void => {
      if (!Deferred.doneUnsafe(gone, Effect.succeed({ inOrder }))) return
      const orphan = current
      if (orphan?.pid !== undefined) {
        // Only a keeper that was killed leaves a child. Let it not outlive the keeper unseen.
        try {
          process.kill(-orphan.pid, "SIGQUIT")
        } catch {
          // It is gone as well.
        }
      }
      settle(lost)
      resume(Effect.fail(why))
    }
    keeper.once("error", (error) => onGone(error.message, false))
    keeper.once("exit", (code, signal) => onGone(`ended with ${signal ?? `exit code ${code}`}`, code === 0))

    keeper.on("message", (report: Report) => {
      switch (report._tag) {
        case "Opened":
          return resume(Effect.succeed({
            tether: { folder: report.folder, run },
            close: Effect.suspend(() => {
              if (keeper.connected) keeper.disconnect()
              return Effect.flatMap(
                Deferred.await(gone),
                ({ inOrder }) => inOrder ? Effect.void : remove(report.folder)
              )
            })
          }))
        case "Failed":
          return resume(Effect.fail(report.message))
        case "Started":
          if (current !== undefined) current.pid = report.pid
          return
        case "Ready":
          if (current !== undefined) Deferred.doneUnsafe(current.ready, Effect.succeed(true))
          return
        case "Exited":
          return settle(report)
      }
    })

    const run = (command: Command): Effect.Effect<Running> =>
      Effect.sync(() => {
        const next: Current = {
          pid: undefined,
          ready: Deferred.makeUnsafe(),
          ended: Deferred.makeUnsafe()
        }
        current = next
        if (keeper.connected) ask({ _tag: "Run", command })
        else settle(lost)
        return {
          pid: Effect.sync(() => Option.fromUndefinedOr(next.pid)),
          ready: Deferred.await(next.ready),
          ended: Deferred.await(next.ended),
          isRunning: Effect.map(Deferred.isDone(next.ended), (done) => !done),
          signal: (signal) => Effect.sync(() => ask({ _tag: "Signal", signal }))
        }
      })
  }),
  ({ close }) => close
).pipe(Effect.map(({ tether }) => tether))
