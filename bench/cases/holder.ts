/** The process that runs the counters for `remote.ts`, until it is told to close. */
import { Effect } from "effect"
import process from "node:process"
import { runUntilTold } from "../ending.ts"
import { run, urlOfEnvironment } from "./counters.ts"

runUntilTold(
  "holder",
  Effect.gen(function*() {
    yield* run({ url: urlOfEnvironment() }, () => {})
    process.send?.({ _tag: "Ready" })
    return yield* Effect.never
  })
)
