/**
 * Every flight of a file goes to the durable servers of its two airports, through a real Postgres and three processes, one
 * of which is killed on the way; at the end every airport must have counted exactly. `npm start` runs it, and
 * `npm start -- --help` says what may be chosen.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect, Option, Random, Runtime, Schema } from "effect"
import { CliError, Command, Flag } from "effect/cli"
import { layerOrUrl } from "holdfast/testing/EmbeddedPostgres"
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import * as database from "./database.ts"
import * as flights from "./flights.ts"
import { run } from "./job.ts"
import { mismatches, report } from "./report.ts"
import { count, Screen } from "./Screen.ts"
import { expectedOf } from "./verify.ts"

/** Some airport did not count exactly. The report has said so. */
class Mismatch extends Schema.TaggedError<Mismatch>()("Mismatch", { airports: Schema.Int }) {
  override get [Runtime.errorReported]() {
    return false
  }
}

const airports = Command.make("airports", {
  file: Flag.File("file").pipe(
    Flag.withDescription(
      "JSON file with an array of flights: date, delay, distance, origin, destination. Default: 20,000 real flights, from " +
        "vega-datasets"
    ),
    Flag.withDefault(flights.defaultFile)
  ),
  data: Flag.Directory("data").pipe(
    Flag.withDescription(
      "Folder that keeps the database. A second run on it adds nothing, as every message is known. Default: a temporary one"
    ),
    Flag.optional
  ),
  killAt: Flag.Finite("kill-at").pipe(
    Flag.withSchema(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))),
    Flag.withDescription("Part of all messages that is done when a worker is killed, 0 to 1. Default: 0.5"),
    Flag.withDefault(0.5)
  ),
  kill: Flag.Boolean("kill").pipe(
    Flag.withDescription("--no-kill lets both workers live. Default: one is killed"),
    Flag.withDefault(true)
  ),
  seed: Flag.String("seed").pipe(
    Flag.withDescription("Decides which worker is killed, and when to the millisecond. Default: chance"),
    Flag.optional
  ),
  concurrency: Flag.Int("concurrency").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 }))),
    Flag.withDescription("How many flights the feeder has under way at once. Default: 512"),
    Flag.withDefault(512)
  )
}, (options) =>
  job(options).pipe(
    Effect.provide(Screen.layer),
    Random.withSeed(Option.getOrElse(options.seed, () => randomBytes(8).toString("hex"))),
    Effect.mapError((error) =>
      error instanceof Mismatch ? error : new CliError.UserError({ cause: error, userMessage: error.message })
    )
  ))

const job = Effect.fnUntraced(function*(options: {
  readonly file: string
  readonly data: Option.Option<string>
  readonly killAt: number
  readonly kill: boolean
  readonly concurrency: number
}) {
  const screen = yield* Screen
  const input = yield* flights.read(options.file)
  const expected = expectedOf(input.flights)
  yield* screen.say(
    `${count(input.flights.length)} flights between ${count(expected.size)} airports: ` +
      `${count(input.flights.length * 2)} messages`
  )

  const { data } = options
  const onDatastore = Effect.gen(function*() {
    // What is kept is kept apart for each file, and what is not kept does not meet it.
    const { access, isNew } = yield* database.prepare(
      `airports_${Option.isSome(data) ? input.fingerprint.slice(0, 12) : randomBytes(6).toString("hex")}`,
      Option.isSome(data)
    )
    yield* screen.say(
      `${isNew ? "new" : "kept"} datastore ${access.databaseName}, Postgres at ${access.host}:${access.port}`
    )
    return yield* Effect.provide(
      run({
        input,
        expected,
        access,
        concurrency: options.concurrency,
        killAt: options.kill ? Option.some(options.killAt) : Option.none()
      }),
      database.layer(access)
    )
  })
  const result = yield* onDatastore.pipe(
    Effect.scoped,
    Effect.provide(layerOrUrl(Option.isSome(data) ? { dataDirectory: join(data.value, "postgres") } : {}))
  )

  for (const line of report(result)) yield* screen.say(line)
  const wrong = mismatches(result)
  if (wrong > 0) return yield* new Mismatch({ airports: wrong })
})

airports.pipe(
  Command.withDescription(
    "Sends each flight of a file to the durable servers of its two airports, with the handlers in two worker processes, " +
      "kills one of them on the way, and compares what every airport counted with a plain sum over the file. Without " +
      "options it starts a Postgres of its own, which is gone afterwards; HOLDFAST_DATABASE_URL names one to use instead."
  ),
  Command.withExamples([
    { command: "npm start", description: "The whole job" },
    { command: "npm start -- --kill-at 0.9", description: "Kill a worker near the end" },
    { command: "npm start -- --data ./airports", description: "Keep the database, to run it twice" }
  ]),
  Command.run({ version: "0.1.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
