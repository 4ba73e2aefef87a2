/**
 * Supervised profiles: a connection that is kept alive under a name, whatever becomes of the connections before it.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option, References, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { ProfileRegistry, RegistryBackend } from "holdfast/registry"

interface Line {
  readonly number: number
  readonly crash: Deferred.Deferred<never, string>
}

class Lines extends ProfileRegistry.Service<Lines, Line>()("test/lines") {}

/** Connections that are counted, and break when they are told to. */
const makeWorld = () => {
  const opened: Array<Line> = []
  const closed: Array<number> = []
  let broken = false
  return {
    opened,
    closed,
    breakDown: (value: boolean) => {
      broken = value
    },
    acquire: Effect.acquireRelease(
      Effect.suspend(() => {
        if (broken) return Effect.fail("the line is dead")
        const line = { number: opened.length + 1, crash: Deferred.makeUnsafe<never, string>() }
        opened.push(line)
        return Effect.succeed(line)
      }),
      (line) => Effect.sync(() => closed.push(line.number))
    ),
    watch: (line: Line) => Deferred.await(line.crash)
  }
}

const everySecond = Schedule.spaced("1 second")

const tag = (registry: Lines["Service"], profile: string) =>
  Effect.map(registry.whereis(profile), (entry) => Option.isSome(entry) ? entry.value._tag : "nowhere")

const quiet = Layer.succeed(References.MinimumLogLevel, "None")

layer(Layer.fresh(Lines.layer).pipe(Layer.merge(quiet)))("Supervised", (it) => {
  it.effect("resolves once the profile is registered, and connects beside its starter", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      const gate = yield* Deferred.make<void>()
      const world = makeWorld()
      yield* lines.supervised("slow", Effect.andThen(Deferred.await(gate), world.acquire))
      assert.strictEqual(yield* tag(lines, "slow"), "Disconnected")
      const second = yield* Effect.flip(lines.supervised("slow", world.acquire))
      assert.strictEqual(second._tag, "AlreadyRegistered")
      const waiting = yield* Effect.forkChild(lines.via("slow").wait)
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(waiting)).number, 1)
      assert.strictEqual(yield* tag(lines, "slow"), "Here")
    }))

  it.effect("whatever its starter's fate, it goes on until it is stopped", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      const world = makeWorld()
      const starter = yield* Effect.forkChild(
        Effect.scoped(Effect.andThen(lines.supervised("orphan", world.acquire), Effect.fail("no")))
      )
      assert.isTrue(Exit.isFailure(yield* Fiber.await(starter)))
      yield* lines.via("orphan").wait
      assert.deepStrictEqual(world.closed, [])
      yield* lines.stop("orphan")
      assert.deepStrictEqual(world.closed, [1])
    }))

  it.effect("a crash gives a new holder after the schedule's delay, and touches no other profile", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      const [crashing, other] = [makeWorld(), makeWorld()]
      yield* lines.supervised("crashing", crashing.acquire, { restart: everySecond, watch: crashing.watch })
      yield* lines.supervised("other", other.acquire, { restart: everySecond, watch: other.watch })
      const handle = lines.via("crashing")
      yield* lines.via("other").wait
      for (let n = 1; n <= 3; n++) {
        const line = yield* handle.wait
        assert.strictEqual(line.number, n)
        yield* Deferred.fail(line.crash, "cut")
        yield* TestClock.adjust("999 millis")
        assert.strictEqual((yield* Effect.flip(handle.holder))._tag, "NotConnected")
        assert.strictEqual(yield* tag(lines, "crashing"), "Disconnected")
        yield* TestClock.adjust("1 millis")
      }
      assert.strictEqual((yield* handle.wait).number, 4)
      assert.deepStrictEqual(crashing.closed, [1, 2, 3])
      assert.deepStrictEqual(other.closed, [])
      assert.strictEqual(other.opened.length, 1)
    }))

  it.effect("one that cannot be opened is tried again, and what stood in the way is told to those who use it", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      const world = makeWorld()
      world.breakDown(true)
      yield* lines.supervised("dead", world.acquire, { restart: everySecond })
      yield* TestClock.adjust("500 millis")
      const error = yield* Effect.flip(lines.via("dead").use(Effect.succeed))
      assert.isTrue(error._tag === "NotConnected" && error.detail === "the line is dead")
      world.breakDown(false)
      yield* TestClock.adjust("500 millis")
      assert.strictEqual((yield* lines.via("dead").wait).number, 1)
    }))

  it.effect("when the schedule ends the profile is free", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      const world = makeWorld()
      world.breakDown(true)
      yield* lines.supervised("given up", world.acquire, { restart: Schedule.recurs(2) })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* tag(lines, "given up"), "nowhere")
      assert.strictEqual((yield* Effect.flip(lines.stop("given up")))._tag, "ProfileNotFound")
    }))

  it.effect("a connection that has lasted starts the schedule anew", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      const world = makeWorld()
      const handle = lines.via("stable")
      yield* lines.supervised("stable", world.acquire, {
        restart: Schedule.recurs(1),
        watch: world.watch,
        stableAfter: "1 minute"
      })
      for (let n = 0; n < 5; n++) {
        const line = yield* handle.wait
        yield* TestClock.adjust("1 minute")
        yield* Deferred.fail(line.crash, "cut")
        yield* TestClock.adjust("1 millis")
      }
      // That one was the schedule's only one, and what follows it at once is one too many.
      yield* Deferred.fail((yield* handle.wait).crash, "cut")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* tag(lines, "stable"), "nowhere")
    }))

  it.effect("disconnect closes the connection before it resolves, and keeps the profile; reconnect does not wait", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      const world = makeWorld()
      const handle = lines.via("paused")
      const slowly = Effect.tap(world.acquire, () => Effect.addFinalizer(() => Effect.sleep("5 seconds")))
      yield* lines.supervised("paused", slowly, { restart: everySecond, watch: world.watch })
      yield* handle.wait
      const disconnecting = yield* Effect.forkChild(lines.disconnect("paused"))
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(yield* tag(lines, "paused"), "Disconnected")
      assert.isUndefined(disconnecting.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(disconnecting)
      assert.deepStrictEqual(world.closed, [1])
      assert.strictEqual(
        (yield* Effect.flip(Effect.scoped(lines.register("paused", world.opened[0]!))))._tag,
        "AlreadyRegistered"
      )
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(world.opened.length, 1)
      yield* lines.reconnect("paused")
      assert.strictEqual((yield* handle.wait).number, 2)
      // Of one that is open: another one, after that one was closed.
      yield* lines.reconnect("paused")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* handle.wait).number, 3)
      assert.deepStrictEqual(world.closed, [1, 2])
      const stopping = yield* Effect.forkChild(lines.stop("paused"))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(stopping)
    }))

  it.effect("one that is stopped while it is being opened leaves nothing", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      const world = makeWorld()
      yield* lines.supervised("hasty", Effect.tap(world.acquire, () => Effect.never))
      yield* Effect.yieldNow
      yield* lines.stop("hasty")
      assert.deepStrictEqual(world.closed, world.opened.map(({ number }) => number))
      assert.strictEqual(yield* tag(lines, "hasty"), "nowhere")
    }))

  it.effect("what is registered plainly has no connection to close", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      yield* lines.register("plain", { number: 0, crash: yield* Deferred.make<never, string>() })
      assert.strictEqual((yield* Effect.flip(lines.disconnect("plain")))._tag, "NotSupervised")
      assert.strictEqual((yield* Effect.flip(lines.reconnect("nobody")))._tag, "ProfileNotFound")
    }))

  it.effect("a connection has a scope of its own, not that of its starter", () =>
    Effect.gen(function*() {
      const lines = yield* Lines
      const world = makeWorld()
      yield* Effect.scoped(Effect.andThen(lines.supervised("scoped", world.acquire), lines.via("scoped").wait))
      assert.deepStrictEqual(world.closed, [])
    }))
})

