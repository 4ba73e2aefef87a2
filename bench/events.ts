/**
 * Event stores measured, beside a bare grouped insert into a table of the same shape, on one Postgres with default durability:
 * appends of single events, reading a stream, a persistent subscription that catches up, the way from an append to a
 * subscriber. `npm run bench:events` in the root; `-- --large` then fills a store with a million events, and compares it with an empty one.
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Fiber, Layer, Queue, type Redacted, Stream } from "effect"
import process from "node:process"
import { groupedInserts } from "./cases/bareEvents.ts"
import * as Database from "./database.ts"
import { EventStore, PostgresEventStore, Selector } from "./holdfast.ts"
import { median } from "./summary.ts"

const concurrency = 64
/** Many short rounds: what else the machine does then falls on all that is compared. */
const rounds = 20
const sampleMillis = 400
const data = { flight: "AS 123", from: "SEA", to: "LAX", delay: 4, pad: "x".repeat(100) }

/** Callers who do the same thing again and again for a while: how often each second. */
const rate = Effect.fnUntraced(function*<E>(once: (caller: number, n: number) => Effect.Effect<unknown, E>) {
  const started = performance.now()
  const ends = started + sampleMillis
  let count = 0
  yield* Effect.forEach(
    Array.from({ length: concurrency }, (_, caller) => caller),
    (caller) =>
      Effect.gen(function*() {
        for (let n = 0; performance.now() < ends; n++) {
          yield* once(caller, n)
          count++
        }
      }),
    { concurrency, discard: true }
  )
  return count / (performance.now() - started) * 1000
})

const measure = Effect.fnUntraced(function*(
  title: string,
  events: EventStore.EventStore["Service"],
  store: string,
  insert: (stream: string) => Effect.Effect<void>
) {
  yield* Console.log(title)
  const append = (stream: string) => events.appendEvents(store, stream, [{ eventType: "Departed", data }])
  const samples: Record<"bare" | "many" | "one", Array<number>> = { bare: [], many: [], one: [] }
  for (let round = 0; round <= rounds; round++) {
    const one = {
      bare: yield* rate((caller, n) => insert(`s${(caller * 7 + n) % 100}`)),
      many: yield* rate((caller, n) => append(`s${(caller * 7 + n) % 100}`)),
      one: yield* rate(() => append("hot"))
    }
    // The first round warms up.
    if (round > 0) { for (const name of ["bare", "many", "one"] as const) samples[name].push(one[name]) }
  }
  /** The median of the rates, and of what they are of the floor in the same round, with the quartiles of that. */
  const line = (title: string, name: "bare" | "many" | "one") => {
    const ratios = samples[name].map((rate, round) => rate / (samples.bare[round] ?? Number.NaN)).sort((a, b) => a - b)
    const at = (part: number) => (ratios[Math.floor(ratios.length * part)] ?? Number.NaN).toFixed(2)
    const rate = median(samples[name]).toFixed(0).padStart(9)
    return Console.log(`${rate}/s  ${at(0.5)} × bare (${at(0.25)} to ${at(0.75)})  ${title}`)
  }
  yield* line("bare grouped insert, 64 callers", "bare")
  yield* line("single-event appends, 64 callers, 100 streams", "many")
  yield* line("single-event appends, 64 callers, one stream", "one")

  yield* events.appendEvents(store, "thousand", Array.from({ length: 1000 }, () => ({ eventType: "Departed", data })))
  const reads: Array<number> = []
  for (let n = 0; n < 200; n++) {
    const started = performance.now()
    yield* events.getEvents(store, "thousand", 0, 1000)
    reads.push(performance.now() - started)
  }
  const read = median(reads)
  yield* Console.log(
    `${read.toFixed(2).padStart(9)} ms  a stream of 1,000 events read (${(1000 / read).toFixed(0)}/ms)`
  )
})

const catchUp = Effect.fnUntraced(function*(events: EventStore.EventStore["Service"], store: string, total: number) {
  const batch = Array.from({ length: 1000 }, () => ({ eventType: "Departed", data }))
  for (let n = 0; n < total; n += 1000) yield* events.appendEvents(store, `c${n / 1000}`, batch)
  const rates: Array<number> = []
  for (let round = 0; round < 3; round++) {
    const started = performance.now()
    let seen = 0
    yield* events.subscribe(store, { name: `board ${round}`, bufferSize: 2000, checkpointThreshold: 5000 }).pipe(
      Stream.chunks,
      Stream.takeUntil((deliveries) => (seen += deliveries.length) >= total),
      Stream.runForEach((deliveries) => deliveries.at(-1)?.ackUpTo ?? Effect.void)
    )
    rates.push(total / (performance.now() - started) * 1000)
  }
  yield* Console.log(
    `${median(rates).toFixed(0).padStart(9)}/s  a persistent subscription over ${
      total.toLocaleString("en")
    } events, batched acks`
  )
})

