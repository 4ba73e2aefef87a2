/**
 * Registries on an Effect Cluster of several runners: a profile is held where its shard is, seen from everywhere, and goes on
 * with its shard when runners come, leave, are killed or are stopped.
 *
 * What holds on one runner alone is in Suite.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, Redacted, References, Schedule, Scope } from "effect"
import { ShardId, Sharding } from "effect/cluster"
import { ProfileRegistry } from "holdfast/registry"
import * as ClusterBackend from "holdfast/registry/ClusterBackend"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as Processes from "../support/Processes.ts"
import * as Runners from "../support/Runners.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

class Held extends ProfileRegistry.Service<Held, object>()("test/held") {}

type Registry = Held["Service"]

const quiet = Layer.succeed(
  References.MinimumLogLevel,
  process.env["HOLDFAST_TEST_LOG"] === undefined ? "None" : "All"
)

/** A runner of this process, with a registry on it. */
const start = Effect.fnUntraced(function*(url: Redacted.Redacted) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const port = yield* Runners.freePort
  const context = yield* Layer.buildWithScope(
    Layer.fresh(Held.layerBackend.pipe(
      Layer.provide(ClusterBackend.layer),
      Layer.provideMerge(Runners.layer({ url, port })),
      Layer.provide(quiet)
    )),
    scope
  )
  return {
    registry: Context.get(context, Held),
    sharding: Context.get(context, Sharding.Sharding),
    port,
    close: Scope.close(scope, Exit.void)
  }
})

type Runner = Effect.Success<ReturnType<typeof start>>

const until = <A, E, R>(effect: Effect.Effect<A, E, R>, holds: (value: A) => boolean) =>
  Nodes.within("90 seconds", Effect.repeat(Effect.delay(effect, "10 millis"), { until: holds }))

/** Waits until each runner has shards, and each shard one runner. */
const settled = (runners: ReadonlyArray<Runner>) =>
  until(
    Effect.sync(() =>
      Array.from({ length: Runners.shards }, (_, n) =>
        runners.findIndex(({ sharding }) => sharding.hasShardId(ShardId.make("default", n + 1))))
    ),
    (runnerOf) =>
      !runnerOf.includes(-1) && runners.every((_, index) => runnerOf.includes(index))
  )

const startAll = Effect.fnUntraced(function*(count: number, url: Redacted.Redacted) {
  const runners = yield* Effect.all(Array.from({ length: count }, () => start(url)), { concurrency: "unbounded" })
  yield* settled(runners)
  return runners
})

const profiles = Array.from({ length: 16 }, (_, n) => `profile ${n}`)

const tag = (registry: Registry, profile: string) =>
  Effect.map(registry.whereis(profile), (entry) => Option.isSome(entry) ? entry.value._tag : "nowhere")

/** Registers it on the one runner that may, whichever that is. */
const registerSomewhere = Effect.fnUntraced(function*(runners: ReadonlyArray<Runner>, profile: string) {
  for (const runner of runners) {
    const result = yield* Effect.result(runner.registry.register(profile, {}, { address: `at ${profile}` }))
    if (result._tag === "Success") {
      return { runner, others: runners.filter((one) => one !== runner), registration: result.success }
    }
    assert.strictEqual(result.failure._tag, "RegistryUnavailable")
  }
  return assert.fail("nobody may")
})

/** What is open of each profile, on all runners of this process, and whether there were ever two at once. */
class Openings {
  readonly open = new Map<string, Set<Runner>>()
  readonly tokens = new Map<string, Array<bigint>>()
  most = 0

