/**
 * Holdfast measured beside what users would pick instead, on one Postgres with default durability. `npm run bench` in the root
 * runs everything, `npm run bench -- --quick` a smoke run, `npm run bench -- casts` one work, `npm run bench -- restate` one peer
 * beside Holdfast in all its works. See `npm run bench -- --help`.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Clock, Console, Effect, FileSystem, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import process from "node:process"
import { entries, type Entry } from "./catalogue.ts"
import * as Database from "./database.ts"
import { measureGrowth } from "./growth/growth.ts"
import type { Pace } from "./growth/Series.ts"
import { measure } from "./measure.ts"
import { ensurePackages } from "./packages.ts"
import { picture } from "./picture.ts"
import { section, writeSection } from "./readme.ts"
import { print, type Run, toJson, type WorkRun } from "./report.ts"
import { linesOf } from "./summary.ts"
import { type Extent, goalsOf, type Work, works } from "./works.ts"

/** The name of what is measured of us alone. */
const growth = "growth"

let heading = ""

/** One line that is written over, where there is a terminal to do so; elsewhere a line for each round. */
const progress = (text: string) => {
  if (process.stderr.isTTY) return void process.stderr.write(`\r\x1b[2K${text}`)
  const next = text.split(":")[0] ?? ""
  if (next !== "" && next !== heading) process.stderr.write(`${next}\n`)
  heading = next
}

interface Asked {
  readonly names: ReadonlyArray<string>
  readonly extent: Extent
  readonly rounds: number
  readonly warmMillis: number
  readonly sampleMillis: number
  /** How growth is measured, where it is asked for. */
  readonly growth: Pace | undefined
}

/** Which cases of a work: those by default, or those that are named; a peer that is named is measured beside Holdfast. */
const casesOf = (work: Work, names: ReadonlyArray<string>): ReadonlyArray<Entry> => {
  const all = entries.filter((entry) => entry.work === work.name)
  if (names.length === 0) return all.filter(({ byDefault }) => byDefault)
  const named = all.filter(({ name }) => names.includes(name))
  if (names.includes(work.name)) {
    const peers = names.some((name) => name !== work.name && entries.some((entry) => entry.name === name))
    return peers ? all.filter((entry) => named.includes(entry)) : all.filter(({ byDefault }) => byDefault)
  }
  if (names.some((name) => name === growth || works.some((work) => work.name === name))) return []
  return named.length === 0 ? [] : all.filter((entry) => entry.name === "holdfast" || named.includes(entry))
}

/** What can be measured here: `pgbench` belongs to the client tools of Postgres, which are not everywhere. */
const available = (cases: ReadonlyArray<Entry>) =>
  cases.filter(({ name }) => name !== "pgbench" || Database.hasPgbench())

const runWork = Effect.fnUntraced(function*(work: Work, cases: ReadonlyArray<Entry>, asked: Asked) {
  const cells = work.cells(asked.extent)
  const { samples, verified } = yield* measure({ ...asked, work: work.name, cases, cells }, progress)
  progress("")
  return {
    work,
    cases,
    lines: linesOf(samples, cells),
    goals: goalsOf(work, samples),
    verified,
    samples
  } satisfies WorkRun
})