describe("Supervised", () => {
  it.effect("a registry that closes closes every connection, all at once", () =>
    Effect.gen(function*() {
      const world = makeWorld()
      const scope = yield* Scope.make()
      const lines = Context.get(yield* Layer.buildWithScope(Layer.fresh(Lines.layer), scope), Lines)
      const slowly = Effect.tap(world.acquire, () => Effect.addFinalizer(() => Effect.sleep("1 second")))
      for (let n = 0; n < 100; n++) yield* lines.supervised(String(n), slowly)
      yield* lines.via("99").wait
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.strictEqual(world.closed.length, 100)
    }))

  it.effect("a profile that is lost is let go of, and claimed again; its connection is closed before", () =>
    Effect.gen(function*() {
      const world = makeWorld()
      const memory = RegistryBackend.makeMemoryUnsafe()
      /** Each claim's way of being lost. */
      const lose: Array<() => void> = []
      const order: Array<string> = []
      const backend: RegistryBackend.RegistryBackend["Service"] = {
        open: (options) =>
          Effect.map(memory.open(options), (directory) => ({
            ...directory,
            claim: (claim) =>
              Effect.map(directory.claim(claim), (claimed) => {
                order.push(`claim, ${world.opened.length} opened, ${world.closed.length} closed`)
                lose.push(() => {
                  if (claimed._tag === "Granted") Effect.runFork(claimed.release)
                  claim.lost()
                })
                return claimed
              })
          }))
      }
      const context = yield* Layer.build(
        Layer.fresh(Layer.provide(Lines.layerBackend, Layer.succeed(RegistryBackend.RegistryBackend, backend)))
      )
      const registry = Context.get(context, Lines)
      yield* registry.supervised("lost", world.acquire)
      const handle = registry.via("lost")
      const first = yield* registry.whereis("lost")
      yield* handle.wait
      lose[0]!()
      assert.strictEqual((yield* handle.wait).number, 2)
      assert.deepStrictEqual(order, ["claim, 0 opened, 0 closed", "claim, 1 opened, 1 closed"])
      const second = yield* registry.whereis("lost")
      assert.isTrue(Option.getOrThrow(second).token > Option.getOrThrow(first).token)
    }))
})
