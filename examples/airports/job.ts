/**
 * The main job: all flights go to their airports while one of the two workers is killed, and the departures board shows what
 * departs; then every airport is asked, and the board is compared with them.
 */
import { Clock, Deferred, Effect, Layer, Option, Random, Schedule, Schema } from "effect"
import { DurableNode } from "holdfast/durable"
import type { Tally } from "./Airport.ts"
import * as board from "./board.ts"
import { type Access, layerDepartures, nodeOptions } from "./database.ts"
import type { Flights } from "./flights.ts"
import { type Child, ChildEnded, startFeeder, startWorker } from "./processes.ts"
import * as queue from "./queue.ts"
import { count, Screen } from "./Screen.ts"
import { verify } from "./verify.ts"

/** Nothing was handled for a long time. */
export class Stalled extends Schema.TaggedError<Stalled>()("Stalled", {
  done: Schema.Finite,
  total: Schema.Finite,
  waiting: Schema.Finite
}) {
  override get message() {
    return `nothing moves: ${count(this.done)} of ${count(this.total)} messages done, ${count(this.waiting)} in line`
  }
}

/** After how many milliseconds without a single message done it is given up. */
const patience = 60_000

const seconds = (millis: number) => `${(millis / 1000).toFixed(1)} s`

/** Does it all. `killAt` is the part of the messages that is done when a worker is killed; none if none is. */
export const run = Effect.fn("job.run")(function*(options: {
  readonly input: Flights
  readonly expected: ReadonlyMap<string, Tally>
  readonly access: Access
  readonly concurrency: number
  readonly killAt: Option.Option<number>
}) {
  const { access, expected, input, killAt } = options
  const screen = yield* Screen
  const total = input.flights.length * 2
  const known = (yield* queue.look).handled
  const departures = yield* board.hang

  const trouble = yield* Deferred.make<never, ChildEnded>()
  const addWorker = Effect.fnUntraced(function*(name: string) {
    const worker = yield* startWorker(name, access)
    yield* worker.ended.pipe(
      Effect.andThen(Effect.fail(new ChildEnded({ name, outcome: "exit code 0" }))),
      Effect.catch((error) => Deferred.fail(trouble, error)),
      Effect.forkScoped
    )
    return worker
  })
  const workers = yield* Effect.all([addWorker("worker 1"), addWorker("worker 2")], { concurrency: 2 })
  let sent = 0
  const feeder = yield* startFeeder({
    file: input.file,
    concurrency: options.concurrency,
    access,
    sent: (messages) => {
      sent = messages
    }
  })
  yield* screen.say(`${[...workers, feeder].map(called).join(", ")}`)

  const killTime = yield* Deferred.make<void>()
  let startedAt = yield* Clock.currentTimeMillis
  let moved = { done: 0, at: startedAt }

  /** Looks at the database until everything is done. Gives the milliseconds it took. */
  const watch = Effect.gen(function*() {
    const { handled, waiting } = yield* queue.look
    const now = yield* Clock.currentTimeMillis
    const done = Math.min(sent, handled)
    if (sent === 0) startedAt = now
    if (done !== moved.done) moved = { done, at: now }
    yield* screen.show({ done, total, waiting }, yield* departures.look)
    if (Option.isSome(killAt) && done >= killAt.value * total) yield* Deferred.succeed(killTime, undefined)
    if (now - moved.at > patience) return yield* new Stalled({ done, total, waiting })
    return done >= total
  }).pipe(
    Effect.repeat({ until: (finished) => finished, schedule: Schedule.spaced("100 millis") }),
    Effect.map(() => moved.at - startedAt)
  )

  const kill = Effect.gen(function*() {
    yield* Deferred.await(killTime)
    yield* Effect.sleep(yield* Random.nextBetween(0, 100))
    const victim = (yield* Random.nextBoolean) ? workers[0] : workers[1]
    const held = yield* queue.heldBy(victim.name)
    yield* victim.kill
    const killedAt = yield* Clock.currentTimeMillis
    yield* screen.say(`killed ${called(victim)} by SIGKILL, while it held ${held} airports`)
    const next = yield* addWorker("worker 3")
    yield* screen.say(`started ${called(next)} in its place`)

    yield* queue.heldBy(victim.name).pipe(
      Effect.repeat({ until: (left) => left < held, schedule: Schedule.spaced("50 millis") }),
      Effect.andThen(Clock.currentTimeMillis),
      Effect.flatMap((now) => screen.say(`the airports of ${victim.name} go on, ${seconds(now - killedAt)} later`)),
      Effect.when(Effect.succeed(held > 0)),
      Effect.forkScoped
    )
  })

  const ask = Effect.provide(verify(expected), Layer.provide(DurableNode.layerPostgres, nodeOptions("main")))

  const work = Effect.gen(function*() {
    yield* Effect.all([feeder.ended, Option.isSome(killAt) ? kill : Effect.void], { concurrency: 2 })
    return yield* ask
  })
  const [millis, verdicts] = yield* Effect.raceFirst(
    Effect.all([watch, work], { concurrency: 2 }),
    Deferred.await(trouble)
  )
  const proof = yield* departures.prove
  yield* screen.show({ done: total, total, waiting: 0 }, yield* departures.look)
  yield* screen.settle
  return { millis, verdicts, board: proof, added: (yield* queue.look).handled - known, total }
}, (effect) => effect.pipe(Effect.scoped, Effect.provide(Layer.provide(layerDepartures, nodeOptions("main")))))

const called = ({ name, pid }: Child): string => `${name} (pid ${pid})`
