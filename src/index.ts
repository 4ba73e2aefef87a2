/**
 * Holdfast: processes whose state survives, for Effect applications, on the Postgres they already have.
 *
 * @since 0.1.0
 */
export * from "./datastore/index.ts"
export * from "./dbtypes/index.ts"
export * from "./durable/index.ts"
export * from "./events/index.ts"
export * from "./member/index.ts"
export * from "./registry/index.ts"
