/**
 * Persistent subscriptions as they are kept in Postgres: who has one, under which token, and how far it is.
 *
 * A subscription is claimed by a member, and free again when it is released or its member is dead. Everything that is done
 * under a claim is fenced by its token in the statement that does it.
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Effect from "effect/Effect"
import type * as Member from "../../../member/Member.ts"
import type { Selector } from "../../Selector.ts"
import { textOf } from "../matching.ts"
import type { Checkpointed, Claim, Claimed, EventStorage } from "../storage.ts"
import { int8, type Row, text } from "./parameters.ts"
import type { Reader } from "./reader.ts"

/** A claim, and the member for which it was made. */
interface MembersClaim extends Claimed {
  readonly member: number
}

type Subscriptions = Pick<
  EventStorage,
  "save" | "remove" | "subscriptions" | "claim" | "checkpoint" | "park" | "release"
>

export const subscriptionsOf = ({ changed, engine, reader }: {
  readonly engine: Member.Engine
  readonly reader: Reader
  /** Subscriptions of this store may have become free, or may be gone. */
  readonly changed: (store: string) => void
}): Subscriptions => {
  /** Subscriptions that somebody in this process has claimed and not given back. */
  const held = new Set<string>()
  const heldKey = (store: string, id: number) => `${store} ${id}`
  const keys = new Map<string, string>()

  const standing = (claim: Claimed, row: Row | undefined): Checkpointed =>
    isForeign(claim) ? "lost" : row?.[0] === "done" || row?.[0] === "gone" ? row[0] : "lost"

  /** Made by this process when it was another member, which others hold dead by now. */
  const isForeign = (claim: Claimed): boolean => (claim as MembersClaim).member !== engine.id() || engine.isLost()

  return {
    save: (store, name, selector, position) =>
      Effect.asVoid(
        reader.call(store, "saveSubscription", "*", "save_subscription($1, $2, $3)", [
          text(name),
          text(textOf(selector)),
          int8(position)
        ])
      ),
    remove: (store, name, selector) =>
      Effect.map(
        reader.call(store, "removeSubscription", "*", "remove_subscription($1, $2)", [
          text(name),
          text(selector === undefined ? undefined : textOf(selector))
        ]),
        ([row]) => {
          changed(store)
          return row?.[0] === true
        }
      ),
    subscriptions: (store) =>
      Effect.map(
        reader.call(store, "getSubscriptions", "*", "subscriptions()", []),
        (rows) =>
          rows.map(([name, selector, position, head, parked, active]) => ({
            name: String(name),
            selector: JSON.parse(String(selector)) as Selector,
            position: Number(position),
            lag: Math.max(0, Number(head) - Number(position)),
            parked: Number(parked),
            active: active === true
          }))
      ),
    claim: (store, name, selector) =>
      Effect.suspend(() => {
        const id = engine.id()
        const key = `${store} ${name} ${textOf(selector)}`
        const params = [text(name), text(textOf(selector)), int8(id), !held.has(keys.get(key) ?? "")]
        // A member that was declared dead claims nothing: it has to come back first.
        const back = engine.isLost() ? engine.rejoin(id) : Effect.void
        return Effect.andThen(
          back,
          Effect.map(reader.call(store, "subscribe", "*", "claim($1, $2, $3, $4)", params), ([row]): Claim => {
            const [state, subscription, token, position] = row ?? []
            if (state === "gone") return { _tag: "Gone" }
            if (state !== "claimed") return { _tag: "Held" }
            keys.set(key, heldKey(store, Number(subscription)))
            held.add(heldKey(store, Number(subscription)))
            const claim: MembersClaim = {
              _tag: "Claimed",
              id: Number(subscription),
              token: Number(token),
              position: Number(position),
              member: id
            }
            return claim
          })
        )
      }),
    checkpoint: (store, claim, position) =>
      Effect.suspend(() => {
        if (isForeign(claim)) return Effect.succeed("lost" as const)
        const params = [int8(claim.id), int8(claim.token), int8(position)]
        return Effect.map(
          reader.call(store, "ack", "*", "checkpoint($1, $2, $3)", params),
          ([row]) => standing(claim, row)
        )
      }),
    park: (store, claim, { attempts, cursor, eventId, reason }) =>
      Effect.map(
        reader.call(store, "park", "*", "park($1, $2, $3, $4::text::uuid, $5, $6)", [
          int8(claim.id),
          int8(claim.token),
          int8(cursor),
          text(eventId),
          PgTypes.int4(attempts),
          text(reason.replaceAll("\0", ""))
        ]),
        ([row]) => standing(claim, row)
      ),
    release: (store, claim) =>
      Effect.suspend(() => {
        held.delete(heldKey(store, claim.id))
        return reader.call(store, "release", "*", "release($1, $2)", [int8(claim.id), int8(claim.token)])
      }).pipe(Effect.map(() => changed(store)))
  }
}
