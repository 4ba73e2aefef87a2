/**
 * How cases are written: as effects that assert as they go, with assertions that belong to no test runner.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { type Case, NotConforming } from "../Conformance.ts"

/** An assertion that does not hold. */
export class Unmet extends Schema.TaggedError<Unmet>("holdfast/testing/Unmet")("Unmet", { finding: Schema.String }) {}

const unmet = (finding: string): Effect.Effect<never, Unmet> => Effect.fail(new Unmet({ finding }))

/** Long texts are told by their ends. */
const show = (value: unknown): string => {
  const text = Formatter.format(value)
  return text.length > 2000 ? `${text.slice(0, 1000)} … ${text.slice(-500)} (${text.length} characters)` : text
}

/** A field that is `undefined` is one that is not there: what was written down somewhere and read again need not tell them apart. */
const withoutAbsent = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutAbsent)
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, field]) => field === undefined ? [] : [[key, withoutAbsent(field)]])
  )
}

/** Two values are the same in structure. `what` is what they are about. */
export const same = <A>(what: string, actual: A, expected: NoInfer<A>): Effect.Effect<void, Unmet> =>
  Equal.equals(withoutAbsent(actual), withoutAbsent(expected))
    ? Effect.void
    : unmet(`${what}\n  expected ${show(expected)}\n  found    ${show(actual)}`)

/** Something is the case. `found` is shown where it is not. */
export const holds = (what: string, condition: boolean, found?: unknown): Effect.Effect<void, Unmet> =>
  condition ? Effect.void : unmet(found === undefined ? what : `${what}\n  found    ${show(found)}`)

/** What has to be there for the case to go on. */
export const present = <A>(what: string, value: A | undefined): Effect.Effect<A, Unmet> =>
  value === undefined ? unmet(`${what}\n  found nothing`) : Effect.succeed(value)

/** An effect that has to fail: its failure. */
export const failure = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>): Effect.Effect<E, Unmet, R> =>
  Effect.flatMap(
    Effect.result(effect),
    (result) =>
      result._tag === "Failure" ? Effect.succeed(result.failure) : unmet(`${what}\n  found ${show(result.success)}`)
  )

/** Something that has to happen soon, by the clock of whoever runs the suite. */
export const soon = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | Unmet, R> =>
  Effect.timeoutOrElse(effect, {
    duration: "15 seconds",
    orElse: () => unmet(`${what}\n  and did not within 15 seconds`)
  })

/** Asks again and again until the answer is the right one. */
export const eventually = Effect.fnUntraced(function*<A, E, R>(
  what: string,
  ask: Effect.Effect<A, E, R>,
  isRight: (answer: A) => boolean,
  within: Duration.Input = "15 seconds"
) {
  let last: { readonly answer: A } | undefined
  return yield* ask.pipe(
    Effect.tap((answer) => Effect.sync(() => last = { answer })),
    Effect.delay("2 millis"),
    Effect.repeat({ until: isRight }),
    Effect.timeoutOrElse({
      duration: within,
      orElse: () => unmet(`${what}\n  in the end: ${last === undefined ? "no answer" : show(last.answer)}`)
    })
  )
})

/** A name that nothing else in the store has. */
export const unused: Effect.Effect<string> = Effect.map(
  Effect.all([Random.nextInt, Random.nextInt, Random.nextInt]),
  (numbers) => numbers.map((number) => Math.abs(number).toString(36)).join("")
)

/** How long a case may take. */
const limit = Duration.seconds(30)

/** What a body found out, told by the name of its case. */
const judged = <R>(name: string, body: Effect.Effect<void, unknown, R>): Effect.Effect<void, NotConforming, R> =>
  Effect.catchCause(body, (cause) => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
    const error = Cause.squash(cause)
    return Effect.fail(
      new NotConforming({ promise: name, finding: error instanceof Unmet ? error.finding : Cause.pretty(cause) })
    )
  })

/** A case whose body runs in a scope of its own, and is broken off where it does not end. */
export const define = <R>(
  name: string,
  body: Effect.Effect<void, unknown, R | Scope.Scope>
): Case<Exclude<R, Scope.Scope>> => ({
  name,
  effect: judged(
    name,
    Effect.scoped(Effect.timeoutOrElse(body, {
      duration: limit,
      orElse: () => unmet(`it was not done after ${Duration.format(limit)}`)
    }))
  )
})

/** A case that moves the clock itself, and so cannot be given a limit by it. */
export const defineTimeless = <R>(
  name: string,
  body: Effect.Effect<void, unknown, R | Scope.Scope>
): Case<Exclude<R, Scope.Scope>> => ({ name, effect: judged(name, Effect.scoped(body)) })

/** Something with a scope of its own: what it made, and how it ends before the case does. */
export const separately = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R | Scope.Scope>) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const value = yield* Effect.provideService(effect, Scope.Scope, scope)
  return { value, close: Scope.close(scope, Exit.void) }
})
