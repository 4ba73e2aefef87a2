/** The counters whose memory is measured, each with a state of 200 bytes. */
import { Schema } from "effect"
import { Rpc } from "effect/rpc"
import { pad } from "../Case.ts"
import { DurableServer } from "../holdfast.ts"

export class Counter extends DurableServer.make("bench/memory/Counter", {
  state: Schema.Struct({ count: Schema.Int, pad: Schema.String }),
  protocol: [Rpc.make("Add", { payload: { by: Schema.Int } })]
}) {}

/** Says each time a message was handled. Those that leave memory do so after so many milliseconds. */
export const counterLive = (maxIdleMillis: number, handled: () => void) =>
  Counter.toLayer({
    init: () => ({ count: 0, pad }),
    handlers: {
      Add: ({ noReply, payload, state }) => {
        handled()
        return noReply({ ...state, count: state.count + payload.by })
      }
    }
  }, { maxIdleTime: maxIdleMillis })
