/**
 * The durable servers of the soak: they keep of everything that is done to them just enough for the checker to see, afterwards,
 * that nothing was lost, doubled or overtaken.
 *
 * A sender numbers its messages to each account from 1 on, without gaps. The account keeps the last number of each sender and
 * writes down whatever does not follow it. When a sender comes back in its next run, since its process was killed, what became
 * of the one before is written to a table, in the transaction of the very step: states stay small, however long a soak takes.
 */
import { Effect, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { SqlClient } from "effect/sql"
import { type Definition, DurableServer, PostgresStorage } from "holdfast/durable"

/** The tables beside the states. `soak_later` has no key: a message done twice is to be seen. */
export const tables = [
  "CREATE TABLE soak_run (account text, sender text, run int, last int, PRIMARY KEY (account, sender, run))",
  "CREATE TABLE soak_straggler (account text, sender text, run int, n int)",
  "CREATE TABLE soak_later (account text, id text)"
]

/** A message's place among those of its sender to one account, in one run of its process. */
const place = { sender: Schema.String, run: Schema.Int, n: Schema.Int }

export interface Place {
  readonly sender: string
  readonly run: number
  readonly n: number
}

/** The run and the last number of each sender. */
export const Seen = Schema.Record(Schema.String, Schema.Tuple([Schema.Int, Schema.Int]))

const Ask = Rpc.make("Ask", { payload: place, success: Schema.Int })

export class Account extends DurableServer.make("soak/Account", {
  state: Schema.Struct({
    seen: Seen,
    /** What should never be: the first few of it. */
    wrong: Schema.Array(Schema.String),
    /** How many keyed messages were done. */
    once: Schema.Int,
    locked: Schema.Boolean,
    waiting: Schema.Array(Schema.Tuple([DurableServer.From(Ask), Schema.Int])),
    /** How many casts went to each other account, and the number of the last one from each. */
    given: Schema.Record(Schema.String, Schema.Int),
    received: Schema.Record(Schema.String, Schema.Int)
  }),
  protocol: [
    Rpc.make("Add", { payload: place, success: Schema.Int }),
    /** Tells which of all keyed messages it was. */
    Rpc.make("AddOnce", { payload: { id: Schema.String }, primaryKey: ({ id }) => id, success: Schema.Int }),
    Rpc.make("AddLater", { payload: { id: Schema.String } }),
    /** Locks the account for a while. */
    Rpc.make("Work", { payload: { ...place, millis: Schema.Int }, success: Schema.Int }),
    /** Is answered by the next `Tell`, which it has sent itself. */
    Ask,
    Rpc.make("Tell"),
    Rpc.make("Give", { payload: { ...place, to: Schema.String } }),
    Rpc.make("Receive", { payload: { from: Schema.String, n: Schema.Int } }),
    Rpc.make("Look", { success: Seen })
  ]
}) {}

export type AccountState = Definition.StateOf<typeof Account>

const mostWrong = 20

const wrong = (state: AccountState, what: string): AccountState =>
  state.wrong.length < mostWrong ? { ...state, wrong: [...state.wrong, what] } : state

const insert = (statement: (sql: SqlClient.SqlClient) => Effect.Effect<unknown, unknown>) =>
  PostgresStorage.transaction(Effect.orDie(Effect.flatMap(SqlClient.SqlClient, statement)))

/** What becomes of the state when a message arrives: a value, unless the sender comes in another run than before. */
const arrived = (key: string, state: AccountState, { n, run, sender }: Place, mayBeLocked = false) => {
  const known = state.seen[sender]
  const last = known?.[0] === run ? known[1] : 0
  const checked = n !== last + 1
    ? wrong(state, `${sender}, run ${run}: ${n} came after ${last}`)
    : state.locked && !mayBeLocked
    ? wrong(state, `${sender}, run ${run}: ${n} was handled under a lock`)
    : state
  const next: AccountState = { ...checked, seen: { ...checked.seen, [sender]: [run, n] } }
  if (known === undefined || known[0] === run) return next
  return known[0] < run
    ? Effect.as(
      insert((sql) => sql`INSERT INTO soak_run VALUES (${key}, ${sender}, ${known[0]}, ${known[1]})`),
      next
    )
    // Under way when its process was killed, it came in after the next run had begun. Nobody was told that it would.
    : Effect.as(insert((sql) => sql`INSERT INTO soak_straggler VALUES (${key}, ${sender}, ${run}, ${n})`), state)
}

const isUrgent = ({ sender }: Place) => sender.endsWith("!")

/** Answers with what becomes of the state. */
const after = <O, R>(
  next: AccountState | Effect.Effect<AccountState, never, R>,
  answer: (next: AccountState) => O
): O | Effect.Effect<O, never, R> => Effect.isEffect(next) ? Effect.map(next, answer) : answer(next)

export const AccountLive = Account.toLayer(
  Effect.gen(function*() {
    const account = yield* Account.client()
    return Account.of({
      init: () => ({ seen: {}, wrong: [], once: 0, locked: false, waiting: [], given: {}, received: {} }),
      handlers: {
        Add: ({ key, payload, reply, state }) =>
          after(arrived(key, state, payload, isUrgent(payload)), (next) => reply(payload.n, next)),
        AddOnce: ({ reply, state }) => reply(state.once + 1, { ...state, once: state.once + 1 }),
        AddLater: ({ key, noReply, payload }) =>
          Effect.as(insert((sql) => sql`INSERT INTO soak_later VALUES (${key}, ${payload.id})`), noReply()),
        Work: ({ key, lock, payload, state }) =>
          after(arrived(key, state, payload), (next) => lock({ ...next, locked: true })),
        Ask: Effect.fnUntraced(function*({ from, key, payload, replyLater, state }) {
          const next = arrived(key, state, payload)
          const { waiting, ...rest } = Effect.isEffect(next) ? yield* next : next
          yield* payload.n % 2 === 0 ? account(key).cast.Tell() : account(key).castAfter("30 millis").Tell()
          return replyLater({ ...rest, waiting: [...waiting, [from, payload.n]] })
        }),
        Tell: Effect.fnUntraced(function*({ noReply, state }) {
          for (const [from, n] of state.waiting) yield* DurableServer.replyTo(from, n)
          return noReply({ ...state, waiting: [] })
        }),
        Give: Effect.fnUntraced(function*({ key, noReply, payload, state }) {
          const next = arrived(key, state, payload)
          const arrivedState = Effect.isEffect(next) ? yield* next : next
          const n = (arrivedState.given[payload.to] ?? 0) + 1
          yield* account(payload.to).cast.Receive({ from: key, n })
          return noReply({ ...arrivedState, given: { ...arrivedState.given, [payload.to]: n } })
        }),
        Receive: ({ noReply, payload: { from, n }, state }) => {
          const last = state.received[from] ?? 0
          const checked = n === last + 1 ? state : wrong(state, `from ${from}: ${n} came after ${last}`)
          return noReply({ ...checked, received: { ...checked.received, [from]: n } })
        },
        Look: ({ reply, state }) => reply(state.seen)
      },
      handleLocked: {
        Work: ({ payload, reply }) =>
          Effect.as(
            Effect.sleep(payload.millis),
            reply(payload.n, (latest) =>
              latest.locked
                ? { ...latest, locked: false }
                : wrong(latest, `${payload.sender}, run ${payload.run}: ${payload.n} was unlocked twice`))
          )
      }
    })
  }),
  { maxIdleTime: "2 seconds" }
)

/** A counter that is killed now and then. */
export class Mortal extends DurableServer.make("soak/Mortal", {
  state: Schema.Struct({ count: Schema.Int }),
  protocol: [Rpc.make("Add", { success: Schema.Int })]
}) {}

export const MortalLive = Mortal.toLayer({
  init: () => ({ count: 0 }),
  handlers: { Add: ({ reply, state }) => reply(state.count + 1, { count: state.count + 1 }) }
})
