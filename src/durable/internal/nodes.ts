/**
 * From the service that applications see to the machinery behind it, which they do not.
 */
import type { Residency } from "./residency.ts"

/** A node as clients and handlers' layers use it. */
export interface Inside {
  readonly residency: Residency
  readonly drainMillis: number
  readonly callMillis: number
}

const insides = new WeakMap<object, Inside>()

/** Binds the machinery to the service that stands for it. */
export const enter = <Service extends object>(inside: Inside, service: Service): Service => {
  insides.set(service, inside)
  return service
}

/** The machinery behind a service. */
export const insideOf = (service: object): Inside => {
  const inside = insides.get(service)
  if (inside === undefined) throw new Error("a DurableNode is made by DurableNode.layer, and by nothing else")
  return inside
}
