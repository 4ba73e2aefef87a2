/**
 * The event gateway under fire: worker processes are killed one after the other, and others started, while clients append, read
 * and subscribe. Then it is proven, from what the clients were told and what is in the database, that no append that was
 * acknowledged is lost or elsewhere than it was said, that nothing is there twice, that no read was wrong, and that every
 * subscription has seen everything in order.
 *
 *     npm run soak:gateway                                       a minute: 3 workers, 4 clients, one killed every 5 seconds
 *     npm run soak:gateway -- --seconds 600 --workers 5 --clients 8 --every 2 --seed 42
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Fiber, Layer, Predicate, Random, Redacted, References, Result, Stream } from "effect"
import {
  EventGateway,
  EventStore,
  type EventStoreError,
  GatewayToken,
  PostgresEventStore,
  type RecordedEvent
} from "holdfast/events"
import { Member } from "holdfast/member"
import { randomUUID } from "node:crypto"
import * as Processes from "../support/Processes.ts"
import { runIfMain } from "./run.ts"

export interface Plan {
  readonly seconds: number
  readonly workers: number
  readonly clients: number
  /** After how many seconds the next worker is killed. */
  readonly every: number
  readonly seed: string
}

type Events = EventStore.EventStore["Service"]

const store = "soak"
const program = new URL("./fixtures/gatewayWorker.ts", import.meta.url)
const key: GatewayToken.Key = { id: "soak", secret: Redacted.make("a secret of at least 32 bytes, for a soak") }
const quiet = Layer.succeed(References.MinimumLogLevel, "None")

/** An append, and what its client was told: the number of its last event, that it may be done, or that it is not. */
interface Told {
  readonly stream: string
  readonly ids: ReadonlyArray<string>
  readonly outcome: number | "maybe" | "not"
}

/** What is wrong with the appends, given what is recorded. */
export const checkAppends = (
  told: ReadonlyArray<Told>,
  recorded: ReadonlyArray<Pick<RecordedEvent.RecordedEvent, "eventId" | "eventNumber" | "eventStreamId">>
): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const places = new Map<string, Array<string>>()
  for (const { eventId, eventNumber, eventStreamId } of recorded) {
    places.set(eventId, [...places.get(eventId) ?? [], `${eventStreamId} ${eventNumber}`])
  }
  for (const [id, at] of places) if (at.length > 1) wrong.push(`${id} is there ${at.length} times`)
  const known = new Set<string>()
  for (const { ids, outcome, stream } of told) {
    const found = ids.map((id) => {
      known.add(id)
      return places.get(id)?.[0]
    })
    const there = found.filter((place) => place !== undefined).length
    if (there !== 0 && there !== ids.length) {
      wrong.push(`a part of an append to ${stream} is there: ${there} of ${ids.length}`)
    }
    if (outcome === "not" && there > 0) wrong.push(`an append to ${stream} was said not to be done, and is there`)
    if (typeof outcome !== "number") continue
    for (const [index, place] of found.entries()) {
      const expected = `${stream} ${outcome - ids.length + 1 + index}`
      if (place !== expected) {
        wrong.push(`${ids[index]} was acknowledged at ${expected} and is at ${place ?? "no place"}`)
      }
    }
  }
  for (const id of places.keys()) if (!known.has(id)) wrong.push(`nobody has appended ${id}`)
  return wrong
}

/** What is wrong with what a subscription has seen: everything once, or at least once, each for the first time in order. */
export const checkSeen = (name: string, positions: ReadonlyArray<number>, total: number, isOnce: boolean) => {
  const firsts = isOnce ? positions : [...new Set(positions)]
  const at = Array.from({ length: total }, (_, index) => index).find((index) => firsts[index] !== index)
  if (at !== undefined) return [`${name} has seen ${firsts[at] ?? "nothing"} in the place of ${at}`]
  return firsts.length === total ? [] : [`${name} has seen ${firsts.length} events of ${total}`]
}

const idOf = ({ data }: RecordedEvent.RecordedEvent): string =>
  Predicate.hasProperty(data, "id") ? String(data.id) : "no id"

