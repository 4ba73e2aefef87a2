/**
 * A counter that survives its process. Run it twice: the second run goes on where the first one ended.
 */
import { Console, Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { DurableNode, DurableServer } from "holdfast/durable"
import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"

class Counter extends DurableServer.make("Counter", {
  state: Schema.Struct({ count: Schema.Int }),
  protocol: [Rpc.make("Add", { payload: { by: Schema.Int }, success: Schema.Int })]
}) {}

const CounterLive = Counter.toLayer({
  init: () => ({ count: 0 }),
  handlers: {
    Add: ({ payload, reply, state }) => reply(state.count + payload.by, { count: state.count + payload.by })
  }
})

const program = Effect.gen(function*() {
  const counter = yield* Counter.client()
  yield* Console.log(`The count is ${yield* counter("clicks").call.Add({ by: 1 })}`)
})

const Live = CounterLive.pipe(
  Layer.provideMerge(DurableNode.layerPostgres),
  Layer.provide(EmbeddedPostgres.layerClient),
  Layer.provide(EmbeddedPostgres.layerOrUrl({ dataDirectory: ".tmp/counter" }))
)

await Effect.runPromise(Effect.provide(program, Live))
