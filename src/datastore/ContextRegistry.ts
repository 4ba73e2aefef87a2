/**
 * Names by which the contexts of datastores are found from elsewhere in an application.
 *
 * `Datastore.layer(options, { contextRegistry })` enters every login context of a datastore under its name for as long as
 * the datastore lives. A registry is anything that can do so: {@link ContextRegistry} is all that is asked of it. The one
 * here reaches as far as this process.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { DatastoreContext } from "./internal/contextService.ts"

/**
 * What a datastore asks of a registry. A name that is taken fails with an error of the registry's own, and with it the layer
 * of the datastore.
 *
 * @since 0.1.0
 * @category models
 */
export interface ContextRegistry<out E = never> {
  /** Enters a context under its name until the scope closes. */
  readonly register: (
    contextName: string,
    context: DatastoreContext["Service"]
  ) => Effect.Effect<unknown, E, Scope.Scope>
}

/**
 * There is a context of this name in the registry already.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContextNameTaken extends Schema.TaggedError<ContextNameTaken>("holdfast/datastore/ContextNameTaken")(
  "ContextNameTaken",
  {
    contextName: Schema.String,
    /** The database of the context that has the name. */
    databaseName: Schema.String
  }
) {
  override get message() {
    return `a context ${JSON.stringify(this.contextName)} is registered already: that of datastore ${
      JSON.stringify(this.databaseName)
    }`
  }
}

/**
 * A registry in this process.
 *
 * @since 0.1.0
 * @category models
 */
export interface LocalContextRegistry extends ContextRegistry<ContextNameTaken> {
  /** The context of this name, while its datastore lives. */
  readonly whereis: (contextName: string) => Effect.Effect<Option.Option<DatastoreContext["Service"]>>
  /** The names that are taken, in the order in which they were. */
  readonly names: Effect.Effect<ReadonlyArray<string>>
}

/**
 * A registry in this process, for contexts of one or several datastores.
 *
 * **Example** (A context found by its name)
 *
 * ```ts
 * import { Effect, Layer, Option, Redacted } from "effect"
 * import { ContextRegistry, Datastore } from "holdfast/datastore"
 *
 * const program = Effect.gen(function*() {
 *   const registry = yield* ContextRegistry.makeLocal
 *   const DatastoreLive = Datastore.layer({
 *     databaseName: "airports",
 *     dbServer: { host: "localhost" },
 *     owner: { databaseRole: "airports_owner" },
 *     contexts: { app: { databaseRole: "airports_app", databasePassword: Redacted.make("…") } }
 *   }, { contextRegistry: registry })
 *   yield* Layer.build(DatastoreLive)
 *   const context = yield* registry.whereis("app")
 *   return Option.isSome(context) ? yield* context.value.sql`SELECT 1` : []
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeLocal: Effect.Effect<LocalContextRegistry> = Effect.sync(() => {
  const contexts = new Map<string, DatastoreContext["Service"]>()
  return {
    register: (contextName, context) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.suspend(() => {
          const other = contexts.get(contextName)
          if (other !== undefined) {
            return Effect.fail(new ContextNameTaken({ contextName, databaseName: other.databaseName }))
          }
          contexts.set(contextName, context)
          return Effect.void
        }),
        () => Effect.sync(() => contexts.delete(contextName))
      )),
    whereis: (contextName) => Effect.sync(() => Option.fromUndefinedOr(contexts.get(contextName))),
    names: Effect.sync(() => Array.from(contexts.keys()))
  }
})