  /** Has a runner be ready for all profiles, for as long as it lives. */
  readonly keepAll = (runner: Runner) =>
    Effect.forEach(profiles, (profile) =>
      runner.registry.supervised(
        profile,
        Effect.acquireRelease(
          Effect.map(runner.registry.whereis(profile), (entry) => {
            const open = this.open.get(profile) ?? new Set()
            this.open.set(profile, open.add(runner))
            this.tokens.set(profile, [...this.tokens.get(profile) ?? [], Option.getOrThrow(entry).token])
            this.most = Math.max(this.most, open.size)
            return {}
          }),
          () => Effect.sync(() => this.open.get(profile)?.delete(runner))
        )
      ).pipe(Effect.ignore, Effect.repeat(Schedule.spaced("250 millis")), Effect.forkScoped), { discard: true })

  /** Waits until every profile is open, and each of the runners has some, and nobody else. */
  readonly spread = (runners: ReadonlyArray<Runner>) =>
    until(
      Effect.sync(() => profiles.map((profile) => Array.from(this.open.get(profile) ?? []))),
      (open) =>
        open.every((holders) => holders.length === 1 && runners.includes(holders[0]!)) &&
        runners.every((runner) => open.some(([holder]) => holder === runner))
    )

  check(): void {
    assert.strictEqual(this.most, 1)
    for (const tokens of this.tokens.values()) {
      assert.deepStrictEqual(tokens, tokens.toSorted((a, b) => a < b ? -1 : 1))
      assert.strictEqual(new Set(tokens).size, tokens.length)
    }
  }
}

/** Most of what they take is waiting. */
const besideOthers = { concurrent: true, timeout: 240_000 }