const reasonOf = (error: EventStoreError.EventStoreError): Told["outcome"] | string => {
  const { reason } = error
  if (reason._tag === "NoGatewayWorkers" || reason._tag === "Overloaded") return "not"
  if (reason._tag === "StoreUnavailable") return reason.mayBeDone ? "maybe" : "not"
  return error.message
}

/** A client that appends to streams of its own, with exact expectations, and to some that all append to, and reads it back. */
const writer = Effect.fnUntraced(function*(
  events: Events,
  name: string,
  isOver: () => boolean,
  told: Array<Told>,
  wrong: Array<string>,
  counts: Counts
) {
  const own = `own ${name}`
  let version = -1
  while (!isOver()) {
    const isOwn = yield* Random.nextBoolean
    const stream = isOwn ? own : `shared ${yield* Random.nextIntBetween(0, 5)}`
    const ids = Array.from({ length: yield* Random.nextIntBetween(1, 5) }, () => randomUUID())
    // Half of the ids are left to the gateway. What is looked for afterwards is in the data of all of them.
    const isGiven = yield* Random.nextBoolean
    const batch = ids.map((id) => ({ eventType: "Soaked", data: { id }, ...(isGiven ? { eventId: id } : {}) }))
    const expected = version
    const result = yield* Effect.result(
      events.appendEvents(store, stream, batch, isOwn ? { expectedVersion: expected } : {})
    )
    const outcome = Result.isSuccess(result) ? result.success : reasonOf(result.failure)
    if (typeof outcome === "string" && outcome !== "maybe" && outcome !== "not") {
      wrong.push(`${name} to ${stream}: ${outcome}`)
      return
    }
    told.push({ stream, ids, outcome: outcome as Told["outcome"] })
    if (typeof outcome === "number") {
      counts.appended += ids.length
      if (isOwn) {
        if (outcome !== expected + ids.length) wrong.push(`${name}: ${outcome} after ${expected} and ${ids.length}`)
        version = outcome
      }
      if (yield* Random.nextBoolean) {
        const read = yield* Effect.result(events.getEvents(store, stream, outcome - ids.length + 1, ids.length))
        if (Result.isSuccess(read)) {
          counts.reads++
          const found = read.success.map(idOf)
          if (found.join() !== ids.join()) wrong.push(`${name}: read ${found.join()} where ${ids.join()} was appended`)
        } else if (
          typeof reasonOf(read.failure) === "string" && !["maybe", "not"].includes(String(reasonOf(read.failure)))
        ) {
          wrong.push(`${name} reading ${stream}: ${read.failure.message}`)
        }
      }
      continue
    }
    counts.unanswered++
    if (isOwn) {
      const now = yield* Effect.result(Effect.retry(events.getVersion(store, own), { times: 5 }))
      if (Result.isSuccess(now)) version = now.success
      else return
    }
  }
})

interface Counts {
  appended: number
  unanswered: number
  reads: number
  killed: number
  delivered: number
}

const client = Effect.fnUntraced(function*(urls: ReadonlyArray<string>, name: string) {
  const token = yield* Effect.orDie(GatewayToken.issue(key, {
    client: name,
    grants: [{ store, rights: ["read", "append", "subscribe"] }],
    lifetime: "1 hour"
  }))
  const layer = EventGateway.layer({ workers: urls, token, refreshInterval: "500 millis" })
  return Context.get(yield* Layer.build(Layer.fresh(Layer.provide(layer, quiet))), EventStore.EventStore)
})

