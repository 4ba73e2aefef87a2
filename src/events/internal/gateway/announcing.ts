/**
 * How a gateway worker is entered in the registry, and what it knows of the others from there.
 *
 * What a registry knows of a holder is said when it registers. So that a worker can say how busy it is, it registers itself again
 * when that has changed: under the next number, before it gives up the last one, so that it is never not there.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { WorkerInfo } from "../../GatewayRpcs.ts"
import type { GatewayWorkers } from "../../GatewayWorkers.ts"

type Registry = GatewayWorkers["Service"]

/** The latest entry of each worker. */
export const listed = (registry: Registry): Effect.Effect<ReadonlyArray<WorkerInfo>> =>
  Effect.map(registry.list, (entries) => {
    const latest = new Map<string, { readonly turn: number; readonly info: WorkerInfo }>()
    for (const [{ turn, worker }, entry] of entries) {
      const info = entry._tag === "Elsewhere" ? entry.address : entry._tag === "Here" ? entry.holder : undefined
      const known = latest.get(worker)
      if (info !== undefined && (known === undefined || known.turn < turn)) latest.set(worker, { turn, info })
    }
    return Array.from(latest.values(), ({ info }) => info).sort((a, b) => a.id < b.id ? -1 : 1)
  })

/** Whether the registry should be told: a little more or less makes no difference to anybody. */
const differs = (a: number, b: number): boolean => Math.abs(a - b) > Math.max(8, Math.max(a, b) / 4)

/** How often is looked whether there is something to say. */
const interval = Duration.seconds(2)

/** Is entered until the scope closes. Waits for the first time. */
export const announce = Effect.fnUntraced(function*(registry: Registry, info: () => WorkerInfo) {
  const scope = yield* Effect.scope
  let turn = 0
  let isTold = false
  let current = yield* enter(registry, info(), turn, scope)
  const again = Effect.gen(function*() {
    const now = info()
    const isHeld = yield* current.registration.isHeld
    if (isHeld && !differs(now.load, current.info.load)) return
    const next = yield* enter(registry, now, ++turn, scope)
    yield* Scope.close(current.scope, Exit.void)
    current = next
    isTold = false
  }).pipe(
    Effect.catchCause((cause) => {
      if (isTold) return Effect.void
      isTold = true
      return Effect.logWarning("the gateway worker could not be entered in the registry; trying again", cause)
    })
  )
  yield* Effect.forkIn(Effect.forever(Effect.andThen(Effect.sleep(interval), again)), scope)
})

const enter = Effect.fnUntraced(function*(registry: Registry, info: WorkerInfo, turn: number, scope: Scope.Scope) {
  const own = yield* Scope.fork(scope)
  const registration = yield* registry.register({ worker: info.id, turn }, info, { address: info }).pipe(
    Scope.provide(own),
    Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
  )
  return { registration, scope: own, info }
})
