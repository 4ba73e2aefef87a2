/**
 * Looking after durable servers in memory: what a `MemoryStorage` keeps, as an operator sees it.
 *
 * The service that nodes see has no place for this, and must not get one: it is the seam for nodes. So the storage leaves what
 * it shows to operators here, under the service that stands for it, as nodes do (`nodes.ts`).
 */
import type * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type {
  AdminStorage,
  KindSummary,
  Page,
  ParkedMessage,
  RetryVerdict,
  ServerFilter,
  ServerSummary
} from "../AdminStorage.ts"
import type { Address, Parked, StoredMessage } from "../DurableStorage.ts"
import { storedText } from "./state/stored.ts"

/** A server as the store has it. */
export interface StoredServer extends Address {
  readonly id: number
  readonly holder: number | undefined
  readonly version: number
  readonly state: string | undefined
  readonly fragments: ReadonlyMap<number, string>
  readonly lock: StoredMessage | undefined
  readonly line: ReadonlyArray<{ readonly position: number; readonly message: StoredMessage; readonly at: number }>
  readonly parked: ReadonlyArray<Parked & { readonly id: number; readonly at: number }>
}

/** The store, as far as operators are concerned. */
export interface StoreView {
  readonly servers: () => Iterable<StoredServer>
  readonly isAlive: (member: number) => boolean
  readonly members: () => Iterable<{ readonly id: number; readonly joinedAt: number; readonly groups: number }>
  readonly retry: (id: number, payload: string | undefined) => RetryVerdict
  readonly drop: (id: number) => boolean
}

const stores = new WeakMap<object, AdminStorage>()

/** Leaves what operators see of a store under the service that stands for it. */
export const enter = <Service extends object>(service: Service, store: StoreView, clock: Clock.Clock): Service => {
  stores.set(service, make(store, clock))
  return service
}

/** What operators see of the store behind a service. */
export const adminStorageOf = (service: object): AdminStorage => {
  const storage = stores.get(service)
  if (storage === undefined) {
    throw new Error("DurableAdmin.layerMemory looks after a MemoryStorage, and no other storage")
  }
  return storage
}

const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0
const byName = (a: Address, b: Address): number => compare(a.kind, b.kind) || compare(a.key, b.key)
const byId = (a: { readonly id: number }, b: { readonly id: number }): number => a.id - b.id

const pageOf = <A>(items: ReadonlyArray<A>, limit: number, mark: (last: A) => unknown): Page<A> => {
  const page = items.slice(0, limit)
  const last = items.length > limit ? page.at(-1) : undefined
  return { items: page, next: last === undefined ? undefined : JSON.stringify(mark(last)) }
}

const is: { readonly [what in NonNullable<ServerFilter["only"]>[number]]: (server: ServerSummary) => boolean } = {
  waiting: ({ queue }) => queue > 0,
  locked: ({ lockedBy }) => lockedBy !== undefined,
  parked: ({ parked }) => parked > 0
}

const make = (store: StoreView, clock: Clock.Clock): AdminStorage => {
  const summaryOf = (server: StoredServer): ServerSummary => ({
    id: server.id,
    kind: server.kind,
    key: server.key,
    holder: server.holder !== undefined && store.isAlive(server.holder) ? server.holder : undefined,
    version: server.version,
    queue: server.line.length,
    lockedBy: server.lock?.rpc,
    parked: server.parked.length
  })
  const parkedOf = ({ key, kind, parked }: StoredServer): ReadonlyArray<ParkedMessage> =>
    parked.map(({ at, attempts, failure, id, message }) => ({
      id,
      kind,
      key,
      message,
      attempts,
      failure,
      parkedAt: DateTime.makeUnsafe(at)
    }))
  const allParked = () => Array.from(store.servers()).flatMap(parkedOf).sort(byId)

  return {
    servers: ({ kind, only = [] }, after, limit) =>
      Effect.sync(() => {
        const wanted = Array.from(store.servers(), summaryOf).filter((server) =>
          (kind === undefined || server.kind === kind) &&
          (only.length === 0 || only.some((what) => is[what](server)))
        )
        if (only.length > 0) {
          const from = Number(after ?? 0)
          return pageOf(wanted.filter(({ id }) => id > from).sort(byId), limit, ({ id }) => id)
        }
        const [fromKind = "", fromKey = ""] = after === undefined ? [] : JSON.parse(after) as readonly [string, string]
        const behind = wanted.filter((server) => byName(server, { kind: fromKind, key: fromKey }) > 0)
        return pageOf(behind.sort(byName), limit, ({ key, kind }) => [kind, key])
      }),
    server: ({ key, kind }, messages) =>
      Effect.sync(() => {
        const server = Array.from(store.servers()).find((server) => server.kind === kind && server.key === key)
        return server === undefined ? undefined : {
          ...summaryOf(server),
          state: server.state === undefined
            ? undefined
            : storedText(server.state, Array.from(server.fragments, ([number, text]) => ({ number, text }))),
          lock: server.lock,
          head: server.line.slice(0, messages).map(({ at, message, position }) => ({
            ...message,
            position,
            sentAt: DateTime.makeUnsafe(at)
          })),
          parkedHead: parkedOf(server).slice(0, messages)
        }
      }),
    parked: ({ key, kind }, from, limit) =>
      Effect.sync(() => {
        const all = allParked()
        const [after, until] = from === undefined
          ? [0, all.at(-1)?.id ?? 0]
          : JSON.parse(from) as readonly [number, number]
        const wanted = all.filter((parked) =>
          parked.id > after && parked.id <= until && (kind === undefined || parked.kind === kind) &&
          (key === undefined || parked.key === key)
        )
        return pageOf(wanted, limit, ({ id }) => [id, until])
      }),
    parkedMessage: (id) => Effect.sync(() => allParked().find((parked) => parked.id === id)),
    retry: (id, payload) => Effect.sync(() => store.retry(id, payload)),
    drop: (id) => Effect.sync(() => store.drop(id)),
    overview: Effect.sync(() => {
      const servers = Array.from(store.servers(), summaryOf)
      const kinds = Array.from(Map.groupBy(servers, ({ kind }) => kind), ([kind, ofKind]): KindSummary => {
        const sum = (count: (server: ServerSummary) => number) =>
          ofKind.reduce((total, server) => total + count(server), 0)
        return {
          kind,
          servers: ofKind.length,
          held: sum(({ holder }) => holder === undefined ? 0 : 1),
          waiting: sum(({ queue }) => queue > 0 ? 1 : 0),
          queue: sum(({ queue }) => queue),
          locked: sum(({ lockedBy }) => lockedBy === undefined ? 0 : 1),
          parked: sum(({ parked }) => parked),
          versions: sum(({ version }) => version)
        }
      })
      return {
        at: DateTime.makeUnsafe(clock.currentTimeMillisUnsafe()),
        kinds: kinds.sort((a, b) => compare(a.kind, b.kind)),
        members: Array.from(store.members(), ({ groups, id, joinedAt }) => ({
          id,
          name: "memory",
          joinedAt: DateTime.makeUnsafe(joinedAt),
          leaseMillis: undefined,
          servers: servers.filter(({ holder }) => holder === id).length,
          groups
        }))
      }
    })
  }
}
