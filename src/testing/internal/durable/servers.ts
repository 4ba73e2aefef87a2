/**
 * The servers that the cases of behaviour are about. Each case makes its own, of a kind that no other has, so that cases do not
 * meet in a store.
 */
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as DurableServer from "../../../durable/DurableServer.ts"
import * as Outcome from "../../../durable/Outcome.ts"
import { unused } from "../cases.ts"

const byRequest = Rpc.make("AddOnce", {
  payload: { id: Schema.String, by: Schema.Int },
  primaryKey: ({ id }) => id,
  success: Schema.Int
})

/** Tells how often things were done. */
export const counter = Effect.map(unused, (name) => {
  class Counter extends DurableServer.make(`Counter ${name}`, {
    state: Schema.Struct({ count: Schema.Int }),
    protocol: [
      Rpc.make("Add", { payload: { by: Schema.Int } }),
      Rpc.make("AddAndGet", { payload: { by: Schema.Int }, success: Schema.Int }),
      byRequest,
      Rpc.make("Get", { success: Schema.Int })
    ]
  }) {}
  const live = (options?: DurableServer.Options) =>
    Counter.toLayer({
      init: () => ({ count: 0 }),
      handlers: {
        Add: ({ noReply, payload, state }) => noReply({ count: state.count + payload.by }),
        AddAndGet: ({ payload, reply, state }) => reply(state.count + payload.by, { count: state.count + payload.by }),
        AddOnce: ({ payload, reply, state }) => reply(state.count + payload.by, { count: state.count + payload.by }),
        Get: ({ reply, state }) => reply(state.count)
      }
    }, options)
  return { Counter, live }
})

/** What a journal's handlers meet: cases change it as they go. */
export interface World {
  /** Entries whose handlers die of them. */
  readonly poison: Set<string>
  /** Every attempt at an entry, in order. */
  readonly attempts: Array<string>
  /** What a handler waits for before it answers. */
  readonly gate: (entry: string) => Effect.Effect<unknown>
}

export const makeWorld = (gate: World["gate"] = () => Effect.void): World => ({
  poison: new Set(),
  attempts: [],
  gate
})

const attempt = (world: World, entry: string): Effect.Effect<unknown> =>
  Effect.suspend(() => {
    world.attempts.push(entry)
    return world.poison.has(entry) ? Effect.die(new Error(`poisoned by ${entry}`)) : world.gate(entry)
  })

/** Tells in which order things were done. */
export const journal = Effect.map(unused, (name) => {
  class Journal extends DurableServer.make(`Journal ${name}`, {
    state: Schema.Struct({ entries: Schema.Array(Schema.String) }),
    protocol: [
      Rpc.make("Write", { payload: { entry: Schema.String } }),
      Rpc.make("WriteAndCount", { payload: { entry: Schema.String }, success: Schema.Int }),
      Rpc.make("Text", { payload: { characters: Schema.Int }, success: Schema.String }),
      Rpc.make("Read", { success: Schema.Array(Schema.String) })
    ]
  }) {}
  const live = (world: World = makeWorld(), options?: DurableServer.Options) =>
    Journal.toLayer({
      init: () => ({ entries: [] }),
      handlers: {
        Write: ({ noReply, payload: { entry }, state }) =>
          Effect.as(attempt(world, entry), noReply({ entries: [...state.entries, entry] })),
        WriteAndCount: ({ payload: { entry }, reply, state }) =>
          Effect.as(
            attempt(world, entry),
            reply(state.entries.length + 1, { entries: [...state.entries, entry] })
          ),
        Text: ({ payload, reply }) => reply("ü".repeat(payload.characters)),
        Read: ({ reply, state }) => reply(state.entries)
      }
    }, options)
  return { Journal, live }
})

const How = Schema.Literals(["plainly", "with actions", "with an action that halts"])

/** Does things after its commits, and stops when it is told to. `lines` is where its actions say what they were given. */
export const lamp = Effect.map(unused, (name) => {
  class Lamp extends DurableServer.make(`Lamp ${name}`, {
    state: Schema.Struct({ on: Schema.Int }),
    protocol: [
      Rpc.make("Switch", { payload: { how: How }, success: Schema.Int }),
      Rpc.make("Stop", { payload: { how: How }, success: Schema.Int }),
      Rpc.make("Look", { success: Schema.Int })
    ],
    info: Schema.Struct({ what: Schema.Literals(["switch", "stop"]), how: How })
  }) {}
  const live = (lines: Array<string>) => {
    const said = <A, S extends { readonly on: number }>(
      what: string,
      how: typeof How.Type,
      outcome: Outcome.Outcome<A, S>
    ): Outcome.Outcome<A, S> => {
      const say = (text: string, then?: typeof Outcome.halt) =>
        Effect.sync(() => {
          lines.push(text)
          return then
        })
      if (how === "plainly") return outcome
      return outcome
        .afterCommit(({ on }) => say(`${what} ${on}`))
        .afterCommit(({ on }) => say(`${what} ${on} again`, how === "with actions" ? undefined : Outcome.halt))
        .afterCommit(({ on }) => say(`${what} ${on} at last`))
    }
    return Lamp.toLayer({
      init: () => ({ on: 0 }),
      handlers: {
        Switch: ({ payload: { how }, reply, state }) =>
          said("switched", how, reply(state.on + 1, { on: state.on + 1 })),
        Stop: ({ payload: { how }, state, stop }) =>
          said("stopped", how, stop({ reason: "normal", reply: state.on + 10, state: { on: state.on + 10 } })),
        Look: ({ reply, state }) => reply(state.on)
      },
      handleInfo: ({ message: { how, what }, noReply, state, stop }) =>
        what === "switch"
          ? said("switched", how, noReply({ on: state.on + 1 }))
          : said("stopped", how, stop({ reason: "normal", state: { on: state.on + 10 } }))
    })
  }
  return { Lamp, live }
})

/** Locks itself while it fills. Its `handleLocked` waits for the world's gate. */
export const tank = Effect.map(unused, (name) => {
  class Tank extends DurableServer.make(`Tank ${name}`, {
    state: Schema.Struct({ filling: Schema.Int, full: Schema.Array(Schema.String) }),
    protocol: [
      Rpc.make("Fill", { payload: { what: Schema.String }, success: Schema.Array(Schema.String) }),
      Rpc.make("Add", { payload: { what: Schema.String } }),
      Rpc.make("Look", { success: Schema.Struct({ filling: Schema.Int, full: Schema.Array(Schema.String) }) })
    ]
  }) {}
  const live = (world: World = makeWorld(), options?: DurableServer.Options) =>
    Tank.toLayer({
      init: () => ({ filling: 0, full: [] }),
      handlers: {
        Fill: ({ lock, state }) => lock({ ...state, filling: state.filling + 1 }),
        Add: ({ noReply, payload, state }) => noReply({ ...state, full: [...state.full, payload.what] }),
        Look: ({ reply, state }) => reply(state)
      },
      handleLocked: {
        Fill: ({ payload: { what }, reply, state }) =>
          Effect.as(
            attempt(world, what),
            reply([...state.full, what], (latest) => ({ filling: latest.filling - 1, full: [...latest.full, what] }))
          )
      }
    }, options)
  return { Tank, live }
})
