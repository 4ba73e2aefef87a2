/**
 * How the processes that this benchmark starts end: when they are told to, or when the one that started them is gone, whatever they are
 * in the middle of; and never by a Ctrl-C, which reaches every process of a terminal. They leave nothing behind either way.
 */
import { Effect, References, type Scope } from "effect"
import process from "node:process"

const told = Effect.callback<void>((resume) => {
  const close = () => resume(Effect.void)
  process.on("message", (message) => {
    if ((message as { readonly _tag?: unknown })._tag === "Close") close()
  })
  process.on("disconnect", close)
  process.on("SIGINT", () => {})
})

/** Runs what the process is for until it ends. What goes wrong is printed with its name. */
export const runUntilTold = (name: string, program: Effect.Effect<void, unknown, Scope.Scope>): void => {
  const quiet = Effect.provideService(
    Effect.raceFirst(Effect.scoped(program), told),
    References.MinimumLogLevel,
    "Warn"
  )
  Effect.runPromise(quiet).then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(`${name}:`, error)
      process.exit(1)
    }
  )
}
