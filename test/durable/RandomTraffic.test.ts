/**
 * Random traffic from several nodes, to handlers that are quick, slow or fail at first, on servers that leave memory all the
 * time, while nodes close or are declared dead: each message is done once, those of one sender in their order, whoever was told
 * that something is done finds it done and has its answer, and nobody waits for ever. When it fails it prints its seed.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Option, Random, Result, Schedule, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableServer, type DurableServerError } from "holdfast/durable"
import { randomInt } from "node:crypto"
import * as Nodes from "../support/Nodes.ts"

const millis = 1500
const senders = 9
/** How many messages a sender has under way at once. */
const burst = 12

const handling = [
  "at once",
  "at once",
  "at once",
  "slowly",
  "slowly",
  "fails at first",
  "fails slowly at first"
] as const
const ways = ["call", "cast", "cast", "castAll", "call once", "cast once", "call twice"] as const

const payload = { entry: Schema.String, handling: Schema.Literals(handling), millis: Schema.Int }

class Log extends DurableServer.make("Log", {
  state: Schema.Struct({ entries: Schema.Array(Schema.String) }),
  protocol: [
    /** Tells which place in the log the entry has, counted from 1. */
    Rpc.make("Write", { payload, success: Schema.Int }),
    Rpc.make("WriteOnce", { payload, success: Schema.Int, primaryKey: ({ entry }) => entry }),
    Rpc.make("Read", { success: Schema.Array(Schema.String) })
  ]
}) {}

type Message = { readonly entry: string; readonly handling: (typeof handling)[number]; readonly millis: number }

const makeLog = () => {
  const failed = new Set<string>()
  /** Attempts that were counted and have not failed. */
  const miscounted: Array<string> = []
  const attempted = ({ attempt, payload: { entry } }: { readonly attempt: number; readonly payload: Message }) => {
    if (attempt > (failed.has(entry) ? 2 : 1)) miscounted.push(`${entry}, attempt ${attempt}`)
  }
  const write = Effect.fnUntraced(function*({ entry, handling, millis }: Message, entries: ReadonlyArray<string>) {
    if (handling.includes("slowly")) yield* Effect.sleep(millis)
    if (handling.startsWith("fails") && !failed.has(entry)) {
      failed.add(entry)
      return yield* Effect.die(new Error("fails at first"))
    }
    return [...entries, entry]
  })
  const servers = Log.toLayer({
    init: () => ({ entries: [] }),
    handlers: {
      Write: (request) => {
        attempted(request)
        const { payload, reply, state } = request
        return payload.handling === "at once"
          ? reply(state.entries.length + 1, { entries: [...state.entries, payload.entry] })
          : Effect.map(write(payload, state.entries), (entries) => reply(entries.length, { entries }))
      },
      WriteOnce: (request) => {
        attempted(request)
        const { payload, reply, state } = request
        return Effect.map(write(payload, state.entries), (entries) => reply(entries.length, { entries }))
      },
      Read: ({ reply, state }) => reply(state.entries)
    }
  }, { defectRetryPolicy: Schedule.spaced("3 millis"), maxIdleTime: "40 millis", maxBatch: 8 })
  return { miscounted, servers }
}

/** What goes wrong meanwhile, to one of the nodes that have handlers. */
type Chaos = "nothing goes wrong" | "nodes close" | "nodes are declared dead"

const chaosOf = (store: string): ReadonlyArray<Chaos> =>
  store === "PostgresStorage"
    ? ["nothing goes wrong", "nodes close", "nodes are declared dead"]
    : ["nothing goes wrong", "nodes close"]

/** All that came of the messages to one server. */
interface Told {
  readonly sent: Set<string>
  readonly acknowledged: Set<string>
  /** Which place in the log its sender was told that it has. */
  readonly places: Map<string, number>
}

const isNodeClosed = (error: DurableServerError.DurableServerError) => error.reason._tag === "NodeClosed"

