/**
 * What the worker and the feeder have in common: they are started by the main program, tell it things on standard output,
 * and end when it does. Standard input is the tie: nothing is ever written to it, and it closes when the main program is
 * gone, in whatever way.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Duration, Effect, Logger, Runtime, Stdio, Stream } from "effect"
import process from "node:process"

/** Ends when the main program does. */
export const parentIsGone = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  yield* Effect.ignore(Stream.runDrain(stdio.stdin))
})

/** How long to give back what is held, when the database may be gone as well. Nothing is lost if that fails. */
const patience = Duration.seconds(3)

/** Runs a child's program for as long as the main program lives. Logs, and what went wrong, go to standard error. */
export const run = <E>(program: Effect.Effect<void, E, NodeServices.NodeServices>) =>
  program.pipe(
    Effect.raceFirst(
      Effect.tap(parentIsGone, () =>
        Effect.sync(() => {
          setTimeout(() => process.exit(1), Duration.toMillis(patience)).unref()
        }))
    ),
    Effect.tapCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError(cause)),
    Effect.provideService(Logger.LogToStderr, true),
    Effect.provide(NodeServices.layer),
    NodeRuntime.runMain({
      disableErrorReporting: true,
      // Standard input is still open, and would keep the process.
      teardown: (exit) => Runtime.defaultTeardown(exit, process.exit)
    })
  )
