/**
 * What a registry offers, whatever stands behind it.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type {
  AlreadyRegistered,
  Change,
  Entry,
  HeldElsewhere,
  InvalidProfile,
  NotConnected,
  NotSupervised,
  ProfileNotFound,
  Registration,
  RegistryUnavailable
} from "./model.ts"

/**
 * What to say of a holder that is registered.
 *
 * @since 0.1.0
 * @category models
 */
export interface RegisterOptions<out Address = string> {
  /** How the holder is reached from other nodes: they see it in `whereis`, and in `HeldElsewhere`. */
  readonly address?: Address | undefined
}

/**
 * How a connection is kept alive.
 *
 * @since 0.1.0
 * @category models
 */
export interface SupervisedOptions<in Holder, out Address = string, out R = never> extends RegisterOptions<Address> {
  /**
   * After which times to connect again, when a connection has ended or could not be opened. When the schedule ends, so does the
   * supervision. The default never does, and goes from 100 ms up to 10 seconds.
   */
  readonly restart?: Schedule.Schedule<unknown, unknown> | undefined
  /** Ends, or fails, when the connection is gone. Without it, a connection is good until it is told otherwise. */
  readonly watch?: ((holder: Holder) => Effect.Effect<unknown, unknown, R>) | undefined
  /** For how long a connection has to last for the schedule to start anew after it. By default 30 seconds. */
  readonly stableAfter?: Duration.Input | undefined
}

/**
 * How a holder is named.
 *
 * @since 0.1.0
 * @category models
 */
export interface ViaOptions<out Holder, in Address = string> {
  /**
   * Makes a holder of what another node says of how its own is reached: for holders that stand for something that can be used from
   * anywhere, as references to durable servers do. Without it, or where nothing was said, using it is `HeldElsewhere`.
   */
  readonly elsewhere?: ((address: Address) => Holder) | undefined
}

/**
 * A profile by which its holder is used, whichever that is at the time.
 *
 * @since 0.1.0
 * @category models
 */
export interface Via<out Profile, out Holder, out Address = string> {
  readonly profile: Profile
  /** The holder of this moment. */
  readonly holder: Effect.Effect<
    Holder,
    ProfileNotFound | NotConnected | HeldElsewhere<Address> | InvalidProfile
  >
  /** Uses the holder of this moment. */
  readonly use: <A, E, R>(f: (holder: Holder) => Effect.Effect<A, E, R>) => Effect.Effect<
    A,
    E | ProfileNotFound | NotConnected | HeldElsewhere<Address> | InvalidProfile,
    R
  >
  /** Waits until there is a holder, however long that takes. Fails when there is one elsewhere that cannot be used from here. */
  readonly wait: Effect.Effect<Holder, HeldElsewhere<Address> | InvalidProfile>
}

/**
 * One live holder for each profile.
 *
 * @since 0.1.0
 * @category models
 */
export interface Registry<in out Profile, in out Holder, in out Address = string> {
  /** The registry's name: those of the same name, on backends that reach each other, are one. */
  readonly name: string
  /** What other nodes know this one by. */
  readonly node: Effect.Effect<string>
  /**
   * Registers a holder until the scope closes. Once the scope has closed the profile is free, for other nodes too.
   *
   * Fails at once with `AlreadyRegistered`, and the holder that won, when the profile has one; with `RegistryUnavailable` when
   * the backend cannot decide in time.
   */
  readonly register: (profile: Profile, holder: Holder, options?: RegisterOptions<Address>) => Effect.Effect<
    Registration<Profile>,
    AlreadyRegistered<Profile, Holder, Address> | InvalidProfile | RegistryUnavailable,
    Scope.Scope
  >
  /** Where a profile is held, as far as is known here: answered from memory. */
  readonly whereis: (profile: Profile) => Effect.Effect<Option.Option<Entry<Holder, Address>>, InvalidProfile>
  /** A handle that looks for the holder at each use. */
  readonly via: (profile: Profile, options?: ViaOptions<Holder, Address>) => Via<Profile, Holder, Address>
  /** Everything that is held, as far as is known here. */
  readonly list: Effect.Effect<ReadonlyArray<readonly [profile: Profile, entry: Entry<Holder, Address>]>>
  /**
   * What happens to profiles, from when the stream is run on. Something on another node that was over before it was heard of may
   * be left out; whoever falls behind by more than 10,000 changes misses the oldest. `list` says how things are.
   */
  readonly changes: Stream.Stream<Change<Profile, Holder, Address>>
  /**
   * Registers a profile, and keeps a connection alive under it: opens one, and another whenever that one has ended, each in a
   * scope of its own. Resolves once the profile is registered; `via(profile).wait` waits for the connection.
   *
   * It belongs to the registry, not to the caller: it goes on until `stop`, until its schedule ends, until another node has
   * come to hold the profile after this one had lost it, or until the registry closes.
   */
  readonly supervised: <E, R, R2 = never>(
    profile: Profile,
    acquire: Effect.Effect<Holder, E, R>,
    options?: SupervisedOptions<Holder, Address, R2>
  ) => Effect.Effect<
    void,
    AlreadyRegistered<Profile, Holder, Address> | InvalidProfile | RegistryUnavailable,
    Exclude<R | R2, Scope.Scope>
  >
  /** Closes the connection of a supervised profile, and keeps the profile. Resolves when the connection's scope has closed. */
  readonly disconnect: (
    profile: Profile
  ) => Effect.Effect<void, ProfileNotFound | NotSupervised | HeldElsewhere<Address> | InvalidProfile>
  /** Has the connection of a supervised profile opened again, at once; one that is open is closed before. */
  readonly reconnect: (
    profile: Profile
  ) => Effect.Effect<void, ProfileNotFound | NotSupervised | HeldElsewhere<Address> | InvalidProfile>
  /**
   * Ends what is registered here: the connection and its supervision, or a plain registration, whose holder is told by
   * `Registration.lost`. Resolves when the profile is free.
   */
  readonly stop: (profile: Profile) => Effect.Effect<void, ProfileNotFound | HeldElsewhere<Address> | InvalidProfile>
}
