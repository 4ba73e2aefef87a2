/**
 * A storage that keeps everything in this process: for tests, under `TestClock` too, and for trying things out.
 *
 * It keeps every promise that does not need a disk. Several nodes may share one, and see of each other what they would see
 * of each other through a database. Nothing in it waits for a clock; what was scheduled is in line at its very millisecond.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Gathering } from "../member/internal/gathering.ts"
import { DurableStorage, NodeLost, type NodeStorage } from "./DurableStorage.ts"
import { MemoryJournal } from "./internal/journals.ts"
import { enter } from "./internal/memoryAdmin.ts"
import { MemoryStore, type Node } from "./internal/memoryStore.ts"

const joinStore = (store: MemoryStore, retentionMillis: number): Effect.Effect<NodeStorage, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const node: Node = { hints: new Gathering(), replies: new Map(), joinedAt: 0, groups: 0 }
        return { node, id: { current: store.join(node) } }
      }),
      ({ id }) => Effect.sync(() => store.leave(id.current))
    ),
    ({ id, node }): NodeStorage => {
      const alive = <A>(go: () => A): Effect.Effect<A, NodeLost> =>
        Effect.suspend(() =>
          store.isAlive(id.current) ? Effect.sync(go) : Effect.fail(new NodeLost({ node: id.current }))
        )
      return {
        node: () => id.current,
        trouble: () => undefined,
        locate: (servers) => alive(() => servers.map((server) => store.locate(server))),
        claim: (servers) => alive(() => servers.map((server) => store.claim(id.current, server))),
        release: (servers) =>
          alive(() => servers.forEach((server) => store.release(id.current, server.id, server.version))),
        appendsTo: (journal) => journal instanceof MemoryJournal,
        commit: (group) =>
          alive(() => {
            if (group.some(({ _tag }) => _tag !== "Check")) node.groups++
            return store.commit(group, retentionMillis)
          }),
        kill: (server, answer) => alive(() => store.kill(server, answer)),
        read: (lines) => alive(() => lines.map((line) => store.read(line.id, line.after, line.limit))),
        unattended: (kinds, after) => alive(() => store.unattended(id.current, kinds, after)),
        replies: (from) => alive(() => Array.from(node.replies.values()).filter(({ call }) => call >= from)),
        forget: (replies) => alive(() => replies.forEach((reply) => node.replies.delete(reply.call))),
        deliverDue: alive(() => store.deliverDue()),
        mayLoseHints: false,
        hints: node.hints.take(Number.MAX_SAFE_INTEGER),
        rejoin: Effect.sync(() => {
          store.leave(id.current)
          id.current = store.join(node)
        })
      }
    }
  )

/**
 * A storage in memory, new with each time the layer is built.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<DurableStorage> = Layer.effect(
  DurableStorage,
  Effect.map(Clock.Clock, (clock) => {
    const store = new MemoryStore(clock)
    return enter(
      DurableStorage.of({
        join: ({ outcomeRetention }) => joinStore(store, Duration.toMillis(outcomeRetention))
      }),
      store,
      clock
    )
  })
)
