/**
 * Datastores: a Postgres database, its roles, its migrations and its pools.
 *
 * @since 0.1.0
 */
export * as ConnectionFailed from "./ConnectionFailed.ts"
export * as ContextRegistry from "./ContextRegistry.ts"
export * as DatabaseError from "./DatabaseError.ts"
export * as Datastore from "./Datastore.ts"
export * as DatastoreAdmin from "./DatastoreAdmin.ts"
export * as DatastoreContext from "./DatastoreContext.ts"
export * as DatastoreOptions from "./DatastoreOptions.ts"
export * as DatastoreQuery from "./DatastoreQuery.ts"
export * as Migrations from "./Migrations.ts"
