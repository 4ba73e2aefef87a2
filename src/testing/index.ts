/**
 * Suites that a backend of somebody else's can run: lists of cases, for any test runner. (`EmbeddedPostgres` has a path of its
 * own, since it needs an optional peer.)
 *
 * @since 0.1.0
 */
export * as Conformance from "./Conformance.ts"
export * as DurableStorageSuite from "./DurableStorageSuite.ts"
export * as EventStoreSuite from "./EventStoreSuite.ts"
export * as RegistrySuite from "./RegistrySuite.ts"
