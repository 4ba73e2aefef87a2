/**
 * What becomes of contexts whose server goes away, and of those that are stopped, started and restarted. These tests have a
 * server of their own, since they stop it.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Metric,
  Option,
  Queue,
  Redacted,
  Ref,
  Stream
} from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { ContextRegistry, Datastore, DatastoreAdmin, DatastoreContext, DatastoreQuery } from "holdfast/datastore"
import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"
import { isConnectionLost } from "../../src/datastore/internal/lostConnection.ts"
import { contextsLost, outageMillis } from "../../src/datastore/internal/metrics.ts"
import { secret, unique } from "./support.ts"

const Server = EmbeddedPostgres.layer({ settings: { fsync: "off", max_connections: "200" } })

const makeInput = Effect.map(EmbeddedPostgres.EmbeddedPostgres, ({ host, password, port, username }) => {
  const prefix = unique("ds")
  return {
    databaseName: `${prefix}_db`,
    dbServer: { host, port },
    owner: { databaseRole: `${prefix}_owner` },
    contexts: {
      app: { databaseRole: `${prefix}_app`, databasePassword: secret(), startingPoolSize: 8 },
      audit: { databaseRole: `${prefix}_audit`, databasePassword: secret() }
    },
    admin: { databaseRole: username, databasePassword: password }
  }
})

const runtime = ({ admin: _admin, ...input }: Effect.Success<typeof makeInput>) => input

/** A datastore that has been made, and its administrator. */
const created = Effect.gen(function*() {
  const input = yield* makeInput
  yield* (yield* EmbeddedPostgres.EmbeddedPostgres).start
  const admin = yield* Effect.provide(DatastoreAdmin.DatastoreAdmin, DatastoreAdmin.layer(input))
  yield* admin.create
  return { input, admin }
})

const opened = (input: Effect.Success<typeof makeInput>) =>
  Effect.map(Layer.build(Datastore.layer(runtime(input))), Context.get(Datastore.Datastore))

/** Waits for something to be so. */
const until = <E, R>(condition: Effect.Effect<boolean, E, R>, within: Duration.Input = "10 seconds") =>
  Effect.repeat(Effect.delay(condition, "5 millis"), { until: (is) => is }).pipe(
    Effect.timeoutOrElse({ duration: within, orElse: () => Effect.die(new Error("not so in time")) })
  )

const silent = Logger.layer([])