/** What breaks in one work does not take away what was measured in the others. */
const unlessBroken = <A, E, R>(name: string, measured: Effect.Effect<A, E, R>) =>
  Effect.catchCause(
    Effect.asSome(measured),
    (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.failCause(cause)
        : Effect.as(
          Effect.sync(() => {
            process.exitCode = 1
            progress("")
            process.stderr.write(`${name} could not be measured: ${Cause.pretty(cause)}\n`)
          }),
          Option.none<A>()
        )
  )

const run = Effect.fnUntraced(
  function*(asked: Asked) {
    const chosen = works.map((work) => ({ work, cases: available(casesOf(work, asked.names)) })).filter(
      ({ cases }) => cases.length > 0
    )
    const packages = chosen.flatMap(({ cases }) => cases.flatMap((entry) => entry.packages))
    if (packages.length > 0) yield* Effect.sync(ensurePackages)
    const facts = yield* Effect.scoped(Effect.flatMap(Database.make(), Database.facts))
    return {
      date: new Date(yield* Clock.currentTimeMillis).toISOString(),
      facts,
      versions: Object.fromEntries(
        Array.from(new Set(packages)).toSorted().map((name) => [name, Database.versionOf(name)])
      ),
      rounds: asked.rounds,
      sampleMillis: asked.sampleMillis,
      works: (yield* Effect.forEach(chosen, ({ cases, work }) => unlessBroken(work.name, runWork(work, cases, asked))))
        .flatMap(
          Option.toArray
        ),
      growth: asked.growth === undefined
        ? []
        : Option.getOrElse(yield* unlessBroken(growth, measureGrowth(asked.growth, progress)), () => [])
    } satisfies Run
  },
  Effect.provide(Database.layer)
)

const numbers = (name: string) => Flag.Int(name).pipe(Flag.withMetavar("N"), Flag.atLeast(0))

const names = Array.from(new Set([...works.map(({ name }) => name), growth, ...entries.map(({ name }) => name)]))

const bench = Command.make(
  "bench",
  {
    names: Argument.Literals("name", names).pipe(
      Argument.withDescription(
        "What to measure: a work (calls, casts, events), how our cost grows (growth), a peer beside holdfast in all its works (effect-cluster, restate, dbos, " +
          "emmett, castore, pg-boss, graphile-worker), a floor (bare, row, pgbench), or one of ours that is not there by default " +
          "(memory, remote, accepted). A work and cases together: these cases of that work. Everything by default."
      ),
      Argument.variadic()
    ),
    quick: Flag.Boolean("quick").pipe(
      Flag.withDefault(false),
      Flag.withDescription(
        "One short round of everything that is named, concurrency 1 and 64: does it run, roughly how fast"
      )
    ),
    rounds: Flag.Int("rounds").pipe(Flag.optional, Flag.withDescription("How many interleaved rounds: 5")),
    millis: Flag.Int("millis").pipe(
      Flag.optional,
      Flag.withDescription("How long a sample takes, in milliseconds: 1000")
    ),
    servers: numbers("servers").pipe(Flag.withDescription("On how many servers, may be repeated: 1 and 100")),
    concurrency: numbers("concurrency").pipe(
      Flag.withDescription("How many callers at once, may be repeated: 1, 16, 64 and, for calls, 256")
    ),
    most: numbers("most").pipe(
      Flag.withDescription("The largest size for growth: 1000000 servers, messages, bytes, events")
    ),
    json: Flag.Path("json").pipe(
      Flag.optional,
      Flag.withDescription("Also write everything, with every sample, to this file")
    ),
    svg: Flag.Path("svg").pipe(Flag.optional, Flag.withDescription("Also draw the picture into this file")),
    readme: Flag.Boolean("readme").pipe(
      Flag.withDefault(false),
      Flag.withDescription(
        "Also renew the picture, bench/results.json and the tables in the README. For a run of everything on a quiet machine"
      )
    )
  },
  Effect.fnUntraced(function*(input) {
    const { concurrency, json, millis, most, names, quick, readme, rounds, servers, svg } = input
    const orElse = (given: ReadonlyArray<number>, otherwise: ReadonlyArray<number>) =>
      given.length > 0 ? given.map((value) => Math.max(1, value)) : otherwise
    const sampleMillis = Math.max(10, Option.getOrElse(millis, () => quick ? 200 : 1000))
    const result = yield* run({
      names,
      extent: {
        servers: orElse(servers, [1, 100]),
        concurrency: orElse(concurrency, quick ? [1, 64] : [1, 16, 64, 256])
      },
      rounds: Math.max(1, Option.getOrElse(rounds, () => quick ? 1 : 5)),
      // What is as short as that is to find out whether it works.
      warmMillis: sampleMillis < 100 ? 0 : Math.min(200, sampleMillis / 4),
      sampleMillis,
      growth: names.length > 0 && !names.includes(growth) ? undefined : {
        rounds: Math.max(1, Option.getOrElse(rounds, () => quick ? 1 : 7)),
        roundMillis: Math.min(300, sampleMillis),
        most: most[0] ?? (quick ? 1000 : 1_000_000)
      }
    })
    yield* Console.log(print(result))
    const files = yield* FileSystem.FileSystem
    if (Option.isSome(json)) yield* files.writeFileString(json.value, `${toJson(result)}\n`)
    if (Option.isSome(svg)) yield* files.writeFileString(svg.value, picture(result))
    if (readme && process.exitCode === 1) process.stderr.write("The README is left as it is\n")
    else if (readme) yield* writeSection(section(result), picture(result), toJson(result, false))
    if (result.works.some(({ verified }) => verified.some(({ excused, missing }) => missing !== 0 && !excused))) {
      process.exitCode = 1
    }
  })
).pipe(
  Command.withDescription(
    "Holdfast beside what users would pick instead, and beside floors without any library, on one Postgres with default durability. " +
      "HOLDFAST_DATABASE_URL names a server to use instead of one of its own; what the server spends is known of its own only. " +
      "What states take of log and disk, and memory, have commands of their own: npm run bench:states, bench:memory."
  )
)

bench.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
