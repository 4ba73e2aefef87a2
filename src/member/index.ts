/**
 * This process as a member of a database: a lease, a lane, and hints.
 *
 * @since 0.1.0
 */
export * as Member from "./Member.ts"
