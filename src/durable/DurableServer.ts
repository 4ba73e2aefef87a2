/**
 * A durable server: a state that outlives any process, and the operations on it, named by a kind and a key.
 *
 * `make` defines one: the schema of its state, and its protocol as `Rpc` definitions. The definition needs no handlers, so a
 * process that only sends messages imports nothing else. `toLayer` gives it handlers in this process; `client` gives refs,
 * with `call` (waits for the reply, which comes after the commit) and `cast` (resolves once the message, or its effect, is
 * durable). Which process runs the handlers, and whether it is still the one of a minute ago, is nobody's concern: at any
 * time at most one process can change the state, and every message is handled in exactly one transition.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as behaviour from "./Behaviour.ts"
import type { Behaviour, BehaviourServices, Checked, LockedServices } from "./Behaviour.ts"
import type { CurrentTransition } from "./CurrentTransition.ts"
import { type Any, type Durable, type KeyOf, type KeySchema, TypeId } from "./Definition.ts"
import type { DurableNode } from "./DurableNode.ts"
import type { DurableServerError } from "./DurableServerError.ts"
import * as client from "./internal/client.ts"
import { compile } from "./internal/definition.ts"
import { answer, codecOf } from "./internal/from.ts"
import * as later from "./internal/later.ts"
import { register } from "./internal/register.ts"
import * as scheduling from "./internal/scheduling.ts"
import * as stateVersions from "./internal/stateVersions.ts"
import type { Ref } from "./Ref.ts"

/**
 * The definition of a kind of durable server. Made by `make`; extend it to give it a name of its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface DurableServer<
  in out Kind extends string,
  in out State extends Durable,
  in out Rpcs extends Rpc.Any,
  in out Key extends KeySchema,
  in out Info extends Durable = Schema.Never
> {
  new(_: never): {}
  readonly [TypeId]: typeof TypeId
  /** The name under which its rows are kept. Renaming it loses them. */
  readonly kind: Kind
  readonly state: State
  readonly protocol: ReadonlyArray<Rpcs>
  readonly key: Key
  /** What `info` may be told; nothing, unless the definition says so. */
  readonly info: Info
  readonly "~Rpcs": Rpcs

  /**
   * Refs by key. Needs no handlers in this process.
   */
  client<Self extends Any>(this: Self): Effect.Effect<(key: KeyOf<Self>) => Ref<Self>, never, DurableNode>

  /**
   * Runs these servers in this process: at most one process at a time runs each, and another one goes on when it ends.
   *
   * `build` is the behaviour, or an Effect of it. The layer ends with its scope: what is being handled is finished first.
   */
  toLayer<Self extends Any, const B extends Behaviour<Self>, EX = never, RX = never>(
    this: Self,
    build: (B & Checked<Self, B>) | Effect.Effect<B & Checked<Self, B>, EX, RX>,
    options?: Options
  ): Layer.Layer<
    never,
    EX,
    | DurableNode
    | Exclude<RX | BehaviourServices<B>, Scope.Scope | CurrentTransition>
    | Exclude<LockedServices<B>, Scope.Scope>
  >

  /**
   * Gives a behaviour its types where it stands alone, inside the Effect given to `toLayer` for instance.
   */
  of<Self extends Any, const B extends Behaviour<Self>>(this: Self, behaviour: B & Checked<Self, B>): B
}

/**
 * How servers of one kind are run in this process.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** After how long without a message a server leaves memory. 1 minute. */
  readonly maxIdleTime?: Duration.Input | undefined
  /** How many messages of one server go into one commit at most. 256. */
  readonly maxBatch?: number | undefined
  /**
   * Whether a server stays in memory between its messages. `true`. Without it, each burst of messages begins by reading the state,
   * and any process may take the server over as soon as nothing waits for it here.
   */
  readonly cache?: boolean | undefined
  /**
   * Whether servers begin anew, with `init`, when this process first runs them, whatever was stored of their states; what waits in
   * their lines stays, and one that is locked goes on with what it has. `false`.
   */
  readonly reset?: boolean | undefined
  /** When a message whose handler failed is tried again. When the schedule ends it is parked. 5 times, from 50 ms on. */
  readonly defectRetryPolicy?: Schedule.Schedule<unknown, unknown> | undefined
}

/**
 * How states are stored.
 *
 * - `"whole"`: encoded as a whole with every step, and above 3 KB written in the pieces that have changed. What a step costs this
 *   process grows with the state.
 * - `"incremental"`: field by field, and the lists among the fields item by item, where items have an `id` that is a string or a
 *   number. What a step costs depends on what it changes, however large the state is. Offered where the state's schema has
 *   fields: a `Schema.Struct` or a `Schema.Class`.
 *
 * Each reads what the other has stored, so a definition may change from one to the other.
 *
 * @since 0.1.0
 * @category models
 */
export type Persistence<State extends Durable> = State extends { readonly fields: Schema.Struct.Fields }
  ? "whole" | "incremental"
  : "whole"

