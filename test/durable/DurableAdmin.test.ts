/**
 * What an operator sees of durable servers and does with the messages that were set aside, from beside the nodes, while they
 * are at work: the same on every storage.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, DateTime, Deferred, Effect, Exit, Fiber, Layer, Redacted, Schedule, Schema, Stream } from "effect"
import { Rpc } from "effect/rpc"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { DurableAdmin, DurableNode, DurableServer, DurableStorage } from "holdfast/durable"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import {
  Counter,
  CounterLive,
  Fragile,
  fragileLive,
  Journal,
  JournalLive,
  makeWorld,
  Tank,
  tankLive
} from "./fixtures/servers.ts"

const all = <A, E>(stream: Stream.Stream<A, E>) => Stream.runCollect(stream)

/** A node that looks for nothing by itself: what it learns, it learns from hints. */
const onlyHints = { pollInterval: "1 hour" } as const
/** A node that, when it ends, does not wait for what goes on under a lock. */
const briefly = { drainTimeout: "10 millis" } as const
const atOnce = { defectRetryPolicy: Schedule.recurs(0) }

const first = (parked: ReadonlyArray<{ readonly id: number }>) => parked[0]?.id ?? 0

/** Waits for something to become true, without saying when. */
const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Nodes.within(
    "20 seconds",
    Effect.repeat(Effect.delay(condition, "5 millis"), { until: (is) => is })
  )

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`DurableAdmin: ${name}`, (it) => {
    /** A node whose Fragile servers park at once, an operator, and a message of each of these that was set aside. */
    const withParked = Effect.fnUntraced(function*(key: string, ...poison: ReadonlyArray<string>) {
      const store = yield* Nodes.Store
      const world = makeWorld()
      const node = yield* store.start({ servers: fragileLive(world, atOnce), node: onlyHints })
      const admin = yield* store.admin
      const fragile = (yield* node.run(Fragile.client()))(key)
      for (const what of poison) {
        world.poison.add(what)
        yield* Effect.flip(fragile.call.DoOnce({ what }))
      }
      const parked = poison.length === 0 ? [] : yield* all(admin.parked({ kind: "Fragile", key }))
      return { admin, fragile, node, parked, store, world }
    })
    it.effect("lists servers by kind and key, over many pages, and only those of a kind", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const producer = yield* store.start()
        const counter = yield* producer.run(Counter.client())
        const journal = yield* producer.run(Journal.client())
        const keys = Array.from({ length: 1203 }, (_, n) => `listed ${String(n).padStart(4, "0")}`)
        yield* Effect.forEach(keys, (key) => counter(key).cast.Add({ by: 1 }), { concurrency: "unbounded" })
        yield* journal("listed").cast.Write({ entry: "a" })
        const admin = yield* store.admin
        const servers = yield* all(admin.servers())
        assert.deepStrictEqual(
          servers.filter(({ key }) => key.startsWith("listed")).map(({ key, kind }) => `${kind} ${key}`),
          [...keys.map((key) => `Counter ${key}`), "Journal listed"]
        )
        assert.strictEqual(new Set(servers.map(({ id }) => id)).size, servers.length)
        const journals = yield* all(admin.servers({ kind: "Journal" }))
        assert.deepStrictEqual(journals.map(({ kind }) => kind), ["Journal"])
        // Those with something in line, in pages of candidates most of which are of another kind.
        const waiting = yield* all(admin.servers({ only: ["waiting"] }))
        assert.strictEqual(waiting.length, servers.length)
        assert.deepStrictEqual(waiting.map(({ id }) => id), waiting.map(({ id }) => id).sort((a, b) => a - b))
        assert.deepStrictEqual(
          (yield* all(admin.servers({ kind: "Journal", only: ["waiting", "parked"] }))).map(({ key, queue }) => [
            key,
            queue
          ]),
          [["listed", 1]]
        )
        assert.deepStrictEqual(yield* all(admin.servers({ kind: "Nothing" })), [])
      }))

    it.effect("tells who holds a server, what waits, what is locked and set aside; and counts it", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const node = yield* store.start({
          servers: Layer.mergeAll(tankLive(world), fragileLive(world, atOnce)),
          node: briefly
        })
        const id = yield* node.id
        const tank = yield* node.run(Tank.client())
        const fragile = yield* node.run(Fragile.client())
        yield* tank("at rest").cast.Add({ what: "a" })
        yield* tank("locked").cast.Fill({ what: "slowly", millis: 3_600_000 })
        yield* tank("locked").cast.Add({ what: "b" })
        yield* tank("locked").cast.Add({ what: "c" })
        world.poison.add("poison")
        yield* Effect.flip(fragile("set aside").call.Do({ what: "poison" }))
        yield* Effect.flip(fragile("set aside").call.Do({ what: "poison" }))
        const admin = yield* store.admin
        const seen = (servers: ReadonlyArray<DurableAdminServer>) =>
          servers.map(({ holder, key, lockedBy, parked, queue }) => ({ key, holder, queue, lockedBy, parked }))
        const atRest = { key: "at rest", holder: id, queue: 0, lockedBy: undefined, parked: 0 }
        const locked = { key: "locked", holder: id, queue: 2, lockedBy: "Fill", parked: 0 }
        const aside = { key: "set aside", holder: id, queue: 0, lockedBy: undefined, parked: 2 }
        assert.deepStrictEqual(seen(yield* all(admin.servers({ kind: "Tank" }))), [atRest, locked])
        assert.deepStrictEqual(seen(yield* all(admin.servers({ kind: "Tank", only: ["locked"] }))), [locked])
        assert.deepStrictEqual(seen(yield* all(admin.servers({ kind: "Tank", only: ["waiting"] }))), [locked])
        assert.deepStrictEqual(seen(yield* all(admin.servers({ kind: "Fragile", only: ["parked"] }))), [aside])
        assert.deepStrictEqual(
          seen(yield* all(admin.servers({ only: ["parked", "locked"] }))).sort((a, b) => a.key < b.key ? -1 : 1),
          [locked, aside]
        )

        const { kinds, members } = yield* admin.overview
        const tanks = kinds.find(({ kind }) => kind === "Tank")
        assert.deepInclude(tanks, { servers: 2, held: 2, waiting: 1, queue: 2, locked: 1, parked: 0 })
        assert.deepInclude(kinds.find(({ kind }) => kind === "Fragile"), { servers: 1, parked: 2, locked: 0 })
        assert.deepStrictEqual(kinds.map(({ kind }) => kind), kinds.map(({ kind }) => kind).sort())
        const versions = (yield* all(admin.servers({ kind: "Tank" }))).reduce((sum, { version }) => sum + version, 0)
        assert.strictEqual(tanks?.versions, versions)
        const member = members.find((member) => member.id === id)
        assert.strictEqual(member?.servers, 3)
        assert.isAbove(member?.groups ?? 0, 0)
        if (name === "PostgresStorage") {
          assert.isAbove(member?.leaseMillis ?? 0, 0)
          assert.isAtMost(member?.leaseMillis ?? 0, 5000)
        }
        const ids = new Set(members.map(({ id }) => id))
        yield* node.close
        const after = yield* admin.overview
        assert.isTrue(ids.has(id))
        assert.notInclude(after.members.map(({ id }) => id), id)
        assert.deepInclude(after.kinds.find(({ kind }) => kind === "Tank"), { held: 0, locked: 1 })
      }))

    it.effect("shows one server: its state, the head of its line, its lock, what was set aside", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const node = yield* store.start({ servers: tankLive(world), node: briefly })
        const tank = yield* node.run(Tank.client())
        const before = yield* DateTime.now
        yield* tank("shown").cast.Add({ what: "a" })
        yield* tank("shown").cast.Fill({ what: "slowly", millis: 3_600_000 })
        for (let n = 0; n < 30; n++) yield* tank("shown").cast.Add({ what: `${n}` })
        const admin = yield* store.admin
        const shown = yield* admin.inspect("Tank", "shown")
        assert.deepStrictEqual(JSON.parse(shown.state ?? ""), { filling: 1, full: ["a"] })
        assert.deepInclude(shown, { kind: "Tank", key: "shown", holder: yield* node.id, queue: 30, lockedBy: "Fill" })
        assert.deepInclude(shown.lock, { mode: "cast", rpc: "Fill" })
        assert.deepStrictEqual(JSON.parse(shown.lock?.payload ?? ""), { what: "slowly", millis: 3_600_000 })
        assert.strictEqual(shown.head.length, 20)
        const positions = shown.head.map(({ position }) => position)
        assert.deepStrictEqual(positions, positions.map((_, n) => (positions[0] ?? 0) + n))
        assert.deepStrictEqual(
          shown.head.map(({ mode, payload, rpc }) => [mode, rpc, JSON.parse(payload)]),
          Array.from({ length: 20 }, (_, n) => ["cast", "Add", { what: `${n}` }])
        )
        assert.isTrue(shown.head.every(({ sentAt }) =>
          DateTime.between(sentAt, {
            minimum: DateTime.subtract(before, { minutes: 1 }),
            maximum: DateTime.add(before, { minutes: 1 })
          })
        ))
        assert.deepStrictEqual(shown.parkedHead, [])

        const untouched = yield* Effect.flip(admin.inspect("Tank", "never heard of"))
        assert.strictEqual(untouched._tag, "ServerNotFound")
        assert.strictEqual(untouched.message, `there is no Tank "never heard of"`)
        const producer = yield* store.start()
        yield* (yield* producer.run(Journal.client()))("no state yet").cast.Write({ entry: "a" })
        const fresh = yield* admin.inspect("Journal", "no state yet")
        assert.deepInclude(fresh, { state: undefined, holder: undefined, lock: undefined, queue: 1 })
      }))

    for (const persistence of ["whole", "incremental"] as const) {
      it.effect(`shows a state that does not fit into a row, stored ${persistence}`, () =>
        Effect.gen(function*() {
          class Large extends DurableServer.make(`Large ${persistence}`, {
            state: Schema.Struct({ name: Schema.String, texts: Schema.Array(Schema.String) }),
            protocol: [Rpc.make("Put", { payload: { text: Schema.String } })],
            persistence
          }) {}
          const LargeLive = Large.toLayer({
            init: () => ({ name: "large", texts: [] }),
            handlers: {
              Put: ({ noReply, payload, state }) => noReply({ ...state, texts: [...state.texts, payload.text] })
            }
          })
          const store = yield* Nodes.Store
          const node = yield* store.start({ servers: LargeLive })
          const large = (yield* node.run(Large.client()))("a")
          const texts = Array.from({ length: 5 }, (_, n) => `${n} ${"å".repeat(3000)}`)
          for (const text of texts) yield* large.cast.Put({ text })
          const admin = yield* store.admin
          const { state } = yield* admin.inspect(`Large ${persistence}`, "a")
          assert.deepStrictEqual(JSON.parse(state ?? ""), { name: "large", texts })
        }))
    }

    it.effect("shows a state that is too large for one row as the JSON that it is", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: JournalLive })
        const entries = Array.from({ length: 40 }, (_, n) => `${n} ${"x".repeat(500)} "ü"`)
        yield* Effect.forEach(entries, (entry) =>
          node.run(Effect.flatMap(Journal.client(), (journal) => journal("large").cast.Write({ entry }))))
        const { state } = yield* (yield* store.admin).inspect("Journal", "large")
        assert.deepStrictEqual(JSON.parse(state ?? ""), { entries })
      }))

    it.effect("shows what was set aside, with its payload, its attempts, its failure and when it was", () =>
      Effect.gen(function*() {
        const { admin, fragile, parked } = yield* withParked("what and when", "one", "two")
        assert.deepStrictEqual(parked.map(({ message }) => JSON.parse(message.payload)), [{ what: "one" }, {
          what: "two"
        }])
        const one = yield* admin.parkedMessage(first(parked))
        assert.deepStrictEqual(one, parked[0])
        assert.deepInclude(one, { kind: "Fragile", key: "what and when", attempts: 1 })
        assert.deepInclude(one.message, { mode: "call", rpc: "DoOnce", primaryKey: "DoOnce/one", priority: false })
        assert.include(one.failure, "poisoned by one")
        const now = yield* DateTime.now
        assert.isBelow(Math.abs(DateTime.toEpochMillis(now) - DateTime.toEpochMillis(one.parkedAt)), 60_000)
        const { parkedHead, queue } = yield* admin.inspect("Fragile", "what and when")
        assert.deepStrictEqual([parkedHead, queue], [parked, 0])
        yield* fragile.call.Do({ what: "fine" })
        assert.include((yield* all(admin.parked())).map(({ id }) => id), one.id)
        assert.deepStrictEqual(yield* all(admin.parked({ kind: "Counter" })), [])
        assert.deepStrictEqual(yield* all(admin.parked({ kind: "Fragile", key: "what and when" })), parked)
      }))

    it.effect("what is not there is said by name", () =>
      Effect.gen(function*() {
        const { admin, fragile } = yield* withParked("nothing of it")
        yield* fragile.call.Do({ what: "fine" })
        assert.deepStrictEqual(yield* all(admin.parked({ kind: "Fragile", key: "nothing of it" })), [])
        const unknown = yield* Effect.flip(all(admin.parked({ kind: "Fragile", key: "no such server" })))
        assert.deepInclude({ ...unknown }, { _tag: "ServerNotFound", kind: "Fragile", key: "no such server" })
        for (const id of [0, 4_000_000_000_000, -1, 1.5, Number.NaN, Number.MAX_VALUE]) {
          for (const effect of [admin.parkedMessage(id), admin.retry(id), admin.drop(id)]) {
            assert.strictEqual(
              (yield* Effect.flip<unknown, { readonly _tag: string }, never>(effect))._tag,
              "ParkedNotFound"
            )
          }
        }
      }))

    it.effect("a retried message joins the end of the line, and is handled as the same message", () =>
      Effect.gen(function*() {
        const { admin, fragile, node, parked, store, world } = yield* withParked("end of the line", "ill")
        yield* fragile.call.Do({ what: "before" })
        yield* node.close
        const producer = yield* store.start()
        const sent = (yield* producer.run(Fragile.client()))("end of the line")
        yield* sent.cast.Do({ what: "first" })
        yield* sent.cast.Do({ what: "second" })
        world.poison.clear()
        const position = yield* admin.retry(first(parked))
        const { head, parkedHead } = yield* admin.inspect("Fragile", "end of the line")
        assert.deepStrictEqual(
          head.map(({ mode, payload, position, primaryKey }) => [mode, JSON.parse(payload).what, position, primaryKey]),
          [
            ["cast", "first", position - 2, undefined],
            ["cast", "second", position - 1, undefined],
            ["cast", "ill", position, "DoOnce/ill"]
          ]
        )
        assert.deepStrictEqual(parkedHead, [])
        yield* sent.cast.Do({ what: "third" })
        yield* store.start({ servers: fragileLive(world, atOnce), node: onlyHints })
        assert.deepStrictEqual(yield* sent.call.Done(), ["before", "first", "second", "ill", "third"])
        const attempts = world.attempts.filter(({ what }) => what === "ill")
        assert.deepStrictEqual(attempts.map(({ attempt }) => attempt), [1, 1])
        assert.strictEqual(new Set(attempts.map(({ id }) => id)).size, 1)
      }))

    for (const held of ["where a node holds it", "where nobody does"] as const) {
      it.effect(`a retry wakes who should look at it, ${held}`, () =>
        Effect.gen(function*() {
          const { admin, fragile, node, parked, store, world } = yield* withParked(`woken ${held}`, "ill")
          world.poison.clear()
          if (held === "where nobody does") {
            const other = yield* store.start({ servers: fragileLive(world, atOnce), node: onlyHints })
            yield* node.close
            // What its leaving says comes before.
            yield* (yield* other.run(Fragile.client()))("somewhere else").call.Do({ what: "something" })
          }
          yield* admin.retry(first(parked))
          yield* until(Effect.sync(() => world.attempts.filter(({ what }) => what === "ill").length === 2))
          if (held === "where a node holds it") assert.deepStrictEqual(yield* fragile.call.Done(), ["ill"])
          yield* until(Effect.map(admin.inspect("Fragile", `woken ${held}`), ({ queue }) => queue === 0))
        }))
    }

    it.effect("however many retry it at once, it is done once, and all others are told", () =>
      Effect.gen(function*() {
        const { admin, fragile, parked, world } = yield* withParked("at once", "a", "b", "c")
        world.poison.clear()
        const other = yield* (yield* Nodes.Store).admin
        const exits = yield* Effect.forEach(
          parked.flatMap(({ id }) => Array.from({ length: 10 }, (_, n) => [id, n] as const)),
          ([id, n]) => Effect.exit((n % 2 === 0 ? admin : other).retry(id)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(exits.filter(Exit.isSuccess).length, 3)
        for (const exit of exits.filter(Exit.isFailure)) {
          assert.deepStrictEqual(exit.cause.reasons.map((reason) => reason._tag === "Fail" ? reason.error._tag : ""), [
            "ParkedNotFound"
          ])
        }
        yield* until(Effect.map(admin.inspect("Fragile", "at once"), ({ queue }) => queue === 0))
        assert.sameMembers([...(yield* fragile.call.Done())], ["a", "b", "c"])
      }))

    it.effect("retried and dropped at once, it is one of the two", () =>
      Effect.gen(function*() {
        const poison = Array.from({ length: 20 }, (_, n) => `${n}`)
        const { admin, fragile, parked, world } = yield* withParked("one of two", ...poison)
        world.poison.clear()
        const retried = yield* Effect.forEach(parked, ({ id, message }) =>
          Effect.map(
            Effect.all([Effect.exit(admin.retry(id)), Effect.exit(admin.drop(id))], { concurrency: 2 }),
            ([retry, drop]) => {
              assert.notStrictEqual(Exit.isSuccess(retry), Exit.isSuccess(drop))
              return Exit.isSuccess(retry) ? [JSON.parse(message.payload).what as string] : []
            }
          ), { concurrency: "unbounded" })
        yield* until(Effect.map(admin.inspect("Fragile", "one of two"), ({ queue }) => queue === 0))
        assert.sameMembers([...(yield* fragile.call.Done())], retried.flat())
      }))

    it.effect("it may be retried with another payload, if that is JSON; otherwise it stays", () =>
      Effect.gen(function*() {
        const { admin, fragile, parked } = yield* withParked("edited", "ill")
        for (const payload of ["{\"what\":", "", "\"\ud800\"", "{'what': 1}"]) {
          const refused = yield* Effect.flip(admin.retry(first(parked), { payload }))
          assert.strictEqual(refused._tag, "PayloadInvalid")
          assert.include(refused.message, `${first(parked)}`)
        }
        assert.deepStrictEqual(yield* all(admin.parked({ kind: "Fragile", key: "edited" })), parked)
        yield* admin.retry(first(parked), { payload: "{\"what\":\"\\u0000 mended\"}" })
        yield* until(Effect.map(admin.inspect("Fragile", "edited"), ({ queue }) => queue === 0))
        assert.deepStrictEqual(yield* fragile.call.Done(), ["\0 mended"])
        // Under the key that it had.
        assert.strictEqual(yield* fragile.call.DoOnce({ what: "ill" }), 1)
        assert.deepStrictEqual(yield* fragile.call.Done(), ["\0 mended"])
      }))

    it.effect("one that fails again is set aside anew, and who retries all of them comes to an end", () =>
      Effect.gen(function*() {
        // More than a page of them.
        const poison = Array.from({ length: 120 }, (_, n) => `${n}`)
        const { admin, fragile, parked, world } = yield* withParked("again", ...poison)
        const settled = until(
          Effect.map(admin.inspect("Fragile", "again"), ({ parked, queue }) => queue === 0 && parked === 120)
        )
        const retried = yield* Nodes.within(
          "20 seconds",
          admin.parked({ kind: "Fragile", key: "again" }).pipe(
            Stream.mapEffect(({ id }, index) => Effect.andThen(admin.retry(id), index === 99 ? settled : Effect.void)),
            Stream.runCount
          )
        )
        assert.strictEqual(retried, 120)
        yield* settled
        const again = yield* all(admin.parked({ kind: "Fragile", key: "again" }))
        assert.strictEqual(again.length, 120)
        assert.isTrue(again.every(({ message }) => message.mode === "cast"))
        assert.isAbove(first(again), parked.at(-1)?.id ?? 0)
        assert.deepStrictEqual(
          again.map(({ message }) => [message.node, message.call, message.primaryKey]),
          parked.map(({ message }) => [message.node, message.call, message.primaryKey])
        )
        assert.strictEqual(world.attempts.length, 240)
        // Set aside again, its key is free again.
        world.poison.clear()
        yield* fragile.call.DoOnce({ what: "0" })
        assert.strictEqual((yield* Effect.flip(admin.retry(first(again))))._tag, "PrimaryKeyKnown")
      }))

    it.effect("from its retry on, repeats with its key join it", () =>
      Effect.gen(function*() {
        const { admin, node, parked, store, world } = yield* withParked("repeats", "ill")
        yield* node.close
        world.poison.clear()
        yield* admin.retry(first(parked))
        const producer = yield* store.start()
        const sent = (yield* producer.run(Fragile.client()))("repeats")
        yield* sent.cast.DoOnce({ what: "ill" })
        assert.strictEqual((yield* admin.inspect("Fragile", "repeats")).queue, 1)
        const called = yield* Effect.forkChild(sent.call.DoOnce({ what: "ill" }), { startImmediately: true })
        yield* store.start({ servers: fragileLive(world, atOnce), node: onlyHints })
        assert.strictEqual(yield* Fiber.join(called), 1)
        yield* sent.cast.DoOnce({ what: "ill" })
        assert.strictEqual(yield* sent.call.DoOnce({ what: "ill" }), 1)
        assert.deepStrictEqual(yield* sent.call.Done(), ["ill"])
      }))

    it.effect("what was done by a repeat meanwhile is not done again: it stays set aside, to be dropped", () =>
      Effect.gen(function*() {
        const { admin, fragile, node, parked, store, world } = yield* withParked("repeated", "ill", "also ill")
        world.poison.clear()
        assert.strictEqual(yield* fragile.call.DoOnce({ what: "ill" }), 1)
        const done = yield* Effect.flip(admin.retry(first(parked), { payload: "{\"what\":\"edited\"}" }))
        assert.deepInclude({ ...done }, { _tag: "PrimaryKeyKnown", primaryKey: "DoOnce/ill", answered: true })
        assert.deepStrictEqual(yield* all(admin.parked({ kind: "Fragile", key: "repeated" })), parked)
        // The other one's repeat is in line.
        yield* node.close
        const producer = yield* store.start()
        const sent = (yield* producer.run(Fragile.client()))("repeated")
        yield* sent.cast.DoOnce({ what: "also ill" })
        const waits = yield* Effect.flip(admin.retry(parked[1]?.id ?? 0))
        assert.deepInclude({ ...waits }, { _tag: "PrimaryKeyKnown", primaryKey: "DoOnce/also ill", answered: false })
        for (const { id } of parked) yield* admin.drop(id)
        yield* store.start({ servers: fragileLive(world, atOnce), node: onlyHints })
        // Dropping it has not touched what was recorded, nor what waits.
        assert.strictEqual(yield* sent.call.DoOnce({ what: "ill" }), 1)
        assert.deepStrictEqual(yield* sent.call.Done(), ["ill", "also ill"])
      }))

    it.effect("retried while it is sent again and again, by calls and casts, from here and elsewhere, it is done once", () =>
      Effect.gen(function*() {
        const poison = Array.from({ length: 30 }, (_, n) => `${n}`)
        const { admin, fragile, parked, store, world } = yield* withParked("traffic", ...poison)
        const producer = yield* store.start()
        const there = (yield* producer.run(Fragile.client()))("traffic")
        world.poison.clear()
        const answered: Array<readonly [what: string, answer: number]> = []
        yield* Effect.forEach(
          parked.flatMap((one) => [0, 1, 2, 3, 4].map((way) => ({ ...one, way }))),
          Effect.fnUntraced(function*({ id, message, way }) {
            if (way === 0) return yield* Effect.catchTag(admin.retry(id), "PrimaryKeyKnown", () => admin.drop(id))
            const payload = JSON.parse(message.payload) as { readonly what: string }
            const sender = way % 2 === 0 ? fragile : there
            if (way < 3) return yield* sender.cast.DoOnce(payload)
            answered.push([payload.what, yield* sender.call.DoOnce(payload, { timeout: "20 seconds" })])
          }),
          { concurrency: "unbounded", discard: true }
        )
        yield* until(Effect.map(admin.inspect("Fragile", "traffic"), ({ queue }) => queue === 0))
        const done = yield* fragile.call.Done()
        assert.sameMembers([...done], poison)
        assert.lengthOf(answered, 60)
        for (const [what, answer] of answered) assert.strictEqual(answer, done.indexOf(what) + 1)
        assert.deepStrictEqual(yield* all(admin.parked({ kind: "Fragile", key: "traffic" })), [])
      }))

    it.effect("what is retried while its server is killed is retried or gone", () =>
      Effect.gen(function*() {
        const poison = Array.from({ length: 20 }, (_, n) => `${n}`)
        for (let round = 0; round < 5; round++) {
          const key = `killed ${round}`
          const { admin, fragile, parked, world } = yield* withParked(key, ...poison)
          world.poison.clear()
          const [exits] = yield* Nodes.within(
            "20 seconds",
            Effect.all([
              Effect.forEach(parked, ({ id }) => Effect.exit(admin.retry(id)), { concurrency: "unbounded" }),
              fragile.kill("while it is retried")
            ], { concurrency: "unbounded" })
          )
          for (const exit of exits) {
            if (Exit.isSuccess(exit)) continue
            const [reason] = exit.cause.reasons
            assert.strictEqual(reason?._tag === "Fail" ? reason.error._tag : "", "ParkedNotFound")
          }
          yield* until(Effect.map(admin.inspect("Fragile", key), ({ queue }) => queue === 0))
          assert.deepStrictEqual(yield* all(admin.parked({ kind: "Fragile", key })), [])
          const done = yield* fragile.call.Done()
          assert.strictEqual(new Set(done).size, done.length)
          assert.isAtMost(done.length, exits.filter(Exit.isSuccess).length)
        }
      }))

    it.effect("a dropped message is gone, and its key is free", () =>
      Effect.gen(function*() {
        const { admin, fragile, parked, world } = yield* withParked("dropped", "ill")
        yield* admin.drop(first(parked))
        assert.strictEqual((yield* Effect.flip(admin.drop(first(parked))))._tag, "ParkedNotFound")
        assert.strictEqual((yield* Effect.flip(admin.retry(first(parked))))._tag, "ParkedNotFound")
        assert.deepStrictEqual(yield* all(admin.parked({ kind: "Fragile", key: "dropped" })), [])
        world.poison.clear()
        assert.deepStrictEqual(yield* fragile.call.Done(), [])
        assert.strictEqual(yield* fragile.call.DoOnce({ what: "ill" }), 1)
      }))

    it.effect("a retried message keeps its priority", () =>
      Effect.gen(function*() {
        const { admin, fragile, node, store, world } = yield* withParked("urgent")
        world.poison.add("urgent")
        yield* Effect.flip(fragile.priorityCall.Do({ what: "urgent" }))
        yield* node.close
        world.poison.clear()
        const producer = yield* store.start()
        const sent = (yield* producer.run(Fragile.client()))("urgent")
        yield* sent.cast.Do({ what: "first" })
        yield* admin.retry(first(yield* all(admin.parked({ kind: "Fragile", key: "urgent" }))))
        yield* store.start({ servers: fragileLive(world, atOnce), node: onlyHints })
        assert.deepStrictEqual(yield* sent.call.Done(), ["urgent", "first"])
      }))

    it.effect("the message that locked a server locks it again", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const node = yield* store.start({ servers: tankLive(world, atOnce), node: { ...onlyHints, ...briefly } })
        const tank = (yield* node.run(Tank.client()))("locks again")
        world.poison.add("ill")
        yield* Effect.flip(tank.call.Fill({ what: "ill", millis: 1 }))
        assert.deepStrictEqual((yield* tank.call.Look()).full, [])
        const admin = yield* store.admin
        const [parked] = yield* all(admin.parked({ kind: "Tank", key: "locks again" }))
        world.poison.clear()
        yield* admin.retry(parked?.id ?? 0)
        yield* until(Effect.map(tank.call.Look(), ({ full }) => full.length === 1))
        assert.strictEqual((yield* admin.inspect("Tank", "locks again")).lockedBy, undefined)
      }))

    it.effect("who called is told once that it was parked, even where the retry is faster than the news", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const world = makeWorld()
        const holder = yield* store.start({ servers: fragileLive(world, atOnce), node: onlyHints })
        const news = yield* Deferred.make<void>()
        // It has the handlers as well, and its callers' news come late.
        const caller = yield* store.start({
          servers: fragileLive(world, atOnce),
          storage: ({ replies }) => ({
            replies: (from) =>
              Effect.flatMap(Deferred.isDone(news), (come) => come ? replies(from) : Effect.succeed([])),
            mayLoseHints: true
          })
        })
        const key = "faster than the news"
        yield* (yield* holder.run(Fragile.client()))(key).call.Do({ what: "fine" })
        world.poison.add("ill")
        const fragile = (yield* caller.run(Fragile.client()))(key)
        const called = yield* Effect.forkChild(fragile.call.Do({ what: "ill" }, { timeout: "1 minute" }), {
          startImmediately: true
        })
        const admin = yield* store.admin
        yield* until(Effect.map(all(admin.parked({ kind: "Fragile" })), (all) => all.some((one) => one.key === key)))
        const [parked] = yield* all(admin.parked({ kind: "Fragile", key }))
        world.poison.clear()
        yield* admin.retry(parked?.id ?? 0)
        // Now it is the caller's own process that handles it.
        yield* holder.close
        yield* until(Effect.map(admin.inspect("Fragile", key), ({ queue }) => queue === 0))
        assert.isUndefined(called.pollUnsafe())
        yield* Deferred.succeed(news, undefined)
        const error = yield* Effect.flip(Fiber.join(called))
        assert.strictEqual(error._tag === "DurableServerError" ? error.reason._tag : error._tag, "MessageParked")
        assert.deepStrictEqual(yield* fragile.call.Done(), ["fine", "ill"])
      }))

    it.effect("follows what goes on", () =>
      Effect.gen(function*() {
        const store = yield* Nodes.Store
        const node = yield* store.start({ servers: fragileLive(makeWorld()) })
        const fragile = (yield* node.run(Fragile.client()))("followed")
        yield* fragile.call.Do({ what: "a" })
        const admin = yield* store.admin
        let looks = 0
        const samples = yield* admin.follow("20 millis").pipe(
          Stream.tap(() => looks++ === 0 ? fragile.call.Do({ what: "b" }) : Effect.void),
          Stream.take(2),
          Stream.runCollect
        )
        const [before, after] = samples.map(({ kinds }) => kinds.find(({ kind }) => kind === "Fragile"))
        assert.isUndefined(before?.perSecond)
        assert.strictEqual((after?.versions ?? 0) - (before?.versions ?? 0), 1)
        const millis = DateTime.toEpochMillis(samples[1]?.at ?? DateTime.makeUnsafe(0)) -
          DateTime.toEpochMillis(samples[0]?.at ?? DateTime.makeUnsafe(0))
        assert.isAtLeast(millis, 19)
        assert.closeTo(after?.perSecond ?? 0, 1000 / millis, 0.001)
        const id = yield* node.id
        assert.isAbove(samples[1]?.members.find((member) => member.id === id)?.perSecond ?? 0, 0)
      }))
  })
}

