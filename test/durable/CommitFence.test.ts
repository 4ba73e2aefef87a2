/**
 * What a storage's `commit` decides: each member of a group is done whole or refused whole, by comparing what the process
 * believed with what is stored, and one that is refused takes no other down.
 *
 * The same on every storage, through the seam, as two processes on one store; what only rows can show is shown on Postgres.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Duration, Effect, Layer } from "effect"
import { DurableStorage, MemoryStorage, PostgresStorage } from "holdfast/durable"
import { randomUUID } from "node:crypto"
import * as TestPostgres from "../support/TestPostgres.ts"

type Node = DurableStorage.NodeStorage
type Outgoing = DurableStorage.Outgoing
type Transition = DurableStorage.Transition

/** Two processes on one store. */
class Store extends Context.Service<Store, { readonly first: Node; readonly second: Node }>()("test/Store") {}

const joinOptions = { outcomeRetention: Duration.days(7) }

const MemoryStore = Layer.effect(
  Store,
  Effect.gen(function*() {
    const storage = yield* DurableStorage.DurableStorage
    return { first: yield* storage.join(joinOptions), second: yield* storage.join(joinOptions) }
  })
).pipe(Layer.provide(MemoryStorage.layer))

const postgresNode = Effect.gen(function*() {
  const { url } = yield* TestPostgres.TestDatabase
  const context = yield* Layer.build(
    PostgresStorage.layer.pipe(Layer.provide(PgClient.layer({ url, maxConnections: 1 })), Layer.fresh)
  )
  return yield* Context.get(context, DurableStorage.DurableStorage).join(joinOptions)
})

const PostgresStore = Layer.effect(
  Store,
  Effect.gen(function*() {
    return { first: yield* postgresNode, second: yield* postgresNode }
  })
).pipe(Layer.provideMerge(TestPostgres.layer))

let calls = 0
const message = (node: Node, primaryKey?: string, mode: "call" | "cast" = "cast"): DurableStorage.StoredMessage => ({
  mode,
  rpc: "Do",
  payload: "{}",
  primaryKey,
  priority: false,
  node: node.node(),
  call: ++calls
})

/** A server held by a node, as it was claimed. */
const claimNew = Effect.fnUntraced(function*(node: Node) {
  const address = { kind: "Fence", key: randomUUID() }
  const [claim] = yield* node.claim([address])
  if (claim?._tag !== "Claimed") return yield* Effect.die(new Error("a new server is held by somebody else"))
  return { ...claim, address }
})

const transition = (
  server: { readonly id: number; readonly version: number; readonly taken: number },
  more: Partial<Transition> = {}
): Transition => ({
  _tag: "Transition",
  id: server.id,
  version: server.version,
  guard: undefined,
  takenBefore: server.taken,
  taken: server.taken,
  state: `{"by":${server.version}}`,
  fragments: [],
  lock: undefined,
  consumed: [],
  outcomes: [],
  replies: [],
  outgoing: [],
  parked: [],
  transaction: undefined,
  ...more
})

const enqueue = (outgoing: ReadonlyArray<Outgoing>, later?: DurableStorage.Later): DurableStorage.Enqueue => ({
  _tag: "Enqueue",
  outgoing,
  replies: [],
  later
})

const scheduling = (id: number, message: DurableStorage.StoredMessage, millis: number): DurableStorage.Scheduling => ({
  id,
  message,
  due: { _tag: "After", millis }
})

const nameOf = ({ id, message }: Outgoing): DurableStorage.ScheduledId => ({
  server: id,
  node: message.node,
  call: message.call
})

const lineOf = (node: Node, id: number) =>
  Effect.map(node.read([{ id, after: 0, limit: 100 }]), ([line]) => line?.head ?? [])

/** What is stored of a server, read by giving it back and taking it again: two more than its version was. */
const stored = Effect.fnUntraced(function*(
  node: Node,
  server: { readonly address: DurableStorage.Address; readonly id: number }
) {
  const [claim] = yield* node.claim([server.address])
  if (claim?._tag !== "Claimed") return yield* Effect.die(new Error("it is held by somebody else"))
  return { version: claim.version - 1, taken: claim.taken, pushed: claim.pushed, state: claim.state }
})

