/**
 * First in, first out: the messages of one sender to one server are handled in the order in which they were sent, by whatever
 * way they go, and whoever runs the server meanwhile.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Schedule } from "effect"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Fragile, fragileLive, Journal, JournalLive, makeWorld } from "./fixtures/servers.ts"

layer(TestPostgres.layer, { excludeTestServices: true })("FirstInFirstOut", (it) => {
  const entries = (from: string, count: number) => Array.from({ length: count }, (_, n) => `${from}${n}`)
  const only = (from: string, written: ReadonlyArray<string>) => written.filter((entry) => entry.startsWith(from))

  it.effect("messages of one sender to one server are handled in the order in which they were sent", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* Nodes.start({ url, servers: JournalLive })
      const producer = yield* Nodes.start({ url })
      const held = yield* holder.run(Journal.client())
      const sent = yield* producer.run(Journal.client())
      // Sent one after the other, and not waited for: by calls and casts, where the server is held and elsewhere.
      const send = (from: string, journal: typeof held) =>
        Effect.forEach(
          entries(from, 100),
          (entry, n) =>
            n % 3 === 0
              ? Effect.asVoid(journal("fifo").call.WriteSlowly({ entry, millis: n % 2 }, { timeout: "20 seconds" }))
              : n % 3 === 1
              ? journal("fifo").cast.Write({ entry })
              : journal("fifo").call.Write({ entry }, { timeout: "20 seconds" }),
          { concurrency: "unbounded", discard: true }
        )
      yield* Effect.all([send("a", held), send("b", sent), send("c", held), send("d", sent)], {
        concurrency: "unbounded"
      })
      const written = yield* held("fifo").call.Read()
      assert.strictEqual(written.length, 400)
      for (const from of ["a", "b", "c", "d"]) assert.deepStrictEqual(only(from, written), entries(from, 100))
    }))

  it.effect("their order stays when the server changes hands in the middle of it", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const producer = yield* Nodes.start({ url })
      const sent = yield* producer.run(Journal.client())
      const others = yield* Effect.forkChild(
        Effect.forEach(entries("p", 200), (entry) => Effect.delay(sent("hands").cast.Write({ entry }), "3 millis"))
      )
      // Each node has the server after the one before it has left: what it sent meanwhile went by the line, the rest does not.
      let last: Nodes.TestNode | undefined
      const holders: Array<number> = []
      const sql = yield* PgClient.PgClient
      for (const from of ["a", "b", "c", "d"]) {
        const node = yield* Nodes.start({ url, servers: JournalLive })
        const journal = yield* node.run(Journal.client())
        const own = yield* Effect.forkChild(
          Effect.forEach(entries(from, 100), (entry, n) =>
            Effect.andThen(
              n % 10 === 9 ? Effect.sleep("10 millis") : Effect.void,
              Effect.forkScoped(
                n % 2 === 0 ? journal("hands").cast.Write({ entry }) : journal("hands").call.Write({ entry }),
                { startImmediately: true }
              )
            ))
        )
        yield* Effect.sleep("50 millis")
        if (last !== undefined) yield* last.close
        for (const one of yield* Fiber.join(own)) yield* Fiber.join(one)
        const [row] = yield* sql<{ readonly holder: number }>`
          SELECT holder::float8 AS holder FROM holdfast.server WHERE key = 'hands'`
        holders.push(row?.holder ?? 0)
        last = node
      }
      yield* Fiber.join(others)
      const written = yield* sent("hands").call.Read()
      for (const from of ["a", "b", "c", "d"]) assert.deepStrictEqual(only(from, written), entries(from, 100))
      assert.deepStrictEqual(only("p", written), entries("p", 200))
      assert.strictEqual(new Set(holders).size, 4)
    }))

  it.effect("castAll is atomic and in order, wherever it comes from", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* Nodes.start({ url, servers: JournalLive })
      const producer = yield* Nodes.start({ url })
      for (const node of [holder, producer]) {
        const journal = yield* node.run(Journal.client())
        const key = node === holder ? "all here" : "all there"
        yield* journal(key).cast.Write({ entry: "first" })
        yield* journal(key).castAll((cast) => entries("a", 20).map((entry) => cast.Write({ entry })))
        yield* journal(key).cast.Write({ entry: "last" })
        assert.deepStrictEqual(yield* journal(key).call.Read(), ["first", ...entries("a", 20), "last"])
        // One that is refused takes all others with it.
        const result = yield* Effect.result(
          journal(key).castAll((cast) => [
            cast.Write({ entry: "not written" }),
            cast.WriteSlowly({ entry: "invalid", millis: 0.5 })
          ])
        )
        assert.strictEqual(result._tag, "Failure")
        assert.strictEqual((yield* journal(key).call.Read()).length, 22)
      }
    }))

  it.effect("what a lost answer was about stays before what was sent after it", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const holder = yield* Nodes.start({ url: database.url, servers: JournalLive })
      const producer = yield* Nodes.start({ url: proxy.through(database.url) })
      const held = yield* holder.run(Journal.client())
      const sent = yield* producer.run(Journal.client())
      yield* held("lost").call.Write({ entry: "first" })
      yield* sent("lost").cast.Write({ entry: "second" })
      const caught = yield* proxy.catchRequest(/commit_/)
      const third = yield* Effect.forkChild(sent("lost").cast.Write({ entry: "third" }))
      yield* caught.arrived
      const fourth = yield* Effect.forkChild(sent("lost").cast.Write({ entry: "fourth" }))
      yield* caught.cutNode
      yield* Effect.all([Fiber.join(third), Fiber.join(fourth)])
      yield* caught.release
      assert.deepStrictEqual(yield* held("lost").call.Read(), ["first", "second", "third", "fourth"])
    }))

  it.effect("what was sent behind messages that are on their way into the line does not pass them", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const node = yield* Nodes.start({ url: proxy.through(database.url), servers: JournalLive })
      const journal = yield* node.run(Journal.client())
      yield* journal("behind").call.Write({ entry: "first" })
      yield* journal("other").call.Write({ entry: "first" })
      // All of it is sent while the committer is busy, and so comes into one group.
      const busy = yield* proxy.catchAnswer(/commit_step/)
      const other = yield* Effect.forkChild(journal("other").call.Write({ entry: "second" }))
      yield* busy.arrived
      const start = { startImmediately: true }
      const before = yield* Effect.forkChild(journal("behind").call.Read(), start)
      const line = yield* Effect.forkChild(journal("behind").castAll((cast) => [cast.Write({ entry: "line" })]), start)
      const behind = yield* Effect.forkChild(journal("behind").call.Read(), start)
      yield* busy.release
      yield* Effect.all([Fiber.join(other), Fiber.join(line)])
      assert.deepStrictEqual(yield* Fiber.join(before), ["first"])
      assert.deepStrictEqual(yield* Fiber.join(behind), ["first", "line"])
    }))

  it.effect("what is sent before it is known where the server is stays in its order", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const holder = yield* Nodes.start({ url, servers: JournalLive })
      const producer = yield* Nodes.start({ url })
      const start = { startImmediately: true }
      for (const [where, node] of [["held", holder], ["elsewhere", producer]] as const) {
        const journal = (yield* node.run(Journal.client()))(`unknown ${where}`)
        const sending = yield* Effect.all([
          Effect.forkChild(journal.cast.Write({ entry: "first" }), start),
          Effect.forkChild(journal.castAll((cast) => [cast.Write({ entry: "second" })]), start),
          Effect.forkChild(journal.call.Write({ entry: "third" }), start),
          Effect.forkChild(journal.castAll((cast) => [cast.Write({ entry: "fourth" })]), start)
        ])
        for (const one of sending) yield* Fiber.join(one)
        assert.deepStrictEqual(yield* journal.call.Read(), ["first", "second", "third", "fourth"], where)
      }
    }))

  it.effect("a message that is refused once stays before those that were put in line meanwhile", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(database)
      const node = yield* Nodes.start({ url: proxy.through(database.url), servers: JournalLive })
      const producer = yield* Nodes.start({ url: database.url })
      const journal = (yield* node.run(Journal.client()))("refused")
      yield* journal.call.Write({ entry: "first" })
      yield* (yield* producer.run(Journal.client()))("refused").cast.Write({ entry: "other" })
      assert.deepStrictEqual(yield* journal.call.Read(), ["first", "other"])
      const caught = yield* proxy.catchRequest(/commit_step/)
      const direct = yield* Effect.forkChild(journal.call.Write({ entry: "direct" }))
      yield* caught.arrived
      yield* (yield* producer.run(Journal.client()))("refused").cast.Write({ entry: "another" })
      const line = yield* Effect.forkChild(journal.castAll((cast) => [cast.Write({ entry: "line" })]), {
        startImmediately: true
      })
      const last = yield* Effect.forkChild(journal.call.Write({ entry: "last" }), { startImmediately: true })
      yield* caught.release
      yield* Effect.all([Fiber.join(direct), Fiber.join(line), Fiber.join(last)])
      assert.deepStrictEqual(yield* journal.call.Read(), ["first", "other", "another", "direct", "line", "last"])
    }))

  it.effect("messages keep their order when the node that sends them is declared dead in between", () =>
    Effect.gen(function*() {
      const database = yield* TestPostgres.TestDatabase
      const sql = yield* PgClient.PgClient
      const proxy = yield* CuttableProxy.make(database)
      const holder = yield* Nodes.start({ url: database.url, servers: JournalLive })
      const producer = yield* Nodes.start({ url: proxy.through(database.url) })
      const journal = (yield* producer.run(Journal.client()))("buried")
      yield* (yield* holder.run(Journal.client()))("buried").call.Write({ entry: "first" })
      yield* journal.cast.Write({ entry: "second" })
      const caught = yield* proxy.catchRequest(/commit_/)
      const start = { startImmediately: true }
      const third = yield* Effect.forkChild(journal.cast.Write({ entry: "third" }), start)
      yield* caught.arrived
      const fourth = yield* Effect.forkChild(journal.call.Write({ entry: "fourth" }), start)
      const fifth = yield* Effect.forkChild(journal.castAll((cast) => [cast.Write({ entry: "fifth" })]), start)
      yield* sql`SELECT holdfast.bury_members(ARRAY[${yield* producer.id}::bigint])`
      yield* caught.release
      yield* Effect.all([Fiber.join(third), Fiber.join(fourth), Fiber.join(fifth)])
      assert.deepStrictEqual(yield* journal.call.Read(), ["first", "second", "third", "fourth", "fifth"])
    }))

  for (const meanwhile of ["a message whose handler fails does", "casts sent together do"] as const) {
    it.effect(`${meanwhile} not get into the line before a message that was sent before`, () =>
      Effect.gen(function*() {
        const database = yield* TestPostgres.TestDatabase
        const proxy = yield* CuttableProxy.make(database)
        const world = makeWorld()
        const node = yield* Nodes.start({
          url: proxy.through(database.url),
          servers: Layer.merge(
            JournalLive,
            fragileLive(world, { defectRetryPolicy: Schedule.spaced("20 millis") })
          ),
          node: { pollInterval: "1 minute" }
        })
        const producer = yield* Nodes.start({ url: database.url })
        const key = `before ${meanwhile}`
        const fragile = (yield* node.run(Fragile.client()))(key)
        const journal = yield* node.run(Journal.client())
        yield* fragile.call.Do({ what: "first" })
        yield* journal(key).call.Write({ entry: "first" })
        // The holder does not hear that its line has moved: the step that it makes next will be refused.
        yield* proxy.welcome("cut", "holdfast listen")
        yield* proxy.cut("holdfast listen")
        yield* (yield* producer.run(Fragile.client()))(key).cast.Do({ what: "in line" })
        const busy = yield* proxy.catchAnswer(/commit_step/)
        const other = yield* Effect.forkChild(journal(key).call.Write({ entry: "second" }))
        yield* busy.arrived
        world.poison.add("fails at first")
        const start = { startImmediately: true }
        const sending = [
          yield* Effect.forkChild(fragile.call.Do({ what: "before" }), start),
          yield* Effect.forkChild(
            meanwhile === "casts sent together do"
              ? fragile.castAll((cast) => [cast.Do({ what: "together" })])
              : fragile.call.Do({ what: "fails at first" }),
            start
          ),
          yield* Effect.forkChild(fragile.call.Do({ what: "behind" }), start)
        ]
        yield* Effect.sleep("30 millis")
        world.poison.clear()
        yield* busy.release
        yield* Fiber.join(other)
        for (const one of sending) yield* Fiber.join(one as Fiber.Fiber<unknown, unknown>)
        assert.deepStrictEqual(yield* fragile.call.Done(), [
          "first",
          "in line",
          "before",
          meanwhile === "casts sent together do" ? "together" : "fails at first",
          "behind"
        ])
      }))
  }
})
