/**
 * One process of the soak: it runs the handlers of all accounts, and at the same time its senders send to them in every way
 * there is, in bursts, without knowing who runs which. It writes down what it does (`ledger.ts`), says `ready`, goes on until a line
 * `stop` comes, says `stopped` once everything that it sent was answered, and goes on as a consumer until it is ended.
 *
 * What cannot begin, since the database cannot be reached at that moment, ends with the exit code 3.
 */
import { PgClient } from "@effect/sql-pg"
import { Cause, Effect, Exit, Fiber, Layer, Random, Redacted, References } from "effect"
import { DurableNode, DurableServer, DurableServerError } from "holdfast/durable"
import { Member } from "holdfast/member"
import { createInterface } from "node:readline"
import * as Ledger from "./ledger.ts"
import { Account, AccountLive, Mortal, MortalLive } from "./servers.ts"

const [slot = "0", runText = "1", path = "", accountsText = "1", seed = "0", leaseText = "1000"] = process.argv.slice(2)
const run = Number(runText)
const accounts = Number(accountsText)

/** How many senders a process has, how many messages each sends in one go at most, and has under way at most. */
const senders = 6
const burst = 8
const underWay = 64
/** How many keyed messages an account knows. All processes send the same ones. */
const keys = 40

const ledger = Ledger.open(path)
const say = (line: string) => process.stdout.write(`${line}\n`)

let stopping = false
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "stop") stopping = true
})

const nameOf = (account: number) => `account-${account % accounts}`
const between = (low: number, high: number) => Random.nextIntBetween(low, high)

const ways = {
  call: 26,
  cast: 26,
  castAll: 8,
  give: 8,
  urgentCall: 4,
  urgentCast: 4,
  look: 8,
  callOnce: 4,
  castOnce: 3,
  schedule: 3,
  scheduleAndCancel: 2,
  work: 2,
  ask: 3,
  mortal: 3
}
type Way = keyof typeof ways
const weighted = Object.entries(ways).flatMap(([way, weight]) => Array.from({ length: weight }, () => way as Way))

const endless = { timeout: "Infinity" } as const

