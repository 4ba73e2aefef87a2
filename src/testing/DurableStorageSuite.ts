import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DurableStorage } from "../durable/DurableStorage.ts"
import { commits } from "./internal/durable/seam/commits.ts"
import { keys } from "./internal/durable/seam/keys.ts"
import { killing } from "./internal/durable/seam/killing.ts"
import { lines } from "./internal/durable/seam/lines.ts"
import { membership } from "./internal/durable/seam/membership.ts"
import { timers } from "./internal/durable/seam/timers.ts"
export const seam = [...membership, ...commits, ...lines, ...keys, ...timers, ...killing]
export const layerPerNode = <E>(layer: Layer.Layer<DurableStorage, E>): Layer.Layer<DurableStorage> =>
  Layer.succeed(DurableStorage, {
    join: (options) =>
      Effect.flatMap(
        Effect.orDie(Layer.build(Layer.fresh(layer))),
        (context) => Context.get(context, DurableStorage).join(options)
      )
  })
