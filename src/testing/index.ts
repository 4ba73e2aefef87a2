/**
 * Suites for backends of one's own. `EmbeddedPostgres` has a path of its own, since it needs an optional peer.
 *
 * @since 0.1.0
 */
export * as Conformance from "./Conformance.ts"
export * as DurableStorageSuite from "./DurableStorageSuite.ts"
