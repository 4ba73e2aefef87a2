/**
 * The one place where the benchmark reaches out of its folder. `bench` is a package of its own, so that what it compares
 * Holdfast with never becomes a dependency of the library; the price is that Node and TypeScript do not resolve the name
 * `holdfast` from here, since a package can refer by name only to itself or to what is installed below it. A relative path to the public
 * entries works straight after the root's `npm ci`, without a second install, and with one copy of `effect`.
 */
export { DurableNode, DurableServer, type DurableServerError } from "../src/durable/index.ts"
export * as GatewayWorker from "../src/events/GatewayWorker.ts"
export {
  EventGateway,
  EventStore,
  GatewayToken,
  GatewayWorkers,
  PostgresEventStore,
  Selector
} from "../src/events/index.ts"
export * as EmbeddedPostgres from "../src/testing/EmbeddedPostgres.ts"
