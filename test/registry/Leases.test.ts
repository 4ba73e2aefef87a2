/**
 * Holding a profile on Postgres is a lease: whoever cannot count on it is told before anybody else can act on it, and what becomes
 * of a registration never depends on a connection that is lost at the wrong moment.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import {
  Clock,
  Context,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  type Redacted,
  References,
  Schema,
  Scope
} from "effect"
import { Rpc } from "effect/rpc"
import { DurableNode, DurableServer } from "holdfast/durable"
import { Member } from "holdfast/member"
import { PostgresBackend, ProfileRegistry } from "holdfast/registry"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"

class Held extends ProfileRegistry.Service<Held, object>()("test/held") {}

const leaseMillis = 1000

const quiet = Layer.succeed(References.MinimumLogLevel, "None")

interface NodeOptions {
  readonly url: Redacted.Redacted
  readonly lease?: number
  readonly pollInterval?: number
  readonly registerTimeout?: number
}

const layerOf = ({ lease = leaseMillis, pollInterval = 60_000, registerTimeout = 10_000, url }: NodeOptions) =>
  Layer.mergeAll(
    PgClient.layer({ url, maxConnections: 2 }),
    quiet,
    Layer.succeed(Member.MemberOptions, { lease, statementTimeout: "10 seconds", name: "tested" }),
    Layer.succeed(PostgresBackend.PostgresBackendOptions, { pollInterval }),
    Layer.succeed(ProfileRegistry.ProfileRegistryOptions, { registerTimeout })
  )

const join = Effect.fnUntraced(function*(options: NodeOptions) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(Layer.fresh(Layer.provide(Held.layerPostgres, layerOf(options))), scope)
  return { registry: Context.get(context, Held), close: Scope.close(scope, Exit.void) }
})

const tag = (registry: Held["Service"], profile: string) =>
  Effect.map(registry.whereis(profile), (entry) => Option.isSome(entry) ? entry.value._tag : "nowhere")

const until = <A, E, R>(effect: Effect.Effect<A, E, R>, holds: (value: A) => boolean) =>
  Nodes.within("20 seconds", Effect.repeat(Effect.delay(effect, "10 millis"), { until: holds }))

const members = Effect.flatMap(
  PgClient.PgClient,
  (sql) =>
    sql<{ readonly id: number; readonly dead: boolean; readonly until: number }>`
    SELECT id::int, dead, (extract(epoch FROM lease_until) * 1000)::float8 AS until
    FROM holdfast.member ORDER BY id`
)

layer(TestPostgres.layer, { excludeTestServices: true })("Leases", (it) => {
  it.effect(
    "a holder that cannot renew its lease is told while nobody else can take it yet, and comes back with a new token",
    () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        const other = yield* join({ url: database.url })
        const { registry } = yield* join({ url: proxy.through(database.url), lease: 2000 })
        const node = Number(yield* registry.node)
        const plain = yield* registry.register("plain", {})
        let closedAt: number | undefined
        yield* registry.supervised(
          "kept",
          Effect.acquireRelease(
            Effect.succeed({}),
            () =>
              Effect.map(Clock.currentTimeMillis, (now) => {
                closedAt = now
              })
          )
        )
        yield* registry.via("kept").wait
        const first = Option.getOrThrow(yield* registry.whereis("kept")).token
        yield* proxy.welcome("cut")
        yield* proxy.cut()
        yield* Nodes.within("5 seconds", Effect.flip(plain.lost))
        const toldAt = yield* Clock.currentTimeMillis
        // Until then nobody else could have taken it.
        const row = (yield* members).find(({ id }) => id === node)
        assert.isBelow(toldAt, row?.until ?? 0)
        assert.strictEqual(yield* tag(registry, "plain"), "nowhere")
        yield* until(Effect.sync(() => closedAt), (at) => at !== undefined)
        // And then it is somebody else's.
        const next = yield* until(
          Effect.result(other.registry.register("plain", {})),
          (result) => result._tag === "Success"
        )
        assert.isTrue(next._tag === "Success" && next.success.token > plain.token)
        yield* proxy.welcome("accept")
        yield* until(tag(registry, "kept"), (tag) => tag === "Here")
        assert.isTrue(Option.getOrThrow(yield* registry.whereis("kept")).token > first)
        assert.notStrictEqual(Number(yield* registry.node), node)
        yield* until(tag(registry, "plain"), (tag) => tag === "Elsewhere")
      }),
    60_000
  )

  it.effect(
    "a lease that lapsed and was renewed in time gives the same profiles back, under new tokens",
    () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        // Alone: nobody declares it dead.
        const sql = yield* PgClient.PgClient
        const { registry } = yield* join({ url: proxy.through(database.url) })
        const node = yield* registry.node
        yield* registry.supervised("alone", Effect.succeed({}))
        yield* registry.via("alone").wait
        const first = Option.getOrThrow(yield* registry.whereis("alone")).token
        yield* proxy.welcome("cut")
        yield* proxy.cut()
        yield* until(tag(registry, "alone"), (tag) => tag === "nowhere")
        yield* Effect.sleep(500)
        yield* proxy.welcome("accept")
        yield* until(tag(registry, "alone"), (tag) => tag === "Here")
        assert.isTrue(Option.getOrThrow(yield* registry.whereis("alone")).token > first)
        assert.strictEqual(yield* registry.node, node)
        const [row] = yield* sql<{ readonly count: number }>`
        SELECT count(*)::int AS count FROM holdfast.registration WHERE profile = 'alone'`
        assert.strictEqual(row?.count, 1)
      }),
    60_000
  )

  it.effect(
    "a member that was declared dead and has not heard of it registers nothing under that id",
    () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const sql = yield* PgClient.PgClient
        const proxy = yield* CuttableProxy.make(database)
        // Its heart says nothing, and for as long as its lease would last it believes in it.
        const { registry } = yield* join({ url: proxy.through(database.url), lease: 10_000 })
        const node = yield* registry.node
        const before = yield* registry.register("before", {})
        yield* proxy.welcome("cut", "holdfast heartbeat")
        yield* proxy.cut("holdfast heartbeat")
        yield* sql`SELECT holdfast.bury_members(ARRAY[${BigInt(node)}])`
        assert.isTrue(yield* before.isHeld)
        yield* registry.register("after", {})
        assert.isFalse(yield* before.isHeld)
        const now = yield* registry.node
        assert.notStrictEqual(now, node)
        const rows = yield* sql<{ readonly profile: string; readonly member: string }>`
        SELECT profile, member::text AS member FROM holdfast.registration WHERE profile IN ('before', 'after') AND member IS NOT NULL
        ORDER BY profile`
        assert.deepInclude(rows, { profile: "after", member: now })
      }),
    60_000
  )

  it.effect(
    "a grant that is heard of when the lease has lapsed does not count, and another one takes its place",
    () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const sql = yield* PgClient.PgClient
        const proxy = yield* CuttableProxy.make(database)
        const lease = 1500
        const { registry } = yield* join({ url: proxy.through(database.url), lease })
        const tokenOf = Effect.map(
          sql<{ readonly token: bigint }>`SELECT token FROM holdfast.registration WHERE profile = 'late'`,
          ([row]) => row?.token
        )
        const caught = yield* proxy.catchAnswer(/commit_registrations/)
        const registering = yield* Effect.forkChild(registry.register("late", {}))
        yield* caught.arrived
        const unheard = yield* tokenOf
        // Neither does it hear that its lease is renewed.
        yield* proxy.welcome("cut", "holdfast heartbeat")
        yield* proxy.cut("holdfast heartbeat")
        yield* Effect.sleep(lease)
        yield* caught.release
        yield* Effect.sleep("100 millis")
        assert.isUndefined(registering.pollUnsafe())
        yield* proxy.welcome("accept", "holdfast heartbeat")
        const { token } = yield* Nodes.within("10 seconds", Fiber.join(registering))
        assert.strictEqual(token, yield* tokenOf)
        assert.isTrue(unheard !== undefined && token > unheard)
      }),
    60_000
  )

  it.effect(
    "a registration whose answer is lost is registered, once, under the token that the database has",
    () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const sql = yield* PgClient.PgClient
        const proxy = yield* CuttableProxy.make(database)
        const { registry } = yield* join({ url: proxy.through(database.url), lease: 10_000 })
        for (const side of ["catchAnswer", "catchRequest"] as const) {
          for (let n = 0; n < 3; n++) {
            const profile = `${side} ${n}`
            const caught = yield* proxy[side](/commit_registrations/)
            const registering = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
              const { token } = yield* registry.register(profile, {})
              const rows = yield* sql<{ readonly token: bigint; readonly held: boolean }>`
              SELECT token, member IS NOT NULL AS held FROM holdfast.registration WHERE profile = ${profile}`
              return { token, rows }
            })))
            yield* caught.arrived
            yield* caught.cut
            const { rows, token } = yield* Nodes.within("10 seconds", Fiber.join(registering))
            assert.deepStrictEqual(rows, [{ token, held: true }])
            const after =
              yield* sql`SELECT 1 FROM holdfast.registration WHERE profile = ${profile} AND member IS NOT NULL`
            assert.lengthOf(after, 0)
          }
        }
      }),
    60_000
  )

  it.effect(
    "whoever gives up while the database says nothing leaves nothing held once it does",
    () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const sql = yield* PgClient.PgClient
        const proxy = yield* CuttableProxy.make(database)
        const { registry } = yield* join({ url: proxy.through(database.url), lease: 20_000, registerTimeout: 200 })
        const caught = yield* proxy.catchAnswer(/commit_registrations/)
        const error = yield* Effect.flip(registry.register("patient", {}))
        assert.strictEqual(error._tag, "RegistryUnavailable")
        yield* caught.arrived
        yield* caught.release
        yield* until(
          sql`SELECT 1 FROM holdfast.registration WHERE profile = 'patient' AND member IS NULL`,
          (rows) => rows.length === 1
        )
        yield* registry.register("patient", {})
      }),
    60_000
  )

  it.effect("what was said while nobody listened is found by the poll", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const deaf = yield* join({ url: proxy.through(database.url), pollInterval: 100 })
      const other = yield* join({ url: database.url })
      yield* proxy.welcome("cut", "holdfast listen")
      yield* proxy.cut("holdfast listen")
      const scope = yield* Scope.make()
      yield* Scope.provide(other.registry.register("said", {}), scope)
      yield* until(tag(deaf.registry, "said"), (tag) => tag === "Elsewhere")
      yield* Scope.close(scope, Exit.void)
      yield* until(tag(deaf.registry, "said"), (tag) => tag === "nowhere")
    }), 60_000)

  it.effect(
    "ten thousand profiles on a node cost one heartbeat, and statements as if there were none",
    () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        const lease = 8000
        const { registry } = yield* join({ url: proxy.through(database.url), lease })
        const scope = yield* Scope.make("parallel")
        yield* Effect.forEach(
          Array.from({ length: 10_000 }),
          (_, n) => Scope.provide(registry.register(`many ${n}`, {}), scope),
          { concurrency: 250, discard: true }
        )
        const commits = (yield* proxy.passed).filter(({ sql }) => sql.includes("commit_registrations")).length
        assert.isBelow(commits, 1000)
        const before = (yield* proxy.passed).length
        const [elapsed] = yield* Effect.timed(Effect.sleep(lease / 2))
        const passed = (yield* proxy.passed).slice(before).filter(({ sql }) => !sql.includes("pg_notify"))
        const beats = passed.filter(({ sql }) => sql.includes("SET lease_until"))
        assert.isAtLeast(beats.length, 1)
        // Three in a lease, a tenth sooner or later.
        assert.isAtMost(beats.length, 1 + Duration.toMillis(elapsed) / (lease / 3 * 0.9))
        // A beat renews, and looks for others that are overdue; what else passes are polls. How many depends on the machine's
        // pace, but none of it on how many profiles there are: one statement per hundred of them would already show.
        assert.isBelow(passed.length, 10_000 / 100, JSON.stringify(passed))
        assert.strictEqual((yield* registry.list).length, 10_000)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* registry.list).length, 0)
      }),
    60_000
  )

  it.effect(
    "durable servers and registries of one client are one member, and one heartbeat",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.TestDatabase
        const before = (yield* members).length
        class Tally extends DurableServer.make("Tally", {
          state: Schema.Int,
          protocol: [Rpc.make("Add", { success: Schema.Int })]
        }) {}
        const TallyLive = Tally.toLayer({
          init: () => 0,
          handlers: { Add: ({ reply, state }) => reply(state + 1, state + 1) }
        })
        class Others extends ProfileRegistry.Service<Others, object>()("test/others") {}
        const Main = Layer.mergeAll(
          TallyLive.pipe(Layer.provideMerge(DurableNode.layerPostgres)),
          Held.layerPostgres,
          Others.layerPostgres
        ).pipe(Layer.provide(layerOf({ url })))
        const context = yield* Layer.build(Layer.fresh(Main))
        const registry = Context.get(context, Held)
        assert.strictEqual((yield* members).length, before + 1)
        const id = yield* Context.get(context, DurableNode.DurableNode).id
        assert.strictEqual(yield* registry.node, String(id))
        const sql = yield* PgClient.PgClient
        const tally = yield* Effect.provide(Tally.client(), context)
        yield* tally("a").call.Add()
        yield* registry.supervised("both", Effect.succeed({}))
        yield* registry.via("both").wait
        const token = Option.getOrThrow(yield* registry.whereis("both")).token
        // Declared dead by somebody else: both come back, under the same new id.
        yield* sql`SELECT holdfast.bury_members(ARRAY[${BigInt(id)}])`
        yield* until(
          registry.whereis("both"),
          (entry) => Option.isSome(entry) && entry.value._tag === "Here" && entry.value.token > token
        )
        assert.strictEqual(yield* tally("a").call.Add(undefined, { timeout: "10 seconds" }), 2)
        const now = yield* Context.get(context, DurableNode.DurableNode).id
        assert.notStrictEqual(now, id)
        assert.strictEqual(yield* registry.node, String(now))
        assert.strictEqual((yield* members).filter(({ dead }) => !dead).filter(({ id }) => id >= now).length, 1)
      }),
    60_000
  )

  it.effect(
    "a transaction of the user's that holds a profile under its token keeps it from others until it ends",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.TestDatabase
        const sql = yield* PgClient.PgClient
        const [one, two] = [yield* join({ url }), yield* join({ url })]
        const scope = yield* Scope.make()
        const registration = yield* Scope.provide(one.registry.register("guarded", {}), scope)
        const inside = yield* Effect.forkChild(
          sql.withTransaction(Effect.andThen(
            PostgresBackend.guard(registration, sql`SELECT 1`),
            Effect.sleep("700 millis")
          ))
        )
        yield* Effect.sleep("200 millis")
        const releasing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        // Others are registered meanwhile: nobody waits for the row.
        yield* two.registry.register("unguarded", {})
        assert.isTrue(Exit.isFailure(yield* Effect.exit(two.registry.register("guarded", {}))))
        assert.isUndefined(inside.pollUnsafe())
        yield* Fiber.join(inside)
        yield* Fiber.join(releasing)
        const next = yield* two.registry.register("guarded", {})
        const stale = yield* Effect.flip(PostgresBackend.guard(registration, sql`SELECT 1`))
        assert.strictEqual(stale._tag, "RegistrationLost")
        yield* PostgresBackend.guard(next, sql`SELECT 1`)
      }),
    60_000
  )
})
