/** The process that runs the counters of one kind, until it is killed. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import process from "node:process"
import { DurableNode } from "../holdfast.ts"
import { lives } from "./afar.ts"

const kind = process.argv[2] ?? ""
const live = Object.entries(lives).find(([name]) => name === kind)?.[1] ?? Layer.empty

const Main = live.pipe(
  Layer.provideMerge(DurableNode.layerPostgres),
  Layer.provide(PgClient.layer({ url: Redacted.make(process.env["HOLDFAST_BENCH_URL"] ?? "") }))
)

Effect.runFork(Effect.scoped(Effect.andThen(
  Layer.build(Main),
  Effect.andThen(Effect.sync(() => process.stdout.write("ready\n")), Effect.never)
)))
