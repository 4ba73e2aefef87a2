/**
 * Cases of durable servers. Each cleans up after itself: when its nodes have left, the servers that they asked for are killed,
 * whatever became of it. All that is left of one is its name.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Address, DurableStorage } from "../../../durable/DurableStorage.ts"
import type { Case } from "../../Conformance.ts"
import * as cases from "../cases.ts"

type Body = Effect.Effect<void, unknown, DurableStorage | Scope.Scope>

const tidily = (body: Body): Effect.Effect<void, unknown, DurableStorage> =>
  Effect.gen(function*() {
    const storage = yield* DurableStorage
    const asked = new Map<string, Address>()
    const note = (servers: ReadonlyArray<Address>) => {
      for (const { key, kind } of servers) asked.set(JSON.stringify([kind, key]), { kind, key })
    }
    const noting = DurableStorage.of({
      join: (options) =>
        Effect.map(storage.join(options), (node) => ({
          ...node,
          claim: (servers) => Effect.suspend(() => (note(servers), node.claim(servers))),
          locate: (servers) => Effect.suspend(() => (note(servers), node.locate(servers)))
        }))
    })
    const tidy = Effect.scoped(Effect.gen(function*() {
      if (asked.size === 0) return
      const node = yield* storage.join({ outcomeRetention: Duration.days(7) })
      yield* Effect.forEach(asked.values(), (server) => node.kill(server, "\"the case is over\""), { discard: true })
    }))
    // What goes wrong here is not what the case is about.
    yield* Effect.ensuring(
      Effect.scoped(Effect.provideService(body, DurableStorage, noting)),
      Effect.ignore(Effect.sandbox(Effect.timeout(Effect.interruptible(tidy), "15 seconds")))
    )
  })

/** A case, broken off where it does not end. */
export const define = (name: string, body: Body): Case<DurableStorage> => cases.define(name, tidily(body))

/** A case that moves the clock itself, and so cannot be given a limit by it. */
export const defineTimeless = (name: string, body: Body): Case<DurableStorage> =>
  cases.defineTimeless(name, tidily(body))
