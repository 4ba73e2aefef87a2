/**
 * Messages for later in memory, held against a plain list that is sorted anew each time.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { randomInt } from "node:crypto"
import { Agenda, type Entry } from "../../../src/durable/internal/agenda.ts"

it.effect("gives what is due in the order of times and ids, whatever was added and cancelled in between", () => {
  const seed = process.env["HOLDFAST_TEST_SEED"] ?? String(randomInt(2 ** 31))
  return Effect.gen(function*() {
    const agenda = new Agenda()
    let model: Array<Entry> = []
    const idOf = ({ id, message }: Entry) => ({ server: id, node: message.node, call: message.call })
    for (let call = 0; call < 5000; call++) {
      const action = yield* Random.nextIntBetween(0, 10)
      if (action < 6) {
        const entry: Entry = {
          id: yield* Random.nextIntBetween(1, 4),
          at: yield* Random.nextIntBetween(0, 1000),
          message: {
            mode: "cast",
            rpc: "Do",
            payload: "{}",
            primaryKey: action < 2 ? `${yield* Random.nextIntBetween(0, 20)}` : undefined,
            priority: false,
            node: yield* Random.nextIntBetween(1, 3),
            call
          }
        }
        const { primaryKey } = entry.message
        const isKnown = primaryKey !== undefined &&
          model.some((other) => other.id === entry.id && other.message.primaryKey === primaryKey)
        assert.strictEqual(agenda.add(entry), !isKnown)
        if (!isKnown) model.push(entry)
      } else if (action < 9) {
        const entry = model[yield* Random.nextIntBetween(0, model.length + 1)]
        if (entry === undefined) continue
        assert.isTrue(agenda.has(idOf(entry)))
        agenda.delete(idOf(entry))
        assert.isFalse(agenda.has(idOf(entry)))
        model = model.filter((other) => other !== entry)
      } else if (yield* Random.nextBoolean) {
        const now = yield* Random.nextIntBetween(0, 300)
        const due = model.filter(({ at }) => at <= now).sort((left, right) =>
          left.at - right.at || left.message.node - right.message.node || left.message.call - right.message.call
        )
        assert.deepStrictEqual(agenda.takeDue(now), due)
        model = model.filter(({ at }) => at > now)
      }
      const next = model.length === 0 ? undefined : Math.min(...model.map(({ at }) => at))
      assert.strictEqual(agenda.nextAt, next)
    }
  }).pipe(
    Random.withSeed(seed),
    Effect.tapCause(() => Effect.sync(() => console.error(`HOLDFAST_TEST_SEED=${seed}`)))
  )
})