layer(Layer.merge(Server, silent), { excludeTestServices: true, timeout: 60_000 })("a context", (it) => {
  it.effect(
    "whose server restarts under 64 concurrent queries: typed errors meanwhile, no defect, service at once",
    () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.EmbeddedPostgres
        const { input } = yield* created
        yield* Effect.gen(function*() {
          const datastore = yield* Datastore.Datastore
          const { sql } = yield* datastore.context("app")
          const running = yield* Ref.make(true)
          const wrong: Array<Cause.Cause<unknown>> = []
          const seen = { answers: 0, failures: 0, slowestFailure: 0, lastFailure: 0 }
          const one = (i: number) =>
            i % 4 === 0
              ? sql.withTransaction(Effect.andThen(sql`SELECT 1`, sql`SELECT pg_sleep(0.002)`))
              : i % 4 === 1
              ? DatastoreQuery.transaction(sql`SELECT 1`).pipe(Effect.provideService(SqlClient.SqlClient, sql))
              : i % 4 === 2
              ? sql`SELECT pg_sleep(0.002)`
              : datastore.withContext("app")(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`))
          const fibers = yield* Effect.forEach(
            Array.from({ length: 64 }, (_, i) => i),
            (i) =>
              Effect.forkChild(Effect.gen(function*() {
                while (yield* Ref.get(running)) {
                  const begun = yield* Clock.currentTimeMillis
                  const exit = yield* Effect.exit(one(i))
                  const now = yield* Clock.currentTimeMillis
                  if (Exit.isSuccess(exit)) {
                    seen.answers++
                    continue
                  }
                  seen.failures++
                  seen.lastFailure = now
                  seen.slowestFailure = Math.max(seen.slowestFailure, now - begun)
                  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
                  const typed = SqlError.isSqlError(error)
                    ? isConnectionLost(error)
                    : error instanceof DatastoreContext.ContextNotStarted
                  if (!typed || Exit.hasDies(exit) || Exit.hasInterrupts(exit)) wrong.push(exit.cause)
                  yield* Effect.sleep("2 millis")
                }
              }))
          )
          yield* Effect.sleep("200 millis")
          for (const mode of ["fast", "immediate"] as const) {
            yield* server.stop(mode)
            yield* until(Effect.map(datastore.state, (state) => state === "noneStarted"))
            const [app] = yield* datastore.states
            assert.include(["serverUnreachable", "serverNotReady"], app?.cause?.reason)
            yield* Effect.sleep("500 millis")
            const [took] = yield* Effect.timed(Effect.flip(sql`SELECT 1`))
            // At once: whoever tried to connect would wait for that.
            assert.isBelow(Duration.toMillis(took), 1000)
            yield* server.start
            const back = yield* Clock.currentTimeMillis
            yield* until(Effect.map(datastore.state, (state) => state === "allStarted"), "5 seconds")
            yield* Effect.sleep("100 millis")
            // Nothing fails any more from here on.
            const failures = seen.failures
            const answers = seen.answers
            yield* Effect.sleep("300 millis")
            assert.strictEqual(seen.failures, failures)
            assert.isAbove(seen.answers, answers)
            assert.isBelow(seen.lastFailure - back, 5000)
          }
          yield* Ref.set(running, false)
          yield* Effect.forEach(fibers, Fiber.join)
          assert.deepStrictEqual(wrong.map((cause) => Cause.pretty(cause)), [])
          assert.isAbove(seen.failures, 64)
          // Longer than it takes to give a connection up nothing takes, not even what was under way.
          assert.isBelow(seen.slowestFailure, 6000)
        }).pipe(Effect.provide(Datastore.layer(runtime(input))))
      }),
    60_000
  )

  it.effect("that could not be reached at the start comes back by itself, with the client it always had", () =>
    Effect.gen(function*() {
      const { admin, input } = yield* created
      yield* admin.rotatePassword("audit", Redacted.make("another one"))
      yield* Effect.gen(function*() {
        const datastore = yield* Datastore.Datastore
        assert.strictEqual(yield* datastore.state, "someStarted")
        const refused = yield* Effect.flip(datastore.context("audit"))
        assert.strictEqual(refused._tag === "ContextNotStarted" && refused.cause?.reason, "passwordRejected")
        yield* admin.rotatePassword("audit", input.contexts.audit.databasePassword)
        yield* until(Effect.map(datastore.state, (state) => state === "allStarted"))
        const { sql } = yield* datastore.context("audit")
        assert.lengthOf(yield* sql`SELECT 1`, 1)
      }).pipe(Effect.provide(Datastore.layer(runtime(input))))
    }))

  it.effect("whose server goes away while nobody asks is known to be away", () =>
    Effect.gen(function*() {
      const server = yield* EmbeddedPostgres.EmbeddedPostgres
      const { input } = yield* created
      const datastore = yield* opened(input)
      const { sql } = yield* datastore.context("app")
      yield* server.stop()
      yield* until(Effect.map(datastore.state, (state) => state === "noneStarted"))
      const error = yield* Effect.flip(sql`SELECT 1`)
      assert.isTrue(isConnectionLost(error) && error.isRetryable)
      assert.include(error.message, "is not started")
      yield* server.start
      yield* until(Effect.map(datastore.state, (state) => state === "allStarted"))
      assert.strictEqual((yield* datastore.context("app")).sql, sql)
      const of = { databaseName: input.databaseName, contextName: "app" }
      assert.strictEqual((yield* Metric.value(Metric.withAttributes(contextsLost, of))).count, 1)
      const counted = Effect.map(Metric.value(Metric.withAttributes(outageMillis, of)), ({ count }) => count === 1)
      yield* until(counted)
    }).pipe(Effect.scoped))

  it.effect("loses one session and stays started", () =>
    Effect.gen(function*() {
      const { input } = yield* created
      yield* Effect.gen(function*() {
        const datastore = yield* Datastore.Datastore
        const { sql } = yield* datastore.context("app")
        const states = yield* Effect.forkChild(
          Effect.repeat(Effect.delay(datastore.state, "1 millis"), { until: (state) => state !== "allStarted" })
        )
        const kill = yield* Effect.exit(sql`SELECT pg_terminate_backend(pg_backend_pid())`)
        assert.isTrue(Exit.isFailure(kill))
        yield* Effect.replicateEffect(sql`SELECT 1`, 20, { concurrency: 8 })
        yield* Effect.sleep("100 millis")
        assert.isUndefined(states.pollUnsafe())
        yield* Fiber.interrupt(states)
      }).pipe(Effect.provide(Datastore.layer(runtime(input))))
    }))

  it.effect("that is stopped lets what is under way end, and refuses what comes", () =>
    Effect.gen(function*() {
      const server = yield* EmbeddedPostgres.EmbeddedPostgres
      const { input } = yield* created
      const datastore = yield* opened(input)
      const { sql } = yield* datastore.context("app")
      const superuser = Context.get(
        yield* Layer.build(PgClient.layer({ url: server.urlOf(input.databaseName) })),
        PgClient.PgClient
      )
      const gate = yield* Deferred.make<void>()
      const locked = yield* Deferred.make<void>()
      yield* superuser`SELECT pg_advisory_xact_lock(1)`.pipe(
        Effect.andThen(Deferred.succeed(locked, undefined)),
        Effect.andThen(Deferred.await(gate)),
        superuser.withTransaction,
        Effect.forkChild
      )
      yield* Deferred.await(locked)
      // All eight connections are in use until the gate opens.
      const underWay = yield* Effect.forkChild(sql.withTransaction(
        Effect.andThen(sql`SELECT pg_advisory_xact_lock_shared(1)`, sql<{ n: number }>`SELECT 7 AS n`)
      ))
      const others = yield* Effect.forEach(
        Array.from({ length: 7 }),
        () => Effect.forkChild(sql`SELECT pg_advisory_xact_lock_shared(1)`)
      )
      yield* until(Effect.map(
        superuser`SELECT FROM pg_stat_activity WHERE usename = ${input.contexts.app.databaseRole} AND wait_event = 'advisory'`,
        (rows) => rows.length === 8
      ))
      const waiting = yield* Effect.forkChild(Effect.exit(sql`SELECT 1`))
      yield* Effect.sleep("20 millis")
      const stopping = yield* Effect.forkChild(datastore.stopContext("app"))
      yield* until(Effect.map(datastore.states, ([app]) => app?.state === "notStarted"))
      const refused = yield* Effect.flip(sql`SELECT 1`)
      assert.include(refused.message, "has been stopped")
      const inLine = yield* Fiber.join(waiting)
      assert.isTrue(Exit.isFailure(inLine) && !Exit.hasInterrupts(inLine))
      assert.isUndefined(stopping.pollUnsafe())
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Fiber.join(underWay), [{ n: 7 }])
      yield* Effect.forEach(others, Fiber.join)
      assert.deepStrictEqual(yield* Fiber.join(stopping), { connectionsCut: 0 })
      assert.strictEqual(yield* datastore.state, "allStarted")
      assert.deepStrictEqual((yield* datastore.states)[0], { contextName: "app", state: "notStarted" })
      assert.deepStrictEqual(yield* datastore.stopContext("app"), { connectionsCut: 0 })
      // It does not come back by itself, and then it is the same client.
      yield* Effect.sleep("150 millis")
      assert.strictEqual((yield* Effect.flip(datastore.context("app")))._tag, "ContextNotStarted")
      yield* datastore.startContext("app")
      assert.strictEqual((yield* datastore.context("app")).sql, sql)
      assert.lengthOf(yield* sql`SELECT 1`, 1)
    }).pipe(Effect.scoped))

  it.effect("that is stopped cuts off what takes too long, with a typed error, whatever holds it", () =>
    Effect.gen(function*() {
      const { input } = yield* created
      const datastore = yield* opened(input)
      const { sql } = yield* datastore.context("app")
      const slow = yield* Effect.forkChild(Effect.exit(sql.withTransaction(sql`SELECT pg_sleep(30)`)))
      const idle = yield* Effect.forkChild(
        Effect.exit(sql.withTransaction(Effect.andThen(sql`SELECT 1`, Effect.never)))
      )
      yield* Effect.sleep("300 millis")
      assert.deepStrictEqual(yield* datastore.stopContext("app", { within: "100 millis" }), { connectionsCut: 2 })
      const exit = yield* Fiber.join(slow)
      assert.isFalse(Exit.hasDies(exit))
      const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
      assert.isTrue(SqlError.isSqlError(error) && isConnectionLost(error))
      yield* datastore.startContext("app")
      assert.lengthOf(yield* sql`SELECT 1`, 1)
      yield* Fiber.interrupt(idle)
    }).pipe(Effect.scoped))

  it.effect("takes a new password with a restart, while the others go on", () =>
    Effect.gen(function*() {
      const { admin, input } = yield* created
      const datastore = yield* opened(input)
      const { sql } = yield* datastore.context("app")
      const audit = (yield* datastore.context("audit")).sql
      const next = Redacted.make("the next one, ü\u00a0")
      const others = yield* Effect.forkChild(Effect.forever(audit`SELECT 1`))
      yield* admin.rotatePassword("app", next)
      assert.lengthOf(yield* sql`SELECT 1`, 1)
      const refused = yield* Effect.flip(datastore.restartContext("app"))
      assert.strictEqual(refused._tag === "ContextNotStarted" && refused.cause?.reason, "passwordRejected")
      yield* datastore.restartContext("app", { databasePassword: next })
      assert.lengthOf(yield* sql`SELECT 1`, 1)
      assert.strictEqual(yield* datastore.state, "allStarted")
      assert.isUndefined(others.pollUnsafe())
      yield* Fiber.interrupt(others)
      assert.strictEqual((yield* Effect.flip(datastore.stopContext("nobody")))._tag, "ContextNotFound")
    }).pipe(Effect.scoped))

  it.effect("is in the registry under its name while its datastore lives, and names are taken once", () =>
    Effect.gen(function*() {
      const { input } = yield* created
      const registry = yield* ContextRegistry.makeLocal
      const Live = Datastore.layer(runtime(input), { contextRegistry: registry })
      yield* Effect.gen(function*() {
        const datastore = yield* Datastore.Datastore
        assert.deepStrictEqual(yield* registry.names, ["app", "audit"])
        const found = yield* registry.whereis("app")
        assert.strictEqual(Option.getOrUndefined(found)?.sql, (yield* datastore.context("app")).sql)
        const again = yield* Effect.flip(
          Effect.scoped(Layer.build(Layer.fresh(Datastore.layer(runtime(input), { contextRegistry: registry }))))
        )
        assert.deepInclude(again, { _tag: "ContextNameTaken", contextName: "app", databaseName: input.databaseName })
        assert.deepStrictEqual(yield* registry.names, ["app", "audit"])
      }).pipe(Effect.provide(Live))
      assert.deepStrictEqual(yield* registry.names, [])
      assert.isTrue(Option.isNone(yield* registry.whereis("app")))
    }))

  it.effect("is an ordinary client: values, streams, JSON, notifications, aborted transactions", () =>
    Effect.gen(function*() {
      const { input } = yield* created
      const datastore = yield* opened(input)
      const { sql } = yield* datastore.context("app")
      const [row] = yield* sql<{ j: unknown }>`SELECT ${sql.json({ a: [1, null] })}::jsonb AS j`
      assert.deepStrictEqual(row?.j, { a: [1, null] })
      assert.deepStrictEqual(yield* sql`SELECT 1 AS a, 'x' AS b`.values, [[1, "x"]])
      const inbox = yield* sql.listen("test")
      yield* sql.notify("test", "hello")
      assert.strictEqual((yield* Queue.take(inbox)).payload, "hello")
      const rows = yield* Stream.runCollect(sql<{ i: number }>`SELECT i FROM generate_series(1, 1000) i`.stream)
      assert.lengthOf(rows, 1000)
      const swallowed = yield* Effect.flip(sql.withTransaction(Effect.ignore(sql`SELECT 1/0`)))
      assert.include(String(swallowed.reason.cause), "rolled back")
    }).pipe(Effect.scoped))
})
