/**
 * The profiles that one process holds in one registry, with their live holders, and how it comes to hold them.
 *
 * At most one claim of a profile is under way at a time: whoever else wants it meanwhile waits for that one's outcome, and
 * sees the same winner. A claim is decided by the backend; what is held here is answered from here.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Directory, Remote } from "../RegistryBackend.ts"
import * as metrics from "./metrics.ts"
import { RegistrationLost, RegistryUnavailable } from "./model.ts"

/** Why something is not held any more. */
export type EndReason = RegistrationLost["reason"]

/** A profile that is held here. */
export class Held<Profile, Holder> {
  readonly registry: string
  readonly key: string
  readonly profile: Profile
  readonly token: bigint
  /** Gives it back to the backend. */
  readonly release: Effect.Effect<void>
  /** By what it came to be held. */
  readonly claiming: object
  /** Fails once it is not held any more. */
  readonly ended = Deferred.makeUnsafe<never, RegistrationLost>()
  /** The holder, while there is one. */
  current: { readonly holder: Holder } | undefined
  /** Why there is none, where an attempt has failed. */
  detail: string | undefined
  isOver = false

  constructor(
    of: { readonly registry: string; readonly wanted: Wanted<Profile, Holder>; readonly claiming: object },
    granted: { readonly token: bigint; readonly release: Effect.Effect<void> }
  ) {
    this.registry = of.registry
    this.key = of.wanted.key
    this.profile = of.wanted.profile
    this.current = of.wanted.current
    this.claiming = of.claiming
    this.token = granted.token
    this.release = granted.release
  }
}

/** What becomes of a claim: held by us, held by another node, or nothing, since whoever made it gave up. */
type Outcome<Profile, Holder> =
  | { readonly _tag: "Ours"; readonly held: Held<Profile, Holder> }
  | { readonly _tag: "Theirs"; readonly remote: Remote }
  | { readonly _tag: "Nothing"; readonly problem: string | undefined }

/** A claim that the backend is deciding. */
interface Claiming<Profile, Holder> {
  readonly address: string | undefined
  readonly outcome: Deferred.Deferred<Outcome<Profile, Holder>>
  /** What whoever made it wants; `undefined` when nobody waits any more, and what is granted is given back. */
  wanted: Wanted<Profile, Holder> | undefined
}

/** The profile was taken when it was asked for. */
export type Taken<Profile, Holder> = Exclude<Outcome<Profile, Holder>, { readonly _tag: "Nothing" }>

/** Why a profile did not come to be held. */
export type Refusal<Profile, Holder> = Taken<Profile, Holder> | RegistryUnavailable

/** What is claimed. */
export interface Wanted<Profile, Holder> {
  readonly profile: Profile
  readonly key: string
  readonly address: string | undefined
  /** The holder, where there is one from the start. */
  readonly current?: { readonly holder: Holder } | undefined
  /** How long to wait for the backend. */
  readonly timeout: Duration.Duration
}

