/**
 * Durable servers: state that outlives any process, and the operations on it.
 *
 * @since 0.1.0
 */
export * as AdminStorage from "./AdminStorage.ts"
export * as Behaviour from "./Behaviour.ts"
export * as CurrentTransition from "./CurrentTransition.ts"
export * as Definition from "./Definition.ts"
export * as DurableAdmin from "./DurableAdmin.ts"
export * as DurableNode from "./DurableNode.ts"
export * as DurableServer from "./DurableServer.ts"
export * as DurableServerError from "./DurableServerError.ts"
export * as DurableStorage from "./DurableStorage.ts"
export * as MemoryStorage from "./MemoryStorage.ts"
export * as Outcome from "./Outcome.ts"
export * as PostgresStorage from "./PostgresStorage.ts"
export * as Ref from "./Ref.ts"
