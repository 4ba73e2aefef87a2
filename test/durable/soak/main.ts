/**
 * The soak by hand: `npm run soak`, `npm run soak -- --seconds 600`. See `npm run soak -- --help`. It ends with 1 where something
 * was wrong, and then keeps what the processes wrote down.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { randomInt } from "node:crypto"
import { layerOrUrl } from "../../../src/testing/EmbeddedPostgres.ts"
import { soak, summary } from "./supervisor.ts"

const count = (name: string, otherwise: number, description: string) =>
  Flag.Int(name).pipe(
    Flag.filter((value) => value >= 1, (value) => `--${name} ${value} is not at least 1`),
    Flag.withDefault(otherwise),
    Flag.withDescription(`${description}: ${otherwise}`)
  )

const command = Command.make(
  "soak",
  {
    seconds: count("seconds", 60, "For how long things go wrong"),
    processes: count("processes", 4, "How many processes run handlers and send"),
    servers: count("servers", 100, "How many durable servers they send to"),
    seed: Flag.String("seed").pipe(Flag.optional, Flag.withDescription("Where all choices come from; else a new one"))
  },
  Effect.fnUntraced(function*({ processes, seconds, seed, servers }) {
    const chosen = Option.getOrElse(seed, () => String(randomInt(2 ** 31)))
    yield* Console.log(`${processes} processes, ${servers} servers, ${seconds} s, --seed ${chosen}`)
    const report = yield* soak({
      seconds,
      processes,
      accounts: servers,
      seed: chosen,
      progress: (text) => {
        if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`)
      }
    })
    yield* Console.log(summary(report))
    if (report.wrong.length > 0) process.exitCode = 1
  }, Effect.provide(layerOrUrl({ settings: { max_connections: "300" } })))
).pipe(
  Command.withDescription(
    "Durable servers in processes that are killed, stopped and cut off all the time, on a Postgres that is stopped and started; " +
      "then everything that was acknowledged is looked for. HOLDFAST_DATABASE_URL names a server to use, which is left running."
  )
)

command.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
