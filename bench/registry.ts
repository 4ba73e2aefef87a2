/**
 * The registry: how many profiles a process registers and gives back in a second on Postgres, with so many at a time, and what a
 * lookup from memory costs. `npm run bench:registry` in the root; it takes half a minute.
 *
 * On a Postgres of its own with `fsync=on`, or on the one that `HOLDFAST_DATABASE_URL` names.
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Context, Effect, Exit, Layer, Option, Scope } from "effect"
import process from "node:process"
import { ProfileRegistry } from "../src/registry/index.ts"
import * as Bench from "./database.ts"
import { median } from "./summary.ts"

class Held extends ProfileRegistry.Service<Held, object>()("bench/held") {}

const rounds = 5
const profiles = 10_000
const lookups = 200_000

const join = (url: Parameters<typeof PgClient.layer>[0]["url"]) =>
  Effect.map(
    Layer.build(Layer.fresh(Layer.provide(Held.layerPostgres, PgClient.layer({ url, maxConnections: 2 })))),
    Context.get(Held)
  )

/** Registers all of them, so many at a time, and gives them all back; in profiles each second. */
const churn = Effect.fnUntraced(function*(registry: Held["Service"], concurrency: number, count: number) {
  const scope = yield* Scope.make("parallel")
  const cpuBefore = cpu()
  const started = performance.now()
  yield* Effect.forEach(
    Array.from({ length: count }, (_, n) => `churned ${n}`),
    (profile) => Scope.provide(registry.register(profile, {}), scope),
    { concurrency, discard: true }
  )
  const registered = performance.now()
  const spent = (cpu() - cpuBefore) / count
  yield* Scope.close(scope, Exit.void)
  const over = performance.now()
  return { registers: count / (registered - started) * 1000, releases: count / (over - registered) * 1000, spent }
})

/** User time of this process, in microseconds. */
const cpu = () => process.cpuUsage().user

/** Nanoseconds of processor time for each of many lookups, one after the other in a fiber. */
const look = Effect.fnUntraced(function*(registry: Held["Service"], prefix: string, tag: string | undefined) {
  const names = Array.from({ length: 1000 }, (_, n) => `${prefix} ${n}`)
  let wrong = 0
  const started = cpu()
  for (let n = 0; n < lookups; n++) {
    const entry = yield* registry.whereis(names[n % 1000]!)
    if ((Option.isSome(entry) ? entry.value._tag : undefined) !== tag) wrong++
  }
  const nanos = (cpu() - started) * 1e3 / lookups
  return wrong === 0 ? nanos : Number.NaN
})

const report = (name: string, samples: ReadonlyArray<number>, unit: string) =>
  Console.log(`${Math.round(median([...samples])).toString().padStart(8)} ${unit.padEnd(4)} ${name}`)

const program = Effect.gen(function*() {
  const { url } = yield* Bench.make()
  const [here, there] = [yield* join(url), yield* join(url)]
  const scope = yield* Scope.make("parallel")
  const all = (registry: Held["Service"], prefix: string) =>
    Effect.forEach(
      Array.from({ length: 1000 }, (_, n) => `${prefix} ${n}`),
      (profile) => Scope.provide(registry.register(profile, {}), scope),
      { concurrency: "unbounded", discard: true }
    )
  yield* all(here, "here")
  yield* all(there, "there")
  yield* Effect.repeat(Effect.delay(here.list, "10 millis"), { until: (list) => list.length === 2000 })

  yield* Console.log(`medians of ${rounds} rounds`)
  for (const concurrency of [1, 64, 1000]) {
    const count = concurrency === 1 ? 500 : profiles
    yield* churn(here, concurrency, count / 5)
    const samples = []
    for (let round = 0; round < rounds; round++) samples.push(yield* churn(here, concurrency, count))
    yield* report(`registrations, ${concurrency} at a time`, samples.map(({ registers }) => registers), "/s")
    yield* report("processor time for each", samples.map(({ spent }) => spent), "µs")
    yield* report(`given back, ${count} at a time`, samples.map(({ releases }) => releases), "/s")
  }
  for (
    const [name, prefix, tag] of [["held here", "here", "Here"], ["held elsewhere", "there", "Elsewhere"], [
      "not held",
      "nowhere",
      undefined
    ]] as const
  ) {
    yield* look(here, prefix, tag)
    const samples = []
    for (let round = 0; round < rounds; round++) samples.push(yield* look(here, prefix, tag))
    yield* report(`a lookup of what is ${name}`, samples, "ns")
  }
  yield* Scope.close(scope, Exit.void)
})

Effect.runFork(
  program.pipe(Effect.scoped, Effect.provide(Bench.layer), Effect.tapCause((cause) => Console.error(cause)))
)