/** Runs it, and gives what is wrong. */
export const soak = (url: Redacted.Redacted, plan: Plan, say: (line: string) => void) =>
  Effect.gen(function*() {
    const direct = Context.get(
      yield* Layer.build(PostgresEventStore.layer.pipe(
        Layer.provide(PgClient.layer({ url, maxConnections: 3 })),
        Layer.provide(
          Layer.succeed(Member.MemberOptions, { name: "soak", lease: "5 seconds", statementTimeout: "30 seconds" })
        ),
        Layer.provide(quiet)
      )),
      EventStore.EventStore
    )
    yield* direct.createStore(store)
    const env = { DATABASE_URL: Redacted.value(url), GATEWAY_KEY: Redacted.value(key.secret) }
    // One that takes the place of another one is reached where that was: clients know some addresses to begin with, and no more.
    const start = Effect.fnUntraced(function*(port: string) {
      const child = yield* Processes.start(program, [port], env)
      return { child, url: (yield* child.line("at ")).slice(3) }
    })
    const workers = yield* Effect.forEach(Array.from({ length: plan.workers }), () => start("0"), {
      concurrency: "unbounded"
    })
    const urls = workers.map(({ url }) => url)

    const counts: Counts = { appended: 0, unanswered: 0, reads: 0, killed: 0, delivered: 0 }
    const told: Array<Told> = []
    const wrong: Array<string> = []
    const ends = performance.now() + plan.seconds * 1000
    const isOver = () => performance.now() >= ends
    const seen: Array<{ readonly name: string; readonly isOnce: boolean; readonly positions: Array<number> }> = []

    const writers: Array<Fiber.Fiber<void>> = []
    const subscribers: Array<Fiber.Fiber<void>> = []
    for (let n = 0; n < plan.clients; n++) {
      const events = yield* client(urls, `client-${n}`)
      for (let w = 0; w < 4; w++) {
        writers.push(yield* Effect.forkScoped(writer(events, `${n}.${w}`, isOver, told, wrong, counts)))
      }
      const transient = { name: `transient ${n}`, isOnce: true, positions: new Array<number>() }
      const persistent = { name: `persistent ${n}`, isOnce: false, positions: new Array<number>() }
      seen.push(transient, persistent)
      for (const one of [transient, persistent]) {
        const options = one.isOnce ? { startFrom: "origin" as const } : { name: one.name }
        const following = events.subscribe(store, options).pipe(
          Stream.runForEach(({ ack, event }) => {
            counts.delivered++
            one.positions.push(event.globalPosition)
            // One that is not acknowledged, since its worker has gone, comes again.
            return Effect.ignore(ack)
          }),
          Effect.catch((error) => {
            wrong.push(`${one.name}: ${error.message}`)
            return Effect.void
          })
        )
        subscribers.push(yield* Effect.forkScoped(following))
      }
    }

    // One is killed every so often, and another one comes to take its place, as fast as it can.
    yield* Effect.gen(function*() {
      let next = performance.now()
      while (true) {
        next += plan.every * 1000
        if (next >= ends) return
        yield* Effect.sleep(Math.max(0, next - performance.now()))
        // Some time without any is another thing: then subscriptions fail, and are told so.
        if (workers.length < 2) continue
        const [victim] = workers.splice(yield* Random.nextIntBetween(0, workers.length - 1), 1)
        if (victim === undefined) continue
        yield* victim.child.signal("SIGKILL")
        counts.killed++
        say(`killed ${victim.url}: ${counts.appended} appended, ${counts.delivered} delivered`)
        yield* Effect.forkScoped(Effect.gen(function*() {
          yield* victim.child.ended
          workers.push(yield* start(new URL(victim.url).port))
        }))
      }
    })
    yield* Fiber.joinAll(writers)

    const total = (yield* direct.getVersion(store, "$all")) + 1
    yield* Effect.sleep("50 millis").pipe(
      Effect.repeat({ until: () => seen.every(({ positions }) => positions.includes(total - 1)) }),
      Effect.timeoutOption("30 seconds")
    )
    yield* Effect.forEach(subscribers, Fiber.interrupt, { concurrency: "unbounded", discard: true })
    const recorded = (yield* Stream.runCollect(direct.readAll(store))).map((event) => ({
      ...event,
      eventId: idOf(event)
    }))
    wrong.push(...checkAppends(told, recorded))
    for (const { isOnce, name, positions } of seen) wrong.push(...checkSeen(name, positions, total, isOnce))
    return { ...counts, total, wrong }
  }).pipe(Random.withSeed(plan.seed), Effect.scoped)

runIfMain(import.meta.url, {
  defaults: { seconds: 60, workers: 3, clients: 4, every: 5 },
  soak: (url, plan) => soak(url, plan, (line) => console.log(line)),
  proven: "nothing that was acknowledged is lost or doubled, no read was wrong, subscriptions have seen everything"
})
