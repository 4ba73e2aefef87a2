/**
 * Lines: who sends puts messages at their end, who holds the server reads and consumes them. Replies, which go the other way, and
 * the hints that tell of both.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Hint, NodeStorage } from "../../../../durable/DurableStorage.ts"
import { eventually, holds, present, same, separately, unused } from "../../cases.ts"
import * as cases from "../../cases.ts"
import { define } from "../define.ts"
import {
  again,
  callsOf,
  claim,
  claimNew,
  enqueue,
  join,
  later,
  lineOf,
  numbering,
  positions,
  step,
  tags,
  two,
  unusedAddress,
  values
} from "../steps.ts"

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n)

/** Every hint that a node is given, from now on until the scope ends. */
const listen = Effect.fnUntraced(function*(node: NodeStorage) {
  const heard: Array<Hint> = []
  yield* node.hints.pipe(
    Effect.tap((hints) => Effect.sync(() => heard.push(...hints))),
    Effect.forever,
    Effect.forkScoped({ startImmediately: true })
  )
  return heard
})

export const lines = [
  define(
    "positions in line are dense, in the order of the commits, whoever sends",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const [server, other] = [yield* claimNew(first), yield* claimNew(second)]
      const sent: Array<number> = []
      for (let round = 0; round < 6; round++) {
        const node = round % 2 === 0 ? first : second
        const outgoing = numbers(0, round).flatMap((n) => to(n % 3 === 2 ? other : server, node, {}))
        sent.push(...outgoing.filter(({ id }) => id === server.id).map((one) => one.message.call))
        const [verdict] = yield* node.commit([enqueue(outgoing)])
        yield* same("where the line ends, as the sender is told", verdict, { _tag: "Done", pushed: sent.length })
      }
      yield* same("the positions", positions(yield* lineOf(second, server)), numbers(1, sent.length))
      yield* same("the order", yield* callsOf(second, server), sent)
      yield* same("where the line ends, as its holder is told", (yield* again(first, server)).pushed, sent.length)
    })
  ),

  define(
    "positions are dense and each sender's messages in their order, also where many send at once",
    Effect.gen(function*() {
      const nodes = [yield* join, yield* join, yield* join]
      const { to } = numbering()
      const server = yield* claimNew(yield* present("a node", nodes[0]))
      const target = yield* claimNew(yield* present("a node", nodes[1]))
      yield* Effect.forEach(nodes, (node, n) =>
        Effect.forEach(
          numbers(1, 20),
          (round) =>
            node.commit([enqueue([...to(server, node, { rpc: `${n}` }, { rpc: `${n}` }), ...to(target, node, {})])])
              .pipe(
                Effect.flatMap((verdicts) => same(`round ${round}`, tags(verdicts), ["Done"]))
              ),
          { discard: true }
        ), { concurrency: "unbounded", discard: true })
      const line = yield* lineOf(nodes[0] ?? (yield* join), server)
      yield* same("the positions", positions(line), numbers(1, 120))
      for (const n of nodes.keys()) {
        const calls = line.filter(({ rpc }) => rpc === `${n}`).map(({ call }) => call)
        yield* same(`the order of what node ${n} sent`, calls, [...calls].sort((a, b) => a - b))
      }
      yield* same("the other line", positions(yield* lineOf(nodes[0] ?? (yield* join), target)), numbers(1, 60))
    })
  ),

  define(
    "a message is read as it was sent, to the last character",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { message } = numbering()
      const server = yield* claimNew(first)
      const sent = [
        message(second),
        message(second, { mode: "call", rpc: "Other", payload: JSON.stringify("é 😀 \u2028 \n ' \" \\ $1 {}") }),
        message(first, { primaryKey: "a key, with a \" and a ü", priority: true }),
        message(second, { payload: JSON.stringify("x".repeat(300_000)) })
      ]
      yield* second.commit([enqueue(sent.map((message) => ({ id: server.id, message })))])
      yield* same(
        "the line",
        yield* lineOf(first, server),
        sent.map((message, index) => ({ ...message, position: index + 1, recorded: undefined }))
      )
    })
  ),

  define(
    "a line is read from behind a position, as far as was asked for, and several lines at once",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const [one, other, empty] = [yield* claimNew(first), yield* claimNew(first), yield* claimNew(first)]
      yield* second.commit([
        enqueue([...to(one, second, ...numbers(1, 9).map(() => ({}))), ...to(other, second, {}, {})])
      ])
      const read = yield* first.read([
        { id: other.id, after: 0, limit: 5 },
        { id: one.id, after: 3, limit: 4 },
        { id: empty.id, after: 0, limit: 5 },
        { id: one.id, after: 9, limit: 5 },
        { id: one.id, after: 0, limit: 1 }
      ])
      yield* same("what is read, in the order in which it was asked for", read.map(({ head }) => positions(head)), [
        [1, 2],
        [4, 5, 6, 7],
        [],
        [],
        [1]
      ])
    })
  ),

  define(
    "what has priority is told beside the head of the line, wherever it stands",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const server = yield* claimNew(first)
      yield* second.commit([
        enqueue(to(server, second, ...numbers(1, 40).map((n) => ({ priority: n % 13 === 0 }))))
      ])
      const [line] = yield* first.read([{ id: server.id, after: 0, limit: 3 }])
      yield* same("the head", positions(line?.head ?? []), [1, 2, 3])
      yield* same("what has priority", positions(line?.priority ?? []), [13, 26, 39])
      const [behind] = yield* first.read([{ id: server.id, after: 13, limit: 3 }])
      yield* same("what has priority behind a position", positions(behind?.priority ?? []), [26, 39])
    })
  ),

  define(
    "a step consumes what it says, in its turn or out of it, and the line goes on behind that",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { to } = numbering()
      const server = yield* claimNew(first)
      yield* second.commit([enqueue(to(server, second, ...numbers(1, 6).map(() => ({}))))])
      yield* first.commit([step(server, { taken: 2, consumed: [5] })])
      yield* same("what is left", positions(yield* lineOf(second, server)), [3, 4, 6])
      yield* second.commit([enqueue(to(server, second, {}))])
      yield* same("and what comes behind it", positions(yield* lineOf(second, server)), [3, 4, 6, 7])
      yield* first.commit([step(later(server), { takenBefore: 2, taken: 6 })])
      yield* same("what is left then", positions(yield* lineOf(second, server)), [7])
      const found = yield* again(first, server)
      yield* same("what the next holder is told", [found.taken, found.pushed], [6, 7])
      yield* first.commit([step(found, { takenBefore: 6, taken: 7 })])
      yield* second.commit([enqueue(to(server, second, {}))])
      yield* same("no number is given twice", positions(yield* lineOf(second, server)), [8])
    })
  ),

  define(
    "servers with a line or a lock that nobody holds are found, and one's own; others' are not",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { close, value: leaving } = yield* separately(join)
      const { message, to } = numbering()
      const { kind } = yield* unusedAddress
      const held = (node: NodeStorage, key: string) => claim(node, { kind, key })
      const [waiting, locked, empty] = [
        yield* held(first, "waiting"),
        yield* held(first, "locked"),
        yield* held(first, "empty")
      ]
      const [others, left, consumed] = [
        yield* held(second, "others"),
        yield* held(leaving, "left"),
        yield* held(second, "consumed")
      ]
      const elsewhere = yield* claimNew(second)
      yield* second.commit([
        enqueue([waiting, others, left, elsewhere, consumed].flatMap((server) => to(server, second, {})))
      ])
      yield* second.commit([step(consumed, { taken: 1 })])
      yield* first.commit([step(locked, { lock: message(first) }), step(empty)])
      const found = (node: NodeStorage, after = 0) =>
        Effect.map(
          node.unattended([kind, `${kind}, another`], after),
          (servers) =>
            servers.filter((server) => server.kind === kind).sort((a, b) => a.id - b.id).map(({ key }) => key)
        )
      yield* same("one's own", yield* found(first), ["waiting", "locked"])
      yield* same("those of another node", yield* found(second), ["others"])
      yield* first.release([waiting, locked, empty].map(({ id }) => ({ id, version: undefined })))
      yield* second.release([consumed].map(({ id }) => ({ id, version: undefined })))
      yield* close
      yield* same("those that were given back, too", yield* found(second), ["waiting", "locked", "others", "left"])
      yield* same("behind an id", yield* found(second, locked.id), ["others", "left"])
      yield* same("of a kind that there is none of", yield* first.unattended([`${kind}, another`], 0), [])
      yield* same(
        "with their names",
        (yield* first.unattended([kind], others.id)).map(({ id, key, kind }) => [
          id,
          kind,
          key
        ]),
        [[left.id, kind, "left"]]
      )
    })
  ),

  // Killing all of these would take long: their lines are consumed instead.
  cases.define(
    "of servers that nobody attends to 1,000 at most are told at once, by id, so that page by page all are found",
    Effect.gen(function*() {
      const node = yield* join
      const { to } = numbering()
      const kind = yield* unused
      const names = numbers(1, 1100).map((n) => ({ kind, key: `${n}` }))
      // Their lines begin in another order than that of their ids.
      const located = (yield* node.locate(names)).toSorted((a, b) => a.id % 37 - b.id % 37)
      yield* node.commit([enqueue(located.flatMap((server) => to(server, node, {})))])
      const first = yield* node.unattended([kind], 0)
      const second = yield* node.unattended([kind], first.at(-1)?.id ?? 0)
      const claimed = (yield* node.claim(names)).flatMap((claim) => claim._tag === "Claimed" ? [claim] : [])
      yield* node.commit(claimed.map((server) => step(server, { taken: 1 })))
      yield* same("how many are told", [first.length, second.length], [1000, 100])
      yield* same(
        "which",
        [...first, ...second].map(({ id }) => id),
        located.map(({ id }) => id).toSorted((a, b) => a - b)
      )
    })
  ),

  define(
    "replies wait for their node until it forgets them, and for no other",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { reply } = numbering()
      const server = yield* claimNew(first)
      const [one, two_, three] = [reply(second, "\"ü 1\""), reply(second, "\"2\""), reply(first, "\"3\"")]
      yield* first.commit([step(server, { replies: [one, three] }), enqueue([], { replies: [two_] })])
      for (let time = 0; time < 2; time++) {
        yield* same("of the second node", values(yield* second.replies(0)), ["\"2\"", "\"ü 1\""])
      }
      yield* same("of the first", yield* first.replies(0), [three])
      const later = values(yield* second.replies(Math.max(one.call, two_.call)))
      yield* same("from a number on", later, [one.call > two_.call ? one.value : two_.value])
      yield* second.forget([one])
      yield* same("one is forgotten", values(yield* second.replies(0)), ["\"2\""])
      yield* second.forget([one, two_])
      yield* same("all are", yield* second.replies(0), [])
      yield* same("of the first they stay", values(yield* first.replies(0)), ["\"3\""])
    })
  ),

  define(
    "a storage that loses no hints tells the holder of its line, and nodes of their replies and of what nobody holds",
    Effect.gen(function*() {
      const { first, second } = yield* two
      // Where they may get lost, nothing is promised of them; that all goes well without is what other cases show.
      if (first.mayLoseHints) return
      const { reply, to } = numbering()
      const [ofFirst, ofSecond] = [yield* listen(first), yield* listen(second)]
      const server = yield* claimNew(first)
      const hears = (what: string, heard: ReadonlyArray<Hint>, isIt: (hint: Hint) => boolean) =>
        eventually(
          what,
          Effect.sync(() => heard.slice()),
          (hints) => hints.some((hint) => hint._tag === "Everything" || isIt(hint)),
          "3 seconds"
        )
      for (const priority of [false, true]) {
        yield* second.commit([enqueue(to(server, second, { priority }))])
        yield* hears(
          "the holder hears that its line has grown",
          ofFirst,
          (hint) => hint._tag === "Lines" && hint.ids.includes(server.id) && hint.priority === priority
        )
      }
      yield* first.commit([step(server, { replies: [reply(second, "{}")] })])
      yield* hears("a node hears that it has replies", ofSecond, ({ _tag }) => _tag === "Replies")
      const { version } = yield* present("what was killed", yield* second.kill(server.address, "\"gone\""))
      yield* hears(
        "the holder hears that its server was killed",
        ofFirst,
        (hint) =>
          hint._tag === "Killed" && hint.id === server.id && hint.version === version && hint.answer === "\"gone\""
      )
      for (const heard of [ofFirst, ofSecond]) heard.length = 0
      yield* first.commit([enqueue(to(server, first, {}))])
      for (const heard of [ofFirst, ofSecond]) {
        yield* hears("all hear of a line that nobody attends to", heard, ({ _tag }) => _tag === "Unattended")
      }
    })
  ),

  define(
    "who waits for hints can be interrupted, and hears of what comes afterwards",
    Effect.gen(function*() {
      const node = yield* join
      for (let time = 0; time < 3; time++) {
        const waiting = yield* Effect.forkChild(node.hints, { startImmediately: true })
        yield* Fiber.interrupt(waiting)
      }
      yield* holds("it still joins in", (yield* claimNew(node)).id > 0)
    })
  )
]