const tags = (verdicts: ReadonlyArray<DurableStorage.Verdict>) => verdicts.map((verdict) => verdict._tag)

for (const [name, StoreLive] of [["MemoryStorage", MemoryStore], ["PostgresStorage", PostgresStore]] as const) {
  layer(StoreLive as Layer.Layer<Store>, { excludeTestServices: true })(`CommitFence: ${name}`, (it) => {
    // Groups in which servers only change their state go another way than those that do more.
    const shapes = {
      "that only changes its state": {},
      "that does more": { outcomes: [{ primaryKey: "k", reply: "{}", late: false }] }
    }
    for (const [shape, more] of Object.entries(shapes)) {
      it.effect(`a step ${shape} from a version that is no longer the last is refused`, () =>
        Effect.gen(function*() {
          const { first } = yield* Store
          const server = yield* claimNew(first)
          const version = server.version
          assert.deepStrictEqual(tags(yield* first.commit([transition(server, more)])), ["Done"])
          const stale = { ...more, outcomes: [], state: "{\"by\":\"a stale one\"}" }
          assert.deepStrictEqual(tags(yield* first.commit([transition(server, stale)])), ["Superseded"])
          const newer = transition({ ...server, version: version + 2 }, stale)
          assert.deepStrictEqual(tags(yield* first.commit([newer])), ["Superseded"])
          assert.deepStrictEqual(yield* stored(first, server), {
            version: version + 1,
            taken: 0,
            pushed: 0,
            state: `{"by":${version}}`
          })
        }))

      it.effect(`a step ${shape} whose line has moved is refused, and is told where it ends`, () =>
        Effect.gen(function*() {
          const { first, second } = yield* Store
          const server = yield* claimNew(first)
          yield* second.commit([enqueue([1, 2].map(() => ({ id: server.id, message: message(second) })))])
          for (const guard of [0, 1, 3]) {
            assert.deepStrictEqual(
              yield* first.commit([transition(server, { ...more, guard })]),
              [{ _tag: "LineMoved", pushed: 2 }]
            )
          }
          assert.deepInclude(yield* stored(first, server), { version: server.version, state: undefined })
          const claimed = { ...server, version: server.version + 1 }
          assert.deepStrictEqual(
            yield* first.commit([transition(claimed, { ...more, guard: 2 })]),
            [{ _tag: "Done", pushed: 2 }]
          )
        }))
    }

    it.effect("among steps that only change states, each is decided alone", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Store
        const [fine, stale, moved, guarded] = yield* Effect.all(Array.from({ length: 4 }, () => claimNew(first)))
        if (!fine || !stale || !moved || !guarded) return
        yield* second.commit([enqueue([{ id: moved.id, message: message(second) }])])
        const verdicts = yield* first.commit([
          transition(guarded, { guard: 0 }),
          transition(moved, { guard: 0 }),
          transition({ ...stale, version: stale.version - 1 }),
          transition(fine)
        ])
        assert.deepStrictEqual(verdicts, [
          { _tag: "Done", pushed: 0 },
          { _tag: "LineMoved", pushed: 1 },
          { _tag: "Superseded" },
          { _tag: "Done", pushed: 0 }
        ])
        for (const server of [stale, moved]) {
          assert.deepInclude(yield* stored(first, server), { state: undefined, version: server.version })
        }
        for (const server of [fine, guarded]) {
          assert.deepInclude(yield* stored(first, server), {
            state: `{"by":${server.version}}`,
            version: server.version + 1
          })
        }
      }))

    it.effect("the other members of a group are done, whatever becomes of one", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Store
        const servers = yield* Effect.all(Array.from({ length: 6 }, () => claimNew(first)))
        const [stale, moved, fine, also, known, last] = servers
        if (!stale || !moved || !fine || !also || !known || !last) return
        yield* second.commit([enqueue([{ id: moved.id, message: message(second) }])])
        yield* first.commit([
          transition(known, { outcomes: [{ primaryKey: "once", reply: "\"first\"", late: false }] })
        ])
        const verdicts = yield* first.commit([
          transition(also),
          transition({ ...stale, version: stale.version - 1 }),
          transition(fine, { guard: 0 }),
          transition(moved, { guard: 0 }),
          transition({ ...known, version: known.version + 1 }, {
            outcomes: [{ primaryKey: "once", reply: "\"second\"", late: false }, {
              primaryKey: "other",
              reply: "\"\"",
              late: false
            }]
          }),
          transition(last)
        ])
        assert.deepStrictEqual(tags(verdicts), ["Done", "Superseded", "Done", "LineMoved", "Known", "Done"])
        const [, , , , refused] = verdicts
        assert.deepStrictEqual(refused?._tag === "Known" ? Array.from(refused.replies) : [], [["once", "\"first\""]])
        for (const server of [also, fine, last]) {
          assert.strictEqual((yield* stored(first, server)).state, `{"by":${server.version}}`)
        }
        for (const server of [stale, moved]) assert.isUndefined((yield* stored(first, server)).state)
        assert.strictEqual((yield* stored(first, known)).version, known.version + 1)
      }))

    it.effect("a late answer is kept where there is none yet, and refuses nothing where there is one", () =>
      Effect.gen(function*() {
        const { first } = yield* Store
        const server = yield* claimNew(first)
        const outcome = (reply: string | undefined, late: boolean) => ({
          outcomes: [{ primaryKey: "k", reply, late }]
        })
        const at = (version: number) => ({ ...server, version: server.version + version })
        const verdicts = yield* Effect.forEach(
          [
            outcome(undefined, false),
            outcome(undefined, false),
            outcome("\"late\"", true),
            outcome("\"too late\"", true),
            outcome("\"again\"", false)
          ],
          (more, n) => Effect.map(first.commit([transition(at(n), more)]), ([verdict]) => verdict)
        )
        assert.deepStrictEqual(verdicts.map((verdict) => verdict?._tag), ["Done", "Done", "Done", "Done", "Known"])
        const last = verdicts.at(-1)
        assert.deepStrictEqual(last?._tag === "Known" ? Array.from(last.replies) : [], [["k", "\"late\""]])
      }))

    for (const refusal of ["version", "line", "key"] as const) {
      it.effect(`of a member refused by its ${refusal} nothing is done, of the one beside it everything`, () =>
        Effect.gen(function*() {
          const { first, second } = yield* Store
          const refused = yield* claimNew(first)
          const done = yield* claimNew(first)
          const target = yield* claimNew(second)
          const other = yield* claimNew(second)
          yield* second.commit([
            enqueue([refused, done].flatMap(({ id }) => [1, 2].map(() => ({ id, message: message(second) }))))
          ])
          const timers = [refused, done].map(() => scheduling(target.id, message(second), 3_600_000))
          const [timerOfRefused, timerOfDone] = timers
          if (!timerOfRefused || !timerOfDone) return
          yield* second.commit([enqueue([], { scheduled: timers, cancelled: [] })])
          const later = yield* claimNew(second)
          let version = refused.version
          if (refusal === "key") {
            yield* first.commit([
              transition(refused, { outcomes: [{ primaryKey: "known", reply: "\"first\"", late: false }] })
            ])
            version++
          }
          const everything = (server: typeof done) => {
            const said = (what: string) => ({ node: second.node(), call: ++calls, value: `"${what} ${server.id}"` })
            return {
              takenBefore: 0,
              taken: 1,
              outcomes: [{ primaryKey: "fresh", reply: `"${server.id}"`, late: false }],
              replies: [said("reply")],
              outgoing: [
                { id: target.id, message: message(first) },
                { id: other.id, message: message(first, `of ${server.id}`) }
              ],
              parked: [{ message: message(first), attempts: 3, failure: "it failed" }],
              later: {
                scheduled: [scheduling(later.id, message(first), 0)],
                cancelled: [nameOf(server === done ? timerOfDone : timerOfRefused)]
              }
            }
          }
          const ofRefused = everything(refused)
          const ofDone = everything(done)
          const [verdict, verdictOfDone] = yield* first.commit([
            transition({ ...refused, version: refusal === "version" ? version - 1 : version }, {
              ...ofRefused,
              guard: refusal === "line" ? 1 : undefined,
              outcomes: refusal === "key"
                ? [...ofRefused.outcomes, { primaryKey: "known", reply: "\"second\"", late: false }]
                : ofRefused.outcomes
            }),
            transition(done, ofDone)
          ])
          assert.strictEqual(verdict?._tag, { version: "Superseded", line: "LineMoved", key: "Known" }[refusal])
          assert.strictEqual(verdictOfDone?._tag, "Done")
          // Replies.
          const replies = (yield* second.replies).map(({ value }) => value)
          assert.include(replies, `"reply ${done.id}"`)
          assert.notInclude(replies, `"reply ${refused.id}"`)
          // What they sent.
          assert.deepStrictEqual((yield* lineOf(second, target.id)).map(({ call }) => call), [
            ofDone.outgoing[0]?.message.call
          ])
          assert.deepStrictEqual((yield* lineOf(second, other.id)).map(({ primaryKey }) => primaryKey), [
            `of ${done.id}`
          ])
          // What they scheduled, and what they cancelled.
          yield* first.deliverDue
          assert.deepStrictEqual((yield* lineOf(second, later.id)).map(({ call }) => call), [
            ofDone.later.scheduled[0]?.message.call
          ])
          assert.deepStrictEqual(
            tags(
              yield* second.commit(
                [timerOfRefused, timerOfDone].map((timer) => enqueue([], { scheduled: [], cancelled: [nameOf(timer)] }))
              )
            ),
            ["Done", "Missed"]
          )
          // What they consumed.
          assert.deepStrictEqual((yield* lineOf(first, refused.id)).map(({ position }) => position), [1, 2])
          assert.deepStrictEqual((yield* lineOf(first, done.id)).map(({ position }) => position), [2])
          const after = yield* stored(first, refused)
          assert.deepStrictEqual([after.version, after.taken], [version, 0])
          assert.strictEqual((yield* stored(first, done)).taken, 1)
          // Their keys: one that is free is taken, one that is taken is known.
          const again = { primaryKey: "fresh", reply: "\"again\"", late: false }
          const verdicts = yield* first.commit([
            transition({ ...refused, version: version + 1 }, { outcomes: [again] }),
            transition({ ...done, taken: 1, version: done.version + 2 }, { outcomes: [again] })
          ])
          assert.deepStrictEqual(tags(verdicts), ["Done", "Known"])
          // The key of the message that was not sent is free as well.
          yield* first.commit([
            enqueue([refused, done].map(({ id }) => ({ id: other.id, message: message(first, `of ${id}`) })))
          ])
          assert.deepStrictEqual((yield* lineOf(second, other.id)).map(({ primaryKey }) => primaryKey), [
            `of ${done.id}`,
            `of ${refused.id}`
          ])
          // Messages set aside, which only rows show.
          if (name === "PostgresStorage") {
            const parked = yield* parkedOf([refused.id, done.id])
            assert.deepStrictEqual(parked, [done.id])
          }
        }))
    }

    it.effect("a server that is a member and the target of another member's message keeps its state, and is told", () =>
      Effect.gen(function*() {
        const { first } = yield* Store
        const one = yield* claimNew(first)
        const two = yield* claimNew(first)
        // In both orders: the lower row sends to the higher, the higher to the lower, and one to itself.
        for (const [sender, target] of [[one, two], [two, one]] as const) {
          const before = yield* Effect.all({ sender: stored(first, sender), target: stored(first, target) })
          const verdicts = yield* first.commit([
            transition({ ...sender, version: before.sender.version + 1 }, {
              state: "\"sent\"",
              outgoing: [{ id: target.id, message: message(first) }]
            }),
            transition({ ...target, version: before.target.version + 1 }, {
              state: "\"both\"",
              guard: before.target.pushed
            })
          ])
          assert.deepStrictEqual(tags(verdicts), ["Done", "Done"])
          const after = yield* stored(first, target)
          assert.deepStrictEqual(after, {
            version: before.target.version + 2,
            taken: 0,
            pushed: before.target.pushed + 1,
            state: "\"both\""
          })
          // And so its holder's next direct step is refused.
          const next = transition({ ...target, version: after.version + 1 }, { guard: before.target.pushed })
          assert.deepStrictEqual(yield* first.commit([next]), [{ _tag: "LineMoved", pushed: before.target.pushed + 1 }])
        }
        const before = yield* stored(first, one)
        yield* first.commit([
          transition({ ...one, version: before.version + 1 }, {
            state: "\"to itself\"",
            outgoing: [{ id: one.id, message: message(first) }]
          })
        ])
        assert.deepInclude(yield* stored(first, one), { pushed: before.pushed + 1, state: "\"to itself\"" })
      }))

    it.effect("positions in line are dense, in the order of the commits, whoever sends", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Store
        const server = yield* claimNew(first)
        const other = yield* claimNew(second)
        const sent: Array<number> = []
        for (let round = 0; round < 5; round++) {
          const node = round % 2 === 0 ? first : second
          const outgoing = Array.from({ length: round + 1 }, (_, index) => ({
            id: index % 3 === 2 ? other.id : server.id,
            message: message(node)
          }))
          sent.push(...outgoing.filter(({ id }) => id === server.id).map((one) => one.message.call))
          yield* node.commit([enqueue(outgoing)])
        }
        const line = yield* lineOf(first, server.id)
        assert.deepStrictEqual(line.map(({ position }) => position), line.map((_, index) => index + 1))
        assert.deepStrictEqual(line.map(({ call }) => call), sent)
      }))

    it.effect("an answer that changes nothing is checked against version and line, and writes nothing", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Store
        const server = yield* claimNew(first)
        const check = (version: number, guard?: number): DurableStorage.Check => ({
          _tag: "Check",
          id: server.id,
          version,
          guard
        })
        assert.deepStrictEqual(
          yield* first.commit([check(server.version), check(server.version, 0), check(server.version - 1)]),
          [{ _tag: "Done", pushed: 0 }, { _tag: "Done", pushed: 0 }, { _tag: "Superseded" }]
        )
        yield* second.commit([enqueue([{ id: server.id, message: message(second) }])])
        assert.deepStrictEqual(
          yield* first.commit([check(server.version, 0), check(server.version, 1), check(server.version)]),
          [{ _tag: "LineMoved", pushed: 1 }, { _tag: "Done", pushed: 1 }, { _tag: "Done", pushed: 1 }]
        )
        assert.strictEqual((yield* stored(first, server)).version, server.version)
      }))

    it.effect("a server is held by one, and what the last holder still has under way is refused", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Store
        const server = yield* claimNew(first)
        const [elsewhere] = yield* second.claim([server.address])
        assert.deepStrictEqual(elsewhere, { _tag: "HeldElsewhere", id: server.id, holder: first.node() })
        // What is not ours any more is passed over.
        yield* first.release([{ id: server.id, version: server.version - 1 }])
        assert.strictEqual((yield* second.claim([server.address]))[0]?._tag, "HeldElsewhere")
        yield* second.release([{ id: server.id, version: server.version }])
        assert.strictEqual((yield* second.claim([server.address]))[0]?._tag, "HeldElsewhere")
        yield* first.release([{ id: server.id, version: server.version }])
        const [claim] = yield* second.claim([server.address])
        assert.strictEqual(claim?._tag, "Claimed")
        assert.deepStrictEqual(tags(yield* first.commit([transition(server)])), ["Superseded"])
        assert.isUndefined((yield* stored(second, server)).state)
      }))

    it.effect("a message whose key is known comes with its answer, and a cast of it is not put in line", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Store
        const server = yield* claimNew(first)
        const send = (primaryKey: string, mode: "call" | "cast") =>
          second.commit([enqueue([{ id: server.id, message: message(second, primaryKey, mode) }])])
        // In line already: a cast of the same key is one message with it, a call waits for its own answer.
        yield* send("a", "cast")
        yield* send("a", "cast")
        yield* send("a", "call")
        yield* second.commit([enqueue([1, 2].map(() => ({ id: server.id, message: message(second, "b") })))])
        const line = yield* lineOf(first, server.id)
        assert.deepStrictEqual(line.map(({ mode, primaryKey }) => `${mode} ${primaryKey}`), [
          "cast a",
          "call a",
          "cast b"
        ])
        assert.deepStrictEqual(line.map(({ recorded }) => recorded), [undefined, undefined, undefined])
        yield* first.commit([
          transition(server, { taken: 1, outcomes: [{ primaryKey: "a", reply: "\"done\"", late: false }] })
        ])
        yield* send("a", "cast")
        yield* send("a", "call")
        assert.deepStrictEqual((yield* lineOf(first, server.id)).map(({ mode, recorded }) => `${mode} ${recorded}`), [
          "call \"done\"",
          "cast undefined",
          "call \"done\""
        ])
      }))
  })
}

