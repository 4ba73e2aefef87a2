/**
 * A registry as its users see it, made of what is held here (`Holders`), what others hold (the backend's `Directory`), and the
 * supervised profiles.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { millisOf } from "../../member/internal/options.ts"
import { traced } from "../../member/internal/tracing.ts"
import type { Directory, Remote } from "../RegistryBackend.ts"
import { checkAddress, checkKey, type TextCodec } from "./codec.ts"
import { type EndReason, type Held, Holders, type Refusal, type Wanted } from "./holders.ts"
import {
  AlreadyRegistered,
  type Change,
  type Entry,
  HeldElsewhere,
  InvalidProfile,
  NotConnected,
  NotSupervised,
  ProfileNotFound,
  type Registration,
  type RegistryUnavailable
} from "./model.ts"
import type { RegisterOptions, Registry, SupervisedOptions, Via, ViaOptions } from "./shape.ts"
import { defaultRestart, Supervision } from "./supervision.ts"

/** A registry before it has a backend. */
export interface Definition<Profile, Address> {
  readonly name: string
  readonly profile: TextCodec<Profile>
  readonly address: TextCodec<Address>
  readonly registerTimeout: Duration.Duration
}

/** How many changes wait for one who listens. */
const changesWaiting = 10_000

/** What happens on other nodes, until there is a registry to tell. */
export interface RemoteChanges {
  changed: (
    change: { readonly _tag: Change<never, never>["_tag"]; readonly key: string; readonly remote: Remote }
  ) => void
}

