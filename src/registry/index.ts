/**
 * One live holder for each profile, in a process or in a cluster.
 *
 * @since 0.1.0
 */
export * as ClusterBackend from "./ClusterBackend.ts"
export * as PostgresBackend from "./PostgresBackend.ts"
export * as ProfileRegistry from "./ProfileRegistry.ts"
export * as RegistryBackend from "./RegistryBackend.ts"
