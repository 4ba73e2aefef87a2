/**
 * The `holdfast` command.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Runtime from "effect/Runtime"
import { command as db } from "./db.ts"
import { events, streams, subscriptions } from "./events.ts"
import { gateway } from "./gateway.ts"
import { exitCodes } from "./output.ts"
import { commands as parked } from "./parked.ts"
import { commands as servers } from "./servers.ts"
import { commands as tail } from "./tail.ts"

const holdfast = Command.make("holdfast").pipe(
  Command.withDescription(
    "Looks after what Holdfast keeps in Postgres.\n\n" +
      "  Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 not confirmed,\n" +
      "  4 something is pending (db plan --check). Results go to standard output, progress to standard error."
  ),
  Command.withSubcommands([db, ...servers, ...tail, ...parked, streams, events, subscriptions, gateway]),
  Command.withExamples([
    { command: "holdfast db load", description: "Make a datastore, and bring it up to date" },
    { command: "holdfast db plan --check --json", description: "Whether an upgrade has anything to do, for a script" },
    { command: "holdfast db drop --yes --force", description: "Drop a datastore that is in use, without asking" },
    { command: "holdfast ps --waiting --locked --parked", description: "Durable servers that are not at rest" },
    { command: "holdfast parked retry --all", description: "What was set aside, once more" },
    { command: "holdfast events SEA --backward -n 10", description: "The last ten events of a stream" },
    { command: "holdfast gateway serve --port 7400", description: "A worker of the event gateway" },
    { command: "holdfast --completions bash", description: "Completions for the shell" }
  ])
)

/** A command line that cannot be understood has a code of its own. */
const teardown: Runtime.Teardown = (exit, onExit) => {
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  const wrongUsage = typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp"
  Runtime.defaultTeardown(exit, (code) => onExit(wrongUsage && code !== 0 ? exitCodes.usage : code))
}

/** Standard output is for results. */
const logsToStandardError = Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])

/** Runs the command with the arguments of this process. */
export const run = (version: string): void =>
  NodeRuntime.runMain(
    Effect.provide(Command.run(holdfast, { version }), Layer.merge(NodeServices.layer, logsToStandardError)),
    { teardown }
  )
