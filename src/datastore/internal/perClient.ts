/**
 * Layers that are built once for each database client.
 *
 * Effect builds a layer once for each reference to it. A constant layer that stands on a `PgClient` would therefore be
 * built once in a whole application, even where it is provided under two contexts of a datastore, and one of the two
 * would silently work with the role of the other. A layer made here is built once for each client *object* instead: the
 * same context twice gives one, two contexts give two.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** A layer that is memoised by the `PgClient` it is given, not by its own identity. */
export const perClient = <A, E, R>(
  build: (client: PgClient.PgClient) => Layer.Layer<A, E, R>
): Layer.Layer<A, E, R | PgClient.PgClient> => {
  const layers = new WeakMap<PgClient.PgClient, Layer.Layer<A, E, R>>()
  return Layer.fromBuild((memoMap, scope) =>
    Effect.flatMap(PgClient.PgClient, (client) => {
      let layer = layers.get(client)
      if (layer === undefined) {
        layers.set(client, layer = build(client))
      }
      return Layer.buildWithMemoMap(layer, memoMap, scope)
    })
  )
}
