/**
 * The event gateway measured: appends and reads through one worker, a process of its own, beside the same store without a gateway,
 * in the same run and in turns. `npm run bench:gateway` in the root; with a part of their
 * names, only some of the cases.
 *
 * The worker, the client and Postgres share the machine, so what is measured is what the way through the gateway costs altogether.
 */
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Queue, Redacted, Stream } from "effect"
import { spawn } from "node:child_process"
import process from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Database from "./database.ts"
import { EventGateway, EventStore, GatewayToken, PostgresEventStore, Selector } from "./holdfast.ts"
import { median } from "./summary.ts"

const concurrency = 64
const rounds = 11
const sampleMillis = 700
const data = { flight: "AS 123", from: "SEA", to: "LAX", delay: 4, pad: "x".repeat(100) }
const key = { id: "bench", secret: Redacted.make("a secret of at least 32 bytes, for this run") }

type Events = EventStore.EventStore["Service"]

/** Callers who do the same thing again and again for a while: how often each second. */
const rate = Effect.fnUntraced(function*<E>(
  callers: number,
  once: (caller: number, n: number) => Effect.Effect<unknown, E>
) {
  const started = performance.now()
  const ends = started + sampleMillis
  let count = 0
  yield* Effect.forEach(
    Array.from({ length: callers }, (_, caller) => caller),
    (caller) =>
      Effect.gen(function*() {
        for (let n = 0; performance.now() < ends; n++) {
          yield* once(caller, n)
          count++
        }
      }),
    { concurrency: callers, discard: true }
  )
  return count / (performance.now() - started) * 1000
})

/** What is compared, and how it is counted. */
const cases = (
  store: string
): ReadonlyArray<{ readonly name: string; readonly run: (events: Events) => Effect.Effect<number, unknown> }> => [
  {
    name: "appends/s     single events, 64 callers, 100 streams",
    run: (events) =>
      rate(
        concurrency,
        (caller, n) => events.appendEvents(store, `s${(caller * 7 + n) % 100}`, [{ eventType: "Departed", data }])
      )
  },
  {
    name: "appends/s     single events, 64 callers, one stream",
    run: (events) => rate(concurrency, () => events.appendEvents(store, "hot", [{ eventType: "Departed", data }]))
  },
  {
    name: "appends/s     single events, one caller",
    run: (events) => rate(1, () => events.appendEvents(store, "alone", [{ eventType: "Departed", data }]))
  },
  {
    name: "events/s      appended in batches of 100, 8 callers",
    run: (events) =>
      Effect.map(
        rate(8, (caller) =>
          events.appendEvents(
            store,
            `b${caller}`,
            Array.from({ length: 100 }, () => ({ eventType: "Departed", data }))
          )),
        (perSecond) => perSecond * 100
      )
  },
  {
    name: "events/s      read, 1,000 at once, one caller",
    run: (events) => Effect.map(rate(1, () => events.getEvents(store, "thousand", 0, 1000)), (n) => n * 1000)
  },
  {
    name: "events/s      read, 1,000 at once, 8 callers",
    run: (events) => Effect.map(rate(8, () => events.getEvents(store, "thousand", 0, 1000)), (n) => n * 1000)
  },
  {
    name: "reads/s       of 10 events, 64 callers",
    run: (events) => rate(concurrency, (caller) => events.getEvents(store, "thousand", caller * 10, 10))
  }
]

const live = Effect.fnUntraced(function*(title: string, events: Events, store: string) {
  const arrived = yield* Queue.unbounded<number>()
  const selector = Selector.byStream(`live ${title}`)
  yield* events.subscribe(store, { selector, startFrom: "origin" }).pipe(
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
  yield* Console.log(`${median(latencies).toFixed(2).padStart(9)} ms  from an append to its delivery, ${title}, p50`)
})

const open = (url: Redacted.Redacted) =>
  Effect.map(
    Layer.build(Layer.fresh(Layer.provide(PostgresEventStore.layer, PgClient.layer({ url, maxConnections: 2 })))),
    (context) => Effect.provide(EventStore.EventStore, context)
  ).pipe(Effect.flatten)

/** A worker in a process of its own, and where it is. */
const worker = (url: Redacted.Redacted) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly kill: () => void }>((resume) => {
      const child = spawn(process.execPath, [
        "--conditions=holdfast-source",
        fileURLToPath(new URL("./gateway/worker.ts", import.meta.url))
      ], {
        env: { ...process.env, DATABASE_URL: Redacted.value(url), GATEWAY_KEY: Redacted.value(key.secret) },
        stdio: ["ignore", "pipe", "inherit"]
      })
      createInterface({ input: child.stdout }).once("line", (line) =>
        resume(Effect.succeed({ url: line, kill: () => child.kill() })))
    }),
    ({ kill }) =>
      Effect.sync(kill)
  )

const program = Effect.gen(function*() {
  const database = yield* Database.make()
  const direct = yield* open(database.url)
  const { url } = yield* worker(database.url)
  const token = yield* GatewayToken.issue(key, {
    client: "bench",
    grants: [{ store: "*", rights: ["read", "append", "subscribe", "admin"] }],
    lifetime: "1 hour"
  })
  const gateway = yield* Effect.flatMap(
    Layer.build(EventGateway.layer({ workers: [url], token })),
    (context) => Effect.provide(EventStore.EventStore, context)
  )
  yield* direct.createStore("bench")
  yield* direct.appendEvents("bench", "thousand", Array.from({ length: 1000 }, () => ({ eventType: "Departed", data })))
  yield* Console.log("   direct   gateway")
  const only = process.argv[2] ?? ""
  for (const { name, run } of cases("bench").filter(({ name }) => name.includes(only))) {
    const samples: Record<"direct" | "gateway", Array<number>> = { direct: [], gateway: [] }
    for (let round = 0; round <= rounds; round++) {
      const one = { direct: yield* run(direct), gateway: yield* run(gateway) }
      // The first round warms up.
      if (round > 0) { for (const way of ["direct", "gateway"] as const) samples[way].push(one[way]) }
    }
    const [a, b] = [median(samples.direct), median(samples.gateway)]
    yield* Console.log(
      `${a.toFixed(0).padStart(9)} ${b.toFixed(0).padStart(9)}  ${(b / a).toFixed(2)} × direct  ${name}`
    )
  }
  yield* live("direct", direct, "bench")
  yield* live("gateway", gateway, "bench")
}).pipe(Effect.scoped, Effect.provide(Database.layer))

Effect.runPromise(program).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
