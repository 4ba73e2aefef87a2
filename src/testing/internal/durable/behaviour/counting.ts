/**
 * What every caller may rely on, from however many processes: what was acknowledged is there, once, for whoever asks.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as DurableServer from "../../../../durable/DurableServer.ts"
import type { Member } from "../../../../durable/DurableStorage.ts"
import { eventually, failure, same, soon } from "../../cases.ts"
import { define } from "../define.ts"
import { start, startSeveral } from "../nodes.ts"
import { counter, journal } from "../servers.ts"

const times = (count: number) => Array.from({ length: count }, (_, n) => n)

/** The same with and without a cache: what stays in memory is nobody's concern but its process's. */
const withOptions = (when: string, options: DurableServer.Options) => [
  define(
    `${when}count 0 → 1, seen from two processes`,
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const [first, second] = [yield* start({ servers: live(options) }), yield* start({ servers: live(options) })]
      const [here, there] = [(yield* first.run(Counter.client()))("a"), (yield* second.run(Counter.client()))("a")]
      yield* same("at first", [yield* here.call.Get(), yield* there.call.Get()], [0, 0])
      yield* here.call.Add({ by: 1 })
      yield* same("then", [yield* there.call.Get(), yield* here.call.Get()], [1, 1])
    })
  ),

  define(
    `${when}count 0 → 1, seen from three processes`,
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const nodes = yield* startSeveral(3, { servers: live(options) })
      const counters = yield* Effect.forEach(nodes, (node) => node.run(Counter.client()))
      const seen = Effect.forEach(counters, (counter) => counter("a").call.Get(), { concurrency: "unbounded" })
      yield* same("at first", yield* seen, [0, 0, 0])
      const [, , third] = counters
      yield* third?.("a").cast.Add({ by: 1 }) ?? Effect.void
      yield* same("then", yield* seen, [1, 1, 1])
    })
  ),

  define(
    `${when}100 casts, then a call sees 100`,
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const holder = yield* start({ servers: live(options) })
      const producer = yield* start()
      for (const [where, node] of [["where it is held", holder], ["from elsewhere", producer]] as const) {
        const ref = (yield* node.run(Counter.client()))(where)
        yield* Effect.forEach(times(100), () => ref.cast.Add({ by: 1 }), { concurrency: "unbounded" })
        yield* same(`all at once, ${where}`, yield* ref.call.Get(), 100)
      }
      const ref = (yield* holder.run(Counter.client()))("each")
      yield* Effect.forEach(times(100), () => ref.cast.Add({ by: 1 }))
      yield* same("one after the other", yield* ref.call.Get(), 100)
    })
  ),

  define(
    `${when}50 × (cast, call) sees every value`,
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const holder = yield* start({ servers: live(options) })
      const producer = yield* start()
      const refs = yield* Effect.forEach([holder, producer], (node) => node.run(Counter.client()))
      const seen = yield* Effect.forEach(
        refs,
        (ref, n) =>
          Effect.forEach(times(50), () => Effect.andThen(ref(`${n}`).cast.Add({ by: 1 }), ref(`${n}`).call.Get())),
        { concurrency: "unbounded" }
      )
      const every = times(50).map((n) => n + 1)
      yield* same("where it is held, and from elsewhere", seen, [every, every])
    })
  ),

  define(
    `${when}existing state is loaded at start`,
    Effect.gen(function*() {
      const { Journal, live } = yield* journal
      for (const entry of ["a", "b", "c"]) {
        const node = yield* start({ servers: live(undefined, options) })
        const ref = (yield* node.run(Journal.client()))("loaded")
        const before = yield* ref.call.Read()
        yield* ref.call.Write({ entry })
        yield* same("what it adds to what was there", yield* ref.call.Read(), [...before, entry])
        yield* node.close
      }
      const last = yield* start({ servers: live(undefined, options) })
      yield* same("what was there", yield* (yield* last.run(Journal.client()))("loaded").call.Read(), ["a", "b", "c"])
    })
  ),

  define(
    `${when}two consumers see each other's writes at once`,
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const nodes = yield* startSeveral(2, { servers: live(options) })
      const refs = yield* Effect.forEach(
        nodes,
        (node) => Effect.map(node.run(Counter.client()), (client) => client("shared"))
      )
      for (let round = 1; round <= 10; round++) {
        for (const [n, ref] of refs.entries()) {
          const written = yield* ref.call.AddAndGet({ by: 1 })
          const others = yield* Effect.forEach(refs, (ref) => ref.call.Get(), { concurrency: "unbounded" })
          yield* same(
            `round ${round}, after consumer ${n} wrote`,
            [written, ...others],
            times(3).map(() => 2 * round - 1 + n)
          )
        }
      }
    })
  )
]