/**
 * From the JSON of a state of one version to the JSON of the next. It is a function of its argument alone: it is run whenever such
 * a state is loaded, until one of today's is stored.
 *
 * @since 0.1.0
 * @category models
 */
export type Migration = (old: unknown) => unknown

/** The versions from 1 to the one before `V`. */
type Before<V extends number, N extends ReadonlyArray<unknown> = [unknown]> = number extends V ? number
  : `${V}` extends `-${string}` | `${string}.${string}` | `${string}e${string}` | "0" ? never
  : N["length"] extends V ? never
  : N["length"] | Before<V, [...N, unknown]>

/** The version before `V`. */
type Previous<V extends number> = Exclude<Before<V>, { [N in Before<V>]: Before<N> }[Before<V>]>

/**
 * The steps to version `V` of a state, by the version that each starts from. The last one has to be there; the earliest ones may
 * be dropped when no such state is stored any more.
 *
 * @since 0.1.0
 * @category models
 */
export type Migrations<V extends number> =
  & { readonly [N in Previous<V>]: Migration }
  & { readonly [N in Before<V>]?: Migration }

/** The steps, where there is more than one version. */
type MigrateOption<V extends number> = [V] extends [1] ? { readonly migrate?: undefined }
  : { readonly migrate: Migrations<V> }

/**
 * Defines a kind of durable server.
 *
 * `kind` is the name under which the rows are kept: a literal, and never derived from the class, which may be renamed.
 * `state` is the schema of the state: a `Schema.Class` where it has behaviour of its own, a `Schema.Struct` where it is
 * plain. `protocol` is a list of `Rpc` definitions; one with a `primaryKey` is executed once however often it is sent.
 * `key` is any schema that encodes to a string, `Schema.String` unless given. `info` is the schema of what the server may be told
 * beside its protocol, without being kept.
 *
 * `stateVersion` is the version of the state's schema, 1 unless given. It is stored with each state. A schema that no longer
 * reads what is stored gets the next version, and `migrate` the step that leads there. A state of an older version is taken
 * through the steps when its server is loaded, and stored anew with the next step that changes it. A state of a newer version,
 * from a process that has been replaced already, is left alone, for a process that knows it: see `StateTooNew`.
 *
 * `persistence` says how states are stored, `"whole"` unless given. With `"incremental"` a field that is still the same value as
 * before is taken to be unchanged, and so is an item of a list: a state of 1 MB of which one field changes costs little more
 * than a small one. Make new values of what changes, and leave the rest as it is; where a field is a class, give instances of it.
 * The order of a list's items is kept, and moving one writes that one. Two items of a list with the same `id` are a failed
 * attempt that names the field.
 *
 * **Example** (A large state, of which each step changes little)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { DurableServer } from "holdfast/durable"
 *
 * const Task = Schema.Struct({ id: Schema.String, title: Schema.String, done: Schema.Boolean })
 *
 * class Board extends DurableServer.make("Board", {
 *   state: Schema.Struct({ title: Schema.String, tasks: Schema.Array(Task) }),
 *   protocol: [
 *     Rpc.make("Add", { payload: { id: Schema.String, title: Schema.String } }),
 *     Rpc.make("Finish", { payload: { id: Schema.String } })
 *   ],
 *   persistence: "incremental"
 * }) {}
 *
 * export const BoardLive = Board.toLayer({
 *   init: (title) => ({ title, tasks: [] }),
 *   handlers: {
 *     Add: ({ noReply, payload, state }) =>
 *       noReply({ ...state, tasks: [{ ...payload, done: false }, ...state.tasks] }),
 *     // Writes this one task, of however many there are.
 *     Finish: ({ noReply, payload, state }) =>
 *       noReply({
 *         ...state,
 *         tasks: state.tasks.map((task) => task.id === payload.id ? { ...task, done: true } : task)
 *       })
 *   }
 * })
 * ```
 *
 * **Example** (A counter)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { DurableServer } from "holdfast/durable"
 *
 * export class Counter extends DurableServer.make("Counter", {
 *   state: Schema.Struct({ count: Schema.Int }),
 *   protocol: [
 *     Rpc.make("Add", { payload: { by: Schema.Int } }),
 *     Rpc.make("Get", { success: Schema.Int })
 *   ]
 * }) {}
 *
 * export const CounterLive = Counter.toLayer({
 *   init: () => ({ count: 0 }),
 *   handlers: {
 *     Add: ({ noReply, payload, state }) => noReply({ count: state.count + payload.by }),
 *     Get: ({ reply, state }) => reply(state.count)
 *   }
 * })
 * ```
 *
 * **Example** (The second version of a state)
 *
 * ```ts
 * import { Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { DurableServer } from "holdfast/durable"
 *
 * const First = Schema.Struct({ litres: Schema.Finite })
 * const State = Schema.Struct({ millilitres: Schema.Int })
 *
 * export class Barrel extends DurableServer.make("Barrel", {
 *   state: State,
 *   stateVersion: 2,
 *   migrate: {
 *     1: DurableServer.migration(First, State, ({ litres }) => ({ millilitres: Math.round(litres * 1000) }))
 *   },
 *   protocol: [Rpc.make("Fill", { payload: { millilitres: Schema.Int } })]
 * }) {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <
  const Kind extends string,
  State extends Durable,
  const Protocol extends ReadonlyArray<Rpc.Any>,
  Key extends KeySchema = typeof Schema.String,
  const Version extends number = 1,
  Info extends Durable = Schema.Never
>(
  kind: Kind,
  options: {
    readonly state: State
    readonly protocol: Protocol
    readonly key?: Key | undefined
    readonly info?: Info | undefined
    readonly stateVersion?: Version | undefined
    readonly persistence?: Persistence<State> | undefined
  } & MigrateOption<Version>
): DurableServer<Kind, State, Protocol[number], Key, Info> => {
  const versions = stateVersions.compile(kind, options.stateVersion ?? 1, options.migrate ?? {})
  const { info = Schema.Never, key = Schema.String, protocol, state } = options
  const definition = compile(kind, state, protocol, key, info, versions, options.persistence)
  class Definition {
    static readonly [TypeId]: TypeId = TypeId
    static readonly kind = kind
    static readonly state = state
    static readonly protocol = protocol
    static readonly key = key
    static readonly info = info
    static client() {
      return client.make(definition)
    }
    static toLayer(build: never, layerOptions?: Options) {
      return register(definition, build, layerOptions)
    }
    static of(behaviour: unknown) {
      return behaviour
    }
  }
  return Definition as never
}

/**
 * The sender of a message whose operation succeeds with `A` and fails with `E`.
 *
 * @since 0.1.0
 * @category models
 */
