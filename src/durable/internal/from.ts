/**
 * Who sent a message, as a value that can be kept in a state and answered by a later transition.
 */
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { CurrentTransition } from "../CurrentTransition.ts"
import * as Answer from "./answer.ts"
import { type Operation, operationOf } from "./definition.ts"
import type { Message } from "./message.ts"

/** The sender of a message: the node, its number for the message, and the key that the answer is recorded under. */
export class From {
  readonly operation: Operation
  readonly mode: "call" | "cast"
  readonly node: number
  readonly call: number
  readonly primaryKey: string | undefined
  constructor(
    operation: Operation,
    mode: "call" | "cast",
    node: number,
    call: number,
    primaryKey: string | undefined
  ) {
    this.operation = operation
    this.mode = mode
    this.node = node
    this.call = call
    this.primaryKey = primaryKey
  }
}

export const fromOf = ({ call, mode, node, operation, primaryKey }: Message): From =>
  new From(operation, mode, node, call, primaryKey)

/** `call 12.345` or `cast 12.345`, and behind another blank the primary key where there is one. */
const pattern = /^(call|cast) (\d{1,15})\.(\d{1,15})(?: (.*))?$/s

const codecs = new WeakMap<Rpc.Any, Schema.Codec<From, string>>()

/** From and to a text, for the callers of one operation. */
export const codecOf = (rpc: Rpc.AnyWithProps): Schema.Codec<From, string> => {
  const known = codecs.get(rpc)
  if (known !== undefined) return known
  const operation = operationOf(rpc)
  const isFrom = (value: unknown): value is From => value instanceof From && value.operation.tag === operation.tag
  const codec = Schema.String.check(Schema.isPattern(pattern)).pipe(Schema.decodeTo(
    Schema.declare(isFrom, { expected: `the sender of "${operation.tag}"` }),
    SchemaTransformation.transform({
      decode: (text) => {
        const [, mode, node, call, primaryKey] = pattern.exec(text) ?? []
        return new From(operation, mode === "call" ? "call" : "cast", Number(node), Number(call), primaryKey)
      },
      encode: ({ call, mode, node, primaryKey }) =>
        `${mode} ${node}.${call}${primaryKey === undefined ? "" : ` ${primaryKey}`}`
    })
  ))
  codecs.set(rpc, codec)
  return codec
}

/** Answers the sender with the commit of the handler that runs. */
export const answer = (from: From, given: Answer.Answer): Effect.Effect<void, never, CurrentTransition> =>
  Effect.flatMap(CurrentTransition, (transition) => {
    const { call, mode, node, operation, primaryKey } = from
    const text = Answer.encode(operation, given)
    return text.ok
      ? Effect.sync(() => transition.answer({ mode, node, call, primaryKey, value: text.value }))
      : Effect.die(new Error(`the reply to "${operation.tag}" does not encode: ${text.issue}`))
  })
