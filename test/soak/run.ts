/**
 * A soak that is run by hand: its plan comes from the command line, its database is made for it and goes with it, and it ends with
 * what it has counted, and with whether it is proven. Every number of the plan is an option, and so is the seed, which is printed
 * first.
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Record, type Redacted } from "effect"
import { randomBytes } from "node:crypto"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as EmbeddedPostgres from "../../src/testing/EmbeddedPostgres.ts"

const randomName = () => randomBytes(4).toString("hex")

/** A database for as long as the scope lasts. */
const makeDatabase = Effect.gen(function*() {
  const server = yield* EmbeddedPostgres.EmbeddedPostgres
  const name = `soak_${randomName()}`
  const admin = PgClient.layer({ url: server.url, maxConnections: 1 })
  yield* Effect.acquireRelease(
    Effect.provide(Effect.flatMap(PgClient.PgClient, (sql) => sql`CREATE DATABASE ${sql(name)}`), admin),
    () =>
      Effect.ignore(
        Effect.provide(Effect.flatMap(PgClient.PgClient, (sql) => sql`DROP DATABASE ${sql(name)} WITH (FORCE)`), admin)
      )
  )
  return server.urlOf(name)
})

/** Runs a soak if this module is what was started, and not if a test has imported it. */
export const runIfMain = <Name extends string, E>(
  module: string,
  options: {
    /** The numbers of the plan, where nothing else is said. */
    readonly defaults: Readonly<Record<Name, number>>
    readonly soak: (
      url: Redacted.Redacted,
      plan: Readonly<Record<Name, number>> & { readonly seed: string }
    ) => Effect.Effect<{ readonly wrong: ReadonlyArray<string> }, E>
    /** What it means that nothing is wrong. */
    readonly proven: string
  }
): void => {
  if (process.argv[1] !== fileURLToPath(module)) return
  const main = Effect.gen(function*() {
    const text = { type: "string" as const }
    const given: Readonly<Record<string, string | undefined>> = parseArgs({
      options: { ...Record.map(options.defaults, () => text), seed: text }
    }).values
    const numbers = Record.map(options.defaults, (otherwise, name) => Number(given[name] ?? otherwise))
    const { seed = randomName() } = given
    yield* Console.log(`seed ${seed}`)
    const { wrong, ...counts } = yield* options.soak(yield* makeDatabase, { ...numbers, seed })
    yield* Console.log(JSON.stringify(counts))
    for (const line of wrong.slice(0, 20)) yield* Console.log(`WRONG: ${line}`)
    yield* Console.log(wrong.length === 0 ? `proven: ${options.proven}` : "NOT proven")
    if (wrong.length > 0) process.exitCode = 1
  })
  Effect.runFork(main.pipe(
    Effect.scoped,
    Effect.provide(EmbeddedPostgres.layerOrUrl({ settings: { fsync: "on" } })),
    Effect.tapCause((cause) => Console.error(cause)),
    Effect.onExit((exit) =>
      Effect.sync(() => {
        if (exit._tag === "Failure") process.exitCode = 1
      })
    )
  ))
}
