/**
 * Which client of a gateway worker has which persistent subscriptions: two clients of one worker are to each other as two
 * processes are, and what one of them had is free again when it has gone.
 */
import * as Effect from "effect/Effect"
import type { EventStoreError } from "../../EventStoreError.ts"
import type { Selector } from "../../Selector.ts"
import { textOf } from "../matching.ts"
import type { Checkpointed, Claim, Claimed, EventStorage } from "../storage.ts"
import type { Session } from "./clients.ts"

/** What a client names a claim by, beside its store. */
type ClaimId = Pick<Claimed, "id" | "token">

const claimKey = (store: string, { id, token }: ClaimId) => `${store} ${id} ${token}`

export class Holdings {
  readonly #storage: EventStorage
  readonly #holders = new Map<string, Session>()

  constructor(storage: EventStorage) {
    this.#storage = storage
  }

  /**
   * Claims a subscription for a client, where no other one here has it. Not to be interrupted: what was claimed has to be known
   * here, also where nobody waits for it any more.
   */
  claim(session: Session, store: string, name: string, selector: Selector): Effect.Effect<Claim, EventStoreError> {
    return Effect.suspend(() => {
      const key = JSON.stringify([store, name, textOf(selector)])
      if (this.#holders.has(key)) return Effect.succeed<Claim>({ _tag: "Held" })
      const refused = session.subscribe()
      if (refused !== undefined) return Effect.fail(refused)
      this.#holders.set(key, session)
      const forget = () => {
        session.unsubscribe()
        this.#holders.delete(key)
      }
      return this.#storage.claim(store, name, selector).pipe(
        Effect.onError(() => Effect.sync(forget)),
        Effect.tap((claim) => {
          if (claim._tag !== "Claimed") return Effect.sync(forget)
          session.held.set(claimKey(store, claim), { key, claimed: claim })
          // The client has gone in the meantime.
          return session.isOver ? this.leave(session) : Effect.void
        })
      )
    })
  }

  /** Does something under a claim of this client's. Where the claim is over by then, it is so here too. */
  under(
    session: Session,
    store: string,
    id: ClaimId,
    f: (claimed: Claimed) => Effect.Effect<Checkpointed, EventStoreError>
  ): Effect.Effect<Checkpointed, EventStoreError> {
    const held = session.held.get(claimKey(store, id))
    if (held === undefined) return Effect.succeed("lost")
    return Effect.tap(f(held.claimed), (standing) =>
      Effect.sync(() => {
        if (standing !== "done") this.#drop(session, store, id)
      }))
  }

  /** What a client has claimed is free again when the client has gone. */
  leave(session: Session): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach(
        Array.from(session.held),
        ([name, { claimed }]) => {
          const [store = ""] = name.split(" ")
          return Effect.ensuring(
            Effect.ignore(this.#storage.release(store, claimed)),
            Effect.sync(() => this.#drop(session, store, claimed))
          )
        },
        { concurrency: "unbounded", discard: true }
      )
    )
  }

  /** The claim is over here, whatever becomes of it. */
  #drop(session: Session, store: string, id: ClaimId): void {
    const held = session.held.get(claimKey(store, id))
    if (held === undefined) return
    session.held.delete(claimKey(store, id))
    session.unsubscribe()
    if (this.#holders.get(held.key) === session) this.#holders.delete(held.key)
  }
}
