/** The counters that run in another process: those that are called, and those that get casts. */
import { Schema } from "effect"
import { Rpc } from "effect/rpc"
import { pad } from "../Case.ts"
import { DurableServer } from "../holdfast.ts"

const options = {
  state: Schema.Struct({ count: Schema.Int, pad: Schema.String }),
  protocol: [
    Rpc.make("Add", { payload: { by: Schema.Int }, success: Schema.Int }),
    Rpc.make("Get", { success: Schema.Int })
  ]
} as const

export class Called extends DurableServer.make("bench/Called", options) {}
export class Cast extends DurableServer.make("bench/Cast", options) {}

const live = (definition: typeof Called | typeof Cast) =>
  definition.toLayer({
    init: () => ({ count: 0, pad }),
    handlers: {
      Add: ({ payload, reply, state }) =>
        reply(state.count + payload.by, { ...state, count: state.count + payload.by }),
      Get: ({ reply, state }) => reply(state.count)
    }
  })

export const lives = { [Called.kind]: live(Called), [Cast.kind]: live(Cast) }
