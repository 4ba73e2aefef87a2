/**
 * Nothing is destroyed that nobody said should be.
 */
import * as Flag from "effect/cli/Flag"
import * as Prompt from "effect/cli/Prompt"
import * as Effect from "effect/Effect"
import * as Stdio from "effect/Stdio"
import { NotConfirmed } from "./output.ts"

/** Says so on the command line. */
export const yes = Flag.Boolean("yes").pipe(
  Flag.withAlias("y"),
  Flag.withDescription("Do it without asking"),
  Flag.withDefault(false)
)

/** Asks before something is destroyed. Where nobody can be asked, only `--yes` will do. */
export const confirm = Effect.fnUntraced(function*(confirmed: boolean, message: string) {
  if (confirmed) {
    return
  }
  const stdinIsTerminal = yield* (yield* Stdio.Stdio).stdinIsTerminal
  const answer = stdinIsTerminal
    ? yield* Prompt.run(Prompt.Confirm({ message })).pipe(Effect.orElseSucceed(() => false))
    : false
  if (!answer) {
    return yield* new NotConfirmed({
      message: stdinIsTerminal ? "nothing was done" : "nothing was done: say --yes to confirm"
    })
  }
})