export const counting = [
  ...withOptions("", {}),

  ...withOptions("cache: false behaves the same: ", { cache: false }),

  define(
    "two servers are independent",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const { Counter: Other, live: liveOther } = yield* counter
      const node = yield* start({ servers: live() })
      const another = yield* start({ servers: liveOther() })
      const refs = yield* node.run(Counter.client())
      const others = yield* another.run(Other.client())
      yield* refs("a").call.Add({ by: 1 })
      yield* refs("b").cast.Add({ by: 20 })
      yield* others("a").call.Add({ by: 300 })
      yield* same(
        "two keys, and the same key of two kinds",
        yield* Effect.all([refs("a").call.Get(), refs("b").call.Get(), others("a").call.Get()]),
        [1, 20, 300]
      )
      yield* refs("a").kill("only this one")
      yield* same(
        "and the end of one is not that of another",
        yield* Effect.all([refs("a").call.Get(), refs("b").call.Get(), others("a").call.Get()]),
        [0, 20, 300]
      )
    })
  ),

  define(
    "an increment counts once, however many come at once from several processes",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const [first, second] = yield* Effect.all([start({ servers: live() }), start({ servers: live() })])
      const third = yield* start()
      const counters = yield* Effect.forEach([first, second, third], (node) => node.run(Counter.client()))
      yield* Effect.forEach(
        times(300),
        (n) => {
          const ref = (counters[n % 3] ?? counters[0])?.(`${n % 5}`)
          return ref === undefined ? Effect.void : n % 2 === 0 ? ref.cast.Add({ by: 1 }) : ref.call.Add({ by: 1 })
        },
        { concurrency: "unbounded" }
      )
      for (const ask of counters) {
        const seen = yield* Effect.forEach(times(5), (n) => ask(`${n}`).call.Get())
        yield* same("how much each server has counted", seen, [60, 60, 60, 60, 60])
      }
    })
  ),

  ...(["queued", "direct"] as const).map((way) =>
    define(
      `a 250 KB reply, ${way}`,
      Effect.gen(function*() {
        const { Journal, live } = yield* journal
        const holder = yield* start({ servers: live() })
        const producer = way === "queued" ? yield* start() : holder
        yield* (yield* holder.run(Journal.client()))("large").call.Write({ entry: "held here" })
        // Two bytes to a character.
        const text = yield* (yield* producer.run(Journal.client()))("large").call.Text({ characters: 125_000 })
        yield* same("the reply", [text.length, text.replaceAll("ü", "")], [125_000, ""])
      })
    )
  ),

  ...(["where it is held", "from elsewhere"] as const).map((where) =>
    define(
      `kill, start again: fresh state (killed ${where})`,
      Effect.gen(function*() {
        const { Counter, live } = yield* counter
        const holder = yield* start({ servers: live() })
        const killer = where === "where it is held" ? holder : yield* start()
        const ref = (yield* killer.run(Counter.client()))("killed")
        yield* same("in its first life", yield* ref.call.AddOnce({ id: "once", by: 5 }), 5)
        yield* ref.kill("no longer needed")
        yield* same("in its second", yield* ref.call.Get(), 0)
        yield* same("whose answers are its own", yield* ref.call.AddOnce({ id: "once", by: 2 }), 2)
        yield* ref.kill("again")
        yield* ref.cast.Add({ by: 1 })
        yield* holder.close
        const next = yield* start({ servers: live() })
        yield* same("in its third, elsewhere", yield* (yield* next.run(Counter.client()))("killed").call.Get(), 1)
      })
    )
  ),

  define(
    "callers that wait for a server that is killed are told so",
    Effect.gen(function*() {
      const { Counter } = yield* counter
      // Nobody runs it.
      const producer = yield* start()
      const ref = (yield* producer.run(Counter.client()))("waiting")
      yield* ref.cast.Add({ by: 1 })
      const waiting = yield* Effect.forkChild(ref.call.Get(undefined, { timeout: "20 seconds" }), {
        startImmediately: true
      })
      yield* Effect.repeat(Effect.delay(ref.kill("nobody came"), "20 millis"), {
        until: () => waiting.pollUnsafe() !== undefined
      })
      const error = yield* soon("it is told", failure("it is told", Fiber.join(waiting)))
      yield* same("what it is told", error._tag === "DurableServerError" ? error.reason._tag : "", "ServerKilled")
    })
  ),

  define(
    "reads that change nothing write nothing",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const committed: Array<Member> = []
      const node = yield* start({
        servers: live(),
        storage: ({ commit }) => ({
          commit: (group) => Effect.andThen(Effect.sync(() => committed.push(...group)), commit(group))
        })
      })
      const ref = (yield* node.run(Counter.client()))("read")
      yield* ref.call.Add({ by: 3 })
      const written = committed.length
      yield* Effect.forEach(times(20), () => ref.call.Get())
      yield* Effect.forEach(times(50), () => ref.call.Get(), { concurrency: "unbounded" })
      // A next state that is the same one, written down.
      yield* same("what they see", yield* ref.call.AddAndGet({ by: 0 }), 3)
      yield* ref.cast.Add({ by: 0 })
      const tags = new Set(committed.slice(written).map(({ _tag }) => _tag))
      yield* same("what was committed for them", [...tags], ["Check"])
    })
  ),

  define(
    "reset starts anew, once for each server, and only where it is said",
    Effect.gen(function*() {
      const { Journal, live } = yield* journal
      const run = Effect.fnUntraced(function*(reset: boolean, entry: string) {
        const node = yield* start({ servers: live(undefined, { reset }) })
        const ref = (yield* node.run(Journal.client()))("reset")
        const found = yield* ref.call.Read()
        yield* ref.call.Write({ entry })
        const left = yield* ref.call.Read()
        yield* node.close
        return [found, left]
      })
      yield* same("at first", yield* run(false, "a"), [[], ["a"]])
      yield* same("with reset", yield* run(true, "b"), [[], ["b"]])
      yield* same("without", yield* run(false, "c"), [["b"], ["b", "c"]])
      yield* same("with reset again", yield* run(true, "d"), [[], ["d"]])
    })
  ),

  define(
    "without a cache a server leaves memory when nothing waits for it",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const node = yield* start({ servers: live({ cache: false }) })
      yield* (yield* node.run(Counter.client()))("leaves").call.Add({ by: 1 })
      yield* eventually("memory is empty", node.residents, (residents) => residents === 0)
    })
  ),

  define(
    "without any hint everything arrives: what is in line is found, and replies",
    Effect.gen(function*() {
      const { Counter, live } = yield* counter
      const deaf = {
        node: { pollInterval: "30 millis" },
        storage: () => ({ hints: Effect.never, mayLoseHints: true })
      } as const
      const producer = yield* start(deaf)
      const ref = (yield* producer.run(Counter.client()))("deaf")
      yield* ref.cast.Add({ by: 1 })
      const holder = yield* start({ ...deaf, servers: live() })
      yield* same("a call by the line", yield* ref.call.AddAndGet({ by: 1 }), 2)
      yield* ref.castAfter(0).Add({ by: 1 })
      yield* eventually("a message for later", ref.call.Get(), (count) => count === 3)
      yield* holder.close
      yield* start({ ...deaf, servers: live() })
      yield* same("at the next holder", yield* ref.call.AddAndGet({ by: 1 }), 4)
    })
  )
]
