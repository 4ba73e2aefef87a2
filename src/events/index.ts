/**
 * Event stores: streams of events, subscriptions to them, snapshots.
 *
 * @since 0.1.0
 */
export * as EventGateway from "./EventGateway.ts"
export * as EventStore from "./EventStore.ts"
export * as EventStoreError from "./EventStoreError.ts"
export * as GatewayRpcs from "./GatewayRpcs.ts"
export * as GatewayToken from "./GatewayToken.ts"
export * as GatewayWorkers from "./GatewayWorkers.ts"
export * as MemoryEventStore from "./MemoryEventStore.ts"
export * as PostgresEventStore from "./PostgresEventStore.ts"
export * as RecordedEvent from "./RecordedEvent.ts"
export * as Selector from "./Selector.ts"
export * as Snapshot from "./Snapshot.ts"
export * as StoreConfig from "./StoreConfig.ts"
export * as Subscription from "./Subscription.ts"
