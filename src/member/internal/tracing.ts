/**
 * Spans that cost nothing where nobody traces. A span costs several times what a message costs, and Effect makes one also
 * when there is no tracer but its own; so it is asked first whether somebody has provided one.
 */
import * as Effect from "effect/Effect"
import type { SpanKind } from "effect/Tracer"

export const traced = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  name: string,
  kind: SpanKind,
  attributes: () => Readonly<Record<string, string>>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    fiber.cache.tracer === undefined
      ? effect
      : Effect.withSpan(effect, name, { kind, captureStackTrace: false, attributes: attributes() })
  )
