/**
 * Giving a kind of server its handlers in this process, for as long as a layer lives.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { countOf, millisOf } from "../../member/internal/options.ts"
import { DurableNode } from "../DurableNode.ts"
import { close } from "./closing.ts"
import type { Definition } from "./definition.ts"
import type { Registration } from "./handling.ts"
import { insideOf } from "./nodes.ts"

interface Options {
  readonly maxIdleTime?: Duration.Input | undefined
  readonly maxBatch?: number | undefined
  readonly cache?: boolean | undefined
  readonly reset?: boolean | undefined
  readonly defectRetryPolicy?: Schedule.Schedule<unknown, unknown> | undefined
}

type Behaviour = Pick<Registration, "init" | "handlers"> & Partial<Pick<Registration, "handleLocked" | "handleInfo">>

const defaultPolicy: Schedule.Schedule<unknown, unknown> = Schedule.max([
  Schedule.exponential("50 millis"),
  Schedule.recurs(5)
])

export const register = (
  definition: Definition,
  build: Behaviour | Effect.Effect<Behaviour, unknown, unknown>,
  options: Options = {}
): Layer.Layer<never, unknown, DurableNode> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const { drainMillis, residency } = insideOf(yield* DurableNode)
    const behaviour = Effect.isEffect(build) ? yield* build : build
    const registration: Registration = {
      definition,
      init: behaviour.init,
      handlers: behaviour.handlers,
      handleLocked: behaviour.handleLocked ?? {},
      handleInfo: behaviour.handleInfo,
      context: yield* Effect.context<never>(),
      maxIdleMillis: millisOf("maxIdleTime", options.maxIdleTime ?? "1 minute", { endless: true }),
      maxBatch: countOf("maxBatch", options.maxBatch ?? 256),
      staysInMemory: options.cache ?? true,
      begunAnew: options.reset === true ? new Set() : undefined,
      defectRetryPolicy: options.defectRetryPolicy ?? defaultPolicy
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => residency.register(registration)),
      () => close(residency, drainMillis, definition.kind)
    )
  })) as Layer.Layer<never, unknown, DurableNode>
