/**
 * What a registry says: where a profile is held, what has happened to it, and what can be wrong.
 *
 * Errors that carry a live holder or an address are no schemas: such things do not travel.
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import { format } from "effect/Formatter"
import * as Schema from "effect/Schema"

/**
 * This process holds the profile, and this is the holder.
 *
 * @since 0.1.0
 * @category models
 */
export interface Here<out Holder> {
  readonly _tag: "Here"
  readonly holder: Holder
  /** The fencing token. */
  readonly token: bigint
}

/**
 * This process holds the profile, and keeps it, while there is no connection: it is being opened, or was told to be closed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Disconnected {
  readonly _tag: "Disconnected"
  readonly token: bigint
}

/**
 * Another node holds the profile.
 *
 * @since 0.1.0
 * @category models
 */
export interface Elsewhere<out Address> {
  readonly _tag: "Elsewhere"
  /** The node, as its backend names it. */
  readonly node: string
  /** What the holder says of how it is reached, where it says so. */
  readonly address: Address | undefined
  readonly token: bigint
}

/**
 * Where a profile is held.
 *
 * @since 0.1.0
 * @category models
 */
export type Entry<Holder, Address = string> = Here<Holder> | Disconnected | Elsewhere<Address>

/**
 * Something that has happened to a profile: it was registered, given back, or lost with its node or its lease.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change<out Profile, out Holder, out Address = string> {
  readonly _tag: "Registered" | "Released" | "Lost"
  readonly profile: Profile
  /** Where it is held, or was. */
  readonly entry: Entry<Holder, Address>
}

const text = (profile: unknown): string => typeof profile === "string" ? JSON.stringify(profile) : format(profile)

/**
 * The profile has a live holder already.
 *
 * @since 0.1.0
 * @category errors
 */
export class AlreadyRegistered<out Profile = unknown, out Holder = unknown, out Address = unknown>
  extends Data.TaggedError("AlreadyRegistered")<{
    readonly registry: string
    readonly profile: unknown
    /** The holder that won. */
    readonly winner: Entry<unknown, unknown>
  }>
{
  declare readonly profile: Profile
  declare readonly winner: Entry<Holder, Address>
  override get message() {
    const where = this.winner._tag === "Elsewhere" ? `node ${this.winner.node}` : "this process"
    return `${text(this.profile)} is registered in ${this.registry} already: ${where} holds it`
  }
}

/**
 * Another node holds the profile, and what was asked can be done there alone.
 *
 * @since 0.1.0
 * @category errors
 */
export class HeldElsewhere<out Address = unknown> extends Data.TaggedError("HeldElsewhere")<{
  readonly registry: string
  readonly profile: unknown
  readonly node: string
  /** What the holder says of how it is reached. */
  readonly address: unknown
}> {
  declare readonly address: Address | undefined
  override get message() {
    return `${text(this.profile)} of ${this.registry} is held by node ${this.node}`
  }
}

/**
 * Nobody holds the profile, as far as is known here.
 *
 * @since 0.1.0
 * @category errors
 */
export class ProfileNotFound extends Schema.TaggedError<ProfileNotFound>("holdfast/registry/ProfileNotFound")(
  "ProfileNotFound",
  {
    registry: Schema.String,
    /** The profile, encoded. */
    profile: Schema.String
  }
) {
  override get message() {
    return `nobody holds ${text(this.profile)} in ${this.registry}`
  }
}

/**
 * The profile is held here and has no connection at the moment.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotConnected extends Schema.TaggedError<NotConnected>("holdfast/registry/NotConnected")("NotConnected", {
  registry: Schema.String,
  /** The profile, encoded. */
  profile: Schema.String,
  /** Why the last attempt came to nothing, where there was one. */
  detail: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    return `${text(this.profile)} of ${this.registry} has no connection now` +
      (this.detail === undefined ? "" : `: ${this.detail}`)
  }
}

/**
 * The profile is held by something that was registered as it is: it has no connection that could be opened or closed.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotSupervised extends Schema.TaggedError<NotSupervised>("holdfast/registry/NotSupervised")(
  "NotSupervised",
  {
    registry: Schema.String,
    /** The profile, encoded. */
    profile: Schema.String
  }
) {
  override get message() {
    return `${text(this.profile)} of ${this.registry} is not supervised`
  }
}

/**
 * A profile or an address that its schema refuses, or one that is too long: profiles take at most 512 bytes, addresses 4,096.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidProfile extends Schema.TaggedError<InvalidProfile>("holdfast/registry/InvalidProfile")(
  "InvalidProfile",
  {
    registry: Schema.String,
    field: Schema.Literals(["profile", "address"]),
    issue: Schema.String
  }
) {
  override get message() {
    return `the ${this.field} was refused by ${this.registry}: ${this.issue}`
  }
}

/**
 * It could not be decided in time who holds the profile: the backend is not there. Nothing was registered.
 *
 * @since 0.1.0
 * @category errors
 */
export class RegistryUnavailable extends Schema.TaggedError<RegistryUnavailable>(
  "holdfast/registry/RegistryUnavailable"
)("RegistryUnavailable", {
  registry: Schema.String,
  /** The profile, encoded. */
  profile: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${text(this.profile)} could not be registered in ${this.registry}: ${this.problem}`
  }
}

/**
 * The profile is not held under this token any more.
 *
 * **Details**
 *
 * - `"lost"`: the lease ran out, or the node was declared dead. Somebody else may be the holder before long.
 * - `"stopped"`: by `stop`.
 * - `"released"`: given back by its holder.
 *
 * @since 0.1.0
 * @category errors
 */
export class RegistrationLost extends Schema.TaggedError<RegistrationLost>("holdfast/registry/RegistrationLost")(
  "RegistrationLost",
  {
    registry: Schema.String,
    /** The profile, encoded. */
    profile: Schema.String,
    token: Schema.BigInt,
    reason: Schema.Literals(["lost", "stopped", "released"])
  }
) {
  override get message() {
    return `${text(this.profile)} of ${this.registry} is not held under token ${this.token} any more: ${this.reason}`
  }
}

/**
 * A profile that this process holds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Registration<out Profile = unknown> {
  readonly registry: string
  readonly profile: Profile
  /** The profile, encoded: what backends know it by. */
  readonly key: string
  /**
   * The fencing token: greater than that of every holder before. A resource that keeps the greatest token it has seen, and
   * refuses smaller ones, is safe from a holder that was paused and does not know yet what it has lost.
   */
  readonly token: bigint
  /** Whether it is held still, as far as is known here at this moment. */
  readonly isHeld: Effect.Effect<boolean>
  /** Never succeeds. Fails when it is not held any more: before another node can be granted it, as far as clocks allow. */
  readonly lost: Effect.Effect<never, RegistrationLost>
  /** Runs an effect for as long as the profile is held, and interrupts it when it is not. */
  readonly whileHeld: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | RegistrationLost, R>
}