const live = Effect.fnUntraced(function*(
  title: string,
  events: EventStore.EventStore["Service"],
  subscriber: EventStore.EventStore["Service"],
  store: string
) {
  const arrived = yield* Queue.unbounded<number>()
  const selector = Selector.byStream(`live ${title}`)
  const fiber = yield* subscriber.subscribe(store, { selector, startFrom: "origin" }).pipe(
    Stream.runForEach(() => Queue.offer(arrived, performance.now())),
    Effect.forkScoped
  )
  const latencies: Array<number> = []
  for (let n = 0; n < 300; n++) {
    const started = performance.now()
    yield* events.appendEvents(store, `live ${title}`, [{ eventType: "Departed", data }])
    latencies.push((yield* Queue.take(arrived)) - started)
    yield* Effect.sleep("2 millis")
  }
  yield* Fiber.interrupt(fiber)
  yield* Console.log(`${median(latencies).toFixed(2).padStart(9)} ms  from an append to its delivery ${title}, p50`)
})

/** A store with much in it beside one with nothing, round by round. */
const compare = Effect.fnUntraced(function*(
  events: EventStore.EventStore["Service"],
  small: string,
  large: string
) {
  yield* Console.log("A store with 1,000 streams of 1,000 events, beside one that was empty")
  const stores = [small, large] as const
  for (const store of stores) {
    yield* events.appendEvents(store, "thousand", Array.from({ length: 1000 }, () => ({ eventType: "Departed", data })))
  }
  const seconds = (effect: Effect.Effect<unknown, unknown>) =>
    Effect.gen(function*() {
      const started = performance.now()
      yield* effect
      return (performance.now() - started) / 1000
    })
  const ways: Record<string, (store: string) => Effect.Effect<number, unknown>> = {
    "single-event appends to 100 of its streams": (store) =>
      rate((caller, n) => events.appendEvents(store, `l${(caller * 7 + n) % 100}`, [{ eventType: "Departed", data }])),
    "a stream of 1,000 events read": (store) =>
      Effect.map(
        seconds(Effect.repeat(events.getEvents(store, "thousand", 0, 1000), { times: 9 })),
        (spent) => 1 / spent
      ),
    "the last 100 events of all read": (store) =>
      Effect.map(
        seconds(Effect.repeat(
          events.getEvents(store, "$all", Number.MAX_SAFE_INTEGER, 100, "backward"),
          { times: 49 }
        )),
        (spent) => 1 / spent
      )
  }
  for (const [name, way] of Object.entries(ways)) {
    const ratios: Array<number> = []
    for (let round = 0; round <= rounds; round++) {
      // Now one first, now the other.
      const order = round % 2 === 0 ? stores : [large, small]
      const rates = new Map<string, number>()
      for (const store of order) rates.set(store, yield* way(store))
      if (round > 0) ratios.push((rates.get(large) ?? 0) / (rates.get(small) ?? 1))
    }
    yield* Console.log(`${median(ratios).toFixed(2).padStart(9)} × as fast  ${name}`)
  }
})

const open = (url: Redacted.Redacted) =>
  Effect.map(
    Layer.build(Layer.fresh(Layer.provide(PostgresEventStore.layer, PgClient.layer({ url, maxConnections: 2 })))),
    (context) => Effect.provide(EventStore.EventStore, context)
  ).pipe(Effect.flatten)

const program = Effect.gen(function*() {
  const database = yield* Database.make()
  const events = yield* open(database.url)
  const other = yield* open(database.url)
  const insert = yield* groupedInserts(database, data)
  yield* events.createStore("bench")
  yield* measure("An empty store", events, "bench", insert)
  yield* live("here", events, events, "bench")
  yield* live("in another process's place", events, other, "bench")
  yield* events.createStore("catch_up")
  yield* catchUp(events, "catch_up", 100_000)
  if (!process.argv.includes("--large")) return
  yield* events.createStore("large")
  const batch = Array.from({ length: 1000 }, () => ({ eventType: "Departed", data }))
  yield* Effect.forEach(
    Array.from({ length: 1000 }, (_, n) => n),
    (n) => events.appendEvents("large", `l${n}`, batch),
    { concurrency: 4, discard: true }
  )
  yield* events.createStore("small")
  yield* compare(events, "small", "large")
}).pipe(Effect.scoped, Effect.provide(Database.layer))

Effect.runPromise(program).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
