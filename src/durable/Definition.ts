/**
 * What the definition of a kind of durable server consists of, as types: its state, its keys, its operations.
 *
 * @since 0.1.0
 */
import type * as Rpc from "effect/rpc/Rpc"
import type * as Schema from "effect/Schema"

/**
 * The runtime type identifier of definitions.
 *
 * @since 0.1.0
 * @category type IDs
 */
export const TypeId: TypeId = "~holdfast/durable/DurableServer"

/**
 * The type-level identifier of definitions.
 *
 * @since 0.1.0
 * @category type IDs
 */
export type TypeId = "~holdfast/durable/DurableServer"

/**
 * A schema that encodes and decodes without services, as everything durable must.
 *
 * @since 0.1.0
 * @category models
 */
export type Durable = Schema.Top & { readonly DecodingServices: never; readonly EncodingServices: never }

/**
 * A schema for keys: whatever it describes, it is encoded to a string.
 *
 * @since 0.1.0
 * @category models
 */
export type KeySchema = Durable & { readonly Encoded: string }

/**
 * Any definition.
 *
 * @since 0.1.0
 * @category models
 */
export interface Any {
  readonly [TypeId]: typeof TypeId
  readonly kind: string
  readonly state: Durable
  readonly protocol: ReadonlyArray<Rpc.Any>
  readonly key: KeySchema
  readonly info: Durable
  readonly "~Rpcs": Rpc.Any
}

/**
 * The state of a server, decoded.
 *
 * @since 0.1.0
 * @category utility types
 */
export type StateOf<Self extends Any> = Self["state"]["Type"]

/**
 * The key of a server, decoded.
 *
 * @since 0.1.0
 * @category utility types
 */
export type KeyOf<Self extends Any> = Self["key"]["Type"]

/**
 * What a server may be told by `info`, decoded.
 *
 * @since 0.1.0
 * @category utility types
 */
export type InfoOf<Self extends Any> = Self["info"]["Type"]

/**
 * The names of a server's operations.
 *
 * @since 0.1.0
 * @category utility types
 */
export type Tag<Self extends Any> = Self["~Rpcs"]["_tag"]

/**
 * The operation of that name.
 *
 * @since 0.1.0
 * @category utility types
 */
export type RpcOf<Self extends Any, T extends string> = Extract<Self["~Rpcs"], { readonly _tag: T }>
