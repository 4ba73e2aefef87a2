/**
 * Who is given which event, under subscribers that join, go, acknowledge in any order and give back: events of a key are
 * handled in their order, none is lost, and the position is that of what was done without a gap. When it fails it prints its seed.
 */
import { assert, it } from "@effect/vitest"
import { DateTime, Effect, Random } from "effect"
import type { RecordedEvent } from "holdfast/events"
import { randomInt } from "node:crypto"
import { Distribution, type Item, Subscriber } from "../../src/events/internal/distribution.ts"

const created = DateTime.makeUnsafe(0)
const event = (n: number, key: string): RecordedEvent.RecordedEvent => ({
  eventStreamId: key,
  eventNumber: n,
  globalPosition: n,
  eventId: String(n),
  eventType: "Counted",
  data: n,
  metadata: {},
  dataContentType: "",
  metadataContentType: "",
  created,
  createdEpoch: 0
})

const run = Effect.fnUntraced(function*(withKeys: boolean) {
  const total = 300
  const keys = yield* Random.nextIntBetween(1, 8)
  const distribution = new Distribution(-1, withKeys ? (event) => event.eventStreamId : undefined)
  const subscribers: Array<{ readonly self: Subscriber; readonly has: Array<Item> }> = []
  const delayed: Array<Item> = []
  const handled: Array<number> = []
  const lastOf = new Map<string, number>()
  let offered = 0

  const one = Effect.fnUntraced(function*<A>(list: ReadonlyArray<A>) {
    return list.length === 0 ? undefined : list[yield* Random.nextIntBetween(0, list.length - 1)]
  })
  for (let step = 0; handled.length < total; step++) {
    if (step > 100_000) throw new Error(`stuck at ${handled.length} of ${total}`)
    const action = yield* Random.nextIntBetween(0, 99)
    const subscriber = yield* one(subscribers)
    if (action < 8 && subscribers.length < 4) {
      const self = new Subscriber(yield* Random.nextIntBetween(1, 5), () => undefined)
      subscribers.push({ self, has: [] })
      distribution.join(self)
    } else if (action < 12 && subscriber !== undefined) {
      subscribers.splice(subscribers.indexOf(subscriber), 1)
      distribution.leave(subscriber.self)
    } else if (action < 40 && offered < total && distribution.wantsMore) {
      const count = yield* Random.nextIntBetween(1, 10)
      const placed: Array<{ readonly cursor: number; readonly event: RecordedEvent.RecordedEvent }> = []
      for (let n = 0; n < count && offered < total; n++, offered++) {
        placed.push({ cursor: offered, event: event(offered, `k${yield* Random.nextIntBetween(0, keys - 1)}`) })
      }
      distribution.offer(placed, offered - 1)
    } else if (action < 45 && delayed.length > 0) {
      const item = delayed.splice(yield* Random.nextIntBetween(0, delayed.length - 1), 1)[0]
      if (item !== undefined) distribution.resume(item)
    } else if (subscriber !== undefined) {
      subscriber.has.push(...subscriber.self.take())
      assert.isAtMost(subscriber.self.inFlight.size, subscriber.self.bufferSize)
      // A subscriber with a key handles in order; without keys, in any.
      const item = withKeys ? subscriber.has[0] : yield* one(subscriber.has)
      if (item === undefined) continue
      subscriber.has.splice(subscriber.has.indexOf(item), 1)
      // What is in flight behind it already is not taken back: with keys, only the last of its key is given back here.
      const others = [...subscriber.self.inFlight.values()].filter(({ key }) => key === item.key)
      const wantsRetry = action > 90 && (!withKeys || others.length === 1)
      if (wantsRetry) {
        const isDelayed = action > 95
        distribution.retry(item, isDelayed)
        if (isDelayed) delayed.push(item)
        continue
      }
      const key = item.key ?? ""
      if (withKeys) {
        assert.isBelow(lastOf.get(key) ?? -1, item.cursor)
        lastOf.set(key, item.cursor)
      }
      handled.push(item.cursor)
      distribution.finish([item])
      const done = new Set(handled)
      let position = -1
      while (done.has(position + 1)) position++
      assert.strictEqual(distribution.position, Math.min(position, distribution.scannedTo))
    }
  }
  assert.deepStrictEqual([...handled].sort((a, b) => a - b), Array.from({ length: total }, (_, n) => n))
  assert.strictEqual(distribution.position, total - 1)
})

for (const withKeys of [true, false]) {
  it.effect(`every event is handled, ${withKeys ? "those of a key in order" : "in turns"}, whoever joins and goes`, () => {
    const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
    return Effect.gen(function*() {
      for (let round = 0; round < 40; round++) yield* run(withKeys)
    }).pipe(Random.withSeed(seed), Effect.onError(() => Effect.log(`HOLDFAST_TEST_SEED=${seed}`)))
  })
}