describe("Cluster", () => {
  it.live(
    "each profile is held on one of three runners, and the other two see it there and are refused",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.make
        const runners = yield* startAll(3, url)
        const holding = new Set<Runner>()
        for (const profile of profiles) {
          const { others, registration, runner } = yield* registerSomewhere(runners, profile)
          holding.add(runner)
          const node = yield* runner.registry.node
          for (const { registry } of others) {
            const entry = Option.getOrThrow(yield* registry.whereis(profile))
            assert.deepStrictEqual(entry, {
              _tag: "Elsewhere",
              node,
              address: `at ${profile}`,
              token: registration.token
            })
            const refused = yield* Effect.flip(registry.register(profile, {}))
            assert.strictEqual(refused._tag === "AlreadyRegistered" && refused.winner.token, registration.token)
            const used = yield* Effect.flip(registry.via(profile).use(Effect.succeed))
            assert.strictEqual(used._tag, "HeldElsewhere")
            assert.strictEqual((yield* Effect.flip(registry.stop(profile)))._tag, "HeldElsewhere")
          }
        }
        assert.strictEqual(holding.size, 3)
      }).pipe(Effect.provide(quiet)),
    besideOthers
  )

  it.live(
    "a runner that may not hold a profile is told which one may, and whoever waits there is told of the holder",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.make
        const runners = yield* startAll(2, url)
        const scope = yield* Scope.make()
        const { others: [other], registration, runner } = yield* Scope.provide(registerSomewhere(runners, "one"), scope)
        if (other === undefined) return assert.fail("there are two")
        yield* Scope.close(scope, Exit.void)
        assert.isFalse(yield* registration.isHeld)
        assert.strictEqual(yield* tag(other.registry, "one"), "nowhere")
        const refused = yield* Effect.flip(other.registry.register("one", {}))
        assert.include(refused.message, `its shard is with the runner 127.0.0.1:${runner.port}`)
        const waiting = yield* Effect.forkChild(Effect.flip(other.registry.via("one").wait))
        const next = yield* runner.registry.register("one", {})
        assert.isTrue(next.token > registration.token)
        assert.strictEqual((yield* Nodes.within("90 seconds", Fiber.join(waiting)))._tag, "HeldElsewhere")
      }).pipe(Effect.provide(quiet)),
    besideOthers
  )

  it.live(
    "profiles go on with their shards to a runner that joins, and from one that leaves, and never have two holders",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.make
        const openings = new Openings()
        const first = yield* startAll(2, url)
        yield* Effect.forEach(first, openings.keepAll)
        yield* openings.spread(first)
        const third = yield* start(url)
        yield* openings.keepAll(third)
        // Entities may take ten minutes to end: these are not waited for.
        yield* openings.spread([...first, third])
        const [one, two] = first
        yield* one!.close
        yield* openings.spread([two!, third])
        openings.check()
      }).pipe(Effect.provide(quiet)),
    besideOthers
  )

  it.live(
    "a runner that loses the database gives up what it holds before others can have it, and has its part again afterwards",
    () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.make
        const proxy = yield* CuttableProxy.make(database)
        const openings = new Openings()
        const runners = yield* Effect.all([start(database.url), start(proxy.through(database.url))], { concurrency: 2 })
        yield* settled(runners)
        yield* Effect.forEach(runners, openings.keepAll)
        yield* openings.spread(runners)
        yield* proxy.welcome("cut")
        yield* proxy.cut()
        yield* openings.spread(runners.slice(0, 1))
        yield* proxy.welcome("accept")
        yield* openings.spread(runners)
        openings.check()
      }).pipe(Effect.provide(quiet)),
    besideOthers
  )

  const startProcess = Effect.fnUntraced(function*(url: Redacted.Redacted) {
    const process = yield* Processes.start(
      new URL("fixtures/runner.ts", import.meta.url),
      [String(profiles.length)],
      { HOLDFAST_TEST_URL: Redacted.value(url), HOLDFAST_TEST_PORT: String(yield* Runners.freePort) }
    )
    yield* process.line("ready")
    /** What it has open, by profile, with the token of each. */
    const open = Effect.map(process.lines, (lines) => {
      const open = new Map<string, bigint>()
      for (const line of lines) {
        const [what, profile = "", token = "0"] = line.split(" ")
        if (what === "opened") open.set(profile, BigInt(token))
        else if (what === "closed") open.delete(profile)
      }
      return open
    })
    return { ...process, open }
  })
  type RunnerProcess = Effect.Success<ReturnType<typeof startProcess>>

  /** Waits until these processes hold all profiles, each one of them, and each some. Gives who holds which under which token. */
  const spread = (processes: ReadonlyArray<RunnerProcess>) =>
    until(Effect.all(processes.map(({ open }) => open)), (all) =>
      all.every((open) => open.size > 0) &&
      all.reduce((sum, open) => sum + open.size, 0) === profiles.length &&
      new Set(all.flatMap((open) => Array.from(open.keys()))).size === profiles.length)

  it.live(
    "profiles of a runner that is killed go on with the others, under greater tokens",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.make
        const processes = yield* Effect.all([startProcess(url), startProcess(url), startProcess(url)], {
          concurrency: "unbounded"
        })
        const [killed] = yield* spread(processes)
        yield* processes[0].signal("SIGKILL")
        const after = yield* spread(processes.slice(1))
        for (const [profile, token] of killed!) {
          const next = after.flatMap((open) => open.get(profile) ?? [])
          assert.isTrue(next[0]! > token, `${profile}: ${next} after ${token}`)
        }
      }).pipe(Effect.provide(quiet)),
    besideOthers
  )

  it.live(
    "a runner that was stopped, and followed, gives up what it held when it goes on, under older tokens",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.make
        const processes = yield* Effect.all([startProcess(url), startProcess(url)], { concurrency: "unbounded" })
        const [stopped] = yield* spread(processes)
        yield* processes[0].signal("SIGSTOP")
        const [followed] = yield* spread(processes.slice(1))
        for (const [profile, token] of stopped!) assert.isTrue(followed!.get(profile)! > token)
        yield* processes[0].signal("SIGCONT")
        yield* until(processes[0].lines, (lines) =>
          Array.from(stopped!.keys()).every((profile) => lines.includes(`closed ${profile}`)))
        // It takes part again, with whatever shards it gets.
        yield* spread(processes)
      }).pipe(Effect.provide(quiet)),
    besideOthers
  )
})