for (const [name, StoreLive] of Nodes.stores) {
  layer(StoreLive, { excludeTestServices: true })(`RandomTraffic: ${name}`, (it) => {
    for (const chaos of chaosOf(name)) {
      it.effect(`every message is done once and in its order, and nobody waits for ever: ${chaos}`, () => {
        const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
        return Effect.gen(function*() {
          const store = yield* Nodes.Store
          const sql = yield* Effect.serviceOption(PgClient.PgClient)
          const { miscounted, servers } = makeLog()
          const options: Nodes.NodeOptions = {
            servers,
            node: { pollInterval: "200 millis", drainTimeout: "2 seconds" }
          }
          const nodes = [yield* store.start(options), yield* store.start(options)]
          const producer = yield* store.start({ node: { pollInterval: "200 millis" } })
          const ends = performance.now() + millis
          const keys = ["a", "b", "c", "d", "e", "f"].map((key) => `${chaos} ${key}`)
          const told = new Map<string, Told>(
            keys.map((key) => [key, { sent: new Set(), acknowledged: new Set(), places: new Map() }])
          )

          const send = Effect.fnUntraced(function*(node: Nodes.TestNode, key: string, entry: string) {
            const log = (yield* node.run(Log.client()))(key)
            const message: Message = {
              entry,
              handling: yield* Random.choice(handling),
              millis: yield* Random.nextIntBetween(0, 3)
            }
            const way = yield* Random.choice(ways)
            const endless = { timeout: "Infinity" } as const
            const effects = {
              "call": log.call.Write(message, endless),
              "cast": log.cast.Write(message),
              "castAll": log.castAll((cast) => [cast.Write(message)]),
              "call once": log.call.WriteOnce(message, endless),
              "cast once": log.cast.WriteOnce(message),
              "call twice": Effect.map(
                Effect.all([log.call.WriteOnce(message, endless), log.call.WriteOnce(message, endless)], {
                  concurrency: "unbounded"
                }),
                ([first, second]) => {
                  assert.strictEqual(first, second, entry)
                  return first
                }
              )
            }
            const { acknowledged, places, sent } = told.get(key) ?? assert.fail(key)
            sent.add(entry)
            // The message is sent within this turn: those of one sender leave in their order.
            const result = yield* Effect.timeoutOption(Effect.result(effects[way]), "20 seconds")
            if (Option.isNone(result)) {
              return assert.fail(`${way} of ${entry} to ${key}, ${message.handling}: nobody is told`)
            }
            if (Result.isFailure(result.value)) {
              // Whoever waits in a node that closes is told so. Nothing else fails.
              const error = result.value.failure
              return assert.isTrue(
                chaos === "nodes close" && isNodeClosed(error),
                `${way} of ${entry}: ${error.message}`
              )
            }
            acknowledged.add(entry)
            if (typeof result.value.success === "number") places.set(entry, result.value.success)
          })

          const sender = Effect.fnUntraced(function*(id: number) {
            for (let round = 0; performance.now() < ends; round++) {
              const node = [...nodes, producer][id % 3] ?? producer
              const key = yield* Random.choice(keys)
              const sending: Array<Fiber.Fiber<void, unknown>> = []
              for (let n = 0; n < burst; n++) {
                const start = { startImmediately: true }
                sending.push(yield* Effect.forkChild(send(node, key, `${id}.${round}:${n}`), start))
                if ((yield* Random.next) < 0.3) yield* Effect.sleep(yield* Random.nextIntBetween(0, 4))
              }
              for (const one of sending) yield* Fiber.join(one)
              yield* Effect.sleep(yield* Random.nextIntBetween(0, 60))
            }
          })

          const goWrong = Effect.gen(function*() {
            yield* Effect.sleep(yield* Random.nextIntBetween(100, 300))
            const at = yield* Random.nextIntBetween(0, 1)
            const node = nodes[at] ?? producer
            if (chaos === "nodes close") {
              nodes[at] = yield* store.start(options)
              yield* node.close
            } else if (chaos === "nodes are declared dead" && Option.isSome(sql)) {
              yield* sql.value`SELECT holdfast.bury_members(ARRAY[${yield* node.id}::bigint])`
            }
          })
          const goingWrong = yield* Effect.forkChild(Effect.repeat(goWrong, { while: () => performance.now() < ends }))
          yield* Effect.forEach(Array.from({ length: senders }, (_, id) => id), sender, {
            concurrency: "unbounded",
            discard: true
          })
          yield* Fiber.join(goingWrong)

          let written = 0
          const log = yield* producer.run(Log.client())
          for (const [key, { acknowledged, places, sent }] of told) {
            const entries = yield* log(key).call.Read(undefined, { timeout: "20 seconds" })
            written += entries.length
            const once = new Set(entries)
            assert.strictEqual(once.size, entries.length, `${key}: done once`)
            assert.deepStrictEqual(entries.filter((entry) => !sent.has(entry)), [], `${key}: sent`)
            assert.deepStrictEqual([...acknowledged].filter((entry) => !once.has(entry)), [], `${key}: not lost`)
            for (const [entry, place] of places) assert.strictEqual(entries[place - 1], entry, `${key}: its answer`)
            const last = new Map<string, number>()
            for (const entry of entries) {
              const [from = "", n] = entry.split(":")
              assert.isAbove(Number(n), last.get(from) ?? -1, `${key}: the order of ${from}`)
              last.set(from, Number(n))
            }
          }
          assert.deepStrictEqual(miscounted, [])
          assert.isAbove(written, 200)
        }).pipe(
          Random.withSeed(seed),
          Effect.tapCause(() => Effect.sync(() => console.error(`HOLDFAST_TEST_SEED=${seed}`)))
        )
      }, 60_000)
    }
  })
}
