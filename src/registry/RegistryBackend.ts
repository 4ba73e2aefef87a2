/**
 * Where it is decided who holds a profile: the seam below `ProfileRegistry`, and its simplest implementation.
 *
 * A registry keeps its live holders in the process that they live in; a holder cannot travel. What processes have to agree on
 * is smaller: which of them holds which profile, known by a text, and under which fencing token. That is all a backend knows.
 * Its reach is the reach of the registry:
 *
 * - {@link layerMemory}, here: those that share the backend, in one process. For tests, and applications of one process. It
 *   has no clock, so it works under `TestClock`.
 * - `PostgresBackend`: every process on the same database, by leases.
 * - `ClusterBackend`, by its own path: the runners of an Effect Cluster, by its sharding.
 *
 * Another one is one function, {@link RegistryBackend}'s `open`. The cases it has to pass are in `holdfast/testing`, as
 * `RegistrySuite`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/**
 * A profile that another node holds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Remote {
  /** The node that holds it. */
  readonly node: string
  /** The fencing token it was granted under. */
  readonly token: bigint
  /** What the holder says of how it is reached, encoded. */
  readonly address: string | undefined
}

/**
 * Something that has happened on another node, as far as the backend hears of it.
 *
 * @since 0.1.0
 * @category models
 */
export type Change =
  | { readonly _tag: "Registered"; readonly key: string; readonly remote: Remote }
  /** Given back. */
  | { readonly _tag: "Released"; readonly key: string; readonly remote: Remote }
  /** Its node is gone. */
  | { readonly _tag: "Lost"; readonly key: string; readonly remote: Remote }

/**
 * What became of a claim.
 *
 * @since 0.1.0
 * @category models
 */
export type Claimed =
  | {
    readonly _tag: "Granted"
    /** Greater than every token that was granted for this profile before. */
    readonly token: bigint
    /** Gives the profile back. Once this has ended another node can be granted it. Does nothing after a loss. */
    readonly release: Effect.Effect<void>
  }
  | { readonly _tag: "Held"; readonly by: Remote }

/**
 * A claim that a node makes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Claim {
  readonly key: string
  readonly address: string | undefined
  /**
   * To be called, once, when what was granted does not hold any more without having been given back: before the profile can be
   * granted to another node, as far as that can be known.
   */
  readonly lost: () => void
}

/**
 * One registry, as one node takes part in it.
 *
 * **Details**
 *
 * Keys are texts of at most 512 bytes, without NUL. A node makes at most one claim of a key at a time, and interrupts it only
 * when it closes: whoever gives up waiting has what is granted later given back.
 *
 * @since 0.1.0
 * @category models
 */
export interface Directory {
  /** What other nodes know this one by. */
  readonly node: () => string
  /** Decides who has a profile. Fails, or takes long, only when the backend cannot decide it now. */
  readonly claim: (claim: Claim) => Effect.Effect<Claimed, BackendUnavailable>
  /** The other node that holds a profile, as far as is known here. */
  readonly lookup: (key: string) => Effect.Effect<Remote | undefined>
  /** All that other nodes hold, as far as is known here. */
  readonly list: Effect.Effect<ReadonlyArray<readonly [key: string, remote: Remote]>>
  /**
   * How often whoever waits for a profile looks it up again. For backends whose `changed` does not tell of everything that is
   * registered elsewhere; without it, they wait to be told.
   */
  readonly lookAgain?: Duration.Duration | undefined
}

/**
 * The backend cannot decide at the moment.
 *
 * @since 0.1.0
 * @category errors
 */
export class BackendUnavailable extends Schema.TaggedError<BackendUnavailable>("holdfast/registry/BackendUnavailable")(
  "BackendUnavailable",
  { problem: Schema.String }
) {
  override get message() {
    return `the registry's backend cannot decide now: ${this.problem}`
  }
}

/**
 * What is asked for when a registry is opened.
 *
 * @since 0.1.0
 * @category models
 */
export interface OpenOptions {
  /** The registry's name. Registries of other names have nothing to do with it. */
  readonly registry: string
  /** Hears what happens on other nodes. */
  readonly changed: (change: Change) => void
}

/**
 * Decides who holds a profile.
 *
 * @since 0.1.0
 * @category services
 */
export class RegistryBackend extends Context.Service<RegistryBackend, {
  /** Takes part in a registry until the scope closes. Whatever is still held then is free afterwards. */
  readonly open: (options: OpenOptions) => Effect.Effect<Directory, BackendUnavailable, Scope.Scope>
}>()("holdfast/registry/RegistryBackend") {}

// ------------------------------------------------------------------------------------------------ in memory

interface Holding extends Remote {
  readonly lost: () => void
}

interface Node {
  readonly id: string
  readonly changed: (change: Change) => void
}

/** One registry in memory: each node that opens it is a node of its own, as other processes would be. */
class MemoryRegistry {
  readonly nodes = new Set<Node>()
  readonly held = new Map<string, Holding>()

  tell(node: Node, change: Change): void {
    for (const other of this.nodes) if (other !== node) other.changed(change)
  }
}

/**
 * A backend in this process's memory.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemoryUnsafe = (): RegistryBackend["Service"] => {
  const registries = new Map<string, MemoryRegistry>()
  let nodes = 0
  let tokens = 0n

  const directoryOf = (registry: MemoryRegistry, node: Node): Directory => ({
    node: () => node.id,
    claim: ({ address, key, lost }) =>
      Effect.sync(() => {
        const other = registry.held.get(key)
        if (other !== undefined) return { _tag: "Held", by: remoteOf(other) }
        const holding: Holding = { node: node.id, token: ++tokens, address, lost }
        registry.held.set(key, holding)
        registry.tell(node, { _tag: "Registered", key, remote: remoteOf(holding) })
        return {
          _tag: "Granted",
          token: holding.token,
          release: Effect.sync(() => {
            if (registry.held.get(key) !== holding) return
            registry.held.delete(key)
            registry.tell(node, { _tag: "Released", key, remote: remoteOf(holding) })
          })
        }
      }),
    lookup: (key) =>
      Effect.sync(() => {
        const holding = registry.held.get(key)
        return holding === undefined || holding.node === node.id ? undefined : remoteOf(holding)
      }),
    list: Effect.sync(() =>
      Array.from(registry.held).flatMap(([key, holding]) =>
        holding.node === node.id ? [] : [[key, remoteOf(holding)] as const]
      )
    )
  })

  return {
    open: ({ changed, registry: name }) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          let registry = registries.get(name)
          if (registry === undefined) registries.set(name, registry = new MemoryRegistry())
          const node: Node = { id: `memory-${++nodes}`, changed }
          registry.nodes.add(node)
          return { registry, node }
        }),
        ({ node, registry }) =>
          Effect.sync(() => {
            registry.nodes.delete(node)
            for (const [key, holding] of Array.from(registry.held)) {
              if (holding.node !== node.id) continue
              registry.held.delete(key)
              holding.lost()
              registry.tell(node, { _tag: "Lost", key, remote: remoteOf(holding) })
            }
          })
      ).pipe(Effect.map(({ node, registry }) => directoryOf(registry, node)))
  }
}

const remoteOf = ({ address, node, token }: Remote): Remote => ({ node, token, address })

/**
 * A backend in this process's memory, for tests and for applications of a single process. Registries that are built on the
 * same one and have the same name are nodes of one registry, as if they were in processes of their own.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<RegistryBackend> = Layer.sync(RegistryBackend, makeMemoryUnsafe)