/** What `Effect.uninterruptibleMask` gives. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

export interface Listener<Profile, Holder> {
  readonly held: (held: Held<Profile, Holder>) => void
  readonly ended: (held: Held<Profile, Holder>, reason: EndReason) => void
}

export class Holders<Profile, Holder> {
  readonly registry: string
  readonly #directory: Directory
  readonly #listener: Listener<Profile, Holder>
  readonly #held = new Map<string, Held<Profile, Holder>>()
  readonly #claims = new Map<string, Claiming<Profile, Holder>>()
  readonly #scope: Scope.Scope

  /** The scope is that of the registry: what is under way when it closes is left to the backend. */
  constructor(registry: string, directory: Directory, scope: Scope.Scope, listener: Listener<Profile, Holder>) {
    this.registry = registry
    this.#scope = scope
    this.#directory = directory
    this.#listener = listener
  }

  get(key: string): Held<Profile, Holder> | undefined {
    return this.#held.get(key)
  }

  all(): Iterable<Held<Profile, Holder>> {
    return this.#held.values()
  }

  /** It is not held any more, whoever says so first. */
  end(held: Held<Profile, Holder>, reason: EndReason): void {
    if (held.isOver) return
    held.isOver = true
    this.#held.delete(held.key)
    metrics.onEnded(reason)
    const { key: profile, registry, token } = held
    Deferred.doneUnsafe(held.ended, Effect.fail(new RegistrationLost({ registry, profile, token, reason })))
    this.#listener.ended(held, reason)
  }

  /** Ends it, and gives it back. */
  giveBack(held: Held<Profile, Holder>, reason: EndReason): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.end(held, reason)
      return held.release
    })
  }

  /**
   * Comes to hold a profile, or says who does. To be run where it cannot be interrupted, with what restores interruption: it is
   * interruptible while it waits, and then leaves nothing held, and nothing is between what it gives and the caller.
   */
  claim(
    wanted: Wanted<Profile, Holder>,
    restore: Restore
  ): Effect.Effect<Held<Profile, Holder>, Refusal<Profile, Holder>> {
    return Effect.suspend(() => {
      const { address, key } = wanted
      const held = this.#held.get(key)
      if (held !== undefined) return this.#refuse({ _tag: "Ours", held })
      const other = this.#claims.get(key)
      if (other === undefined) {
        const claiming: Claiming<Profile, Holder> = { address, outcome: Deferred.makeUnsafe(), wanted }
        this.#claims.set(key, claiming)
        return Effect.andThen(
          Effect.forkIn(Effect.interruptible(this.#decide(key, claiming)), this.#scope),
          this.#own(wanted, claiming, restore)
        )
      }
      if (other.wanted === undefined && other.address === address) {
        other.wanted = wanted
        return this.#own(wanted, other, restore)
      }
      return Effect.flatMap(
        restore(this.#outcome(wanted, other)),
        (outcome) => outcome._tag === "Nothing" ? this.claim(wanted, restore) : this.#refuse(outcome)
      )
    })
  }

  #unavailable(profile: string, problem: string): RegistryUnavailable {
    return new RegistryUnavailable({ registry: this.registry, profile, problem })
  }

  #refuse(taken: Taken<Profile, Holder>) {
    metrics.onRefused()
    return Effect.fail(taken)
  }

  #outcome({ key, timeout }: Wanted<Profile, Holder>, claiming: Claiming<Profile, Holder>) {
    return Effect.timeoutOrElse(Deferred.await(claiming.outcome), {
      duration: timeout,
      orElse: () => Effect.fail(this.#unavailable(key, "its backend does not answer"))
    })
  }

  /** Waits for one's own claim. */
  #own(
    wanted: Wanted<Profile, Holder>,
    claiming: Claiming<Profile, Holder>,
    restore: Restore
  ): Effect.Effect<Held<Profile, Holder>, Refusal<Profile, Holder>> {
    const { key } = wanted
    return restore(this.#outcome(wanted, claiming)).pipe(
      Effect.onError(() =>
        Effect.suspend(() => {
          claiming.wanted = undefined
          // It may have been granted in the same moment.
          const held = this.#held.get(key)
          return held !== undefined && held.claiming === claiming ? this.giveBack(held, "released") : Effect.void
        })
      ),
      Effect.flatMap((outcome): Effect.Effect<Held<Profile, Holder>, Refusal<Profile, Holder>> => {
        if (outcome._tag === "Ours") return Effect.succeed(outcome.held)
        if (outcome._tag === "Theirs") return this.#refuse(outcome)
        // Whoever wanted it before had gone when it was granted, and it was just being given back.
        if (outcome.problem === undefined) return this.claim(wanted, restore)
        return Effect.fail(this.#unavailable(key, outcome.problem))
      })
    )
  }

  /** Has the backend decide, in a fiber of its own: what it grants is never dropped on the way. */
  #decide(key: string, claiming: Claiming<Profile, Holder>): Effect.Effect<void> {
    const decided = (outcome: Outcome<Profile, Holder>) => {
      this.#claims.delete(key)
      Deferred.doneUnsafe(claiming.outcome, Effect.succeed(outcome))
    }
    /** Once it is granted, what it became; before, whether it was lost already. */
    let held: Held<Profile, Holder> | undefined
    let lostEarly = false
    const lost = () => {
      if (held === undefined) lostEarly = true
      else this.end(held, "lost")
    }
    return Effect.matchCauseEffect(this.#directory.claim({ key, address: claiming.address, lost }), {
      onSuccess: (claimed) => {
        if (claimed._tag === "Held") return Effect.sync(() => decided({ _tag: "Theirs", remote: claimed.by }))
        const { wanted } = claiming
        if (wanted === undefined || lostEarly) {
          const problem = lostEarly ? "it was granted, and lost at once" : undefined
          return Effect.andThen(claimed.release, Effect.sync(() => decided({ _tag: "Nothing", problem })))
        }
        held = new Held<Profile, Holder>({ registry: this.registry, wanted, claiming }, claimed)
        this.#held.set(key, held)
        metrics.onHeld()
        this.#listener.held(held)
        decided({ _tag: "Ours", held })
        return Effect.void
      },
      onFailure: (cause) =>
        Effect.sync(() => {
          const error = Cause.findErrorOption(cause)
          const problem = Option.isSome(error) ? error.value.problem : "the registry is closed"
          decided({ _tag: "Nothing", problem })
        })
    })
  }
}
