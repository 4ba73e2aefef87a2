/** Holdfast's casts, from a process that only sends to one that handles. */
import { Effect } from "effect"
import type { CastCase } from "../Case.ts"
import { refs, run, stored } from "./counters.ts"

export const casts: CastCase = {
  prepare: () => Effect.void,
  receive: (database, _, handled) => Effect.asVoid(run(database, handled)),
  send: (database, servers) =>
    Effect.map(refs(database, servers), (refs) => (server: number, sentAt: number) => {
      const ref = refs[server]
      return ref === undefined
        ? Effect.die(new Error(`there is no server ${server}`))
        : Effect.orDie(ref.cast.Note({ sentAt }))
    }),
  stored
}