type DurableAdminServer = Stream.Success<ReturnType<DurableAdmin.DurableAdmin["Service"]["servers"]>>

layer(DurableAdmin.layerMemory.pipe(Layer.provideMerge(DurableNode.layerMemory)))(
  "DurableAdmin, by the clock",
  (it) => {
    it.effect("works under TestClock, without waiting for it", () =>
      Effect.gen(function*() {
        const admin = yield* DurableAdmin.DurableAdmin
        yield* TestClock.adjust("1 hour")
        yield* (yield* Counter.client())("by the clock").cast.Add({ by: 1 }).pipe(
          Effect.provide(CounterLive)
        )
        assert.deepInclude(yield* admin.inspect("Counter", "by the clock"), { state: "{\"count\":1}", version: 2 })
        const following = yield* Effect.forkChild(Stream.runCollect(Stream.take(admin.follow("1 minute"), 3)))
        yield* TestClock.adjust("2 minutes")
        const samples = yield* Fiber.join(following)
        assert.deepStrictEqual(
          samples.map(({ at, kinds }) => [DateTime.toEpochMillis(at) / 60_000, kinds[0]?.perSecond]),
          [[60, undefined], [61, 0], [62, 0]]
        )
      }))

    it.effect("looks after a MemoryStorage and nothing else", () =>
      Effect.gen(function*() {
        const storage = yield* DurableStorage.DurableStorage
        const other = Layer.succeed(DurableStorage.DurableStorage, { ...storage })
        const exit = yield* Effect.exit(Layer.build(Layer.fresh(DurableAdmin.layerMemory).pipe(Layer.provide(other))))
        assert.isTrue(Exit.hasDies(exit))
      }))
  }
)

