/**
 * Values that may be wrong, with what is wrong with them in a line: it says what was expected where, and never the value.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as SchemaIssue from "effect/SchemaIssue"

/** A value, or what is wrong with it. */
export type Checked<A> = { readonly ok: true; readonly value: A } | { readonly ok: false; readonly issue: string }

/** What an Exit came to. */
export const checked = <A>(exit: Exit.Exit<A, unknown>): Checked<A> =>
  Exit.isSuccess(exit) ? { ok: true, value: exit.value } : { ok: false, issue: issueOf(Cause.squash(exit.cause)) }

/** One line that says what was expected where. Never the value itself, which may be secret. */
const issueOf = (error: unknown): string => {
  const issue = error instanceof Error && SchemaIssue.isIssue(error.cause) ? formatIssue(error.cause) : undefined
  return (issue ?? (error instanceof Error ? error.message : String(error))).replaceAll(/\s*\n\s*/g, " ")
}

const formatIssue = SchemaIssue.makeFormatterDefault()

/** What a function of somebody else's gives, or how it fails. */
export const attempt = <A>(make: () => A): Checked<A> => {
  try {
    return { ok: true, value: make() }
  } catch (error) {
    return { ok: false, issue: issueOf(error) }
  }
}
