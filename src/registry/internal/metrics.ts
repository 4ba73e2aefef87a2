/**
 * What registries count: registrations, refusals, losses and restarts, never lookups.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

export const held = Metric.gauge("holdfast_registry_held", {
  description: "Profiles that this process holds"
})

export const registered = Metric.counter("holdfast_registry_registered", {
  description: "Profiles that were registered by this process",
  incremental: true
})

export const refused = Metric.counter("holdfast_registry_refused", {
  description: "Registrations that were refused because the profile had a holder",
  incremental: true
})

export const lost = Metric.counter("holdfast_registry_lost", {
  description: "Profiles that this process lost with its lease or its membership",
  incremental: true
})

export const connections = Metric.counter("holdfast_registry_connections", {
  description: "Connections opened for supervised profiles",
  incremental: true
})

export const crashes = Metric.counter("holdfast_registry_crashes", {
  description: "Connections of supervised profiles that ended by themselves, or could not be opened",
  incremental: true
})

export const groupSize = Metric.histogram("holdfast_registry_group_size", {
  description: "Registrations and releases committed together",
  boundaries: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
})

export const busy = Metric.counter("holdfast_registry_busy", {
  description: "Registrations and releases tried again because somebody had the row locked",
  incremental: true
})

/** Outside of any fiber, in the registry that all share. */
const context = Context.empty()
let holding = 0

export const onHeld = (): void => {
  registered.updateUnsafe(1, context)
  held.updateUnsafe(++holding, context)
}

export const onEnded = (reason: "lost" | "stopped" | "released"): void => {
  held.updateUnsafe(--holding, context)
  if (reason === "lost") lost.updateUnsafe(1, context)
}

export const onRefused = (): void => refused.updateUnsafe(1, context)

export const onConnected = (): void => connections.updateUnsafe(1, context)

export const onCrashed = (): void => crashes.updateUnsafe(1, context)

export const onGroup = (size: number, busyParts: number): void => {
  groupSize.updateUnsafe(size, context)
  if (busyParts > 0) busy.updateUnsafe(busyParts, context)
}
