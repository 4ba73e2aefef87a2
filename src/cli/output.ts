/**
 * What the command says: results on standard output, for people or, with `--json`, as one JSON value; progress on standard
 * error, in the way of nobody. Failures have an exit code that says whose turn it is.
 */
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"

/** The exit codes of the command. */
export const exitCodes = {
  /** It was done. */
  done: 0,
  /** It failed: the message says why. */
  failed: 1,
  /** The command line, or the configuration file, is wrong. */
  usage: 2,
  /** It was not confirmed, and nothing was done. */
  notConfirmed: 3,
  /** `db plan --check`: something is to be applied. */
  pending: 4
} as const

/** Ends the command, whose message has been said. */
export class Ended extends Data.TaggedError("Ended")<{ readonly exitCode: number }> {
  override readonly [Runtime.errorExitCode] = this.exitCode
  override readonly [Runtime.errorReported] = false
}

/** Something would have been destroyed, and nobody said that it should be. */
export class NotConfirmed extends Data.TaggedError("NotConfirmed")<{ readonly message: string }> {}

/** Says something about what is going on. */
export const progress = (line: string): Effect.Effect<void> => Console.error(line)

/** Says the result: `text` to people, `json` to machines. */
export const result = (json: boolean, value: object, text: string): Effect.Effect<void> =>
  Console.log(json ? JSON.stringify({ ok: true, ...value }) : text)

const isTagged = (error: unknown): error is { readonly _tag: string; readonly message: string } =>
  Predicate.hasProperty(error, "_tag") && Predicate.hasProperty(error, "message") && typeof error.message === "string"

const codes: ReadonlyMap<string, number> = new Map([
  ["ConfigurationInvalid", exitCodes.usage],
  ["InvalidOptions", exitCodes.usage],
  ["NotConfirmed", exitCodes.notConfirmed]
])

/** Says what went wrong, and ends the command with the code for it. */
export const reportFailures = (json: boolean) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, Ended, R> =>
  Effect.catch(self, (error) => {
    if (error instanceof Ended) {
      return Effect.fail(error)
    }
    const { _tag, message } = isTagged(error) ? error : { _tag: "Unknown", message: String(error) }
    const fields = Predicate.isObject(error) ? Object.entries(error).filter(([name]) => /^[a-z]/i.test(name)) : []
    const line = json
      ? Console.log(JSON.stringify({ ok: false, error: { ...Object.fromEntries(fields), _tag, message } }))
      : Console.error(`holdfast: ${message}`)
    return Effect.andThen(line, new Ended({ exitCode: codes.get(_tag) ?? exitCodes.failed }))
  })