layer(PostgresStore, { excludeTestServices: true })("CommitFence: PostgresStorage, alone", (it) => {
  it.effect("a value that the server does not take fails its member alone, whatever the size of the group", () =>
    Effect.gen(function*() {
      const { first, second } = yield* Store
      for (const size of [1, 2, 7]) {
        for (const shape of [{}, { outcomes: [{ primaryKey: "k", reply: "{}", late: false }] }]) {
          const servers = yield* Effect.all(Array.from({ length: size }, () => claimNew(first)))
          const bad = size >> 1
          const verdicts = yield* first.commit(
            servers.map((server, index) => transition(server, { ...shape, state: index === bad ? "\0" : "{}" }))
          )
          assert.deepStrictEqual(tags(verdicts), servers.map((_, index) => index === bad ? "Failed" : "Done"))
          for (const [index, server] of servers.entries()) {
            assert.strictEqual((yield* stored(first, server)).state, index === bad ? undefined : "{}")
          }
        }
      }
      // Messages, too, and what they were sent with stays in order.
      const target = yield* claimNew(first)
      const sent = [message(second), { ...message(second), payload: "\0" }, message(second)]
      const verdicts = yield* second.commit(sent.map((message) => enqueue([{ id: target.id, message }])))
      assert.deepStrictEqual(tags(verdicts), ["Done", "Failed", "Done"])
      assert.deepStrictEqual((yield* lineOf(first, target.id)).map(({ call }) => call), [sent[0]?.call, sent[2]?.call])
    }))

  it.effect("nothing of a member that was declared dead is committed, whatever it is", () =>
    Effect.gen(function*() {
      const { first } = yield* Store
      const node = yield* postgresNode
      const sql = yield* PgClient.PgClient
      const server = yield* claimNew(node)
      const target = yield* claimNew(first)
      yield* sql`SELECT holdfast.bury_members(ARRAY[${BigInt(node.node())}])`
      const groups: ReadonlyArray<ReadonlyArray<DurableStorage.Member>> = [
        [transition(server)],
        [transition(server, { outcomes: [{ primaryKey: "k", reply: "{}", late: false }] })],
        [transition(server), transition(server)],
        [enqueue([{ id: target.id, message: message(node) }])]
      ]
      for (const group of groups) {
        const error = yield* Effect.flip(node.commit(group))
        assert.strictEqual(error._tag, "NodeLost")
        assert.strictEqual(error.node, node.node())
      }
      assert.deepStrictEqual(yield* lineOf(first, target.id), [])
      // Nobody else has to wait for it.
      const [claim] = yield* first.claim([server.address])
      assert.deepInclude(claim, { _tag: "Claimed", version: server.version + 1 })
      // And it cannot take what it had.
      assert.strictEqual((yield* node.claim([server.address]))[0]?._tag, "HeldElsewhere")
    }))
})

const parkedOf = (ids: ReadonlyArray<number>) =>
  Effect.flatMap(Effect.serviceOption(PgClient.PgClient), (client) =>
    client._tag === "None"
      ? Effect.succeed([])
      : Effect.map(
        client.value<{ readonly server: number }>`
          SELECT server_id::float8 AS server FROM holdfast.parked WHERE server_id = ANY (${
          ids.map(BigInt)
        }) ORDER BY 1`,
        (rows) => rows.map(({ server }) => server)
      ))
