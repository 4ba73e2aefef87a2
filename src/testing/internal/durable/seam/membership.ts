/**
 * Nodes that join, leave and come back, and the servers that they find, take and give back.
 */
import * as Effect from "effect/Effect"
import type { Claim } from "../../../../durable/DurableStorage.ts"
import { holds, present, same, separately } from "../../cases.ts"
import { define } from "../define.ts"
import {
  again,
  callsOf,
  check,
  claim,
  claimNew,
  enqueue,
  join,
  later,
  numbering,
  outcome,
  step,
  tags,
  two,
  unusedAddress,
  values
} from "../steps.ts"

const tagsOf = (claims: ReadonlyArray<Claim>) => claims.map(({ _tag }) => _tag)

export const membership = [
  define(
    "every join is a node with an id of its own",
    Effect.gen(function*() {
      const nodes = [yield* join, yield* join, yield* join]
      yield* same("how many ids three nodes have", new Set(nodes.map((node) => node.node())).size, 3)
    })
  ),

  define(
    "a server has one id, whoever looks for it first, and is made where it is not there",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const address = yield* unusedAddress
      const another = { ...address, key: `${address.key}, another` }
      const found = yield* Effect.all([
        first.locate([address, another]),
        second.locate([another, address]),
        first.locate([address, another])
      ], { concurrency: "unbounded" })
      const ids = found.map((located) => located.map(({ id }) => id))
      yield* same("what the others find, in the order in which they ask", ids, [
        ids[0] ?? [],
        [...ids[0] ?? []].reverse(),
        ids[0] ?? []
      ])
      yield* same("the ids of two servers are two", new Set(ids[0]).size, 2)
      yield* same("who holds what nobody has claimed", found.flat().map(({ holder }) => holder), [
        undefined,
        undefined,
        undefined,
        undefined,
        undefined,
        undefined
      ])
      const held = yield* claim(first, address)
      yield* same("the id by which it is claimed", held.id, ids[0]?.[0] ?? 0)
      yield* same("what another node finds then", yield* second.locate([address]), [
        { id: held.id, holder: first.node() }
      ])
    })
  ),

  define(
    "names are told apart to the last character, and kinds from keys",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { key, kind } = yield* unusedAddress
      const names = [
        { kind, key },
        { kind: key, key: kind },
        { kind: `${kind}${key}`, key: "" },
        { kind, key: "" },
        ...[" ", "\n", "A", "a", "é", "e\u0301", "😀", "'", "\\", "\"", "%", "_", "k".repeat(500 - key.length)].map(
          (end) => ({ kind, key: `${key}${end}` })
        )
      ]
      const ids = (yield* first.locate(names)).map(({ id }) => id)
      yield* same("how many servers these names are", new Set(ids).size, names.length)
      yield* same("what another node finds", (yield* second.locate(names)).map(({ id }) => id), ids)
    })
  ),

  define(
    "a server that nobody holds is claimed, with everything that it takes to run it",
    Effect.gen(function*() {
      const node = yield* join
      const { message, to } = numbering()
      const fresh = yield* claimNew(node)
      const { fragments, lock, pushed, state, stateVersion, taken } = fresh
      yield* same("a new server", { fragments, lock, pushed, state, stateVersion, taken }, {
        fragments: [],
        lock: undefined,
        pushed: 0,
        state: undefined,
        stateVersion: 1,
        taken: 0
      })
      yield* node.commit([enqueue(to(fresh, node, {}, {}, {}))])
      const locker = message(node, { mode: "call", payload: "{\"a\":\"ü\"}", primaryKey: "k" })
      yield* node.commit([step(fresh, { taken: 2, state: "{\"some\":1}", stateVersion: 3, lock: locker })])
      const found = yield* again(node, fresh)
      yield* same("what is stored comes with the next claim", {
        lock: found.lock,
        pushed: found.pushed,
        state: found.state,
        stateVersion: found.stateVersion,
        taken: found.taken
      }, { lock: locker, pushed: 3, state: "{\"some\":1}", stateVersion: 3, taken: 2 })
    })
  ),

  define(
    "a server is held by one node, and the others are told by which",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const server = yield* claimNew(first)
      const fresh = yield* unusedAddress
      const [elsewhere, claimed] = yield* second.claim([server.address, fresh])
      yield* same("what the second one is told", elsewhere, {
        _tag: "HeldElsewhere",
        id: server.id,
        holder: first.node()
      })
      yield* same("what it asks for beside it", claimed?._tag, "Claimed")
      yield* same("and the holder goes on", tags(yield* first.commit([step(server)])), ["Done"])
    })
  ),

  define(
    "of several nodes that claim a server at once, one gets it",
    Effect.gen(function*() {
      const nodes = [yield* join, yield* join, yield* join]
      for (let round = 0; round < 10; round++) {
        const address = yield* unusedAddress
        const claims = yield* Effect.all(nodes.map((node) => node.claim([address])), { concurrency: "unbounded" })
        const won = claims.flat().filter((claim) => claim._tag === "Claimed")
        yield* same("how many got it", won.length, 1)
      }
    })
  ),

  define(
    "what is given back can be claimed; what is no longer ours, or is at another version, is passed over",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const server = yield* claimNew(first)
      const tryClaim = Effect.map(second.claim([server.address]), tagsOf)
      yield* first.release([{ id: server.id, version: server.version + 1 }])
      yield* same("after a release at another version", yield* tryClaim, ["HeldElsewhere"])
      yield* second.release([{ id: server.id, version: server.version }])
      yield* same("after a release by somebody else", yield* tryClaim, ["HeldElsewhere"])
      yield* second.release([{ id: server.id, version: undefined }])
      yield* same("after a release by somebody else, at any version", yield* tryClaim, ["HeldElsewhere"])
      yield* first.release([{ id: server.id, version: server.version }])
      yield* same("after a release by its holder", yield* tryClaim, ["Claimed"])
      yield* first.release([{ id: server.id, version: undefined }])
      yield* same("who holds it after a release by the last holder", yield* first.locate([server.address]), [
        { id: server.id, holder: second.node() }
      ])
    })
  ),

  define(
    "what the last holder still has under way is refused, also where the next one has written nothing yet",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const server = yield* claimNew(first)
      yield* first.release([{ id: server.id, version: server.version }])
      const next = yield* claim(second, server.address)
      yield* holds("a claim makes a new version", next.version > server.version, [server.version, next.version])
      yield* same("what becomes of its step, and of its check", tags(yield* first.commit([step(server)])), [
        "Superseded"
      ])
      yield* same("what becomes of its check", tags(yield* first.commit([check(server)])), ["Superseded"])
      yield* same("the state that it would have left", (yield* again(second, next)).state, undefined)
    })
  ),

  define(
    "a node that leaves frees what it held, and everything that was acknowledged to it stays",
    Effect.gen(function*() {
      const first = yield* join
      const { message, to } = numbering()
      const { close, value: leaving } = yield* separately(join)
      const server = yield* claimNew(leaving)
      yield* leaving.commit([enqueue(to(server, leaving, {}, {}))])
      const lock = message(leaving)
      yield* leaving.commit([
        step(server, { taken: 1, state: "{\"left\":true}", lock, outcomes: [outcome("k", "\"kept\"")] })
      ])
      yield* close
      const found = yield* claim(first, server.address)
      yield* same("what the next holder finds", [found.state, found.taken, found.pushed, found.lock], [
        "{\"left\":true}",
        1,
        2,
        lock
      ])
      yield* same("what is left in its line", (yield* callsOf(first, server)).length, 1)
      yield* same(
        "the answer that was kept",
        yield* first.commit([step(found, { outcomes: [outcome("k", "\"another\"")] })]),
        [{ _tag: "Known", replies: new Map([["k", "\"kept\""]]) }]
      )
    })
  ),

  define(
    "a node that comes back has a new id and holds nothing any more, and replies to its old id still reach it",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const { reply } = numbering()
      const server = yield* claimNew(first)
      const before = first.node()
      const waited = reply(first, "\"to the old id\"")
      yield* first.rejoin
      yield* holds("it has a new id", first.node() !== before, [before, first.node()])
      const next = yield* claim(second, server.address)
      yield* second.commit([step(next, { replies: [waited, reply(first, "\"to the new id\"")] })])
      yield* same("the replies that it finds", values(yield* first.replies(0)), [
        "\"to the new id\"",
        "\"to the old id\""
      ])
      yield* same("its step from before", tags(yield* first.commit([step(server)])), ["Superseded"])
      yield* first.commit([enqueue([])])
      yield* same("and it works on", (yield* claimNew(first)).taken, 0)
    })
  ),

  define(
    "a state of a newer version than a node can read is left to those that can",
    Effect.gen(function*() {
      const { first, second } = yield* two
      const server = yield* claimNew(first)
      yield* first.commit([step(server, { state: "{\"new\":1}", stateVersion: 3 })])
      yield* first.release([{ id: server.id, version: undefined }])
      const [tooNew] = yield* second.claim([{ ...server.address, stateVersion: 2 }])
      yield* same("what the old one is told", tooNew, { _tag: "TooNew", id: server.id, stateVersion: 3 })
      yield* same("who holds it then", (yield* first.locate([server.address]))[0]?.holder, undefined)
      const [claimed] = yield* first.claim([{ ...server.address, stateVersion: 3 }])
      const held = yield* present("a claim by who can read it", claimed?._tag === "Claimed" ? claimed : undefined)
      yield* same("what it reads", [held.state, held.stateVersion], ["{\"new\":1}", 3])
      // A step that says nothing of it leaves the version as it is.
      yield* first.commit([step(held, { state: "{\"new\":2}" })])
      const stored = yield* again(first, { ...held, address: server.address })
      yield* same("what is stored after a further step", [stored.state, stored.stateVersion], ["{\"new\":2}", 3])
      yield* same("its next step", tags(yield* first.commit([step(later(stored), {})])), ["Superseded"])
    })
  )
]
