/** The process that runs the counters for `remote.ts`, until it is told to close. */
import { Effect } from "effect"
import process from "node:process"
import { run, urlOfEnvironment } from "./counters.ts"

const program = Effect.gen(function*() {
  yield* run({ url: urlOfEnvironment() }, () => {})
  process.send?.({ _tag: "Ready" })
  yield* Effect.callback<void>((resume) => {
    process.on("message", () => resume(Effect.void))
    process.on("disconnect", () => resume(Effect.void))
  })
})

// A Ctrl-C reaches every process of the terminal: this one ends when the one that started it is gone, and tidies up.
process.on("SIGINT", () => {})
Effect.runPromise(Effect.scoped(program)).then(() => process.exit(0), (error: unknown) => {
  console.error(error)
  process.exit(1)
})
