/**
 * Persistent subscriptions in several processes: one has it, the others wait; whoever lost it moves nothing any more; and
 * nothing depends on a notification.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Queue, Stream } from "effect"
import { type EventStoreError, PostgresEventStore, Selector, type Subscription } from "holdfast/events"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { counted, open, range, tagOf } from "./support.ts"

type Opened = Effect.Success<ReturnType<typeof open>>

const numberOf = ({ event }: Subscription.Delivery) => event.globalPosition

/** Deliveries one by one. */
const subscribe = ({ events }: Opened, store: string, options: Subscription.Options) =>
  Effect.gen(function*() {
    const deliveries = yield* Queue.unbounded<Subscription.Delivery, EventStoreError.EventStoreError>()
    const fiber = yield* Stream.runForEach(events.subscribe(store, options), (one) => Queue.offer(deliveries, one))
      .pipe(
        Effect.catch((error) => Queue.fail(deliveries, error)),
        Effect.forkChild({ startImmediately: true })
      )
    return {
      next: Queue.take(deliveries),
      take: (count: number) => Effect.all(range(0, count).map(() => Queue.take(deliveries))),
      waiting: Queue.size(deliveries),
      close: Fiber.interrupt(fiber)
    }
  })

const setUp = Effect.fnUntraced(function*(store: string, events: number) {
  const { url } = yield* TestPostgres.TestDatabase
  const first = yield* open({ url })
  const second = yield* open({ url })
  yield* first.events.createStore(store)
  if (events > 0) yield* first.events.appendEvents(store, "s", counted(0, events))
  const positionOf = Effect.map(first.events.getSubscriptions(store), ([sub]) => sub?.position)
  return { first, second, positionOf, url }
})

/** Declares every member dead that has a subscription of this store, as others do when its lease has run out. */
const bury = ({ sql }: Opened, store: string) =>
  sql.unsafe(
    `SELECT holdfast.bury_members(array_agg(holder)) FROM holdfast_events_${store}.subscription WHERE holder IS NOT NULL`
  )

