/**
 * One role's access to a datastore, for the layers above it.
 *
 * {@link layer} gives them `SqlClient`, `PgClient` and {@link DatastoreContext} of the context they name. It is a view: the
 * pool belongs to the `Datastore`, so naming a context in twenty places opens nothing twice.
 *
 * **Gotchas**
 *
 * Effect builds a layer once for each reference to it. A constant `Orders.layer` that is provided under two contexts of one
 * application is built under one of them only. Give the second context a layer of its own, or use `Datastore.withContext`.
 * The layers of this library are built once for each context, and do not have the problem.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import { Datastore } from "./Datastore.ts"
import { type ContextNotFound, type ContextNotStarted, DatastoreContext } from "./internal/contextService.ts"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  ContextNotFound,
  /**
   * @since 0.1.0
   * @category errors
   */
  ContextNotStarted,
  /**
   * @since 0.1.0
   * @category services
   */
  DatastoreContext
} from "./internal/contextService.ts"

/**
 * The clients of one context.
 *
 * **Example** (Two services, two roles)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { DatastoreContext } from "holdfast/datastore"
 *
 * const Orders = Layer.effectDiscard(Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`SELECT 1`
 * }))
 * const Audit = Layer.effectDiscard(Effect.gen(function*() {
 *   const context = yield* DatastoreContext.DatastoreContext
 *   yield* context.sql`SELECT 2`
 * }))
 * const Main = Layer.mergeAll(
 *   Orders.pipe(Layer.provide(DatastoreContext.layer("app"))),
 *   Audit.pipe(Layer.provide(DatastoreContext.layer("audit")))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  name: string
): Layer.Layer<
  PgClient.PgClient | SqlClient.SqlClient | DatastoreContext,
  ContextNotFound | ContextNotStarted,
  Datastore
> =>
  Layer.effectContext(Effect.gen(function*() {
    const datastore = yield* Datastore
    const context = yield* datastore.context(name)
    return Context.make(DatastoreContext, context).pipe(
      Context.add(PgClient.PgClient, context.sql),
      Context.add(SqlClient.SqlClient, context.sql)
    )
  }))