layer(TestPostgres.layer, { excludeTestServices: true })("DurableAdmin, on Postgres", (it) => {
  it.effect("installs nothing, and says what is missing", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const error = yield* Effect.flip(Layer.build(DurableAdmin.layerPostgres))
      assert.strictEqual(error._tag, "SchemaNotInstalled")
      assert.lengthOf(yield* sql`SELECT FROM pg_namespace WHERE nspname = 'holdfast'`, 0)
      const { url } = yield* TestPostgres.TestDatabase
      const away = new URL("postgresql://nobody@127.0.0.1:1/nothing")
      const unreachable = yield* Effect.exit(
        Layer.build(
          Layer.fresh(DurableAdmin.layerPostgres).pipe(
            Layer.provide(PgClient.layer({ url: Redacted.make(away.href) }))
          )
        )
      )
      assert.isTrue(Exit.isFailure(unreachable))
      assert.isNotNull(url)
    }))

  it.effect("is no member, and a retried call leaves no reply behind", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { url } = yield* TestPostgres.TestDatabase
      const world = makeWorld()
      const node = yield* Nodes.start({ url, servers: fragileLive(world, atOnce) })
      const producer = yield* Nodes.start({ url })
      world.poison.add("ill")
      yield* Effect.flip((yield* producer.run(Fragile.client()))("a").call.Do({ what: "ill" }))
      const replies = sql`SELECT FROM holdfast.reply`
      yield* until(Effect.map(replies, (rows) => rows.length === 0))
      yield* producer.close
      const before = yield* sql`SELECT id FROM holdfast.member`
      const admin = yield* Effect.map(
        Layer.build(Layer.fresh(DurableAdmin.layerPostgres)),
        Context.get(DurableAdmin.DurableAdmin)
      )
      world.poison.clear()
      const [parked] = yield* all(admin.parked())
      yield* admin.retry(parked?.id ?? 0)
      yield* until(Effect.map(admin.inspect("Fragile", "a"), ({ queue }) => queue === 0))
      assert.deepStrictEqual(yield* (yield* node.run(Fragile.client()))("a").call.Done(), ["ill"])
      assert.lengthOf(yield* replies, 0)
      assert.deepStrictEqual(yield* sql`SELECT id FROM holdfast.member`, before)
    }))

  it.effect("a retry takes its locks in the one order there is: the line, and then what was set aside", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { url } = yield* TestPostgres.TestDatabase
      const world = makeWorld()
      const node = yield* Nodes.start({ url, servers: fragileLive(world, atOnce) })
      const fragile = (yield* node.run(Fragile.client()))("locks")
      world.poison.add("ill")
      yield* Effect.flip(fragile.call.DoOnce({ what: "ill" }))
      world.poison.clear()
      const admin = yield* Effect.map(
        Layer.build(Layer.fresh(DurableAdmin.layerPostgres)),
        Context.get(DurableAdmin.DurableAdmin)
      )
      const { id: server, parkedHead } = yield* admin.inspect("Fragile", "locks")
      const held = yield* Deferred.make<void>()
      const seen = yield* Deferred.make<void>()
      const holding = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT FROM holdfast.inbox WHERE id = ${BigInt(server)} FOR UPDATE`
        yield* Deferred.succeed(held, undefined)
        yield* Deferred.await(seen)
      })))
      yield* Deferred.await(held)
      const retrying = yield* Effect.forkChild(admin.retry(first(parkedHead)))
      const waiting = sql`
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%retry_parked%'`
      yield* until(Effect.map(waiting, (rows) => rows.length > 0))
      const free = yield* sql.withTransaction(sql`SELECT FROM holdfast.parked FOR UPDATE SKIP LOCKED`)
      assert.lengthOf(free, 1)
      yield* Deferred.succeed(seen, undefined)
      yield* Fiber.join(holding)
      assert.isAbove(yield* Fiber.join(retrying), 0)
    }))

  for (const [lost, done] of [["question", false], ["answer", true]] as const) {
    it.effect(`a retry whose ${lost} gets lost was ${done ? "" : "not "}done, and done again it is done once`, () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.make
        const proxy = yield* CuttableProxy.make(database)
        const world = makeWorld()
        const node = yield* Nodes.start({ url: database.url, servers: fragileLive(world, atOnce), node: onlyHints })
        const fragile = (yield* node.run(Fragile.client()))("lost")
        world.poison.add("ill")
        yield* Effect.flip(fragile.call.Do({ what: "ill" }))
        world.poison.clear()
        const context = yield* Layer.build(
          Layer.fresh(DurableAdmin.layerPostgres).pipe(
            Layer.provide(PgClient.layer({ url: proxy.through(database.url) }))
          )
        )
        const admin = Context.get(context, DurableAdmin.DurableAdmin)
        const [parked] = yield* all(admin.parked())
        const match = /retry_parked/
        const caught = yield* done ? proxy.catchAnswer(match) : proxy.catchRequest(match)
        const retrying = yield* Effect.forkChild(Effect.flip(admin.retry(parked?.id ?? 0)))
        yield* caught.arrived
        yield* caught.cut
        const failed = yield* Fiber.join(retrying)
        assert.deepInclude({ ...failed }, { _tag: "StorageFailed", isRetryable: true })
        const again = yield* Effect.result(admin.retry(parked?.id ?? 0))
        assert.strictEqual(again._tag === "Failure" ? again.failure._tag : "done", done ? "ParkedNotFound" : "done")
        if (done) {
          // The hint was never sent: another one finds it, as the poll would.
          yield* fragile.cast.Do({ what: "another" })
        }
        yield* until(Effect.map(admin.inspect("Fragile", "lost"), ({ queue }) => queue === 0))
        assert.include(yield* fragile.call.Done(), "ill")
        assert.lengthOf(world.attempts.filter(({ what }) => what === "ill"), 2)
      }))
  }

  it.effect("a client whose names and settings are its own changes nothing", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const world = makeWorld()
      const node = yield* Nodes.start({ url, servers: fragileLive(world, atOnce) })
      const fragile = (yield* node.run(Fragile.client()))("settings")
      world.poison.add("a").add("b")
      yield* Effect.flip(fragile.call.DoOnce({ what: "a" }))
      yield* Effect.flip(fragile.call.DoOnce({ what: "b" }))
      world.poison.clear()
      const context = yield* Layer.build(
        Layer.fresh(DurableAdmin.layerPostgres).pipe(
          Layer.provide(PgClient.layer({
            url,
            transformResultNames: (name) => name.toUpperCase(),
            transformQueryNames: (name) => `no_${name}`,
            startupParameters: {
              default_transaction_isolation: "serializable",
              synchronous_commit: "off",
              search_path: "nowhere"
            }
          }))
        )
      )
      const admin = Context.get(context, DurableAdmin.DurableAdmin)
      const parked = yield* all(admin.parked())
      assert.deepStrictEqual(parked.map(({ message }) => message.primaryKey), ["DoOnce/a", "DoOnce/b"])
      yield* Effect.forEach(parked, ({ id }) => admin.retry(id), { concurrency: "unbounded" })
      yield* until(Effect.map(admin.inspect("Fragile", "settings"), ({ queue }) => queue === 0))
      assert.sameMembers([...(yield* fragile.call.Done())], ["a", "b"])
      assert.strictEqual((yield* admin.overview).members.length, 1)
    }))
})