layer(TestPostgres.layer, { excludeTestServices: true })("Subscriptions", (it) => {
  it.effect("one process has it, the other waits, and goes on where that one ends", () =>
    Effect.gen(function*() {
      const { first, positionOf, second } = yield* setUp("handover", 10)
      const a = yield* subscribe(first, "handover", { name: "sub" })
      const deliveries = yield* a.take(10)
      const b = yield* subscribe(second, "handover", { name: "sub" })
      for (const delivery of deliveries.slice(0, 4)) yield* delivery.ack
      yield* Effect.sleep("100 millis")
      assert.strictEqual(yield* b.waiting, 0)
      yield* a.close
      assert.strictEqual(yield* positionOf, 3)
      assert.deepStrictEqual((yield* b.take(6)).map(numberOf), range(4, 10))
      yield* b.close
    }))

  it.effect("one that was declared dead moves nothing any more, and its deliveries are void", () =>
    Effect.gen(function*() {
      const { first, positionOf, second } = yield* setUp("stale", 10)
      const a = yield* subscribe(first, "stale", { name: "sub", checkpointThreshold: 1 })
      const deliveries = yield* a.take(10)
      yield* deliveries[0]?.ack ?? Effect.void
      yield* Effect.sleep("5 millis").pipe(Effect.andThen(positionOf), Effect.repeat({ until: (at) => at === 0 }))
      const b = yield* subscribe(second, "stale", { name: "sub", checkpointThreshold: 1 })
      yield* bury(second, "stale")
      const taken = yield* b.take(9)
      assert.deepStrictEqual(taken.map(numberOf), range(1, 10))
      // It may not know yet. Then it is told by the checkpoint, which stays where the other one has it.
      yield* Effect.ignore(deliveries[9]?.ackUpTo ?? Effect.void)
      yield* taken[1]?.ackUpTo ?? Effect.void
      yield* Effect.sleep("5 millis").pipe(Effect.andThen(positionOf), Effect.repeat({ until: (at) => at === 2 }))
      yield* Effect.sleep("300 millis")
      assert.strictEqual(yield* positionOf, 2)
      assert.strictEqual(yield* tagOf(deliveries[9]?.ack ?? Effect.void), "SubscriptionLost")
      yield* b.close
      // The first one has come back meanwhile, and is next.
      assert.deepStrictEqual((yield* a.take(7)).map(numberOf), range(3, 10))
      yield* a.close
    }))

  it.effect("an append is delivered although no notification arrives", () =>
    Effect.gen(function*() {
      const { first, url } = yield* setUp("deaf", 1)
      const proxy = yield* CuttableProxy.make(yield* TestPostgres.TestDatabase)
      const deaf = yield* open({ url: proxy.through(url), events: { pollInterval: "100 millis" } })
      const [transient, persistent] = [
        yield* subscribe(deaf, "deaf", { startFrom: "origin" }),
        yield* subscribe(deaf, "deaf", { name: "sub", selector: Selector.byStream("links") })
      ]
      yield* transient.next
      yield* proxy.welcome("cut", "holdfast listen")
      yield* proxy.cut("holdfast listen")
      yield* Effect.sleep("150 millis")
      yield* first.events.appendEvents("deaf", "s", counted(1, 2))
      assert.strictEqual(numberOf(yield* transient.next), 1)
      const ids = (yield* first.events.getEvents("deaf", "s", 0, 2)).map(({ eventId }) => eventId)
      yield* first.events.linkToStream("deaf", "links", ids)
      assert.deepStrictEqual((yield* persistent.take(2)).map(numberOf), [0, 1])
    }))

  it.effect("appends that follow each other faster than others are told of them are delivered all, and by no poll", () =>
    Effect.gen(function*() {
      const { first, url } = yield* setUp("fast", 1)
      const other = yield* open({ url, events: { pollInterval: "1 hour" } })
      const live = yield* subscribe(other, "fast", { startFrom: "origin" })
      yield* live.next
      // Bursts that begin and end anywhere in the pace: the last of each has to be told of as well as the first.
      for (let burst = 0; burst < 30; burst++) {
        const from = 1 + 10 * burst
        for (let n = from; n < from + 10; n++) yield* first.events.appendEvents("fast", "s", counted(n, n + 1))
        assert.deepStrictEqual((yield* live.take(10)).map(numberOf), range(from, from + 10))
      }
    }))

  it.effect("the checkpoint is written after enough events, in a pause, and at the end", () =>
    Effect.gen(function*() {
      const { first, positionOf } = yield* setUp("written", 30)
      const until = (position: number) =>
        Effect.sleep("5 millis").pipe(Effect.andThen(positionOf), Effect.repeat({ until: (at) => at === position }))
      const options = { name: "sub", checkpointThreshold: 10, checkpointAfter: "1 hour" } as const
      const a = yield* subscribe(first, "written", options)
      const deliveries = yield* a.take(30)
      for (const delivery of deliveries.slice(0, 9)) yield* delivery.ack
      yield* Effect.sleep("100 millis")
      assert.strictEqual(yield* positionOf, -1)
      yield* deliveries[9]?.ack ?? Effect.void
      yield* until(9)
      yield* deliveries[10]?.ack ?? Effect.void
      yield* a.close
      assert.strictEqual(yield* positionOf, 10)
      const b = yield* subscribe(first, "written", { ...options, checkpointAfter: "20 millis" })
      yield* Effect.flatMap(b.next, ({ ack }) => ack)
      yield* until(11)
      yield* b.close
    }))

  it.effect("a process that was declared dead appends on, as another member", () =>
    Effect.gen(function*() {
      const { first, second } = yield* setUp("dead", 1)
      yield* second.sql`SELECT holdfast.bury_members(array_agg(id)) FROM holdfast.member WHERE NOT dead`
      const versions = yield* Effect.forEach(
        range(0, 40),
        (n) => (n % 2 === 0 ? first : second).events.appendEvents("dead", "s", counted(n, n + 1)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([...versions].sort((a, b) => a - b), range(1, 41))
    }))

  it.effect("a transactional handler that fails undoes its event, one that the database fails goes on", () =>
    Effect.gen(function*() {
      const { url } = yield* TestPostgres.TestDatabase
      const proxy = yield* CuttableProxy.make(yield* TestPostgres.TestDatabase)
      const { context, events, sql } = yield* open({ url: proxy.through(url) })
      yield* events.createStore("undone")
      yield* events.appendEvents("undone", "s", counted(0, 10))
      yield* sql`CREATE TABLE undone (position bigint)`
      const write = (event: { readonly globalPosition: number }) =>
        sql`INSERT INTO undone VALUES (${event.globalPosition}::bigint)`
      const rows = Effect.map(
        sql<{ readonly position: number }>`SELECT position::float8 FROM undone`,
        (all) => all.map(({ position }) => position)
      )
      const failing = PostgresEventStore.runTransactional(
        "undone",
        { name: "sub", batchSize: 2 },
        (event) => Effect.andThen(write(event), event.globalPosition === 5 ? Effect.fail("no") : Effect.void)
      )
      assert.strictEqual(yield* Effect.flip(Effect.provide(failing, context)), "no")
      assert.deepStrictEqual(yield* rows, range(0, 4))
      // The commit of the next one is answered into the void.
      const caught = yield* proxy.catchAnswer(/^COMMIT/i)
      const fiber = yield* PostgresEventStore.runTransactional("undone", { name: "sub" }, write).pipe(
        Effect.provide(context),
        Effect.forkChild
      )
      yield* caught.arrived
      yield* caught.cut
      yield* Effect.sleep("10 millis").pipe(
        Effect.andThen(Effect.retry(rows, { times: 5 })),
        Effect.repeat({ until: (all) => all.includes(9) }),
        Effect.timeout("60 seconds")
      )
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* rows, range(0, 10))
    }))
})
