/**
 * One live holder for each profile, in a process or in a cluster. (`ClusterBackend` has a path of its own: Effect Cluster takes
 * as long to load as all the rest of the registry.)
 *
 * @since 0.1.0
 */
export * as PostgresBackend from "./PostgresBackend.ts"
export * as ProfileRegistry from "./ProfileRegistry.ts"
export * as RegistryBackend from "./RegistryBackend.ts"
