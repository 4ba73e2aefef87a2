/**
 * Holdfast measured: durable calls beside a bare group-commit loop and a bare single-row commit, on one Postgres with
 * default durability. `npm run bench` in the root runs everything in two to three minutes, `npm run bench -- --quick` a smoke
 * run of a few seconds, `npm run bench -- bare` one case. See `npm run bench -- --help`.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Clock, Console, Effect, FileSystem, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import process from "node:process"
import { bareLoop } from "./cases/bareLoop.ts"
import { holdfast, memory } from "./cases/holdfast.ts"
import { casts, remote } from "./cases/remote.ts"
import { row } from "./cases/row.ts"
import * as Database from "./database.ts"
import { cellsOf, measure, type Plan } from "./measure.ts"
import { print, type Run, toJson } from "./report.ts"
import { goalsOf, linesOf } from "./summary.ts"

const cases = [row, bareLoop, holdfast, memory, remote, casts]

/** One line that is written over, where there is a terminal to do so. */
const progress = (text: string) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`)
}

const run = Effect.fnUntraced(
  function*(plan: Plan) {
    const database = yield* Database.make()
    const facts = yield* Database.facts(database)
    const { samples, verified } = yield* measure(database, plan, progress)
    progress("")
    return {
      date: new Date(yield* Clock.currentTimeMillis).toISOString(),
      facts,
      plan,
      lines: linesOf(samples, cellsOf(plan)),
      goals: goalsOf(samples),
      verified,
      samples
    } satisfies Run
  },
  Effect.scoped,
  Effect.provide(Database.layer)
)

const numbers = (name: string, metavar: string) => Flag.Int(name).pipe(Flag.withMetavar(metavar), Flag.atLeast(0))

const bench = Command.make(
  "bench",
  {
    names: Argument.Literals("case", cases.map((one) => one.name)).pipe(
      Argument.withDescription(
        `What to measure: ${cases.map((one) => `${one.name} (${one.title})`).join(", ")}. The first three by default.`
      ),
      Argument.variadic()
    ),
    quick: Flag.Boolean("quick").pipe(
      Flag.withDefault(false),
      Flag.withDescription("A smoke run of a few seconds: one short round, concurrency 1 and 64")
    ),
    rounds: Flag.Int("rounds").pipe(
      Flag.optional,
      Flag.withDescription("How many interleaved rounds: 7")
    ),
    millis: Flag.Int("millis").pipe(
      Flag.optional,
      Flag.withDescription("How long a sample takes, in milliseconds: 1000")
    ),
    servers: numbers("servers", "N").pipe(
      Flag.withDescription("On how many servers, may be repeated: 1 and 100")
    ),
    concurrency: numbers("concurrency", "N").pipe(
      Flag.withDescription("How many callers at once, may be repeated: 1, 16, 64 and 256")
    ),
    json: Flag.Path("json").pipe(
      Flag.optional,
      Flag.withDescription("Also write everything, with every sample, to this file")
    )
  },
  Effect.fnUntraced(function*(input) {
    const { concurrency, json, millis, names, quick, rounds, servers } = input
    const orElse = (given: ReadonlyArray<number>, otherwise: ReadonlyArray<number>) =>
      given.length > 0 ? given.map((value) => Math.max(1, value)) : otherwise
    const result = yield* run({
      cases: names.length > 0 ? cases.filter((one) => names.includes(one.name)) : cases.filter((one) => one.byDefault),
      servers: orElse(servers, [1, 100]),
      concurrency: orElse(concurrency, quick ? [1, 64] : [1, 16, 64, 256]),
      rounds: Math.max(1, Option.getOrElse(rounds, () => quick ? 1 : 7)),
      warmMillis: quick ? 50 : 200,
      sampleMillis: Math.max(10, Option.getOrElse(millis, () => quick ? 200 : 1000))
    })
    yield* Console.log(print(result))
    if (Option.isSome(json)) {
      const files = yield* FileSystem.FileSystem
      yield* files.writeFileString(json.value, `${toJson(result)}\n`)
    }
    if (result.verified.some(({ missing }) => missing !== 0)) process.exitCode = 1
  })
).pipe(
  Command.withDescription(
    "Durable calls, beside a bare group-commit loop and a bare single-row commit, on one Postgres with default durability. " +
      "HOLDFAST_DATABASE_URL names a server to use instead of one of its own."
  )
)

bench.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
