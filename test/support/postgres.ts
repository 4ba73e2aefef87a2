/**
 * One Postgres for the whole test suite, started before the first test file and stopped after the last. The tests take
 * databases of their own in it, through `TestPostgres.layer`. Where `HOLDFAST_DATABASE_URL` is set, that server is used.
 *
 * It runs with `fsync=off`, for speed: a test that needs the disk starts a server of its own.
 */
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import type { TestProject } from "vitest/node"
import { EmbeddedPostgres, layerOrUrl } from "../../src/testing/EmbeddedPostgres.ts"

declare module "vitest" {
  export interface ProvidedContext {
    /** URL of the suite's server, as superuser. */
    readonly databaseUrl: string
  }
}

export default async (project: TestProject): Promise<() => Promise<void>> => {
  const scope = Scope.makeUnsafe()
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  const server = layerOrUrl({ settings: { fsync: "off", max_connections: "300" } })
  try {
    const context = await Effect.runPromise(Layer.buildWithScope(server, scope))
    const { url } = Context.get(context, EmbeddedPostgres)
    project.provide("databaseUrl", Redacted.value(url))
    return close
  } catch (error) {
    await close()
    throw error
  }
}