export type From<A, E> = behaviour.From<A, E>

/**
 * A schema for the sender of a message, so that a state can keep it until its answer is known.
 *
 * **Example** (A gate that opens for all who wait)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 * import { DurableServer } from "holdfast/durable"
 *
 * const Pass = Rpc.make("Pass", { success: Schema.DateTimeUtcFromString })
 *
 * class Gate extends DurableServer.make("Gate", {
 *   state: Schema.Struct({ waiting: Schema.Array(DurableServer.From(Pass)) }),
 *   protocol: [Pass, Rpc.make("Open", { payload: { at: Schema.DateTimeUtcFromString } })]
 * }) {}
 *
 * export const GateLive = Gate.toLayer({
 *   init: () => ({ waiting: [] }),
 *   handlers: {
 *     Pass: ({ from, replyLater, state }) => replyLater({ waiting: [...state.waiting, from] }),
 *     Open: Effect.fnUntraced(function*({ noReply, payload, state }) {
 *       for (const from of state.waiting) yield* DurableServer.replyTo(from, payload.at)
 *       return noReply({ waiting: [] })
 *     })
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category schemas
 */
export const From = <R extends Rpc.Any>(rpc: R): Schema.Codec<From<Rpc.Success<R>, Rpc.Error<R>>, string> =>
  codecOf(rpc as unknown as Rpc.AnyWithProps) as never

/**
 * Answers the sender of an earlier message, by the commit of the handler that runs: with its state, or not at all.
 *
 * The answer survives whatever becomes of this process; a sender that waits no longer is passed over. Only handlers can do it.
 *
 * @since 0.1.0
 * @category replying later
 */
export const replyTo = <A, E>(from: From<A, E>, value: NoInfer<A>): Effect.Effect<void, never, CurrentTransition> =>
  answer(from as never, { _tag: "Success", value })

/**
 * Answers the sender of an earlier message with a failure that its operation declares. Otherwise as `replyTo`.
 *
 * @since 0.1.0
 * @category replying later
 */
export const failTo = <A, E>(from: From<A, E>, error: NoInfer<E>): Effect.Effect<void, never, CurrentTransition> =>
  answer(from as never, { _tag: "Failure", error })

/**
 * A step from one version of a state to the next, between their schemas: it is given the old state decoded, and gives the new one.
 *
 * @since 0.1.0
 * @category migrations
 */
export const migration = <From extends Durable, To extends Durable>(
  from: From,
  to: To,
  migrate: (old: From["Type"]) => To["Type"]
): Migration => stateVersions.migration(from as never, to as never, migrate)

/**
 * The id of a message for later, and its schema, so that a state can keep it.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Scheduled = later.Scheduled

/**
 * The id of a message for later, as `castAfter` and `castAt` give it.
 *
 * @since 0.1.0
 * @category models
 */
export type Scheduled = later.Scheduled

/**
 * Takes a message for later back, and tells whether that came in time: with `true` it is not executed, with `false` it is gone from
 * among those that wait, since it was due, or was cancelled before.
 *
 * Inside a handler it belongs to the handler's transition: the message is gone with the commit of the state that says so, or it
 * stays. `true` is true there as well: should the message become due before the commit, the commit is refused, and the handler
 * run again, and told `false`. Elsewhere it resolves once it is on disk.
 *
 * @since 0.1.0
 * @category messages for later
 */
export const cancel: (scheduled: Scheduled) => Effect.Effect<boolean, DurableServerError, DurableNode> =
  scheduling.cancel