const makeSender = Effect.fnUntraced(function*(sender: string) {
  const account = yield* Account.client()
  const mortal = yield* Mortal.client()
  const numbers = new Map<string, number>()
  let id = 0

  /** The next number to an account, written down before anything is sent; and what is written when it is acknowledged. */
  const next = (to: string, from = sender) => {
    const n = (numbers.get(`${from} ${to}`) ?? 0) + 1
    numbers.set(`${from} ${to}`, n)
    ledger.write(["send", to, from, run, n])
    return { sender: from, run, n }
  }
  const acknowledged = (to: string, place: { readonly sender: string; readonly n: number }) =>
    Effect.sync(() => ledger.write(["sent", to, place.sender, run, place.n, Ledger.now()]))
  const expect = (what: string, expected: unknown, actual: unknown) => {
    if (expected !== actual) ledger.write(["wrong", `${what}: expected ${expected}, got ${actual}`])
  }

  const urgent = `${sender}!`

  /** One message, or a few that belong together. It leaves within the turn in which its number is drawn. */
  const send = (way: Way, to: string, choice: number): Effect.Effect<void, unknown, DurableNode.DurableNode> => {
    const ref = account(to)
    switch (way) {
      case "call": {
        const place = next(to)
        return Effect.flatMap(ref.call.Add(place, endless), (n) => {
          expect(`the answer to ${sender} of ${to}`, place.n, n)
          return acknowledged(to, place)
        })
      }
      case "cast": {
        const place = next(to)
        return Effect.andThen(ref.cast.Add(place), acknowledged(to, place))
      }
      case "castAll": {
        const places = Array.from({ length: 1 + choice % 4 }, () => next(to))
        return Effect.andThen(
          ref.castAll((cast) => places.map((place) => cast.Add(place))),
          acknowledged(to, places.at(-1) ?? { sender, n: 0 })
        )
      }
      case "give": {
        const place = next(to)
        // Three others each, so that there are rings of them.
        const others = [1, 7, 13].map((step) => nameOf(Number(to.split("-")[1]) + step)).filter((other) => other !== to)
        const other = others[choice % others.length]
        return Effect.andThen(
          other === undefined ? ref.cast.Add(place) : ref.cast.Give({ ...place, to: other }),
          acknowledged(to, place)
        )
      }
      case "urgentCall": {
        const place = next(to, urgent)
        return Effect.andThen(ref.priorityCall.Add(place, endless), acknowledged(to, place))
      }
      case "urgentCast": {
        const place = next(to, urgent)
        return Effect.andThen(ref.priorityCast.Add(place), acknowledged(to, place))
      }
      case "look": {
        const started = Ledger.now()
        // One with priority does not wait for what is in line, and need not have seen it; but it has seen what it has.
        return choice % 4 === 0
          ? Effect.map(
            ref.priorityCall.Look(undefined, endless),
            (seen) => ledger.write(["look", to, 0, Ledger.now(), seen])
          )
          : Effect.map(
            ref.call.Look(undefined, endless),
            (seen) => ledger.write(["look", to, started, Ledger.now(), seen])
          )
      }
      case "callOnce":
      case "castOnce": {
        const key = `key-${choice % keys}`
        ledger.write(["send once", to, key])
        return way === "castOnce"
          ? Effect.map(ref.cast.AddOnce({ id: key }), () => ledger.write(["sent once", to, key, null]))
          : Effect.map(ref.call.AddOnce({ id: key }, endless), (nth) => ledger.write(["sent once", to, key, nth]))
      }
      case "schedule":
      case "scheduleAndCancel": {
        const name = `${sender}.${run}.${++id}`
        ledger.write(["schedule", to, name])
        return Effect.gen(function*() {
          const scheduled = yield* ref.castAfter(choice % 700).AddLater({ id: name })
          ledger.write(["scheduled", to, name])
          if (way === "schedule") return
          yield* Effect.sleep(choice % 500)
          ledger.write(["cancel", to, name])
          ledger.write(["cancelled", to, name, yield* DurableServer.cancel(scheduled)])
        })
      }
      case "work": {
        const place = next(to)
        const message = { ...place, millis: choice % 60 }
        return choice % 2 === 0
          ? Effect.flatMap(ref.call.Work(message, endless), (n) => {
            expect(`the answer to the work of ${sender} at ${to}`, place.n, n)
            return acknowledged(to, place)
          })
          : Effect.andThen(ref.cast.Work(message), acknowledged(to, place))
      }
      case "ask": {
        const place = next(to)
        return Effect.flatMap(ref.call.Ask(place, endless), (n) => {
          expect(`the late answer to ${sender} of ${to}`, place.n, n)
          return acknowledged(to, place)
        })
      }
      case "mortal": {
        // Everybody kills these, and nobody is told anything but the truth.
        const shared = mortal(`mortal-${choice % 5}`)
        return choice % 4 === 0
          ? shared.kill("the soak")
          : Effect.asVoid(shared.call.Add(undefined, endless)).pipe(
            Effect.catchReason("DurableServerError", "ServerKilled", () => Effect.void)
          )
      }
    }
  }

  /** Runs it; a failure is written down, unless it is that the process was asked to leave. */
  const watched = (what: string, effect: Effect.Effect<void, unknown, DurableNode.DurableNode>) =>
    Effect.catchCause(effect, (cause) =>
      Effect.sync(() => {
        const error = Cause.squash(cause)
        if (error instanceof DurableServerError.DurableServerError && error.reason._tag === "NodeClosed") return
        ledger.write(["wrong", `${what} of ${sender}, run ${run}: ${Cause.pretty(cause)}`])
      }))

  /** A server of its own: what was acknowledged to it is there, and after a kill it begins anew. */
  const own = Effect.gen(function*() {
    const ref = mortal(`${sender}.${run}`)
    yield* ref.kill("the soak")
    for (let count = 1; count <= 3; count++) {
      expect(`the count of the mortal ${ref.key}`, count, yield* ref.call.Add(undefined, endless))
    }
    yield* ref.kill("the soak")
  })

  return Effect.gen(function*() {
    const sending: Array<Fiber.Fiber<void>> = []
    for (let round = 1; !stopping; round++) {
      const messages = yield* between(1, burst)
      for (let n = 0; n < messages; n++) {
        // Mostly to a few, so that they come to stand in line.
        const to = nameOf(yield* between(0, (yield* Random.next) < 0.3 ? Math.ceil(accounts / 20) : accounts - 1))
        const way = weighted[yield* between(0, weighted.length - 1)] ?? "call"
        const choice = yield* between(0, 2 ** 20)
        const one = watched(`${way} to ${to}`, Effect.suspend(() => send(way, to, choice)))
        sending.push(yield* Effect.forkChild(one, { startImmediately: true }))
      }
      // Those whose server has just lost its process take a while: the others do not wait for them.
      for (const one of sending.splice(0, Math.max(0, sending.length - underWay))) yield* Fiber.join(one)
      if (round % 20 === 0) yield* watched("a mortal", own)
      yield* Effect.sleep(yield* between(0, 20))
    }
    for (const one of sending) yield* Fiber.join(one)
  })
})

const sendingAll = Effect.gen(function*() {
  const all = yield* Effect.forEach(
    Array.from({ length: senders }, (_, index) => `p${slot}.${index}`),
    makeSender
  )
  yield* Effect.all(all, { concurrency: "unbounded", discard: true })
  say("stopped")
}).pipe(Random.withSeed(`${seed} ${slot} ${run}`))

/** Asked to leave, the node closes under its senders, which are told so: to interrupt them would be to withdraw what they sent. */
const leaving = Effect.callback<void>((resume) => {
  process.once("SIGTERM", () => {
    stopping = true
    resume(Effect.void)
  })
})

const Main = Layer.mergeAll(AccountLive, MortalLive).pipe(
  Layer.provideMerge(DurableNode.layerPostgres),
  Layer.provide(PgClient.layer({ url: Redacted.make(process.env["HOLDFAST_SOAK_URL"] ?? ""), maxConnections: 3 })),
  Layer.provide(Layer.mergeAll(
    Layer.succeed(Member.MemberOptions, {
      lease: Number(leaseText),
      statementTimeout: "10 seconds",
      name: `soak ${slot}.${run}`
    }),
    // That nodes are given up and messages tried again is the point of it.
    Layer.succeed(References.MinimumLogLevel, process.env["HOLDFAST_TEST_LOG"] === undefined ? "Error" : "All")
  ))
)

const unreachable = (error: unknown) =>
  Effect.sync(() => {
    process.stderr.write(`${error}\n`)
    process.exit(3)
  })

Effect.runFork(
  Effect.scoped(Effect.gen(function*() {
    const context = yield* Effect.catchTag(Layer.build(Main), "ConnectionFailed", unreachable)
    say("ready")
    yield* Effect.forkDetach(Effect.provide(sendingAll, context))
    yield* leaving
  })).pipe(
    Effect.exit,
    Effect.map((exit) => {
      if (Exit.isFailure(exit)) process.stderr.write(`${Cause.pretty(exit.cause)}\n`)
      process.exit(Exit.isSuccess(exit) ? 0 : 1)
    })
  )
)