/** A registry on a directory that is open, for as long as the scope. */
export const make = <Profile, Holder, Address>(
  definition: Definition<Profile, Address>,
  directory: Directory,
  remoteChanges: RemoteChanges,
  scope: Scope.Scope
): Registry<Profile, Holder, Address> => {
  const { name, registerTimeout } = definition
  type LocalHeld = Held<Profile, Holder>

  // All of them at once: what they give back is committed together.
  const fibers = Scope.forkUnsafe(scope, "parallel")
  const supervisions = new Map<string, Supervision<Profile, Holder>>()

  // ---------------------------------------------------------------------------------------------- what happens

  const listeners = new Set<(change: Change<Profile, Holder, Address>) => void>()
  /** Those who wait for a holder to appear. */
  const waiting = new Map<string, Set<() => void>>()
  /** How often one has: whoever looked before the last time looks again, and does not wait for what was missed. */
  let appearances = 0
  const appeared = (key: string) => {
    appearances++
    const woken = waiting.get(key)
    if (woken === undefined) return
    waiting.delete(key)
    for (const wake of woken) wake()
  }

  const entryOf = (held: LocalHeld): Entry<Holder, Address> =>
    held.current === undefined
      ? { _tag: "Disconnected", token: held.token }
      : { _tag: "Here", holder: held.current.holder, token: held.token }

  const remoteEntry = ({ address, node, token }: Remote): Entry<Holder, Address> => ({
    _tag: "Elsewhere",
    node,
    // One of another version of the program says nothing that could be understood here.
    address: address === undefined
      ? undefined
      : Result.getOrElse(definition.address.decode(address), () => undefined),
    token
  })

  const tell = (_tag: Change<Profile, Holder>["_tag"], profile: Profile, entry: Entry<Holder, Address>) => {
    for (const listener of listeners) listener({ _tag, profile, entry })
  }

  remoteChanges.changed = ({ _tag, key, remote }) => {
    if (_tag === "Registered") appeared(key)
    if (listeners.size === 0) return
    const profile = definition.profile.decode(key)
    if (Result.isSuccess(profile)) tell(_tag, profile.success, remoteEntry(remote))
  }

  const holders = new Holders<Profile, Holder>(name, directory, fibers, {
    held: (held) => {
      tell("Registered", held.profile, entryOf(held))
      if (held.current !== undefined) appeared(held.key)
    },
    ended: (held, reason: EndReason) => tell(reason === "lost" ? "Lost" : "Released", held.profile, entryOf(held))
  })

  // ---------------------------------------------------------------------------------------------- texts

  const invalid = (field: "profile" | "address", issue: string) => new InvalidProfile({ registry: name, field, issue })

  const withKey = <A, E, R>(
    profile: Profile,
    f: (key: string) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | InvalidProfile, R> => {
    const key = definition.profile.encode(profile)
    if (Result.isFailure(key)) return Effect.fail(invalid("profile", key.failure))
    const issue = checkKey(key.success)
    return issue === undefined ? f(key.success) : Effect.fail(invalid("profile", issue))
  }

  const withWanted = <A, E, R>(
    profile: Profile,
    address: Address | undefined,
    f: (wanted: Wanted<Profile, Holder>) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | InvalidProfile, R> =>
    withKey(profile, (key): Effect.Effect<A, E | InvalidProfile, R> => {
      const encoded = address === undefined ? Result.succeed(undefined) : definition.address.encode(address)
      if (Result.isFailure(encoded)) return Effect.fail(invalid("address", encoded.failure))
      const issue = encoded.success === undefined ? undefined : checkAddress(encoded.success)
      if (issue !== undefined) return Effect.fail(invalid("address", issue))
      return f({ profile, key, address: encoded.success, timeout: registerTimeout })
    })

  const span = <A, E, R>(method: string, profile: Profile, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    traced(effect, `ProfileRegistry.${method}`, "internal", () => ({
      "holdfast.registry": name,
      "holdfast.profile": Result.getOrElse(definition.profile.encode(profile), () => "")
    }))

  // ---------------------------------------------------------------------------------------------- registering

  const refusalOf = (
    profile: Profile,
    refusal: Refusal<Profile, Holder>
  ): AlreadyRegistered<Profile, Holder, Address> | RegistryUnavailable => {
    if (refusal._tag === "RegistryUnavailable") return refusal
    const winner = refusal._tag === "Ours" ? entryOf(refusal.held) : remoteEntry(refusal.remote)
    return new AlreadyRegistered<Profile, Holder, Address>({ registry: name, profile, winner })
  }

  const registrationOf = (held: LocalHeld): Registration<Profile> => {
    const lost = Deferred.await(held.ended)
    return {
      registry: name,
      profile: held.profile,
      key: held.key,
      token: held.token,
      isHeld: Effect.sync(() => !held.isOver),
      lost,
      whileHeld: (effect) => Effect.raceFirst(lost, effect)
    }
  }

  const register = (profile: Profile, holder: Holder, options?: RegisterOptions<Address>) =>
    span(
      "register",
      profile,
      withWanted(profile, options?.address, (wanted) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.flatMap(Effect.scope, (scope) =>
            holders.claim({ ...wanted, current: { holder } }, restore).pipe(
              Effect.mapError((refusal) =>
                refusalOf(profile, refusal)
              ),
              Effect.tap((held) => Scope.addFinalizer(scope, holders.giveBack(held, "released"))),
              Effect.map(registrationOf)
            ))
        ))
    )

  // ---------------------------------------------------------------------------------------------- finding

  const lookup = (key: string): Effect.Effect<Entry<Holder, Address> | undefined> => {
    const held = holders.get(key)
    if (held !== undefined) return Effect.succeed(entryOf(held))
    return Effect.map(directory.lookup(key), (remote) => remote === undefined ? undefined : remoteEntry(remote))
  }

  /** The way that is taken most. */
  const find = (profile: Profile): Effect.Effect<Option.Option<Entry<Holder, Address>>, InvalidProfile> => {
    const key = definition.profile.encode(profile)
    const held = Result.isSuccess(key) ? holders.get(key.success) : undefined
    return held === undefined
      ? withKey(profile, (key) => Effect.map(lookup(key), Option.fromUndefinedOr))
      : Effect.succeed(Option.some(entryOf(held)))
  }

  const whereis = (profile: Profile) => span("whereis", profile, Effect.suspend(() => find(profile)))

  const notFound = (key: string) => new ProfileNotFound({ registry: name, profile: key })
  const elsewhere = (profile: Profile, { address, node }: Entry<Holder, Address> & { readonly _tag: "Elsewhere" }) =>
    new HeldElsewhere<Address>({ registry: name, profile, node, address })

  type NoHolder = ProfileNotFound | NotConnected | HeldElsewhere<Address>

  const via = (profile: Profile, options: ViaOptions<Holder, Address> = {}): Via<Profile, Holder, Address> => {
    const fromElsewhere = (entry: Entry<Holder, Address> & { readonly _tag: "Elsewhere" }) =>
      entry.address === undefined || options.elsewhere === undefined
        ? Effect.fail(elsewhere(profile, entry))
        : Effect.succeed(options.elsewhere(entry.address))
    const holder = Effect.suspend(() =>
      withKey(profile, (key) =>
        Effect.flatMap(lookup(key), (entry): Effect.Effect<Holder, NoHolder> => {
          if (entry?._tag === "Here") return Effect.succeed(entry.holder)
          if (entry === undefined) return Effect.fail(notFound(key))
          if (entry._tag === "Elsewhere") return fromElsewhere(entry)
          const detail = holders.get(key)?.detail
          return Effect.fail(
            new NotConnected({ registry: name, profile: key, ...(detail === undefined ? {} : { detail }) })
          )
        }))
    )
    const appearance = (key: string, since: number) =>
      Effect.callback<void>((resume) => {
        if (appearances !== since) return resume(Effect.void)
        const wake = () => resume(Effect.void)
        const woken = waiting.get(key)
        if (woken === undefined) waiting.set(key, new Set([wake]))
        else woken.add(wake)
        return Effect.sync(() => {
          const woken = waiting.get(key)
          woken?.delete(wake)
          if (woken?.size === 0) waiting.delete(key)
        })
      })
    const wait = (key: string): Effect.Effect<Holder, HeldElsewhere<Address>> =>
      Effect.suspend(() => {
        const since = appearances
        return Effect.flatMap(lookup(key), (entry): Effect.Effect<Holder, HeldElsewhere<Address>> => {
          if (entry?._tag === "Here") return Effect.succeed(entry.holder)
          if (entry?._tag === "Elsewhere") return fromElsewhere(entry)
          const told = appearance(key, since)
          const { lookAgain } = directory
          return Effect.andThen(lookAgain === undefined ? told : Effect.timeoutOption(told, lookAgain), wait(key))
        })
      })
    return {
      profile,
      holder: span("via.holder", profile, holder),
      use: (f) => span("via.use", profile, Effect.flatMap(holder, f)),
      wait: span("via.wait", profile, Effect.suspend(() => withKey(profile, wait)))
    }
  }

  const list = Effect.map(directory.list, (remotes) => {
    const all = Array.from(holders.all(), (held) => [held.profile, entryOf(held)] as const)
    for (const [key, remote] of remotes) {
      const profile = definition.profile.decode(key)
      if (holders.get(key) === undefined && Result.isSuccess(profile)) all.push([profile.success, remoteEntry(remote)])
    }
    return all
  }).pipe(Effect.withSpan("ProfileRegistry.list", { attributes: { "holdfast.registry": name } }))

  const changes = Stream.callback<Change<Profile, Holder, Address>>((queue) => {
    const listener = (change: Change<Profile, Holder, Address>) => {
      Queue.offerUnsafe(queue, change)
    }
    return Effect.acquireRelease(
      Effect.sync(() => listeners.add(listener)),
      () => Effect.sync(() => listeners.delete(listener))
    )
  }, { bufferSize: changesWaiting, strategy: "sliding" })

  // ---------------------------------------------------------------------------------------------- supervising

  const supervised = <E, R, R2 = never>(
    profile: Profile,
    acquire: Effect.Effect<Holder, E, R>,
    options: SupervisedOptions<Holder, Address, R2> = {}
  ) =>
    span(
      "supervised",
      profile,
      withWanted(profile, options.address, (wanted) =>
        Effect.contextWith((all: Context.Context<Exclude<R | R2, Scope.Scope>>) => {
          const stableMillis = millisOf("stableAfter", options.stableAfter ?? "30 seconds")
          return Effect.uninterruptibleMask((restore) =>
            Effect.flatMap(
              Effect.mapError(holders.claim(wanted, restore), (refusal) =>
                refusalOf(profile, refusal)),
              (held) =>
                supervise<E, R, R2>(
                  held,
                  wanted,
                  acquire,
                  options,
                  stableMillis,
                  Context.omit(Scope.Scope)(all) as typeof all
                )
            )
          )
        }))
    )

  const supervise = <E, R, R2>(
    held: LocalHeld,
    wanted: Wanted<Profile, Holder>,
    acquire: Effect.Effect<Holder, E, R>,
    options: SupervisedOptions<Holder, Address, R2>,
    stableMillis: number,
    // All but the scope: that of each connection is its own.
    context: Context.Context<Exclude<R | R2, Scope.Scope>>
  ) => {
    const { key } = wanted
    const { watch } = options
    // What it needs is in there, apart from the scope that it gets.
    const provided = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.provide(effect, context) as Effect.Effect<A, E, Scope.Scope>
    const supervision = new Supervision<Profile, Holder>(held, {
      acquire: provided(acquire),
      watch: watch === undefined
        ? () => Effect.never
        : (holder) => provided(watch(holder)),
      restart: options.restart ?? defaultRestart,
      stableMillis,
      claim: (restore) => holders.claim(wanted, restore),
      giveBack: (held) => holders.giveBack(held, "released"),
      connected: (held) => appeared(held.key)
    })
    supervisions.set(key, supervision)
    const run = supervision.run.pipe(
      Effect.ensuring(Effect.sync(() => {
        if (supervisions.get(key) === supervision) supervisions.delete(key)
      })),
      Effect.annotateLogs({ registry: name, profile: key })
    )
    return Effect.asVoid(Effect.forkIn(Effect.interruptible(run), fibers))
  }

  /** The supervision of a profile, or why there is none. */
  const supervisionOf = (profile: Profile, key: string) =>
    Effect.suspend(() => {
      const supervision = supervisions.get(key)
      if (supervision !== undefined) return Effect.succeed(supervision)
      return Effect.flatMap(lookup(key), (entry) =>
        Effect.fail(
          entry === undefined
            ? notFound(key)
            : entry._tag === "Elsewhere"
            ? elsewhere(profile, entry)
            : new NotSupervised({ registry: name, profile: key })
        ))
    })

  const disconnect = (profile: Profile) =>
    span(
      "disconnect",
      profile,
      withKey(profile, (key) => Effect.flatMap(supervisionOf(profile, key), ({ disconnect }) => disconnect))
    )

  const reconnect = (profile: Profile) =>
    span(
      "reconnect",
      profile,
      withKey(profile, (key) => Effect.flatMap(supervisionOf(profile, key), ({ reconnect }) => reconnect))
    )

  const stop = (profile: Profile) =>
    span(
      "stop",
      profile,
      withKey(profile, (key) =>
        supervisionOf(profile, key).pipe(
          Effect.flatMap((supervision) => supervision.stop),
          Effect.catchTag("NotSupervised", () =>
            Effect.suspend(() => {
              const held = holders.get(key)
              return held === undefined ? Effect.fail(notFound(key)) : holders.giveBack(held, "stopped")
            }))
        ))
    )

  return {
    name,
    node: Effect.sync(directory.node),
    register,
    whereis,
    via,
    list,
    changes,
    supervised,
    disconnect,
    reconnect,
    stop
  }
}
