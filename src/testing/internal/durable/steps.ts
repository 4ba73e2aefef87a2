/**
 * The words in which the cases of the seam are written: nodes that join without any machinery on top, and what such a node
 * commits.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import {
  type Address,
  type Check,
  type Claimed,
  DurableStorage,
  type Enqueue,
  type Later,
  type NodeStorage,
  type Outgoing,
  type QueuedMessage,
  type Reply,
  type ScheduledId,
  type Scheduling,
  type StoredMessage,
  type Transition,
  type Verdict
} from "../../../durable/DurableStorage.ts"
import { eventually, holds, present, unused } from "../cases.ts"

/** Joins as a node, until the scope ends. */
export const join = Effect.flatMap(
  DurableStorage,
  (storage) => storage.join({ outcomeRetention: Duration.days(7) })
)

/** Two processes on one store. */
export const two = Effect.all({ first: join, second: join }, { concurrency: "unbounded" })

/** A server that a node holds, with its name. */
export interface Held extends Claimed {
  readonly address: Address
}

/** A name that no server has. */
export const unusedAddress = Effect.map(Effect.all([unused, unused]), ([kind, key]): Address => ({ kind, key }))

export const claim = Effect.fnUntraced(function*(node: NodeStorage, address: Address) {
  const [claim] = yield* node.claim([address])
  yield* holds("a server that nobody holds is claimed", claim?._tag === "Claimed", claim)
  return { ...yield* present("a claim", claim?._tag === "Claimed" ? claim : undefined), address } satisfies Held
})

/** A new server, held by a node. */
export const claimNew = (node: NodeStorage) => Effect.flatMap(unusedAddress, (address) => claim(node, address))

/** What is stored of a server, by giving it back and taking it again. */
export const again = Effect.fnUntraced(function*(node: NodeStorage, server: Held) {
  yield* node.release([{ id: server.id, version: undefined }])
  return yield* claim(node, server.address)
})

/** Numbers its messages and its replies, as a node does. */
export const numbering = () => {
  let calls = 0
  const message = (node: NodeStorage, more: Partial<StoredMessage> = {}): StoredMessage => ({
    mode: "cast",
    rpc: "Do",
    payload: "{}",
    primaryKey: undefined,
    priority: false,
    node: node.node(),
    call: ++calls,
    ...more
  })
  return {
    message,
    reply: (node: NodeStorage, value: string): Reply => ({ node: node.node(), call: ++calls, value }),
    /** Messages to one server, sent by a node. */
    to: (server: { readonly id: number }, node: NodeStorage, ...more: ReadonlyArray<Partial<StoredMessage>>) =>
      more.map((one): Outgoing => ({ id: server.id, message: message(node, one) }))
  }
}

/** A step from a server's version, which changes its state unless told otherwise. */
export const step = (
  server: { readonly id: number; readonly version: number; readonly taken: number },
  more: Partial<Transition> = {}
): Transition => ({
  _tag: "Transition",
  id: server.id,
  version: server.version,
  guard: undefined,
  takenBefore: server.taken,
  taken: server.taken,
  consumed: [],
  state: `{"by":${server.version}}`,
  fragments: [],
  lock: undefined,
  outcomes: [],
  replies: [],
  outgoing: [],
  parked: [],
  transaction: undefined,
  ...more
})

/** The same server so many steps later. */
export const later = <Server extends { readonly version: number }>(server: Server, steps = 1): Server => ({
  ...server,
  version: server.version + steps
})

export const check = (server: { readonly id: number; readonly version: number }, guard?: number): Check => ({
  _tag: "Check",
  id: server.id,
  version: server.version,
  guard
})

export const enqueue = (
  outgoing: ReadonlyArray<Outgoing>,
  more: { readonly replies?: ReadonlyArray<Reply>; readonly later?: Partial<Later> } = {}
): Enqueue => ({
  _tag: "Enqueue",
  outgoing,
  replies: more.replies ?? [],
  later: more.later === undefined ? undefined : { scheduled: [], cancelled: [], ...more.later }
})

export const schedule = (id: number, message: StoredMessage, afterMillis: number): Scheduling => ({
  id,
  message,
  due: { _tag: "After", millis: afterMillis }
})

export const nameOf = ({ id, message }: Outgoing): ScheduledId => ({
  server: id,
  node: message.node,
  call: message.call
})

export const outcome = (primaryKey: string, reply: string | undefined, late = false) => ({ primaryKey, reply, late })

/** What lies in a server's line behind a position. */
export const lineOf = (
  node: NodeStorage,
  { id }: { readonly id: number },
  after = 0
): Effect.Effect<ReadonlyArray<QueuedMessage>, unknown> =>
  Effect.flatMap(
    node.read([{ id, after, limit: 1000 }]),
    ([line]) => Effect.map(present("a line that was asked for is read", line), ({ head }) => head)
  )

/** The numbers that the senders of the messages in a line gave them. */
export const callsOf = (node: NodeStorage, server: { readonly id: number }) =>
  Effect.map(lineOf(node, server), (line) => line.map(({ call }) => call))

/** Puts what is due in line until so much is in a server's. Another node may be at it, whose part this one leaves to it. */
export const delivered = (node: NodeStorage, server: { readonly id: number }, count: number) =>
  eventually(
    `${count} messages for later come into the line`,
    Effect.andThen(node.deliverDue, callsOf(node, server)),
    (calls) => calls.length >= count
  )

export const positions = (line: ReadonlyArray<QueuedMessage>) => line.map(({ position }) => position)

export const tags = (verdicts: ReadonlyArray<Verdict>) => verdicts.map(({ _tag }) => _tag)

/** The fragments of a state, in the order of their numbers. */
export const fragmentsOf = ({ fragments }: Claimed) =>
  fragments.toSorted((a, b) => a.number - b.number).map(({ number, text }) => [number, text] as const)

/** What replies say, in no order. */
export const values = (replies: ReadonlyArray<Reply>) => replies.map(({ value }) => value).sort()
